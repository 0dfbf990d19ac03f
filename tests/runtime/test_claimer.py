"""Claims that fail over one job, and claims that could not be given back."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from psycopg.sql import SQL, Literal

from runledger.postgres import Database, DatabaseConnectionError, jobs
from runledger.runtime.claimer import Claim, Claimer
from tests.runtime.app import App, quiet_config
from tests.runtime.gate import echo
from tests.runtime.log_watch import LogWatch
from tests.wire import wire_to

TYPE = "email.send"


@contextlib.asynccontextmanager
async def ready_claimer(app: App, url: str) -> AsyncGenerator[Claimer]:
    app.registry.job(TYPE)(echo)
    config = quiet_config()
    claimer = Claimer(Database(url), config)
    await claimer.prepare(jobs.insert_missing_job_definitions(app.registry.definitions()))
    try:
        yield claimer
    finally:
        await claimer.close()


def ids(claim: Claim) -> list[UUID]:
    return [job.job_id for job in claim.jobs]


async def test_a_claim_of_one_that_fails_leaves_out_the_job_that_failed_and_no_earlier_one(
    app: App, log: LogWatch
) -> None:
    """It began behind a job that was committed late, which is claimed when the claim is made again from the start."""
    now = datetime.now(UTC)
    async with ready_claimer(app, app.url) as claimer:
        first = await app.enqueue(TYPE, run_at=now - timedelta(minutes=3))
        bad = await app.enqueue(TYPE, run_at=now - timedelta(minutes=2))
        await app.observer.execute(
            SQL(
                "INSERT INTO runledger.job_attempts (job_id, run_number, attempt, worker_id, leased_at, started_at)"
                " VALUES ({}, 1, 1, 'somebody', now(), now())"
            ).format(Literal(bad))
        )
        assert ids(await claimer.claim(1, [TYPE])) == [first]
        late = await app.enqueue(TYPE, run_at=now - timedelta(minutes=4))

        assert ids(await claimer.claim(1, [TYPE])) == [late]
        assert log.named("worker.job_refused") == []
        assert ids(await claimer.claim(1, [TYPE])) == []

    assert [vars(record)["job_id"] for record in log.named("worker.job_refused")] == [str(bad)]


async def test_claims_that_could_not_be_given_back_are_looked_for_by_the_next_claim(app: App, log: LogWatch) -> None:
    """Otherwise they would wait until their leases end, and have used up an attempt."""
    async with wire_to(app.url) as wire, ready_claimer(app, wire.url) as claimer:
        (job_id,) = await app.enqueue_many(TYPE, 1)
        claim = await claimer.claim(1, [TYPE])
        wire.cut()

        await claimer.give_back(claim, reason="WORKER_SHUTDOWN")
        again = await claimer.claim(1, [TYPE])

        assert ids(again) == ids(claim) == [job_id]
        assert again.jobs[0].attempt == 1
    assert log.codes("worker.claims_not_returned") == ["db.connection_failed"]


async def test_a_lost_claim_gives_back_its_own_jobs_and_none_of_another_process_with_its_worker_id(app: App) -> None:
    """A process that was silent, and whose id was taken over, may still run handlers; so may the one that took it."""
    async with ready_claimer(app, app.url) as other, wire_to(app.url) as wire, ready_claimer(app, wire.url) as claimer:
        assert ids(await claimer.claim(1, [TYPE])) == []
        before, lost, after = await app.enqueue_many(TYPE, 3)
        assert ids(await other.claim(1, [TYPE])) == [before]
        wire.lose_next_answer()
        with pytest.raises(DatabaseConnectionError):
            await claimer.claim(1, [TYPE])
        assert ids(await other.claim(1, [TYPE])) == [after]

        assert ids(await claimer.claim(3, [TYPE], is_sweep=True)) == [lost]

    reasons = "SELECT count(*) FROM runledger.job_events WHERE payload ->> 'reason' = 'CLAIM_ANSWER_LOST'"
    assert await app.observer.value(reasons) == 1
