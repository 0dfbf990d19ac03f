"""``python -m demo``: run the demonstration. It ends by itself within a minute, and its data stay."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

import psycopg
from psycopg import Connection, sql
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from demo.jobs import MEASURE_MODULE, make_registry
from demo.ledger_facts import (
    Check,
    check_promises,
    check_workflow_promises,
    held_count,
    jobs_to_look_at,
    read_progress,
)
from demo.measuring import standard_library_files
from demo.report import APPROVAL, report_workflow
from runledger import EnqueueRequest, SyncLedger
from runledger.cli.rich_text import print_rich
from runledger.cli.workflow_history import read_workflow_history
from runledger.cli.workflow_story import tell_run
from runledger.client import SyncWorkflowRunHandle
from runledger.core import WorkflowStepStatus
from runledger.embedded import EmbeddedServer, default_data_dir
from runledger.embedded.locks import exclusive

SERVER_NAME = "demo"
DATABASE = "demo"

_VICTIM = "demo-worker-to-be-killed"
_SURVIVOR = "demo-worker-that-survives"
_OF_WORKFLOW = "demo-worker-of-the-workflow"
_KILL_AT_SHARE = 0.35
_WATCH_SECONDS = 0.15
_PATIENCE_SECONDS = 90

_POISON_SOURCE = b"def broken(:\n    return 'this is not Python'\n"

_APPLICATION_TABLES = """
CREATE TABLE module_batches (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, module_count integer NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE module_sizes (
    module text PRIMARY KEY, job_id uuid NOT NULL, line_count integer NOT NULL, function_count integer NOT NULL,
    class_count integer NOT NULL, import_count integer NOT NULL);
CREATE TABLE approvals (
    run_id uuid PRIMARY KEY, approved_by text NOT NULL, approved_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE reports (
    job_id uuid PRIMARY KEY, package_count integer NOT NULL, line_count integer NOT NULL, approved_by text NOT NULL);
"""


class _SecondThoughtsError(Exception):
    """Rolls an approval back."""


def main() -> int:
    """Run it all and return the exit code: 0 when every promise held."""
    console = Console()
    started_at = time.monotonic()
    console.rule("Runledger")
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(EmbeddedServer.start(default_data_dir(SERVER_NAME)))
        try:
            stack.enter_context(exclusive(server.data_dir.parent / f"{SERVER_NAME}-lock", timeout_seconds=0))
        except TimeoutError:
            print("the demonstration is already running, maybe from another checkout; wait a minute", file=sys.stderr)
            return 1
        console.print(f"PostgreSQL is up after {time.monotonic() - started_at:.1f} s, data in {server.data_dir}")
        _drop_database(server.url)
        url = server.ensure_database(DATABASE)
        folder = server.data_dir.parent
        poison = folder / f"{SERVER_NAME}-poison.py"
        log_file = folder / f"{SERVER_NAME}-workers.log"
        count = _prepare(url, poison)
        console.print(
            f"One transaction wrote a batch row and {count} jobs, one for each module of the standard library"
        )
        with psycopg.connect(url, autocommit=True) as connection:
            _run_workers(console, connection, url, count, log_file=log_file)
            checks = check_promises(connection, killed_worker=_VICTIM)
            stories = jobs_to_look_at(connection, killed_worker=_VICTIM)
            _print_checks(console, "The jobs, proved from the ledger", checks)
            run_id = _run_workflow(console, url, poison, log_file=log_file)
            workflow_checks = check_workflow_promises(connection, run_id)
    _print_checks(console, "The workflow, proved from the ledger", workflow_checks)
    console.print("\nThe data stay. Look at single jobs:")
    runledger = Path(sys.executable).with_name("runledger")
    command = os.path.relpath(runledger) if runledger.is_relative_to(Path.cwd()) else str(runledger)
    for story, job_id in stories:
        console.print(f"  {command} job {job_id} --embedded {SERVER_NAME}   # {story}", soft_wrap=True, highlight=False)
    console.print(f"  {command} workflow show {run_id} --embedded {SERVER_NAME}", soft_wrap=True, highlight=False)
    remove = f"rm -r {shlex.quote(str(server.data_dir))} {shlex.quote(str(folder / SERVER_NAME))}-*"
    console.print(f"Remove everything that it left:\n  {remove}", soft_wrap=True, highlight=False)
    console.print(f"\nDone in {time.monotonic() - started_at:.1f} s")
    return 0 if all(check.holds for check in checks + workflow_checks) else 1


def _drop_database(url: str) -> None:
    """Begin anew: the data of an earlier run were kept for looking at."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(DATABASE)))


def _prepare(url: str, poison: Path) -> int:
    """Migrate, make the application's tables, and enqueue everything in one transaction with the batch's own row."""
    poison.write_bytes(_POISON_SOURCE)
    with psycopg.connect(url) as connection:
        connection.execute(_APPLICATION_TABLES)
    modules = [*standard_library_files(), ("poison", poison)]
    requests = [EnqueueRequest(MEASURE_MODULE, {"module": name, "path": str(path)}) for name, path in modules]
    with SyncLedger.connect(url) as ledger:
        ledger.migrate()
        ledger.ensure_job_definitions(make_registry().definitions())
        with ledger.transaction() as connection:
            connection.execute("INSERT INTO module_batches (module_count) VALUES (%s)", [len(requests)])
            ledger.enqueue_many(requests, connection=connection)
    return len(requests)


def _run_workers(console: Console, connection: Connection, url: str, count: int, *, log_file: Path) -> None:
    with log_file.open("wb") as log:
        workers = {worker_id: _start_worker(url, worker_id, log) for worker_id in (_VICTIM, _SURVIVOR)}
    console.print("Two worker processes run; one of them will be killed with SIGKILL")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    deadline = time.monotonic() + _PATIENCE_SECONDS
    try:
        with Progress(*columns, console=console) as bar:
            task = bar.add_task("", total=count)
            while True:
                now = read_progress(connection)
                text = f"{now.leased:>2} running, {now.retries} retries, {now.recovered} recovered"
                bar.update(task, completed=now.finished, description=text)
                victim = workers[_VICTIM]
                if victim.poll() is None and now.finished >= count * _KILL_AT_SHARE:
                    held = held_count(connection, _VICTIM)
                    if held > 0:
                        victim.send_signal(signal.SIGKILL)
                        victim.wait()
                        console.print(f"Killed {_VICTIM} at {now.finished} of {count}; it held about {held} jobs")
                if now.finished == count:
                    return
                if workers[_SURVIVOR].poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"the demonstration did not come to its end; what the workers said: {log_file}")
                time.sleep(_WATCH_SECONDS)
    finally:
        for worker in workers.values():
            if worker.poll() is None:
                worker.terminate()
        for worker in workers.values():
            worker.wait()


def _run_workflow(console: Console, url: str, poison: Path, *, log_file: Path) -> UUID:
    """Enqueue the report, open its gate when it has come so far, and tell what became of it."""
    with log_file.open("ab") as log:
        worker = _start_worker(url, _OF_WORKFLOW, log)
    try:
        with SyncLedger.connect(url) as ledger:
            run = ledger.enqueue_workflow(report_workflow(poison))
            console.print("\nA workflow of one step adds a step for each package that it finds, and waits at a gate")
            _approve_when_asked(ledger, run)
            run.wait(timeout=timedelta(seconds=_PATIENCE_SECONDS))
            history = read_workflow_history(ledger, run.id)
            assert history is not None  # noqa: S101 (its handle is here)
    finally:
        worker.terminate()
        worker.wait()
    console.print()
    print_rich(tell_run(history, now=datetime.now(UTC)), console)
    return run.id


def _approve_when_asked(ledger: SyncLedger, run: SyncWorkflowRunHandle) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not any(step.status is WorkflowStepStatus.WAITING_FOR_EXTERNAL for step in run.steps()):
        if time.monotonic() > deadline:
            raise RuntimeError(f"run {run.id} did not come to its gate")
        time.sleep(_WATCH_SECONDS)
    with contextlib.suppress(_SecondThoughtsError), ledger.transaction() as connection:
        _approve(ledger, run.id, connection, by="somebody who had second thoughts")
        raise _SecondThoughtsError
    with ledger.transaction() as connection:
        _approve(ledger, run.id, connection, by="the demonstration")


def _approve(ledger: SyncLedger, run_id: UUID, connection: Connection, *, by: str) -> None:
    connection.execute("INSERT INTO approvals (run_id, approved_by) VALUES (%s, %s)", [run_id, by])
    ledger.complete_gate(run_id, APPROVAL, output={"by": by}, connection=connection)


def _start_worker(url: str, worker_id: str, log: BinaryIO) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "demo.worker", url, worker_id], stdout=log, stderr=log)


def _print_checks(console: Console, title: str, checks: list[Check]) -> None:
    table = Table("Promise", "What the ledger says", "", title=f"\n{title}", title_justify="left")
    for check in checks:
        table.add_row(check.promise, check.evidence, "[green]yes[/]" if check.holds else "[red]NO[/]")
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
