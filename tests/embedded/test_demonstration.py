"""The demonstration has one server for all checkouts of a user, and one run at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

import demo.__main__ as demonstration
from runledger.embedded.locks import exclusive


def test_a_second_demonstration_is_refused_in_one_line(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A fixed bug: the second dropped the database of the first, and both ended in a traceback."""

    def default_data_dir(_name: str) -> Path:
        return data_dir

    monkeypatch.setattr(demonstration, "default_data_dir", default_data_dir)
    with exclusive(data_dir.parent / "demo-lock", timeout_seconds=0):
        assert demonstration.main() == 1
    error = capsys.readouterr().err
    assert error.startswith("the demonstration is already running")
    assert error.count("\n") == 1
