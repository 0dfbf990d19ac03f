"""The demonstration has one server for all checkouts of a user, and one run at a time."""

from __future__ import annotations

import io
from pathlib import Path

import psycopg
import pytest
from rich.console import Console

import demo.__main__ as demonstration
from demo.jobs import make_registry
from demo.ledger_facts import check_workflow_promises
from runledger import SyncLedger
from runledger.embedded.locks import exclusive
from runledger.testing import EphemeralDatabase


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


def test_the_workflow_of_the_demonstration_keeps_its_promises(
    runledger_database: EphemeralDatabase, tmp_path: Path
) -> None:
    url, output, poison = runledger_database.url, io.StringIO(), tmp_path / "poison.py"
    poison.write_bytes(demonstration._POISON_SOURCE)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    with psycopg.connect(url) as connection:
        connection.execute(demonstration._APPLICATION_TABLES)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    with SyncLedger.connect(url) as ledger:
        ledger.ensure_job_definitions(make_registry().definitions())

    run_id = demonstration._run_workflow(  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        Console(file=output, width=120), url, poison, log_file=tmp_path / "worker.log"
    )

    with psycopg.connect(url, autocommit=True) as connection:
        checks = check_workflow_promises(connection, run_id)
    assert [check for check in checks if not check.holds] == []
    assert "source.unparsable" in output.getvalue()
