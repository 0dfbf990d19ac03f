"""Schedulers and operators that meet at the same schedules."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest

from runledger.core import JobDefinition, Overlap, ScheduleChanges
from runledger.postgres import Database, QueryError, jobs, schedules
from tests.postgres.job_queue import JOB_TYPE, JobQueue
from tests.postgres.schedules.steps import (
    ADMIN,
    AT_THREE,
    EVERY_MINUTE,
    HOUR,
    MINUTE,
    NAME,
    NOON,
    fire,
    get,
    request,
    upsert,
)
from tests.races.session import Session

SCHEDULES, SCHEDULERS, TICKS = 300, 6, 5


def test_many_schedulers_fire_each_due_time_once(queue: JobQueue) -> None:
    """SCH-013: with real connections, all at once, over several due times."""
    requests = [request(f"s{number:03}", cron_expr=EVERY_MINUTE) for number in range(SCHEDULES)]
    queue.run(schedules.sync_catalog_schedules("shop", requests, now=NOON))
    together = Barrier(SCHEDULERS)

    def schedule() -> int:
        count = 0
        with Database(queue.url).own_sync_connection() as connection:
            for tick in range(1, TICKS + 1):
                together.wait()
                now = NOON + tick * MINUTE
                while True:
                    # What others have locked at the moment may come back to us, so a pass that found nothing is no end.
                    result = connection.run(schedules.fire_due_schedules(limit=7, grace=MINUTE, now=now))
                    count += result.job_count
                    left = connection.run(schedules.read_next_fire(now=now))
                    if left is not None and left > timedelta():
                        break
        return count

    with ThreadPoolExecutor(SCHEDULERS) as threads:
        counts = [future.result() for future in [threads.submit(schedule) for _ in range(SCHEDULERS)]]

    fired = Counter(
        queue.sql("""
            SELECT payload -> '_schedule' ->> 'schedule_name', payload -> '_schedule' ->> 'scheduled_for'
              FROM job_queue""")
    )
    assert sum(counts) == SCHEDULES * TICKS
    assert len(fired) == SCHEDULES * TICKS
    assert set(fired.values()) == {1}


def test_a_schedule_that_another_scheduler_holds_is_skipped_and_not_fired_again(
    queue: JobQueue, first: Session
) -> None:
    """SCH-013."""
    upsert(queue)
    pass_ = schedules.fire_due_schedules(limit=10, grace=MINUTE, now=NOON + HOUR)

    held = first.run(pass_)
    skipped = queue.run(pass_)
    first.commit()
    afterwards = queue.run(pass_)

    assert (held.job_count, skipped.job_count, afterwards.job_count) == (1, 0, 0)


def test_a_scheduler_that_dies_before_its_commit_has_fired_nothing(queue: JobQueue, first: Session) -> None:
    upsert(queue)
    pass_ = schedules.fire_due_schedules(limit=10, grace=MINUTE, now=NOON + HOUR)

    first.run(pass_)
    first.rollback()

    assert queue.sql("SELECT count(*) FROM job_queue") == [(0,)]
    assert queue.run(pass_).job_count == 1


def test_an_operator_who_holds_a_schedule_does_not_stop_the_scheduler(queue: JobQueue, first: Session) -> None:
    upsert(queue, "held")
    upsert(queue, "free")
    first.run(schedules.pause_schedule("held", scope=ADMIN))

    result = fire(queue, NOON + HOUR)
    first.commit()

    assert [fired.name for fired in result.fired] == ["free"]
    assert fire(queue, NOON + HOUR).fired == ()


def test_a_pause_waits_for_the_pass_and_holds_afterwards(queue: JobQueue, first: Session, second: Session) -> None:
    upsert(queue)
    first.run(schedules.fire_due_schedules(limit=10, grace=MINUTE, now=NOON + HOUR))

    waiting = second.begin(schedules.pause_schedule(NAME, scope=ADMIN), queue)
    first.commit()

    paused = waiting.result()
    second.commit()
    assert paused is not None
    assert (paused.is_active, paused.last_fired_at) == (False, NOON + HOUR)


def test_two_that_make_the_same_schedule_make_one(queue: JobQueue, first: Session, second: Session) -> None:
    """The one that comes later finds a schedule with another id, of which the jitter is made."""
    jitter = timedelta(days=1)
    made = first.run(schedules.upsert_schedule(request(max_jitter=jitter), scope=ADMIN, now=NOON))

    changed = request(max_jitter=jitter, payload_template={"second": True})
    waiting = second.begin(schedules.upsert_schedule(changed, scope=ADMIN, now=NOON), queue)
    first.commit()

    schedule = waiting.result()
    second.commit()
    assert (schedule.schedule_id, schedule.next_fire_at) == (made.schedule_id, made.next_fire_at)
    assert schedule.payload_template == {"second": True}


def test_one_that_is_made_again_after_a_rollback_is_new(queue: JobQueue, first: Session, second: Session) -> None:
    first.run(schedules.upsert_schedule(request(), scope=ADMIN))

    waiting = second.begin(schedules.upsert_schedule(request(cron_expr=AT_THREE), scope=ADMIN), queue)
    first.rollback()

    assert waiting.result().cron_expr == AT_THREE
    second.commit()


def test_catalogs_with_common_schedules_in_opposite_order_do_not_deadlock(
    queue: JobQueue, first: Session, second: Session
) -> None:
    queue.run(jobs.upsert_job_definitions(JobDefinition(job_type=job_type) for job_type in ("a", "b")))
    requests = [request("one", job_type="b"), request("two", job_type="a")]
    first.run(schedules.sync_catalog_schedules("shop", requests[:1]))

    waiting = second.begin(schedules.sync_catalog_schedules("shop", requests[::-1]), queue)
    first.run(schedules.sync_catalog_schedules("shop", requests))
    first.commit()

    assert waiting.result().inserted == ()
    second.commit()


@pytest.mark.parametrize("is_set", [False, True], ids=["one", "set"])
def test_a_definition_cannot_be_disabled_behind_the_back_of_a_new_schedule(
    queue: JobQueue,
    first: Session,
    second: Session,
    is_set: bool,  # noqa: FBT001 - parametrized
) -> None:
    first.run(schedules.upsert_schedule(request(), scope=ADMIN))
    disabled = JobDefinition(job_type=JOB_TYPE, is_enabled=False)
    operation = (
        jobs.upsert_job_definitions([disabled]) if is_set else jobs.update_job_definition(JOB_TYPE, is_enabled=False)
    )

    waiting = second.begin(operation, queue)
    first.commit()

    with pytest.raises(QueryError, check=lambda error: error.code == "job_definition.active_schedule_exists"):
        waiting.result()


@pytest.mark.parametrize("is_activation", [False, True], ids=["upsert", "activate"])
def test_a_schedule_cannot_start_behind_the_back_of_who_disables_its_definition(
    queue: JobQueue,
    first: Session,
    second: Session,
    is_activation: bool,  # noqa: FBT001 - parametrized
) -> None:
    if is_activation:
        upsert(queue, is_active=False)
    first.run(jobs.update_job_definition(JOB_TYPE, is_enabled=False))
    operation = (
        schedules.activate_schedule(NAME, scope=ADMIN)
        if is_activation
        else schedules.upsert_schedule(request(), scope=ADMIN)
    )

    waiting = second.begin(operation, queue)
    first.commit()

    with pytest.raises(QueryError, check=lambda error: error.code == "job_schedule.definition_not_found_or_disabled"):
        waiting.result()


def test_a_schedule_that_becomes_one_of_another_type_meanwhile_is_judged_by_that(
    queue: JobQueue, first: Session, second: Session
) -> None:
    queue.define("disabled", is_enabled=False)
    upsert(queue, is_active=False)
    first.run(schedules.upsert_schedule(request(job_type="disabled"), scope=ADMIN))

    waiting = second.begin(schedules.activate_schedule(NAME, scope=ADMIN), queue)
    first.commit()

    with pytest.raises(QueryError, check=lambda error: error.code == "job_schedule.definition_not_found_or_disabled"):
        waiting.result()
    second.rollback()
    assert not get(queue).is_active


def test_plain_upserts_of_definitions_do_not_wait_for_a_scheduler(
    queue: JobQueue, first: Session, second: Session
) -> None:
    upsert(queue)
    first.run(schedules.fire_due_schedules(limit=10, grace=MINUTE, now=NOON + HOUR))

    done = second.start(jobs.upsert_job_definitions([JobDefinition(job_type=JOB_TYPE, max_attempts=9)]), queue)

    done.result(timeout=10)
    second.commit()
    first.commit()
    assert get(queue).next_fire_at == NOON + 2 * HOUR


def test_a_change_of_one_setting_keeps_what_somebody_else_changes_meanwhile(
    queue: JobQueue, first: Session, second: Session
) -> None:
    upsert(queue)
    first.run(schedules.upsert_schedule(request(cron_expr=AT_THREE, payload_template={"v": 2}), scope=ADMIN, now=NOON))

    changes = ScheduleChanges(max_jitter=MINUTE, timezone="Europe/Berlin")
    waiting = second.begin(schedules.update_schedule(NAME, changes, scope=ADMIN, now=NOON), queue)
    first.commit()
    changed = waiting.result()
    second.commit()

    assert changed is not None
    assert changed == get(queue)
    assert (changed.cron_expr, changed.payload_template, changed.max_jitter) == (AT_THREE, {"v": 2}, MINUTE)
    assert changed.next_fire_at.astimezone(ZoneInfo("Europe/Berlin")).hour == 3


def test_a_job_that_another_scheduler_has_just_made_overlaps(queue: JobQueue, first: Session, second: Session) -> None:
    """A claim whose snapshot is older than its lock: a policy, which is asked for each row, lets it wait in between."""
    upsert(queue, overlap=Overlap.SKIP)
    role = f"waiting_{uuid4().hex}"  # roles belong to the server, which other tests use at the same time
    queue.sql("""
        CREATE FUNCTION public.waited() RETURNS boolean LANGUAGE plpgsql AS $function$
        BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN true; END
        $function$""")
    queue.sql("CREATE POLICY wait ON job_schedules USING (public.waited())")
    queue.sql("ALTER TABLE job_schedules ENABLE ROW LEVEL SECURITY")
    queue.sql(f"CREATE ROLE {role}")
    queue.sql(f"GRANT USAGE ON SCHEMA runledger TO {role}")
    queue.sql(f"GRANT ALL ON ALL TABLES IN SCHEMA runledger TO {role}")
    try:
        first.sql("SELECT pg_advisory_xact_lock(1)")
        (made,) = first.run(schedules.fire_due_schedules(limit=1, grace=MINUTE, now=NOON + HOUR)).fired
        second.sql(f"SET LOCAL ROLE {role}")
        waiting = second.begin(schedules.fire_due_schedules(limit=1, grace=MINUTE, now=NOON + 2 * HOUR), queue)
        first.commit()

        (left_out,) = waiting.result().fired

        assert len(made.job_ids) == 1
        assert (left_out.job_ids, left_out.left_out) == ((), "overlap")
    finally:
        second.rollback()
        first.rollback()
        queue.sql(f"DROP OWNED BY {role}")
        queue.sql(f"DROP ROLE {role}")
