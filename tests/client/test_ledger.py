"""Enqueueing and reading, in the application's transaction and outside of it. Each test runs for both ledgers."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from runledger.client import Ledger
from runledger.core import (
    Admin,
    EnqueueRequest,
    Global,
    InvalidArgumentError,
    JobDefinition,
    JobEventType,
    JobFailureKind,
    JobStatus,
    Organization,
    Scope,
)
from runledger.postgres import Database, DatabaseConnectionError, MissingMigrationHistoryError, QueryError, jobs
from runledger.testing import EphemeralDatabase
from tests.client.blocking import execute
from tests.client.conftest import TYPE
from tests.observer import Observer


class OrderRejectedError(Exception):
    """The application changes its mind."""


async def counts(observer: Observer) -> tuple[Any, ...]:
    """How many orders and jobs are committed."""
    return await observer.row("SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM runledger.job_queue)")


# Transactions ---------------------------------------------------------------------------------------------------


async def test_a_job_commits_together_with_the_rows_of_the_application(ledger: Ledger, observer: Observer) -> None:
    async with ledger.transaction() as connection:
        await execute(connection, "INSERT INTO orders VALUES (17)")
        job_id = await ledger.enqueue(TYPE, {"order_id": 17}, connection=connection)
        assert await counts(observer) == (0, 0)
        assert await ledger.get_job(job_id) is None  # nor is it seen by others

    assert await counts(observer) == (1, 1)
    job = await ledger.get_job(job_id)
    assert job is not None
    assert job.payload == {"order_id": 17}


async def test_an_error_rolls_both_back(ledger: Ledger, observer: Observer) -> None:
    async def order() -> None:
        async with ledger.transaction() as connection:
            await execute(connection, "INSERT INTO orders VALUES (17)")
            await ledger.enqueue(TYPE, connection=connection)
            raise OrderRejectedError

    with pytest.raises(OrderRejectedError):
        await order()

    assert await counts(observer) == (0, 0)


async def test_a_refused_job_rolls_the_application_back(ledger: Ledger, observer: Observer) -> None:
    async def order() -> None:
        async with ledger.transaction() as connection:
            await execute(connection, "INSERT INTO orders VALUES (17)")
            await ledger.enqueue("unknown", connection=connection)

    with pytest.raises(QueryError) as caught:
        await order()

    assert caught.value.code == "job.definition_not_found_or_disabled"
    assert await counts(observer) == (0, 0)


async def test_a_block_that_goes_on_over_a_failed_statement_does_not_end_as_if_it_were_committed(
    ledger: Ledger, observer: Observer
) -> None:
    """PostgreSQL makes of its COMMIT a ROLLBACK, and says nothing."""

    async def order() -> None:
        async with ledger.transaction() as connection:
            await ledger.enqueue(TYPE, connection=connection)
            with contextlib.suppress(psycopg.errors.UndefinedTable):
                await execute(connection, "INSERT INTO no_such_table VALUES (17)")

    with pytest.raises(psycopg.errors.InFailedSqlTransaction, match="nothing can be committed"):
        await order()

    assert await counts(observer) == (0, 0)


async def test_a_block_may_not_commit_by_itself(ledger: Ledger, observer: Observer) -> None:
    async def order() -> None:
        async with ledger.transaction() as connection:
            await execute(connection, "INSERT INTO orders VALUES (17)")
            await execute(connection, "COMMIT")

    with pytest.raises(InvalidArgumentError, match="leave COMMIT and ROLLBACK to the block"):
        await order()

    assert await counts(observer) == (1, 0)


async def test_reading_in_a_transaction_sees_what_it_wrote(ledger: Ledger) -> None:
    async with ledger.transaction() as connection:
        job_id = await ledger.enqueue(TYPE, connection=connection)

        job = await ledger.get_job(job_id, connection=connection)
        events = await ledger.list_job_events(job_id, connection=connection)

    assert job is not None
    assert [event.event_type for event in events] == [JobEventType.ENQUEUED]


async def test_a_savepoint_of_the_application_takes_its_job_along(ledger: Ledger, observer: Observer) -> None:
    async with ledger.transaction() as connection:
        await execute(connection, "SAVEPOINT before")
        await ledger.enqueue(TYPE, connection=connection)
        await execute(connection, "ROLLBACK TO SAVEPOINT before")
        await execute(connection, "INSERT INTO orders VALUES (17)")

    assert await counts(observer) == (1, 0)


# Enqueueing ------------------------------------------------------------------------------------------------------


async def test_a_job_takes_what_it_is_given(ledger: Ledger) -> None:
    organization_id = uuid4()
    run_at = datetime(2031, 5, 26, 12, 0, tzinfo=UTC)

    job_id = await ledger.enqueue(
        TYPE,
        [1, {"a": None}],
        organization_id=organization_id,
        priority=-7,
        max_attempts=3,
        timeout=timedelta(seconds=5),
        run_at=run_at,
        stage="draft",
    )

    job = await ledger.get_job(job_id, scope=Organization(organization_id))
    assert job is not None
    assert (job.status, job.job_type, job.payload) == (JobStatus.PENDING, TYPE, [1, {"a": None}])
    assert (job.priority, job.max_attempts, job.timeout_seconds, job.stage) == (-7, 3, 5, "draft")
    assert job.next_run_at == run_at


async def test_a_job_takes_the_rest_from_its_definition(ledger: Ledger) -> None:
    job = await ledger.get_job(await ledger.enqueue(TYPE))

    assert job is not None
    definition = JobDefinition(job_type=TYPE)
    assert (job.priority, job.max_attempts) == (definition.default_priority, definition.max_attempts)
    assert timedelta(seconds=job.timeout_seconds) == definition.default_timeout
    assert (job.payload, job.stage, job.next_run_at) == (None, "queued", job.created_at)


async def test_a_delay_counts_by_the_clock_of_the_database(ledger: Ledger) -> None:
    job = await ledger.get_job(await ledger.enqueue(TYPE, run_in=timedelta(hours=1)))

    assert job is not None
    assert job.next_run_at - job.created_at == timedelta(hours=1)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"job_type": TYPE, "run_at": datetime(2031, 5, 26)}, "run_at"),  # noqa: DTZ001 - naive on purpose
        ({"job_type": TYPE, "run_in": timedelta(seconds=-1)}, "run_in"),
        ({"job_type": TYPE, "payload": {"price": float("nan")}}, "payload.price"),
        ({"job_type": TYPE, "payload": ["a\0b"]}, "payload[0]"),
        ({"job_type": TYPE, "max_attempts": 0}, "max_attempts"),
        ({"job_type": TYPE, "timeout": timedelta(milliseconds=1)}, "timeout"),
        ({"job_type": TYPE, "stage": " "}, "stage"),
        ({"job_type": ""}, "job_type"),
    ],
    ids=["run_at", "run_in", "number", "text", "max_attempts", "timeout", "stage", "job_type"],
)
async def test_an_argument_that_breaks_a_rule_is_named(
    ledger: Ledger, observer: Observer, arguments: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        await ledger.enqueue(**arguments)

    assert caught.value.field == field
    assert await counts(observer) == (0, 0)


async def test_many_jobs_are_enqueued_in_order(ledger: Ledger, observer: Observer) -> None:
    """More than one statement takes, from a generator."""
    ids = await ledger.enqueue_many(EnqueueRequest(TYPE, number) for number in range(2_500))

    payloads = await observer.column("SELECT payload FROM runledger.job_queue ORDER BY id")
    assert payloads == list(range(2_500))
    assert ids == await observer.column("SELECT id FROM runledger.job_queue ORDER BY id")


async def test_many_jobs_are_enqueued_all_or_none(ledger: Ledger, observer: Observer) -> None:
    requests = [*(EnqueueRequest(TYPE, number) for number in range(1_500)), EnqueueRequest("unknown", 0)]

    with pytest.raises(QueryError) as caught:
        await ledger.enqueue_many(requests)

    assert caught.value.code == "job.definition_not_found_or_disabled"
    assert await counts(observer) == (0, 0)


async def test_no_jobs_are_no_work(ledger: Ledger) -> None:
    assert await ledger.enqueue_many([]) == []


async def test_definitions_that_exist_are_kept(ledger: Ledger) -> None:
    new = JobDefinition(job_type="sms.send")

    assert await ledger.ensure_job_definitions([new, JobDefinition(job_type=TYPE, max_attempts=1)]) == ["sms.send"]

    job = await ledger.get_job(await ledger.enqueue(TYPE))
    assert job is not None
    assert job.max_attempts == JobDefinition(job_type=TYPE).max_attempts


async def test_a_migrated_database_needs_no_migration(ledger: Ledger) -> None:
    assert await ledger.migrate() == []
    assert await ledger.check_schema() == []


async def test_the_check_of_the_schema_is_part_of_the_callers_transaction(ledger: Ledger) -> None:
    async def check_without_tables() -> None:
        async with ledger.transaction() as connection:
            await execute(connection, "DROP SCHEMA runledger CASCADE")
            await ledger.check_schema(connection=connection)

    with pytest.raises(MissingMigrationHistoryError):
        await check_without_tables()

    assert await ledger.check_schema() == []


async def test_a_ledger_that_was_closed_says_so(ledger: Ledger) -> None:
    await ledger.close()

    with pytest.raises(DatabaseConnectionError, match="pool of connections is closed") as enqueued:
        await ledger.enqueue(TYPE)
    with pytest.raises(DatabaseConnectionError, match="pool of connections is closed") as begun:
        async with ledger.transaction():
            pass

    assert [enqueued.value.code, begun.value.code] == ["db.pool_closed"] * 2
    assert begun.value.__context__ is None


async def test_a_check_that_fails_names_the_schema_and_the_database(runledger_database: EphemeralDatabase) -> None:
    async with await Ledger.connect(runledger_database.url, schema="elsewhere") as ledger:
        with pytest.raises(MissingMigrationHistoryError, match=r'^schema "elsewhere" at host .*, port .*, database '):
            await ledger.check_schema()


# Reading -----------------------------------------------------------------------------------------------------------


ORGANIZATION = UUID("018fa1f8-0000-7000-8000-0000000000aa")
OTHER = UUID("018fa1f8-0000-7000-8000-0000000000bb")


@pytest.mark.parametrize(
    ("owner", "scope", "is_seen"),
    [
        (None, Global(), True),
        (None, Organization(ORGANIZATION), False),
        (None, Admin(), True),
        (ORGANIZATION, Global(), False),
        (ORGANIZATION, Organization(ORGANIZATION), True),
        (ORGANIZATION, Organization(OTHER), False),
        (ORGANIZATION, Admin(), True),
    ],
    ids=["global", "global-of-one", "global-of-all", "one-of-global", "one", "one-of-other", "one-of-all"],
)
async def test_a_scope_shows_its_own_and_nothing_else(
    runledger_database: EphemeralDatabase,
    ledger: Ledger,
    owner: UUID | None,
    scope: Scope,
    is_seen: bool,  # noqa: FBT001 - parametrized
) -> None:
    job_id = await ledger.enqueue(TYPE, organization_id=owner, max_attempts=1)
    async with Database(runledger_database.url).own_connection() as connection:
        (claimed,) = await connection.run(jobs.claim_jobs("worker-1", lease_ttl=timedelta(minutes=1), limit=1))
        failure = jobs.AttemptFailure(
            lease=claimed.lease, kind=JobFailureKind.RETRYABLE, error_code="smtp.busy", error_message="try later"
        )
        await connection.run(jobs.fail_job(failure))

    assert (await ledger.get_job(job_id, scope=scope) is not None) is is_seen
    assert (await ledger.get_dead_letter(job_id, scope=scope) is not None) is is_seen
    assert len(await ledger.list_job_attempts(job_id, scope=scope)) == is_seen
    assert bool(await ledger.list_job_events(job_id, scope=scope)) is is_seen


async def test_the_default_scope_is_that_of_no_organization(ledger: Ledger) -> None:
    job_id = await ledger.enqueue(TYPE, organization_id=ORGANIZATION)

    assert await ledger.get_job(job_id) is None
    assert await ledger.list_job_events(job_id) == []


@pytest.mark.parametrize("scope", [None, ORGANIZATION, "any"])
async def test_what_is_no_scope_shows_nothing(ledger: Ledger, scope: Any) -> None:
    """A forgotten organization must not turn into access to all."""
    job_id = await ledger.enqueue(TYPE)

    with pytest.raises((InvalidArgumentError, TypeError)):
        await ledger.get_job(job_id, scope=scope)


async def test_events_are_paged(ledger: Ledger, runledger_database: EphemeralDatabase) -> None:
    job_id = await ledger.enqueue(TYPE)
    async with Database(runledger_database.url).own_connection() as connection:
        await connection.run(jobs.claim_jobs("worker-1", lease_ttl=timedelta(minutes=1), limit=1))

    (first,) = await ledger.list_job_events(job_id, limit=1)
    (second,) = await ledger.list_job_events(job_id, limit=1, after_id=first.id)

    assert [first.event_type, second.event_type] == [JobEventType.ENQUEUED, JobEventType.LEASED]
    assert await ledger.list_job_events(job_id, after_id=second.id) == []


async def test_a_job_that_does_not_exist_is_none(ledger: Ledger) -> None:
    job_id = uuid4()

    assert await ledger.get_job(job_id, scope=Admin()) is None
    assert await ledger.get_dead_letter(job_id, scope=Admin()) is None
    assert await ledger.list_job_events(job_id, scope=Admin()) == []
    assert await ledger.list_job_attempts(job_id, scope=Admin()) == []


# Keys --------------------------------------------------------------------------------------------------------------


async def test_a_repeated_call_with_a_key_gives_the_same_job(ledger: Ledger) -> None:
    """ENQ-010, ENQ-013."""
    organization_id = uuid4()
    job_id = await ledger.enqueue(TYPE, {"n": 1}, organization_id=organization_id, idempotency_key="order-17")

    again = await ledger.enqueue(TYPE, {"n": 1.0}, organization_id=organization_id, idempotency_key="order-17")
    (elsewhere,) = await ledger.enqueue_many([EnqueueRequest(TYPE, {"n": 1}, idempotency_key="order-17")])

    assert again == job_id != elsewhere
    for scope, expected in ((Organization(organization_id), job_id), (Global(), elsewhere)):
        job = await ledger.get_job_by_idempotency_key(TYPE, "order-17", scope=scope)
        assert job is not None
        assert job.id == expected
    assert await ledger.get_job_by_idempotency_key(TYPE, "order-18") is None


async def test_a_conflict_leaves_the_callers_transaction_usable(ledger: Ledger, observer: Observer) -> None:
    """ENQ-017."""
    await ledger.enqueue(TYPE, {"n": 1}, idempotency_key="order-17")

    async with ledger.transaction() as connection:
        await execute(connection, "INSERT INTO orders VALUES (17)")
        with pytest.raises(QueryError, check=lambda error: error.code == "job.idempotency_conflict"):
            await ledger.enqueue(TYPE, {"n": 2}, idempotency_key="order-17", connection=connection)

    assert await counts(observer) == (1, 1)
