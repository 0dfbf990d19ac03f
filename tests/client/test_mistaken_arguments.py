"""Arguments of a wrong kind are told by their names, before anything is sent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from runledger import EnqueueRequest, JobRegistry, Ledger, SyncLedger
from runledger.core import Admin, InvalidArgumentError, JobFailureKind, LeaseIdentity
from runledger.testing import EphemeralDatabase

JOB = UUID(int=1)
LEASE = LeaseIdentity(job_id=JOB, run_number=1, attempt=1, worker_id="w")


async def requests_in_time() -> AsyncIterator[EnqueueRequest]:
    yield EnqueueRequest("a.b", None)


def foreign(module: str, name: str) -> Any:
    """Return an object whose class says that it is another library's."""
    return type(name, (), {"__module__": module})()


MISTAKES: dict[str, tuple[Callable[[SyncLedger], object], str]] = {
    "text as id": (lambda ledger: ledger.get_job(wrong(str(JOB))), "job_id: is of type str; pass the uuid.UUID"),
    "number as id": (lambda ledger: ledger.job_events(wrong(5)), "job_id: is of type int"),
    "id to cancel": (lambda ledger: ledger.cancel_job(wrong("x"), scope=Admin()), "job_id: is of type str"),
    "text as scope": (lambda ledger: ledger.get_job(JOB, scope=wrong("x")), "scope: is of type str; pass Global"),
    "one request": (
        lambda ledger: ledger.enqueue_many(wrong(EnqueueRequest("a.b", None))),
        "requests: is a single request",
    ),
    "a registry": (lambda ledger: ledger.ensure_job_definitions(wrong(JobRegistry())), "registry.definitions"),
    "a URL as connection": (
        lambda ledger: ledger.enqueue("a.b", connection=wrong("postgresql:///app")),
        "connection: is of type str; pass a psycopg Connection",
    ),
    "a pool as connection": (
        lambda ledger: ledger.enqueue("a.b", connection=wrong(ConnectionPool(open=False))),
        "connection: is of type psycopg_pool.pool.ConnectionPool; pass a connection of it",
    ),
    "number as lease": (
        lambda ledger: ledger.claim_prestart_jobs("w", lease_ttl=wrong(30), limit=1),
        "lease_ttl: is of type int; pass a datetime.timedelta",
    ),
    "number as lease, for no type": (
        lambda ledger: ledger.claim_prestart_jobs("w", lease_ttl=wrong(30), limit=1, job_types=[]),
        "lease_ttl: is of type int",
    ),
    "weeks of lease": (
        lambda ledger: ledger.claim_prestart_jobs("w", lease_ttl=timedelta(days=7, milliseconds=1), limit=1),
        "lease_ttl: is longer than 7 days",
    ),
    "text as limit": (
        lambda ledger: ledger.claim_prestart_jobs("w", lease_ttl=timedelta(seconds=30), limit=wrong("1")),
        "limit: is of type str; pass an int",
    ),
    "worker without a name": (
        lambda ledger: ledger.claim_prestart_jobs(wrong(None), lease_ttl=timedelta(seconds=30), limit=1),
        "worker_id: is of type NoneType; pass a str",
    ),
    "number as renewal": (
        lambda ledger: ledger.heartbeat_job(LEASE, lease_ttl=wrong(5)),
        "lease_ttl: is of type int; pass a datetime.timedelta",
    ),
    "number as delay of a failure": (
        lambda ledger: ledger.complete_job_failure(
            LEASE, kind=JobFailureKind.RETRYABLE, error_code="a", error_message="", retry_delay=wrong(5)
        ),
        "retry_delay: is of type int; pass a datetime.timedelta",
    ),
    "number as delay of a release": (
        lambda ledger: ledger.release_unstarted_job_claim(LEASE, reason="a", retry_delay=wrong(5)),
        "retry_delay: is of type int; pass a datetime.timedelta",
    ),
    "number as delay of the reaper": (
        lambda ledger: ledger.reap_expired_leases(limit=10, retry_delay=wrong(30)),
        "retry_delay: is of type int; pass a datetime.timedelta",
    ),
    "text as status": (
        lambda ledger: ledger.compare_and_requeue_job(
            JOB, expected_status=wrong("DEAD_LETTERED"), expected_run_number=1
        ),
        "expected_status: is of type str; pass a JobStatus",
    ),
    "async requests": (
        lambda ledger: ledger.enqueue_many(wrong(requests_in_time())),
        "requests: is of type async_generator; pass an iterable of EnqueueRequest; async generators are not read",
    ),
    "a number of requests": (lambda ledger: ledger.enqueue_many(wrong(5)), "requests: is of type int; pass an iter"),
    "a connection of Django": (
        lambda ledger: ledger.enqueue("a.b", connection=foreign("django.utils.connection", "ConnectionProxy")),
        (
            "connection: is of type django.utils.connection.ConnectionProxy; pass a psycopg Connection: inside "
            "atomic() it is `django.db.connection.connection`"
        ),
    ),
    "a connection of SQLAlchemy": (
        lambda ledger: ledger.enqueue("a.b", connection=foreign("sqlalchemy.engine.base", "Connection")),
        (
            "connection: is of type sqlalchemy.engine.base.Connection; pass a psycopg Connection: it is "
            "`conn.connection.driver_connection`"
        ),
    ),
    "an object as workflow": (
        lambda ledger: ledger.enqueue_workflow(wrong({"a": 1})),
        "workflow: is of type dict; pass a Workflow, or the WorkflowRunEnqueue that build() of a builder returns",
    ),
    "names": (lambda ledger: ledger.ensure_job_definitions(wrong(["a.b"])), "definitions: hold a str"),
}


def wrong(value: Any) -> Any:
    """Hide the type from the checker that would have found the mistake."""
    return value


@pytest.fixture
def ledger(runledger_database: EphemeralDatabase) -> Iterator[SyncLedger]:
    with SyncLedger.connect(runledger_database.url, max_connections=1) as opened:
        yield opened


@pytest.mark.parametrize(("call", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistaken_argument_is_told_by_its_name(
    ledger: SyncLedger, call: Callable[[SyncLedger], object], message: str
) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        call(ledger)

    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("ledger", "pool", "message"),
    [
        (Ledger, "postgresql:///app", "pool: is of type str; open the ledger with `await Ledger.connect(url)`"),
        (SyncLedger, "postgresql:///app", "pool: is of type str; open the ledger with `SyncLedger.connect(url)`"),
        (Ledger, ConnectionPool(open=False), "pool: is of type ConnectionPool; pass an open AsyncConnectionPool"),
        (SyncLedger, None, "pool: is of type NoneType; pass an open ConnectionPool"),
    ],
    ids=["URL", "URL for blocking", "pool of the other kind", "nothing"],
)
def test_what_is_no_pool_is_refused_when_the_ledger_is_made(ledger: Any, pool: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        ledger(pool)

    assert str(refused.value) == message


async def test_a_pool_as_connection_is_refused_by_the_asyncio_ledger(runledger_database: EphemeralDatabase) -> None:
    """It would commit on its own."""
    async with await Ledger.connect(runledger_database.url, max_connections=1) as ledger:
        with pytest.raises(InvalidArgumentError, match=r"is of type psycopg_pool\.pool_async\.AsyncConnectionPool"):
            await ledger.enqueue("a.b", connection=wrong(AsyncConnectionPool(open=False)))
