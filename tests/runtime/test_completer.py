"""Writing outcomes: none is lost, none is written twice, and none is kept from the ledger by another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from psycopg.sql import SQL, Composed, Literal

from runledger.core import (
    JobContext,
    JobDeadLetterInfo,
    JobDeadLetterReason,
    JobEventType,
    JobFailure,
    JobFailureKind,
    JobHandler,
    JobStatus,
)
from runledger.postgres import Database, DatabaseConnectionError
from runledger.runtime import outcome_writer
from tests.runtime.app import App
from tests.runtime.gate import Gate
from tests.runtime.log_watch import LogWatch
from tests.wire import Loss, wire_to

TYPE = "email.send"

# A trigger with which PostgreSQL gets in the way of outcomes.
_TRIGGER = """
CREATE SEQUENCE interferences;
CREATE FUNCTION interfere() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    {body};
    RETURN NEW;
END $$;
CREATE TRIGGER interfere BEFORE UPDATE ON runledger.job_queue
    FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION interfere()
"""

SUCCESS = SQL("NEW.status = 'SUCCEEDED'")
POISON = SQL("NEW.status = 'SUCCEEDED' AND NEW.payload = '123'")
OF_THE_WORKER = SQL("OLD.status = 'LEASED' AND current_setting('application_name') = 'runledger'")
END_OF_ATTEMPT = SQL("OLD.status = 'LEASED' AND NEW.status <> 'LEASED'")

# While the observer holds the advisory lock, whoever runs this waits for it.
WAIT = SQL("PERFORM pg_advisory_xact_lock_shared(1)")


async def interfere(app: App, condition: SQL, body: SQL | Composed) -> None:
    await app.observer.execute(SQL(_TRIGGER).format(condition=condition, body=body))


def refuse(sqlstate: str) -> Composed:
    return SQL("RAISE EXCEPTION 'refused' USING ERRCODE = {}").format(Literal(sqlstate))


def refuse_first(count: int, sqlstate: str) -> Composed:
    """Refuse so many times. What a sequence counts is not rolled back."""
    return SQL("IF nextval('interferences') <= {} THEN {}; END IF").format(Literal(count), refuse(sqlstate))


def echo_handlers(app: App) -> None:
    async def echo(context: JobContext, payload: Any) -> Any:
        assert context
        return payload

    app.registry.job(TYPE)(echo)


class Together:
    """A handler whose executions end at the same moment, so that their outcomes are written together."""

    def __init__(self, count: int) -> None:
        self._waiting = count
        self._are_all_here = asyncio.Event()

    async def handle(self, context: JobContext, payload: Any) -> Any:
        assert context
        self._waiting -= 1
        if self._waiting == 0:
            self._are_all_here.set()
        await self._are_all_here.wait()
        return payload


async def run_together(app: App, count: int) -> list[UUID]:
    """Run so many jobs, with the numbers from 0 as payloads, that end together."""
    app.registry.job(TYPE)(Together(count).handle)
    ids = await app.enqueue_many(TYPE, count)
    async with app.worker(max_global_concurrency=count, claim_batch_size=count) as worker:
        assert await worker.run_once() == count
        await worker.finish_running()
    return ids


async def count_events(app: App, event_type: str) -> int:
    return await app.observer.value("SELECT count(*) FROM runledger.job_events WHERE event_type = %s", event_type)


async def test_outcomes_of_all_kinds_are_written_together(app: App) -> None:
    together = Together(90)

    async def handle(context: JobContext, payload: Any) -> Any:
        await together.handle(context, payload)
        match payload % 3:
            case 0:
                return payload
            case 1:
                raise JobFailure.retryable("smtp.busy", "try later")
            case _:
                raise JobFailure.terminal("smtp.rejected", "no such mailbox")

    app.registry.job(TYPE)(handle)
    await app.enqueue_many(TYPE, 90)
    async with app.worker(max_global_concurrency=90, claim_batch_size=90) as worker:
        await worker.run_once()
        await worker.finish_running()

    assert [await app.count(status) for status in ("SUCCEEDED", "PENDING", "DEAD_LETTERED")] == [30, 30, 30]
    assert await app.observer.value("SELECT count(*) FROM runledger.job_attempts WHERE finished_at IS NULL") == 0


@pytest.mark.parametrize("sqlstate", ["22023", "23514", "P0001"])
async def test_one_poisoned_outcome_among_500_fails_alone(app: App, log: LogWatch, sqlstate: str) -> None:
    await interfere(app, POISON, refuse(sqlstate))

    ids = await run_together(app, 500)

    poisoned = await app.job(ids[123])
    assert poisoned.status is JobStatus.DEAD_LETTERED
    assert poisoned.last_error_code == ("db.business_rule_violation" if sqlstate == "23514" else "db.query_failed")
    (attempt,) = await app.attempts(ids[123])
    assert attempt.outcome is JobFailureKind.TERMINAL
    assert await app.count("SUCCEEDED") == 499
    assert await count_events(app, "SUCCEEDED") == 499
    assert len(log.named("worker.outcome_refused")) == 1


async def test_an_outcome_that_meets_an_internal_error_costs_no_neighbour_and_is_tried_again(
    app: App, log: LogWatch
) -> None:
    """A row may provoke it, such as one on a damaged page, but it accuses none: no job becomes a dead letter for it."""
    # Refused in halves of 500, 250, ... 1, and twice alone.
    await interfere(app, POISON, refuse_first(11, "XX000"))

    ids = await run_together(app, 500)

    assert await app.count("SUCCEEDED") == 500
    assert len(await app.attempts(ids[123])) == 1
    assert log.named("worker.outcome_refused") == []


async def test_an_outcome_of_which_no_statement_can_be_made_fails_alone(
    app: App, log: LogWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A defect of ours in one outcome must not keep 499 others from the ledger."""
    original: Callable[[Any], Any] = vars(outcome_writer)["_success"]

    def defect(item: Any) -> Any:
        if item.execution.job.payload == 123:
            raise TypeError("no such thing")
        return original(item)

    monkeypatch.setattr(outcome_writer, "_success", defect)

    ids = await run_together(app, 500)

    poisoned = await app.job(ids[123])
    assert (poisoned.status, poisoned.last_error_code) == (JobStatus.DEAD_LETTERED, "job.outcome_unwritable")
    assert await app.count("SUCCEEDED") == 499
    (record,) = log.named("worker.outcome_refused")
    assert record.exc_info is not None


