"""Limits of single types in one worker."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from runledger.core import ConfigError, JobContext
from runledger.runtime import JobsConfig
from tests.runtime.app import App
from tests.runtime.gate import Gate, loop_turned
from tests.runtime.log_watch import LogWatch


async def test_a_type_is_claimed_up_to_its_limit_and_the_others_fill_the_slots(app: App) -> None:
    scarce, plenty = Gate(), Gate()
    app.registry.job("report.render")(scarce.handle)
    app.registry.job("email.send")(plenty.handle)
    await app.enqueue_many("report.render", 10)
    await app.enqueue_many("email.send", 10)

    async with app.worker(max_global_concurrency=8, max_concurrency_by_type={"report.render": 2}) as worker:
        while await worker.run_once():
            pass
        await scarce.until_running(2)
        await plenty.until_running(6)

        assert await app.count("LEASED") == 8  # nothing is claimed and held


@pytest.mark.parametrize("slots", [1, 3, 8])
async def test_a_backlog_of_a_limited_type_is_worked_off_without_a_pause_and_within_its_limit(
    app: App, slots: int
) -> None:
    """The poll interval is an hour: a slot that gets free is used at once."""
    running = most = 0

    @app.registry.job("report.render")
    async def render(context: JobContext, payload: Any) -> Any:
        nonlocal running, most
        assert context
        running += 1
        most = max(most, running)
        await loop_turned()
        running -= 1
        return payload

    @app.registry.job("email.send")
    async def send(context: JobContext, payload: Any) -> Any:
        assert context
        return payload

    await app.enqueue_many("report.render", 40)
    await app.enqueue_many("email.send", 40)
    worker = app.new_worker(max_global_concurrency=slots, max_concurrency_by_type={"report.render": 2})
    await worker.start()
    try:
        await app.observer.until("(SELECT count(*) = 80 FROM runledger.job_queue WHERE status = 'SUCCEEDED')")
    finally:
        await worker.stop()

    assert most == min(slots, 2)


async def test_a_limit_of_a_type_that_is_not_served_is_logged(app: App, log: LogWatch) -> None:
    app.registry.job("email.send")(Gate().handle)
    async with app.worker(max_concurrency_by_type={"email.send": 2, "emial.send": 2}):
        pass

    assert [vars(record)["job_type"] for record in log.named("worker.limit_unused")] == ["emial.send"]


@pytest.mark.parametrize("limit", [0, -1, True, "2", 1.5, 2**31])
def test_a_limit_that_is_no_positive_number_is_refused(limit: Any) -> None:
    with pytest.raises(ConfigError, match=r"for email\.send"):
        JobsConfig(max_concurrency_by_type={"email.send": limit})


def test_limits_are_copied_and_a_config_can_be_hashed() -> None:
    limits = {"email.send": 2}
    config = JobsConfig(worker_id="one", max_concurrency_by_type=limits)
    limits["email.send"] = 3

    assert config.max_concurrency_by_type == {"email.send": 2}
    assert hash(config) == hash(JobsConfig(worker_id="one", max_concurrency_by_type={"email.send": 2}))
    assert config == JobsConfig(worker_id="one", max_concurrency_by_type={"email.send": 2})


async def test_outcomes_that_cannot_be_written_stop_the_claims_at_twice_the_slots(app: App, log: LogWatch) -> None:
    """Memory is bounded while the database takes no outcome: here its table of attempts is locked."""

    @app.registry.job("email.send")
    async def send(context: JobContext, payload: Any) -> Any:
        assert context
        return payload

    await app.enqueue_many("email.send", 40)
    async with app.worker(max_global_concurrency=4, lease_ttl=timedelta(minutes=5)) as worker:
        claimed = 0
        first = await worker.run_once()
        await app.observer.until("(SELECT count(*) = 4 FROM runledger.job_queue WHERE status = 'SUCCEEDED')")
        # A trigger keeps every outcome waiting for a lock; claims go on.
        await app.observer.execute(
            "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " PERFORM pg_advisory_xact_lock(1); RETURN NEW; END $$"
        )
        await app.observer.execute(
            "CREATE TRIGGER hold BEFORE UPDATE ON runledger.job_queue FOR EACH ROW"
            " WHEN (NEW.status = 'SUCCEEDED') EXECUTE FUNCTION hold()"
        )
        await app.observer.execute("SELECT pg_advisory_lock(1)")
        try:
            while count := await worker.run_once():
                claimed += count
                while worker.running_count:
                    await loop_turned()
            assert claimed == 8
        finally:
            await app.observer.execute("SELECT pg_advisory_unlock(1)")
        await worker.finish_running()

    assert first == 4
    assert log.named("worker.outcome_write_failed") == []
