"""The table of live workers: who may take an id, who keeps it, who is forgotten."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from runledger.core import InvalidArgumentError, WorkerIdentity, WorkerRecord
from runledger.postgres import Operation, jobs, run_sync, workers
from runledger.testing import EphemeralDatabase
from tests.postgres.job_queue import WORKER, JobQueue

TTL = timedelta(minutes=1)
NOW = datetime(2026, 5, 26, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
ONE = WorkerIdentity(
    worker_id=WORKER,
    instance_id=uuid4(),
    hostname="host-1",
    process_id=17,
    version="1.0",
    job_types=("a", "b"),
    slots=8,
)
OTHER = dataclasses.replace(ONE, instance_id=uuid4(), hostname="host-2", process_id=18, job_types=())


class Table:
    """The table as the operations see it."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def run(self, operation: Operation[Any]) -> Any:
        with self._connection.transaction():
            return run_sync(self._connection, operation)

    def register(self, worker: WorkerIdentity, now: datetime = NOW, **arguments: Any) -> datetime | None:
        return self.run(workers.register_worker(worker, lease_ttl=TTL, now=now, **arguments))

    def beat(self, worker: WorkerIdentity, now: datetime, **arguments: Any) -> jobs.WorkerHeartbeat:
        return self.run(jobs.heartbeat_worker(worker, [], lease_ttl=TTL, started_at=NOW, now=now, **arguments))

    def rows(self, now: datetime = NOW, **arguments: Any) -> list[WorkerRecord]:
        return self.run(workers.list_workers(now=now, **arguments))


@pytest.fixture
def table(runledger_database: EphemeralDatabase) -> Iterator[Table]:
    with psycopg.connect(runledger_database.url) as connection:
        yield Table(connection)


def test_workers_that_claim_a_type_are_live_serve_it_and_are_not_stopping(table: Table) -> None:
    for worker_id, job_types in (("any", ()), ("other", ("b",)), ("serves", ("a", "b")), ("stops", ("a",))):
        table.register(dataclasses.replace(ONE, worker_id=worker_id, job_types=job_types))
    table.beat(dataclasses.replace(ONE, worker_id="stops", job_types=("a",)), NOW, is_stopping=True)
    table.register(dataclasses.replace(ONE, worker_id="dead", job_types=("a",)), NOW - 2 * TTL)

    assert [worker.worker_id for worker in table.rows(claims_job_type="a")] == ["serves"]
    assert table.rows(NOW + TTL, claims_job_type="a") == []


def test_a_worker_that_registers_is_listed_as_live_for_its_lease_time(table: Table) -> None:
    assert table.register(ONE) == NOW

    (row,) = table.rows()
    assert row == WorkerRecord(
        **dataclasses.asdict(ONE),
        started_at=NOW,
        heartbeat_at=NOW,
        expires_at=NOW + TTL,
        stopping_at=None,
        is_live=True,
    )
    (later,) = table.rows(NOW + TTL)
    assert not later.is_live


def test_an_id_of_a_live_worker_is_refused_and_its_row_left_alone(table: Table) -> None:
    table.register(ONE)

    assert table.register(OTHER, NOW + TTL - SECOND) is None
    assert table.register(ONE, NOW + SECOND) is None  # twice in one process is no better

    (row,) = table.rows()
    assert (row.instance_id, row.heartbeat_at) == (ONE.instance_id, NOW)


def test_an_id_whose_worker_has_expired_is_taken(table: Table) -> None:
    table.register(ONE)
    table.beat(ONE, NOW, is_stopping=True)

    assert table.register(OTHER, NOW + TTL) == NOW + TTL

    (row,) = table.rows()
    assert (row.instance_id, row.hostname, row.stopping_at) == (OTHER.instance_id, "host-2", None)