async def test_a_poisoned_outcome_whose_failure_meets_a_deadlock_still_fails(app: App) -> None:
    await interfere(app, POISON, refuse("22023"))
    await app.observer.execute(
        SQL(
            "CREATE FUNCTION interfere_once() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {}; RETURN NEW; END $$;"
            "CREATE TRIGGER interfere_once BEFORE UPDATE ON runledger.job_queue FOR EACH ROW"
            " WHEN (NEW.status = 'DEAD_LETTERED') EXECUTE FUNCTION interfere_once()"
        ).format(refuse_first(1, "40P01"))
    )

    ids = await run_together(app, 130)

    assert (await app.job(ids[123])).status is JobStatus.DEAD_LETTERED
    assert await app.count("SUCCEEDED") == 129


@pytest.mark.parametrize("sqlstate", ["40001", "40P01", "53100", "57014", "42501"])
async def test_an_error_of_the_moment_is_tried_again(app: App, log: LogWatch, sqlstate: str) -> None:
    await interfere(app, SUCCESS, refuse_first(2, sqlstate))

    ids = await run_together(app, 20)

    assert await app.count("SUCCEEDED") == 20
    assert await count_events(app, "SUCCEEDED") == 20
    assert [len(await app.attempts(job_id)) for job_id in ids] == [1] * 20
    assert log.named("worker.outcome_refused") == []
    assert len(log.named("worker.outcome_write_failed")) == 1
    assert len(log.named("worker.outcome_write_recovered")) == 1


