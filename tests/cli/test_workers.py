"""``runledger workers`` against a database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from uuid import UUID

import psycopg
import pytest

from runledger.testing import EphemeralDatabase
from tests.cli.conftest import RunCommand

_INSERT = """
INSERT INTO runledger.job_workers
       (worker_id, instance_id, hostname, process_id, version, job_types, slots, started_at, heartbeat_at, expires_at,
        stopping_at)
VALUES (%s, %s, 'host-1', 17, '1.0', %s, 8, now() - interval '2 h', now() - interval '5 s',
        now() + %s * interval '1 s', CASE WHEN %s THEN now() END)
"""


@pytest.fixture
def connection(
    runledger_database: EphemeralDatabase, monkeypatch: pytest.MonkeyPatch
) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """The database that the command finds by itself."""
    monkeypatch.setenv("RUNLEDGER_DATABASE_URL", runledger_database.url)
    with psycopg.connect(runledger_database.url, autocommit=True) as opened:
        yield opened


def add(
    connection: psycopg.Connection[tuple[object, ...]],
    worker_id: str,
    *job_types: str,
    seconds_left: int = 60,
    is_stopping: bool = False,
) -> None:
    connection.execute(_INSERT, [worker_id, UUID(int=7), list(job_types), seconds_left, is_stopping])


def test_each_worker_has_a_line(connection: psycopg.Connection[tuple[object, ...]], run_command: RunCommand) -> None:
    add(connection, "c", seconds_left=-1)
    add(connection, "a", "email.send", "\x1b[31mred")
    add(connection, "b", "email.send", is_stopping=True)

    ended = run_command("workers")

    assert (ended.exit_code, ended.err) == (0, "")
    lines = [line.split() for line in ended.out.splitlines()]
    assert lines[0][:6] == ["worker", "state", "host", "pid", "version", "slots"]
    assert [line[:6] for line in lines[1:]] == [
        ["a", "live", "host-1", "17", "1.0", "8"],
        ["b", "stopping", "host-1", "17", "1.0", "8"],
        ["c", "dead", "host-1", "17", "1.0", "8"],
    ]
    assert r"2 h ago" in ended.out
    assert r"email.send, \x1b[31mred" in ended.out


def test_a_queue_without_workers_says_so(
    connection: psycopg.Connection[tuple[object, ...]], run_command: RunCommand
) -> None:
    assert connection
    assert run_command("workers").out.startswith("no worker runs in schema runledger at ")


def test_programs_get_an_object(connection: psycopg.Connection[tuple[object, ...]], run_command: RunCommand) -> None:
    add(connection, "a", "email.send")

    (worker,) = json.loads(run_command("workers", "--json").out)["workers"]

    assert worker.pop("started_at").endswith("Z")
    assert {worker.pop("heartbeat_at"), worker.pop("expires_at")}
    assert worker == {
        "worker_id": "a",
        "state": "live",
        "instance_id": str(UUID(int=7)),
        "hostname": "host-1",
        "process_id": 17,
        "version": "1.0",
        "job_types": ["email.send"],
        "slots": 8,
        "stopping_at": None,
        "is_live": True,
    }


def test_more_workers_than_a_page_are_listed(
    connection: psycopg.Connection[tuple[object, ...]], run_command: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runledger.cli.workers._PAGE", 2)
    for number in range(5):
        add(connection, f"worker-{number}")

    listed = json.loads(run_command("workers", "--json").out)["workers"]

    assert [worker["worker_id"] for worker in listed] == [f"worker-{number}" for number in range(5)]
