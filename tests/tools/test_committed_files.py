"""``--check`` of the tools that keep a file in step with the database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tools import schema_dump
from tools.sql_lock import __main__ as sql_lock
from tools.sql_lock import lock

Main = Callable[[Sequence[str]], int]


@pytest.fixture(params=["sql_lock", "schema_dump"])
def tool(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Main, Path]:
    """A tool, and the file that it keeps, which does not exist yet."""
    kept = tmp_path / "kept"
    if request.param == "sql_lock":
        monkeypatch.setattr(lock, "LOCK_PATH", kept)
        monkeypatch.setattr(sql_lock, "LOCK_PATH", kept)
        return sql_lock.main, kept
    monkeypatch.setattr(schema_dump, "DUMP_PATH", kept)
    return schema_dump.main, kept


def test_a_file_that_was_just_written_is_current(tool: tuple[Main, Path], capsys: pytest.CaptureFixture[str]) -> None:
    main, _kept = tool

    assert main([]) == 0
    assert main(["--check"]) == 0
    assert capsys.readouterr().out == ""


def test_a_file_that_differs_is_shown_as_a_difference(
    tool: tuple[Main, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    main, kept = tool
    main([])
    before = kept.read_text(encoding="utf-8").replace("lease_expires_at", "lease_ends_at")
    kept.write_text(before, encoding="utf-8")

    assert main(["--check"]) == 1

    shown = capsys.readouterr().out
    assert "lease_ends_at" in shown
    assert "is not current: run `make" in shown
    assert kept.read_text(encoding="utf-8") == before, "a check writes nothing"


def test_a_missing_file_is_not_current(tool: tuple[Main, Path]) -> None:
    main, kept = tool

    assert main(["--check"]) == 1
    assert not kept.exists()