async def test_a_failure_is_tried_again_too(app: App) -> None:
    await interfere(app, END_OF_ATTEMPT, refuse_first(2, "40001"))

    @app.registry.job(TYPE)
    async def send(context: JobContext, payload: object) -> None:
        assert context
        assert payload is None
        raise JobFailure.retryable("smtp.busy", "try later")

    job = await app.run(TYPE)

    assert (job.status, job.last_error_code) == (JobStatus.PENDING, "smtp.busy")
    assert await count_events(app, "FAILED") == 1


async def test_a_session_that_ends_during_the_write_loses_nothing(app: App) -> None:
    await interfere(app, SUCCESS, WAIT)
    echo_handlers(app)
    await app.enqueue_many(TYPE, 5)
    await app.observer.execute("SELECT pg_advisory_lock(1)")

    async with app.worker() as worker:
        assert await worker.run_once() == 5
        await app.observer.until_blocked()
        await app.observer.end_blocked_sessions()
        await app.observer.execute("SELECT pg_advisory_unlock(1)")
        await asyncio.wait_for(worker.finish_running(), 10)

    assert await app.count("SUCCEEDED") == 5
    assert await count_events(app, "SUCCEEDED") == 5


async def test_an_outcome_whose_answer_was_lost_is_not_written_twice(app: App, log: LogWatch) -> None:
    echo_handlers(app)
    async with wire_to(app.url) as wire, app.worker(database=Database(wire.url), max_global_concurrency=1) as worker:
        for loses_answer in (False, False, True):  # twice, so that each of the two writers has prepared its statement
            (job_id,) = await app.enqueue_many(TYPE, 1)
            await worker.run_once()
            if loses_answer:
                wire.lose_next_answer()
            await asyncio.wait_for(worker.finish_running(), 10)

    assert wire.has_lost_answer.is_set()
    assert await app.count("SUCCEEDED") == 3
    assert await app.events(job_id) == [JobEventType.ENQUEUED, JobEventType.LEASED, JobEventType.SUCCEEDED]
    assert len(await app.attempts(job_id)) == 1
    assert len(log.named("worker.outcome_write_failed")) == 1
    assert log.named("worker.outcome_not_written") == []


class Rejecting(JobHandler):
    """Fails as it is told to, and notes which of its jobs were given up."""

    job_type = TYPE

    def __init__(self, *, together: Together | None = None) -> None:
        self._together = together
        self.given_up: list[tuple[str, JobDeadLetterReason]] = []

    async def execute(self, context: JobContext, payload: Any) -> None:
        if self._together is not None:
            await self._together.handle(context, payload)
        raise JobFailure(JobFailureKind(payload), "smtp.rejected", "no such mailbox")

    async def on_dead_letter(self, context: JobContext, payload: Any, info: JobDeadLetterInfo) -> None:
        assert context
        self.given_up.append((payload, info.reason))


@pytest.mark.parametrize("kind", [JobFailureKind.RETRYABLE, JobFailureKind.TERMINAL])
async def test_a_failure_whose_answer_was_lost_is_known_to_be_written(
    app: App, log: LogWatch, kind: JobFailureKind
) -> None:
    """The first write was ours: the dead-letter hook is called, and nothing is logged as lost."""
    handler = Rejecting()
    app.registry.register(handler)
    async with wire_to(app.url) as wire, app.worker(database=Database(wire.url), max_global_concurrency=1) as worker:
        for loses_answer in (False, False, True):
            job_id = await app.enqueue(TYPE, kind.value)
            await worker.run_once()
            if loses_answer:
                wire.lose_next_answer()
            await asyncio.wait_for(worker.finish_running(), 10)

    assert wire.has_lost_answer.is_set()
    is_dead_letter = kind is JobFailureKind.TERMINAL
    assert (await app.events(job_id))[2:] == [
        JobEventType.FAILED,
        JobEventType.DEAD_LETTERED if is_dead_letter else JobEventType.RETRY_SCHEDULED,
    ]
    reason = JobDeadLetterReason.FAILURE_KIND_NON_RETRYABLE
    assert handler.given_up == ([(kind.value, reason)] * 3 if is_dead_letter else [])
    assert len(log.named("worker.outcome_write_failed")) == 1
    assert log.named("worker.outcome_not_written") == []


