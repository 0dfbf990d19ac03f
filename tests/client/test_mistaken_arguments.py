"""Arguments of a wrong kind are told by their names, before anything is sent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from runledger import EnqueueRequest, JobRegistry, Ledger, SyncLedger
from runledger.core import Admin, InvalidArgumentError, JobDefinition, JobFailureKind, LeaseIdentity, Organization
from runledger.core.catalog import CatalogDeclaration
from runledger.postgres.jobs import JobLogLine
from runledger.runtime import JobCatalog
from runledger.testing import EphemeralDatabase

JOB = UUID(int=1)
LEASE = LeaseIdentity(job_id=JOB, run_number=1, attempt=1, worker_id="w")


async def requests_in_time() -> AsyncIterator[EnqueueRequest]:
    yield EnqueueRequest("a.b", None)


def foreign(module: str, name: str) -> Any:
    """Return an object whose class says that it is another library's."""
    return type(name, (), {"__module__": module})()


def line() -> JobLogLine:
    return JobLogLine(job_id=JOB, message="sent")


MISTAKES: dict[str, tuple[Callable[[SyncLedger], object], str]] = {
    "text as id": (lambda ledger: ledger.get_job(wrong(str(JOB))), "job_id: is of type str; pass a uuid.UUID"),
    "number as id": (lambda ledger: ledger.list_job_events(wrong(5)), "job_id: is of type int"),
    "id to cancel": (lambda ledger: ledger.cancel_job(wrong("x"), scope=Admin()), "job_id: is of type str"),
    "text as scope": (lambda ledger: ledger.get_job(JOB, scope=wrong("x")), "scope: is of type str; pass Global"),
    "one request": (
        lambda ledger: ledger.enqueue_many(wrong(EnqueueRequest("a.b", None))),
        "requests: is a single EnqueueRequest; put it into a list",
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
    "number as window": (lambda ledger: ledger.get_job_metrics(window=wrong(5)), "window: is of type int"),
    "two thousand years of metrics": (
        lambda ledger: ledger.get_job_metrics(window=timedelta(days=800_000)),
        "window: is too long; pass at most 36,500 days",
    ),
    "two million years of metrics": (
        lambda ledger: ledger.get_job_metrics(window=timedelta(days=800_000_000)),
        "window: is too long",
    ),
    "number as interval": (
        lambda ledger: next(ledger.tail_events(poll_interval=wrong(5))),
        "poll_interval: is of type int; pass a datetime.timedelta",
    ),
    "text as catalog": (
        lambda ledger: ledger.sync_catalog(wrong("shop")),
        "catalog: is of type str; pass a JobCatalog, or what its declaration() returns",
    ),
    "class as catalog": (lambda ledger: ledger.sync_catalog(wrong(JobCatalog)), "catalog: is a class; pass a JobC"),
    "number as bound": (lambda ledger: sync(ledger, wrong(5)), "lock_timeout: is of type int; pass a datetime.timed"),
    "bound in the past": (lambda ledger: sync(ledger, timedelta(-1)), "lock_timeout: is too short; pass a millisecond"),
    "no bound": (lambda ledger: sync(ledger, timedelta()), "lock_timeout: is too short; pass a millisecond to 24 days"),
    "bound of a month": (lambda ledger: sync(ledger, timedelta(days=31)), "lock_timeout: is too long"),
    "no offset": (lambda ledger: ledger.list_runtime_configs(offset=wrong(None)), "offset: is of type NoneType"),
    "large offset": (lambda ledger: ledger.list_job_definitions(offset=2**63), "offset: is out of range; pass at most"),
    "large limit": (lambda ledger: ledger.list_schedules(limit=2**63), "limit: is out of range; pass at most 9223372"),
    "large id of a line": (
        lambda ledger: ledger.list_job_logs(JOB, after_id=10**30),
        "after_id: is out of range; pass",
    ),
    "texts as ids": (
        lambda ledger: ledger.get_job_summaries(wrong(["x"])),
        "job_ids[0]: is of type str; pass a list of uuid.UUID",
    ),
    "lists as ids": (
        lambda ledger: ledger.get_job_summaries(wrong([[JOB]])),
        "job_ids[0]: is of type list; pass a list of uuid.UUID",
    ),
    "number as ids": (lambda ledger: ledger.get_job_summaries(wrong(5)), "job_ids: is of type int; pass a list of u"),
    "text as id of a run": (lambda ledger: ledger.list_workflow_steps(wrong("x")), "run_id: is of type str; pass a uu"),
    "text as status of runs": (
        lambda ledger: ledger.list_workflow_runs(status=wrong("FAILED")),
        "status: is of type str; pass a WorkflowRunStatus",
    ),
    "names": (
        lambda ledger: ledger.ensure_job_definitions(wrong(["a.b"])),
        "definitions[0]: is of type str; pass JobDefinition objects, such as registry.definitions()",
    ),
    "number as window of an append": (
        lambda ledger: ledger.append_workflow_steps(JOB, [], window=wrong(5), mutation_key="more"),
        "window: is of type int",
    ),
    "one definition": (
        lambda ledger: ledger.upsert_job_definitions(wrong(JobDefinition(job_type="a.b"))),
        "definitions: is a single JobDefinition; put it into a list",
    ),
    "a registry as definitions": (
        lambda ledger: ledger.ensure_job_definitions(wrong(JobRegistry())),
        "definitions: is of type JobRegistry; pass JobDefinition objects, such as registry.definitions()",
    ),
    "one line": (
        lambda ledger: ledger.insert_job_logs(wrong(line())),
        "lines: is a single JobLogLine; put it into a list",
    ),
    "texts as lines": (
        lambda ledger: ledger.insert_job_logs(wrong([line(), "sent"])),
        "lines[1]: is of type str; pass JobLogLine objects",
    ),
    "one id": (lambda ledger: ledger.get_job_summaries(wrong(JOB)), "job_ids: is a single UUID; put it into a list"),
    "one member": (
        lambda ledger: ledger.update_job_payload_uuid_array_field(
            JOB, "a.b", field="ids", uuids=wrong(JOB), scope=Organization(JOB)
        ),
        "uuids: is a single UUID; put it into a list",
    ),
}

TEXTS: dict[str, tuple[Callable[[SyncLedger, Any, Any], object], str]] = {
    "jobs by type": (lambda ledger, text, own: ledger.list_jobs(job_type=text, connection=own), "job_type"),
    "jobs by a part of it": (
        lambda ledger, text, own: ledger.list_jobs(job_type_contains=text, connection=own),
        "job_type_contains",
    ),
    "count of jobs": (lambda ledger, text, own: ledger.count_jobs(job_type=text, connection=own), "job_type"),
    "dead letters": (
        lambda ledger, text, own: ledger.list_dead_letters(job_type_contains=text, connection=own),
        "job_type_contains",
    ),
    "metrics": (lambda ledger, text, own: ledger.get_job_metrics(job_type=text, connection=own), "job_type"),
    "definition": (lambda ledger, text, own: ledger.get_job_definition(text, connection=own), "job_type"),
    "definitions": (
        lambda ledger, text, own: ledger.list_job_definitions(job_type_contains=text, connection=own),
        "job_type_contains",
    ),
    "pause": (lambda ledger, text, own: ledger.pause_job_type(text, connection=own), "job_type"),
    "resume": (lambda ledger, text, own: ledger.resume_job_type(text, connection=own), "job_type"),
    "schedule": (lambda ledger, text, own: ledger.get_schedule(text, connection=own), "name"),
    "schedules by type": (lambda ledger, text, own: ledger.list_schedules(job_type=text, connection=own), "job_type"),
    "schedules by name": (
        lambda ledger, text, own: ledger.list_schedules(name_contains=text, connection=own),
        "name_contains",
    ),
    "page of schedules": (
        lambda ledger, text, own: ledger.list_schedules(after_name=text, connection=own),
        "after_name",
    ),
    "pause of a schedule": (lambda ledger, text, own: ledger.pause_schedule(text, connection=own), "name"),
    "its end": (lambda ledger, text, own: ledger.activate_schedule(text, connection=own), "name"),
    "next fire": (
        lambda ledger, text, own: ledger.set_schedule_next_fire(text, datetime.now(UTC), connection=own),
        "name",
    ),
    "end of a schedule": (lambda ledger, text, own: ledger.delete_schedule(text, connection=own), "name"),
    "config": (lambda ledger, text, own: ledger.get_runtime_config(text, connection=own), "job_type"),
    "configs": (lambda ledger, text, own: ledger.list_runtime_configs(job_type=text, connection=own), "job_type"),
    "end of a config": (lambda ledger, text, own: ledger.delete_runtime_config(text, connection=own), "job_type"),
    "runs": (
        lambda ledger, text, own: ledger.list_workflow_runs(workflow_type_contains=text, connection=own),
        "workflow_type_contains",
    ),
    "payload by key": (
        lambda ledger, text, own: ledger.get_job_payload_by_idempotency_key(
            "a.b", text, scope=Organization(JOB), connection=own
        ),
        "idempotency_key",
    ),
    "payload by run": (
        lambda ledger, text, own: ledger.get_latest_job_payload_for_run(
            text, JOB, scope=Organization(JOB), connection=own
        ),
        "job_type",
    ),
}
"""Calls with a text by which rows are found, and the name of its argument."""


def sync(ledger: SyncLedger, lock_timeout: timedelta) -> object:
    declaration = CatalogDeclaration(scope="shop", definitions=(JobDefinition(job_type="a.b"),))
    return ledger.sync_catalog(declaration, lock_timeout=lock_timeout)


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


@pytest.mark.parametrize(("call", "argument"), TEXTS.values(), ids=TEXTS)
def test_what_no_text_can_be_looks_for_nothing_and_leaves_the_transaction_whole(
    ledger: SyncLedger, call: Callable[[SyncLedger, Any, Any], object], argument: str
) -> None:
    mistakes = {
        "q\0": "contains a NUL character; PostgreSQL cannot store it, remove it",
        "q\ud800": "contains a lone surrogate; PostgreSQL cannot store it, remove it",
        5: "is of type int; pass a str",
        True: "is of type bool; pass a str",
        b"x": "is of type bytes; pass a str",
        ("a",): "is of type tuple; pass a str",
    }
    with ledger.transaction() as connection:
        for text, problem in mistakes.items():
            with pytest.raises(InvalidArgumentError) as refused:
                call(ledger, text, connection)
            assert str(refused.value) == f"{argument}: {problem}"
        assert ledger.count_jobs(connection=connection).count == 0


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
