"""Pause, activate, set the next fire, delete; and the definitions that active schedules need."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from runledger.core import CatchUp, InvalidArgumentError, InvalidCronError, JobDefinition, Overlap
from runledger.postgres import Operation, QueryError, jobs, run_sync, schedules
from tests.postgres.job_queue import JOB_TYPE, JobQueue
from tests.postgres.schedules.steps import (
    ADMIN,
    DAY,
    EVERY_MINUTE,
    HOUR,
    MINUTE,
    NAME,
    NOON,
    fire,
    get,
    scheduled_for,
    upsert,
)


def test_a_paused_schedule_is_returned_and_stays_when_its_job_still_runs(queue: JobQueue) -> None:
    """SCH-012, SCH-018."""
    upsert(queue)
    fire(queue, NOON + HOUR)

    paused = queue.run(schedules.pause_schedule(NAME, scope=ADMIN))

    assert paused is not None
    assert (paused.is_active, paused.next_fire_at) == (False, NOON + 2 * HOUR)
    assert paused == get(queue)
    assert fire(queue, NOON + DAY).fired == ()
    assert len(queue.claim()) == 1


@pytest.mark.parametrize(
    "operation",
    [
        schedules.pause_schedule("nowhere", scope=ADMIN),
        schedules.activate_schedule("nowhere", scope=ADMIN),
        schedules.set_schedule_next_fire("nowhere", NOON, scope=ADMIN),
        schedules.get_schedule("nowhere", scope=ADMIN),
    ],
    ids=lambda operation: operation.name,
)
def test_a_schedule_that_does_not_exist_is_none(queue: JobQueue, operation: Operation[object]) -> None:
    """SCH-018."""
    assert queue.run(operation) is None


def test_what_passed_during_the_pause_does_not_fire(queue: JobQueue) -> None:
    upsert(queue)
    queue.run(schedules.pause_schedule(NAME, scope=ADMIN))

    activated = queue.run(schedules.activate_schedule(NAME, scope=ADMIN, now=NOON + DAY + MINUTE))

    assert activated is not None
    assert (activated.is_active, activated.next_fire_at) == (True, NOON + DAY + HOUR)
    assert fire(queue, NOON + DAY + MINUTE).fired == ()
    assert scheduled_for(queue, fire(queue, NOON + DAY + HOUR)) == ["2026-05-27T13:00:00Z"]


def test_a_due_time_that_lies_ahead_is_kept_by_pause_and_activation(queue: JobQueue) -> None:
    upsert(queue)
    queue.run(schedules.set_schedule_next_fire(NAME, NOON + 90 * MINUTE, scope=ADMIN))
    queue.run(schedules.pause_schedule(NAME, scope=ADMIN))

    activated = queue.run(schedules.activate_schedule(NAME, scope=ADMIN, now=NOON + MINUTE))

    assert activated is not None
    assert activated.next_fire_at == NOON + 90 * MINUTE


def test_to_activate_what_is_active_changes_nothing(queue: JobQueue) -> None:
    """Least of all the due time that waits."""
    first = upsert(queue)

    assert queue.run(schedules.activate_schedule(NAME, scope=ADMIN, now=NOON + DAY)) == first


def test_activation_needs_an_enabled_definition(queue: JobQueue) -> None:
    upsert(queue, is_active=False)
    queue.define(is_enabled=False)

    with pytest.raises(QueryError) as caught:
        queue.run(schedules.activate_schedule(NAME, scope=ADMIN))

    assert caught.value.code == "job_schedule.definition_not_found_or_disabled"
    assert not get(queue).is_active


def test_a_schedule_whose_times_are_over_cannot_be_activated(queue: JobQueue) -> None:
    upsert(queue, cron_expr="0 0 13 26 5 ? 2026")
    fire(queue, NOON + HOUR)

    with pytest.raises(InvalidCronError):
        queue.run(schedules.activate_schedule(NAME, scope=ADMIN, now=NOON + 2 * HOUR))


def test_the_next_fire_may_be_set_to_any_instant(queue: JobQueue) -> None:
    upsert(queue)
    at = datetime(2026, 5, 26, 12, 34, 56, tzinfo=UTC)

    changed = queue.run(schedules.set_schedule_next_fire(NAME, at, scope=ADMIN))
    result = fire(queue, at)

    assert changed is not None
    assert changed.next_fire_at == at
    assert scheduled_for(queue, result) == ["2026-05-26T12:34:56Z"]
    assert get(queue).next_fire_at == NOON + HOUR


def test_an_instant_in_the_past_is_due_at_once(queue: JobQueue) -> None:
    upsert(queue)
    queue.run(schedules.set_schedule_next_fire(NAME, NOON - MINUTE, scope=ADMIN))

    assert fire(queue, NOON).job_count == 1


@pytest.mark.parametrize("catch_up", CatchUp)
def test_an_instant_in_the_past_fires_once_whatever_the_catch_up(queue: JobQueue, catch_up: CatchUp) -> None:
    upsert(queue, catch_up=catch_up)
    at = NOON - 5 * HOUR + MINUTE
    queue.run(schedules.set_schedule_next_fire(NAME, at, scope=ADMIN, now=NOON + MINUTE))

    result = fire(queue, NOON + 2 * MINUTE)

    assert scheduled_for(queue, result) == ["2026-05-26T07:01:00Z"]
    assert result.fired[0].left_out is None
    assert get(queue).next_fire_at == NOON + HOUR
    fire(queue, NOON + HOUR)
    assert fire(queue, NOON + 4 * HOUR).job_count == {CatchUp.LATEST: 1, CatchUp.SKIP: 1, CatchUp.ALL: 3}[catch_up]


def test_an_instant_that_was_set_makes_no_second_job_that_runs_beside_it(queue: JobQueue) -> None:
    upsert(queue, overlap=Overlap.SKIP)
    queue.run(schedules.set_schedule_next_fire(NAME, NOON + MINUTE, scope=ADMIN, now=NOON))

    result = fire(queue, NOON + 2 * HOUR)

    assert scheduled_for(queue, result) == ["2026-05-26T12:01:00Z"]
    assert result.fired[0].left_out == "overlap"


def test_an_instant_that_could_not_fire_is_still_the_one_that_was_set(queue: JobQueue) -> None:
    upsert(queue, catch_up=CatchUp.ALL)
    queue.run(schedules.set_schedule_next_fire(NAME, NOON - 5 * HOUR, scope=ADMIN, now=NOON))
    queue.sql("UPDATE job_definitions SET is_enabled = false")
    assert fire(queue, NOON + MINUTE).job_count == 0
    queue.sql("UPDATE job_definitions SET is_enabled = true")

    assert scheduled_for(queue, fire(queue, NOON + 2 * MINUTE)) == ["2026-05-26T07:00:00Z"]


def test_a_new_expression_forgets_the_instant_that_was_set(queue: JobQueue) -> None:
    upsert(queue, catch_up=CatchUp.ALL)
    queue.run(schedules.set_schedule_next_fire(NAME, NOON + DAY, scope=ADMIN, now=NOON + HOUR))
    upsert(queue, cron_expr="30 * * * *", catch_up=CatchUp.ALL, now=NOON)

    assert fire(queue, NOON + HOUR).job_count == 1
    assert fire(queue, NOON + 3 * HOUR).job_count == 2


def test_an_instant_without_time_zone_is_refused(queue: JobQueue) -> None:
    with pytest.raises(InvalidArgumentError):
        queue.run(schedules.set_schedule_next_fire(NAME, datetime(2026, 1, 1), scope=ADMIN))  # noqa: DTZ001


def test_a_deleted_schedule_leaves_its_jobs(queue: JobQueue) -> None:
    upsert(queue)
    (fired,) = fire(queue, NOON + HOUR).fired

    assert queue.run(schedules.delete_schedule(NAME, scope=ADMIN)) is True
    assert queue.run(schedules.delete_schedule(NAME, scope=ADMIN)) is False
    assert queue.job(fired.job_ids[0])


class TestDefinitionsInUse:
    def test_a_definition_that_an_active_schedule_needs_cannot_be_disabled(self, queue: JobQueue) -> None:
        upsert(queue)

        with pytest.raises(QueryError) as caught:
            queue.run(jobs.update_job_definition(JOB_TYPE, is_enabled=False))

        assert caught.value.code == "job_definition.active_schedule_exists"
        assert repr(JOB_TYPE) in str(caught.value)
        assert queue.run(jobs.get_job_definition(JOB_TYPE)) == JobDefinition(
            job_type=JOB_TYPE, max_attempts=3, default_timeout=timedelta(seconds=30)
        )

    def test_of_a_set_none_is_changed_then(self, queue: JobQueue) -> None:
        upsert(queue)
        definitions = [
            JobDefinition(job_type="another"),
            JobDefinition(job_type=JOB_TYPE, is_enabled=False),
            JobDefinition(job_type="free", is_enabled=False),
        ]

        with pytest.raises(QueryError) as caught:
            queue.run(jobs.upsert_job_definitions(definitions))

        assert caught.value.code == "job_definition.active_schedule_exists"
        assert "free" not in str(caught.value)
        assert [definition.job_type for definition in queue.run(jobs.list_job_definitions())] == [JOB_TYPE]

    def test_nothing_is_kept_of_it_in_a_transaction_that_goes_on(self, queue: JobQueue) -> None:
        upsert(queue)

        with psycopg.connect(queue.url) as connection:
            with pytest.raises(QueryError):
                run_sync(connection, jobs.update_job_definition(JOB_TYPE, is_enabled=False))
            connection.commit()

        definition = queue.run(jobs.get_job_definition(JOB_TYPE))
        assert definition is not None
        assert definition.is_enabled

    def test_without_an_active_schedule_it_can(self, queue: JobQueue) -> None:
        upsert(queue)
        queue.run(schedules.pause_schedule(NAME, scope=ADMIN))

        definition = queue.run(jobs.update_job_definition(JOB_TYPE, is_enabled=False))

        assert definition is not None
        assert not definition.is_enabled

    def test_other_changes_of_it_are_free(self, queue: JobQueue) -> None:
        upsert(queue, cron_expr=EVERY_MINUTE)

        queue.run(jobs.upsert_job_definitions([JobDefinition(job_type=JOB_TYPE, max_attempts=9)]))
        changed = queue.run(jobs.update_job_definition(JOB_TYPE, default_priority=1))

        assert changed is not None
        assert (changed.max_attempts, changed.default_priority) == (9, 1)
