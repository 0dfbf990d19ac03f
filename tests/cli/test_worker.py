"""A worker as a process: what it says, how it runs jobs, and how it ends."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from runledger import SyncLedger
from runledger.core import JobDefinition, JobStatus
from runledger.testing import EphemeralDatabase
from tests.cli.conftest import RunCommand
from tests.cli.programs import Program

_APPLICATION = """\
import asyncio
import logging
import sys

from runledger import JobContext, JobRegistry

registry = JobRegistry()


@registry.job("until.line")
async def until_line(context: JobContext, payload: None) -> str:
    logging.getLogger("shop").info("handler.runs", extra={"attempt": context.attempt})
    await asyncio.to_thread(sys.stdin.readline)
    return "done"


@registry.job("until.canceled")
async def until_canceled(context: JobContext, payload: None) -> None:
    logging.getLogger("shop").info("handler.runs")
    await asyncio.Event().wait()


@registry.job("warning")
async def warning(context: JobContext, payload: None) -> None:
    logging.getLogger("shop").info("handler.runs")
    logging.getLogger("shop").warning("handler.warns")
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where the command is started: a directory with the module ``shop``."""
    (tmp_path / "shop.py").write_text(_APPLICATION, encoding="utf-8")
    return tmp_path


@pytest.fixture
def ledger(runledger_database: EphemeralDatabase) -> Iterator[SyncLedger]:
    with SyncLedger.connect(runledger_database.url, max_connections=1) as opened:
        yield opened


def worker(database: EphemeralDatabase, directory: Path, *options: str) -> Program:
    words = ("worker", "shop:registry", "--database-url", database.url, "--poll-interval", "10ms", *options)
    return Program(*words, directory=directory)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_lets_the_running_job_finish_and_ends_the_worker_with_zero(
    runledger_database: EphemeralDatabase, ledger: SyncLedger, directory: Path, number: signal.Signals
) -> None:
    with worker(runledger_database, directory) as program:
        program.await_line("supervisor.started")
        running = ledger.enqueue("until.line")
        program.await_line(" INFO handler.runs attempt=1")

        program.send(number)
        program.await_line("supervisor.stopping")
        waiting = ledger.enqueue("until.line")
        program.write_line()

        assert program.await_end() == 0
        assert program.lines[-1].endswith(" INFO supervisor.stopped finished=1 returned=0 abandoned=0 error_count=0")

    finished, untouched = ledger.get_job(running), ledger.get_job(waiting)
    assert finished is not None
    assert (finished.status, finished.output) == (JobStatus.SUCCEEDED, "done")
    assert untouched is not None
    assert untouched.status is JobStatus.PENDING


def test_a_second_signal_cancels_the_running_job(
    runledger_database: EphemeralDatabase, ledger: SyncLedger, directory: Path
) -> None:
    with worker(runledger_database, directory) as program:
        program.await_line("supervisor.started")
        job_id = ledger.enqueue("until.canceled")
        program.await_line("handler.runs")

        program.send(signal.SIGINT)
        program.await_line("supervisor.stopping")
        program.send(signal.SIGINT)

        assert program.await_end() == 0

    job = ledger.get_job(job_id)
    assert job is not None
    assert (job.status, job.last_error_code) == (JobStatus.PENDING, "job.worker_shutdown")


def test_the_shutdown_timeout_ends_a_job_that_does_not_finish(
    runledger_database: EphemeralDatabase, ledger: SyncLedger, directory: Path
) -> None:
    with worker(runledger_database, directory, "--shutdown-timeout", "0") as program:
        program.await_line("supervisor.started")
        ledger.enqueue("until.canceled")
        program.await_line("handler.runs")

        program.send(signal.SIGTERM)

        assert program.await_end() == 0


def test_the_first_line_says_who_works_on_what_and_where(
    runledger_database: EphemeralDatabase, directory: Path
) -> None:
    options = ("--worker-id", "worker 1", "--concurrency", "3", "--schema", "runledger")
    with worker(runledger_database, directory, *options) as program:
        line = program.await_line("")
        program.await_line("supervisor.started")
        program.send(signal.SIGTERM)
        program.await_end()

    _, facts = line.split(" INFO worker.starting ")
    assert facts.startswith(
        'worker_id="worker 1" job_types=["until.canceled", "until.line", "warning"] slots=3 database="host '
    )
    assert facts.endswith(f', database {runledger_database.name}" schema=runledger')


def test_the_log_can_be_json_and_all_of_it_is(
    runledger_database: EphemeralDatabase, ledger: SyncLedger, directory: Path
) -> None:
    with worker(runledger_database, directory, "--log-format", "json") as program:
        program.await_line("supervisor.started")
        ledger.enqueue("until.line")
        program.await_line("handler.runs")
        program.send(signal.SIGTERM)
        program.write_line()
        program.await_end()

    records = [json.loads(line) for line in program.lines]
    assert [record["event"] for record in records] == [
        "worker.starting",
        "supervisor.started",
        "handler.runs",
        "supervisor.stopping",
        "supervisor.stopped",
    ]
    assert records[2] | {"time": ""} == {
        "time": "",
        "level": "INFO",
        "logger": "shop",
        "event": "handler.runs",
        "attempt": 1,
    }


def test_the_log_level_leaves_lines_out(
    runledger_database: EphemeralDatabase, ledger: SyncLedger, directory: Path
) -> None:
    ledger.ensure_job_definitions([JobDefinition(job_type="warning")])
    ledger.enqueue("warning")

    with worker(runledger_database, directory, "--log-level", "warning") as program:
        program.await_line("WARNING handler.warns")
        program.send(signal.SIGTERM)
        assert program.await_end() == 0

    assert len(program.lines) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["shop:absent"], "module 'shop' has no 'absent'; it has registry"),
        (["absent:registry"], "there is no module 'absent'"),
    ],
    ids=["attribute", "module"],
)
def test_a_registry_that_is_not_there_is_bad_input(
    run_command: RunCommand, directory: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(directory)
    monkeypatch.syspath_prepend(directory)  # pyright: ignore[reportUnknownMemberType]

    ended = run_command("worker", *words, "--database-url", "postgresql:///shop")

    assert ended.exit_code == 2
    assert f"runledger: error: argument MODULE:ATTRIBUTE: {message}" in ended.err


@pytest.mark.parametrize(
    ("statement", "line_count", "message"),
    [
        ("DROP SCHEMA runledger CASCADE", 1, "has no tables of Runledger; create them with `runledger migrate`"),
        # Found out by the first statement of the worker, when the log has begun.
        ("ALTER TABLE runledger.job_definitions RENAME COLUMN version TO edition", 2, "are not those of this version"),
    ],
    ids=["not migrated", "other version"],
)
def test_a_worker_does_not_start_where_it_could_not_work(
    runledger_database: EphemeralDatabase, directory: Path, statement: str, line_count: int, message: str
) -> None:
    with psycopg.connect(runledger_database.url) as connection:
        connection.execute(statement.encode())

    with worker(runledger_database, directory) as program:
        assert program.await_end() == 1
        assert len(program.lines) == line_count
        assert program.lines[-1].startswith("runledger: error: ")
        assert message in program.lines[-1]


_CATALOG = """\
from runledger import JobCatalog, JobContext