async def test_a_batch_whose_answer_was_lost_is_known_to_be_written(app: App, log: LogWatch) -> None:
    handler = Rejecting(together=Together(30))
    app.registry.register(handler)
    for _ in range(30):
        await app.enqueue(TYPE, "TERMINAL")
    await interfere(app, SQL("NEW.status = 'DEAD_LETTERED'"), WAIT)
    async with wire_to(app.url) as wire, app.worker(database=Database(wire.url), claim_batch_size=30) as worker:
        await app.observer.execute("SELECT pg_advisory_lock(1)")
        await worker.run_once()
        await app.observer.until_blocked()
        wire.lose_next_answer()
        await app.observer.execute("SELECT pg_advisory_unlock(1)")
        await asyncio.wait_for(worker.finish_running(), 10)

    assert wire.has_lost_answer.is_set()
    assert await count_events(app, "DEAD_LETTERED") == 30
    assert len(handler.given_up) == 30
    assert log.named("worker.outcome_not_written") == []


async def test_an_outcome_whose_answer_and_lease_are_gone_is_known_to_be_written(app: App, log: LogWatch) -> None:
    """By the clock of the worker the lease is over when it asks: the ledger is asked all the same."""
    echo_handlers(app)
    lease_ttl = timedelta(seconds=1)
    async with (
        wire_to(app.url) as wire,
        app.worker(database=Database(wire.url), max_global_concurrency=1, lease_ttl=lease_ttl) as worker,
    ):
        for loses_answer in (False, False, True):
            await app.enqueue(TYPE)
            await worker.run_once()
            if loses_answer:
                wire.lose_next_answer()
                await wire.has_lost_answer.wait()
                wire.freeze()
                await app.observer.until(
                    "(SELECT max(occurred_at) + interval '1.1 s' < clock_timestamp() FROM runledger.job_events)"
                )
                wire.thaw()
            await asyncio.wait_for(worker.finish_running(), 10)

    assert await app.count("SUCCEEDED") == 3
    assert log.named("worker.outcome_not_written") == []