def test_an_id_of_a_process_that_is_known_to_be_dead_is_taken_at_once(table: Table) -> None:
    table.register(ONE)

    assert table.register(OTHER, replaces_instance_id=uuid4()) is None
    assert table.register(OTHER, replaces_instance_id=ONE.instance_id) == NOW


def test_a_heartbeat_moves_the_end_and_keeps_the_start(table: Table) -> None:
    table.register(ONE)

    assert table.beat(ONE, NOW + SECOND) == jobs.WorkerHeartbeat(renewed_job_ids=set(), is_registered=True)

    (row,) = table.rows()
    assert (row.started_at, row.heartbeat_at, row.expires_at) == (NOW, NOW + SECOND, NOW + SECOND + TTL)


def test_a_heartbeat_writes_a_row_that_is_gone_anew(table: Table) -> None:
    assert table.beat(ONE, NOW + SECOND).is_registered

    (row,) = table.rows()
    assert (row.started_at, row.heartbeat_at) == (NOW, NOW + SECOND)


def test_a_heartbeat_does_not_take_an_id_back(table: Table) -> None:
    table.register(ONE)
    table.register(OTHER, NOW + TTL)

    assert not table.beat(ONE, NOW + TTL).is_registered

    (row,) = table.rows()
    assert row.instance_id == OTHER.instance_id


def test_the_first_heartbeat_of_a_stopping_worker_says_since_when(table: Table) -> None:
    table.register(ONE)
    table.beat(ONE, NOW + SECOND, is_stopping=True)
    table.beat(ONE, NOW + 2 * SECOND, is_stopping=True)

    (row,) = table.rows()
    assert row.stopping_at == NOW + SECOND


def test_a_heartbeat_renews_leases_even_when_the_id_was_taken(table: Table, queue: JobQueue) -> None:
    """What runs may end: the fence of a lease does not ask for the process."""
    claimed = queue.enqueue_and_claim()
    table.register(OTHER, claimed.leased_at)
    heartbeat = table.run(
        jobs.heartbeat_worker(ONE, [claimed.lease], lease_ttl=TTL, started_at=NOW, now=claimed.leased_at)
    )

    assert heartbeat == jobs.WorkerHeartbeat(renewed_job_ids={claimed.job_id}, is_registered=False)


def test_only_its_own_process_forgets_a_worker(table: Table) -> None:
    table.register(ONE)

    assert not table.run(workers.remove_worker(ONE.worker_id, OTHER.instance_id))
    assert table.run(workers.remove_worker(ONE.worker_id, ONE.instance_id))
    assert table.rows() == []


def test_workers_that_died_long_ago_are_forgotten(table: Table) -> None:
    table.register(ONE)
    table.register(dataclasses.replace(OTHER, worker_id="worker-2"), NOW + SECOND)
    sweep = workers.remove_dead_workers(dead_for=timedelta(hours=1), now=NOW + TTL + timedelta(hours=1) + SECOND)

    assert table.run(sweep) == ["worker-1"]
    assert [row.worker_id for row in table.rows()] == ["worker-2"]


def test_pages_of_workers_follow_their_ids(table: Table) -> None:
    for number in range(3):
        table.register(dataclasses.replace(ONE, worker_id=f"worker-{number}"))

    assert [row.worker_id for row in table.rows(limit=2)] == ["worker-0", "worker-1"]
    assert [row.worker_id for row in table.rows(after_worker_id="worker-1")] == ["worker-2"]
    assert [row.worker_id for row in table.rows(worker_id="worker-1")] == ["worker-1"]
    with pytest.raises(InvalidArgumentError):
        table.rows(limit=0)


@pytest.mark.parametrize("lease_ttl", [timedelta(), timedelta(days=8), 60], ids=str)
def test_a_worker_lives_as_long_as_a_lease_may_last(lease_ttl: Any) -> None:
    with pytest.raises(InvalidArgumentError, check=lambda error: error.field == "lease_ttl"):
        next(workers.register_worker(ONE, lease_ttl=lease_ttl).begin())