catalog = JobCatalog("shop")


@catalog.job("report.build", max_attempts=3)
async def build(context: JobContext, payload: dict) -> None: ...
"""


def test_a_sync_at_the_start_that_changes_what_an_operator_set_is_logged(
    runledger_database: EphemeralDatabase, ledger: SyncLedger, tmp_path: Path
) -> None:
    (tmp_path / "shop.py").write_text(_CATALOG, encoding="utf-8")
    ledger.ensure_job_definitions([JobDefinition(job_type="report.build", max_attempts=7)])

    with Program("worker", "shop:catalog", "--database-url", runledger_database.url, directory=tmp_path) as program:
        line = program.await_line("worker.catalog_synced")
        program.await_line("supervisor.started")
        program.send(signal.SIGTERM)
        assert program.await_end() == 0

    assert 'inserted=[] updated=["report.build"]' in line
    definition = ledger.get_job_definition("report.build")
    assert definition is not None
    assert definition.max_attempts == 3


def test_a_catalog_that_does_not_fit_together_is_bad_input_before_anything_is_logged(
    runledger_database: EphemeralDatabase, tmp_path: Path
) -> None:
    source = f"{_CATALOG}\ncatalog.schedule('nightly', 'report.biuld', '@daily')\n"
    (tmp_path / "shop.py").write_text(source, encoding="utf-8")

    with Program("worker", "shop:catalog", "--database-url", runledger_database.url, directory=tmp_path) as program:
        assert program.await_end() == 2

    (line,) = program.lines
    assert line.startswith(
        "runledger: error: catalog shop:catalog: schedule 'nightly': names the job type 'report.biuld'"
    )


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--lease-ttl", "240h", "lease_ttl must be at most 7 days"),
        ("--batch-size", "9999999999", "claim_batch_size must be at least 1"),
    ],
)
def test_settings_that_cannot_work_are_bad_input(
    run_command: RunCommand, option: str, value: str, message: str
) -> None:
    ended = run_command("worker", "shop:registry", "--database-url", "postgresql:///shop", option, value)

    assert ended.exit_code == 2
    assert ended.err.startswith(f"runledger: error: {message}")


def test_a_variable_that_cannot_be_read_is_told_in_the_log_without_its_value(
    run_command: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBS_LEASE_TTL_SECONDS", "secret-word")

    ended = run_command("worker", "shop:registry", "--database-url", "postgresql:///shop")

    assert " WARNING settings.variable_ignored variable=JOBS_LEASE_TTL_SECONDS\n" in ended.err
    assert "secret-word" not in ended.err


def test_a_worker_does_not_start_without_a_server(directory: Path) -> None:
    with Program("worker", "shop:registry", "--database-url", "host=127.0.0.1 port=1", directory=directory) as program:
        assert program.await_end() == 1
        assert len(program.lines) == 1
        assert "cannot reach PostgreSQL at host 127.0.0.1, port 1" in program.text


def test_a_worker_whose_id_a_live_worker_has_is_refused_in_one_line(
    runledger_database: EphemeralDatabase, ledger: SyncLedger, directory: Path
) -> None:
    assert ledger
    with worker(runledger_database, directory, "--worker-id", "one") as first:
        first.await_line("supervisor.started")
        with worker(runledger_database, directory, "--worker-id", "one") as second:
            assert second.await_end() == 1
        first.send(signal.SIGTERM)
        assert first.await_end() == 0

    assert second.lines[-1].startswith("runledger: error: worker_id is that of another live worker; give each worker")
    assert second.lines[-1].endswith("(config.worker_id_taken)")


def test_types_get_limits_of_their_own(
    runledger_database: EphemeralDatabase, ledger: SyncLedger, directory: Path
) -> None:
    options = ("--type-concurrency", "until.canceled=1", "--type-concurrency", "until.line=2")
    with worker(runledger_database, directory, *options) as program:
        program.await_line("supervisor.started")
        for job_type in ("until.canceled", "until.canceled", "warning"):
            ledger.enqueue(job_type)
        program.await_line("handler.warns")
        with psycopg.connect(runledger_database.url) as connection:
            row = connection.execute(
                "SELECT count(*) FROM runledger.job_queue WHERE status = 'LEASED' AND job_type = 'until.canceled'"
            ).fetchone()
        program.send(signal.SIGTERM)
        program.await_line("supervisor.stopping")
        program.send(signal.SIGTERM)
        assert program.await_end() == 0

    assert row == (1,)


@pytest.mark.parametrize("options", [[], ["--no-scheduler"]], ids=["scheduler", "none"])
def test_a_worker_makes_the_jobs_of_schedules_unless_told_not_to(
    runledger_database: EphemeralDatabase, ledger: SyncLedger, directory: Path, options: list[str]
) -> None:
    ledger.ensure_job_definitions([JobDefinition(job_type="warning")])
    ledger.upsert_schedule("yearly", "warning", "0 0 1 1 *")
    ledger.set_schedule_next_fire("yearly", datetime(2026, 1, 1, tzinfo=UTC))

    with worker(runledger_database, directory, *options) as program:
        if options:
            program.await_line("supervisor.started")
            ledger.enqueue("warning")
        # That of the schedule may be there before the line that all parts have started.
        program.await_line("handler.warns")
        program.send(signal.SIGTERM)
        assert program.await_end() == 0

    with psycopg.connect(runledger_database.url) as connection:
        found = connection.execute("SELECT count(*) FROM runledger.job_queue WHERE stage = 'completed'").fetchone()
        made = connection.execute("SELECT count(*) FROM runledger.job_queue WHERE payload ? '_schedule'").fetchone()
    assert (found, made) == ((1,), (0 if options else 1,))