async def test_an_outcome_about_which_nobody_can_be_asked_is_given_up_as_unconfirmed(
    app: App, log: LogWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runledger.runtime.clock._SHORTEST_ANSWER_TIMEOUT", timedelta(milliseconds=500))
    gate = Gate()
    app.registry.job(TYPE)(gate.handle)
    await app.enqueue(TYPE)
    lease_ttl = timedelta(milliseconds=500)
    async with wire_to(app.url) as wire, app.worker(database=Database(wire.url), lease_ttl=lease_ttl) as worker:
        await worker.run_once()
        await gate.until_running(1)
        wire.freeze()
        gate.open()
        await asyncio.wait_for(worker.finish_running(), 10)
        wire.cut()

    assert await app.count("LEASED") == 1
    assert log.codes("worker.outcome_not_written") == ["db.transaction_commit_unconfirmed"]


async def test_a_network_that_is_cut_loses_nothing(app: App) -> None:
    gate = Gate()
    app.registry.job(TYPE)(gate.handle)
    await app.enqueue_many(TYPE, 20)
    async with wire_to(app.url) as wire, app.worker(database=Database(wire.url)) as worker:
        await worker.run_once()
        await gate.until_running(16)
        wire.cut()
        with pytest.raises(DatabaseConnectionError):
            await worker.run_once()
        gate.open()
        assert await worker.run_once() == 4
        await asyncio.wait_for(worker.finish_running(), 10)

    assert await app.count("SUCCEEDED") == 20
    assert await count_events(app, "SUCCEEDED") == 20


async def test_a_locked_row_holds_up_only_its_own_outcome(app: App, log: LogWatch) -> None:
    """An application's open transaction, such as a cancel that is not committed yet."""
    gate = Gate()
    app.registry.job(TYPE)(gate.handle)
    ids = await app.enqueue_many(TYPE, 10)
    async with app.worker() as worker:
        assert await worker.run_once() == 10
        await gate.until_running(10)
        async with app.observer.locked_job(ids[3]):
            gate.open()
            await app.observer.until("(SELECT count(*) = 9 FROM runledger.job_queue WHERE status = 'SUCCEEDED')")
            await app.observer.until_blocked()
            await app.enqueue_many(TYPE, 5)
            assert await worker.run_once() == 5
            await app.observer.until("(SELECT count(*) = 14 FROM runledger.job_queue WHERE status = 'SUCCEEDED')")
            assert (await app.job(ids[3])).status is JobStatus.LEASED
        await asyncio.wait_for(worker.finish_running(), 10)

    assert (await app.job(ids[3])).status is JobStatus.SUCCEEDED
    assert log.named("worker.outcome_not_written") == []


async def test_rows_that_were_locked_for_a_moment_are_written_together(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the claim of another worker locks them, which came a moment too late."""
    monkeypatch.setattr("runledger.runtime.outcome_places._BUSY_PAUSES_SECONDS", (0.5,))
    gate = Gate()
    app.registry.job(TYPE)(gate.handle)
    await app.enqueue_many(TYPE, 10)
    async with app.worker() as worker:
        assert await worker.run_once() == 10
        await gate.until_running(10)
        async with app.observer.locked_jobs():
            gate.open()
            await app.observer.until(
                "EXISTS (SELECT FROM pg_stat_activity WHERE state = 'idle' AND query LIKE '%lease_expires_at >%'"
                " AND query NOT LIKE '%UPDATE%' AND application_name = 'runledger')"
            )
        await asyncio.wait_for(worker.finish_running(), 10)

    assert await app.observer.row(
        "SELECT count(*), count(DISTINCT finished_at) FROM runledger.job_queue WHERE status = 'SUCCEEDED'"
    ) == (10, 1)


async def test_a_failure_of_a_locked_row_is_written_when_the_lock_goes(app: App) -> None:
    gate = Gate()

    @app.registry.job(TYPE, max_attempts=1)
    async def fail(context: JobContext, payload: object) -> None:
        await gate.handle(context, payload)
        raise JobFailure.retryable("smtp.busy", "try later")

    (job_id,) = await app.enqueue_many(TYPE, 1)
    async with app.worker() as worker:
        await worker.run_once()
        await gate.until_running(1)
        async with app.observer.locked_job(job_id):
            gate.open()
            await app.observer.until_blocked()
        await asyncio.wait_for(worker.finish_running(), 10)

    assert (await app.job(job_id)).status is JobStatus.DEAD_LETTERED


async def test_a_row_that_stays_locked_does_not_hold_up_another_that_was(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runledger.runtime.outcome_writer.LOCK_TIMEOUT", timedelta(milliseconds=20))
    gate = Gate()
    app.registry.job(TYPE)(gate.handle)
    first, second = await app.enqueue_many(TYPE, 2)
    async with app.worker() as worker:
        assert await worker.run_once() == 2
        await gate.until_running(2)
        async with app.observer.locked_job(first):
            async with app.observer.locked_job(second):
                gate.open()
                await app.observer.until_blocked()
            await app.observer.until("(SELECT count(*) = 1 FROM runledger.job_queue WHERE status = 'SUCCEEDED')")
            assert (await app.job(second)).status is JobStatus.SUCCEEDED
        await asyncio.wait_for(worker.finish_running(), 10)

    assert (await app.job(first)).status is JobStatus.SUCCEEDED


async def test_an_outcome_of_a_lost_lease_is_not_written(app: App, log: LogWatch) -> None:
    """WRK-019. The job belongs to somebody else now."""
    gate = Gate()
    app.registry.job(TYPE)(gate.handle)
    job_id = await app.enqueue(TYPE, "mine")
    async with app.worker() as worker:
        await worker.run_once()
        await gate.until_running(1)
        await app.observer.execute("UPDATE runledger.job_queue SET worker_id = 'somebody else'")
        gate.open()
        await worker.finish_running()

    job = await app.job(job_id)
    assert (job.status, job.worker_id, job.output) == (JobStatus.LEASED, "somebody else", None)
    assert log.codes("worker.outcome_not_written") == ["job.lease_owner_mismatch"]


async def test_an_outcome_is_given_up_with_its_lease(app: App, log: LogWatch) -> None:
    """PostgreSQL takes neither outcome nor renewal for as long as the lease lasts; then the slot is free again."""
    await interfere(app, OF_THE_WORKER, refuse("53100"))
    echo_handlers(app)
    job_id = await app.enqueue(TYPE)
    async with app.worker(lease_ttl=timedelta(seconds=1)) as worker:
        await worker.run_once()
        await asyncio.wait_for(worker.finish_running(), 20)

    assert (await app.job(job_id)).status is JobStatus.LEASED
    assert log.codes("worker.outcome_not_written") == ["job.lease_owner_mismatch"]


async def test_a_job_whose_outcome_was_given_up_is_not_given_back_with_forgotten_claims(app: App) -> None:
    """Its handler was called, so its attempt is used up: only the end of the lease returns the job."""
    await interfere(app, OF_THE_WORKER, refuse("53100"))
    echo_handlers(app)
    job_id = await app.enqueue(TYPE)
    async with wire_to(app.url) as wire:
        lease_ttl = timedelta(seconds=1)
        async with app.worker(database=Database(wire.url), lease_ttl=lease_ttl) as worker:
            await worker.run_once()
            # As if a renewal had been committed whose answer was lost.
            await app.observer.execute("UPDATE runledger.job_queue SET lease_expires_at = now() + interval '1 h'")
            await asyncio.wait_for(worker.finish_running(), 20)
            await app.observer.execute("DROP TRIGGER interfere ON runledger.job_queue")
            wire.break_at(b"claim_id", Loss.ANSWER)  # leases are renewed on the same wire
            with pytest.raises(DatabaseConnectionError):
                await worker.run_once()
            assert await worker.run_once() == 0

    job = await app.job(job_id)
    assert (job.status, job.attempt) == (JobStatus.LEASED, 1)
    assert len(await app.attempts(job_id)) == 1


async def test_unwritten_outcomes_are_bounded(app: App) -> None:
    """While PostgreSQL does not take them, no more is claimed than twice the slots."""
    await interfere(app, SUCCESS, WAIT)
    echo_handlers(app)
    await app.enqueue_many(TYPE, 20)
    await app.observer.execute("SELECT pg_advisory_lock(1)")

    async with app.worker(max_global_concurrency=3) as worker:
        claimed: list[int] = []
        for _ in range(4):
            claimed.append(await worker.run_once())
            await app.observer.until_blocked()
        assert claimed == [3, 3, 0, 0]
        assert await app.count("LEASED") == 6

        await app.observer.execute("SELECT pg_advisory_unlock(1)")
        await asyncio.wait_for(worker.finish_running(), 10)
        assert await worker.run_once() == 3

    assert await app.observer.value("SELECT count(*) FROM runledger.job_attempts") == 9
