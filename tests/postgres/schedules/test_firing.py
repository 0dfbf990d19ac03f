"""From due schedules to jobs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from runledger.core import CatchUp, JobStatus, Overlap
from runledger.postgres import schedules
from runledger.postgres.notices import WakeUp, decode_notice
from tests.postgres.job_queue import JOB_TYPE, JobQueue
from tests.postgres.schedules.steps import (
    ADMIN,
    DAY,
    EVERY_MINUTE,
    HOUR,
    MINUTE,
    NAME,
    NOON,
    finish,
    fire,
    get,
    jobs_of,
    note,
    request,
    scheduled_for,
    upsert,
)

ORGANIZATION = UUID("0198c0de-0000-7000-8000-0000000000aa")


def test_a_due_schedule_makes_one_job_and_moves_on(queue: JobQueue) -> None:
    """SCH-001, SCH-020."""
    upsert(queue)
    now = NOON + HOUR + timedelta(seconds=3)

    result = fire(queue, now)

    (job,) = jobs_of(queue, result)
    assert (job.job_type, job.status, job.next_run_at, job.created_at) == (JOB_TYPE, JobStatus.PENDING, now, now)
    schedule = get(queue)
    assert (schedule.next_fire_at, schedule.last_fired_at) == (NOON + 2 * HOUR, now)
    assert schedule.last_job_id == job.id
    assert fire(queue, now).fired == ()


def test_a_schedule_that_is_not_due_yet_does_nothing(queue: JobQueue) -> None:
    upsert(queue)

    assert fire(queue, NOON + HOUR - timedelta(microseconds=1)).fired == ()
    assert len(fire(queue, NOON + HOUR).fired) == 1


def test_the_job_has_what_the_definition_and_the_schedule_say(queue: JobQueue) -> None:
    """SCH-005."""
    upsert(queue, organization_id=ORGANIZATION)

    (job,) = jobs_of(queue, fire(queue, NOON + HOUR))

    assert (job.stage, job.organization_id, job.idempotency_key) == ("scheduled", ORGANIZATION, None)
    assert (job.priority, job.max_attempts, job.timeout_seconds) == (100, 3, 30)
    assert queue.event_types(job.id) == ["ENQUEUED"]
    (event,) = queue.events(job.id)
    assert (event.stage, event.payload, event.attempt) == ("scheduled", {"job_type": JOB_TYPE}, None)


def test_the_payload_tells_schedule_and_due_time(queue: JobQueue) -> None:
    """SCH-003."""
    schedule = upsert(queue, payload_template={"report": "sales"})

    (job,) = jobs_of(queue, fire(queue, NOON + HOUR + timedelta(seconds=9)))

    assert job.payload == {
        "report": "sales",
        "_schedule": {
            "schedule_id": str(schedule.schedule_id),
            "schedule_name": NAME,
            "scheduled_for": "2026-05-26T13:00:00Z",
        },
    }


@pytest.mark.parametrize(
    ("template", "rest"),
    [
        ([1, 2], {"payload": [1, 2]}),
        ("text", {"payload": "text"}),
        (None, {"payload": None}),
        ({"_schedule": "mine", "kept": 1}, {"kept": 1}),
        ({}, {}),
    ],
    ids=["list", "text", "null", "overwritten", "empty"],
)
def test_any_template_becomes_an_object_with_the_schedule_in_it(
    queue: JobQueue, template: Any, rest: dict[str, Any]
) -> None:
    """SCH-004, SCH-019."""
    upsert(queue, payload_template=template)

    (job,) = jobs_of(queue, fire(queue, NOON + HOUR))

    assert isinstance(job.payload, dict)
    assert note(job)["schedule_name"] == NAME
    assert {name: value for name, value in job.payload.items() if name != "_schedule"} == rest


@pytest.mark.parametrize(
    ("microsecond", "text"), [(0, "00Z"), (120_000, "00.120Z"), (1, "00.000001Z")], ids=["0", "3", "6"]
)
def test_the_due_time_has_as_many_digits_as_it_needs(queue: JobQueue, microsecond: int, text: str) -> None:
    """SCH-003."""
    upsert(queue)
    due_at = (NOON + HOUR).replace(microsecond=microsecond)
    queue.run(schedules.set_schedule_next_fire(NAME, due_at, scope=ADMIN))

    assert scheduled_for(queue, fire(queue, NOON + HOUR + MINUTE)) == [f"2026-05-26T13:00:{text}"]


def test_the_jitter_of_the_contract(queue: JobQueue) -> None:
    """SCH-010, SCH-011: a fire at noon moves the cursor to the next minute and three seconds."""
    upsert(queue, cron_expr="0 * * * * *", max_jitter=timedelta(seconds=30))
    queue.sql(
        "UPDATE job_schedules SET id = '018fa1f8-0000-7000-8000-000000000123', next_fire_at = %s",
        datetime(2026, 5, 26, 12, 0, tzinfo=UTC),
    )

    fire(queue, NOON)

    assert get(queue).next_fire_at == datetime(2026, 5, 26, 12, 1, 3, tzinfo=UTC)


def test_a_paused_schedule_never_fires(queue: JobQueue) -> None:
    """SCH-012."""
    upsert(queue, is_active=False)

    assert fire(queue, NOON + DAY).fired == ()
    assert queue.run(schedules.read_next_fire(now=NOON)) is None


def test_workers_are_told_of_the_types_of_the_jobs(queue: JobQueue) -> None:
    queue.define("report.build")
    upsert(queue, "one")
    upsert(queue, "two")
    upsert(queue, "three", job_type="report.build")

    (notice,) = fire(queue, NOON + HOUR).notices

    assert decode_notice(notice) == WakeUp(job_types=frozenset({JOB_TYPE, "report.build"}), due_at=NOON + HOUR)
    assert fire(queue, NOON + HOUR).notices == ()


class TestAfterDowntime:
    def test_only_the_latest_due_time_fires(self, queue: JobQueue) -> None:
        """SCH-002."""
        upsert(queue, cron_expr=EVERY_MINUTE)

        result = fire(queue, NOON + 90 * MINUTE + timedelta(seconds=30))

        assert scheduled_for(queue, result) == ["2026-05-26T13:30:00Z"]
        assert result.fired[0].left_out == "catch_up"
        assert get(queue).next_fire_at == NOON + 91 * MINUTE

    def test_all_fire_up_to_the_bound_in_the_order_of_their_times(self, queue: JobQueue) -> None:
        upsert(queue, "all", cron_expr=EVERY_MINUTE, catch_up=CatchUp.ALL)
        upsert(queue, "some", cron_expr=EVERY_MINUTE, catch_up=CatchUp.ALL, catch_up_limit=2)

        result = fire(queue, NOON + 4 * MINUTE)

        fired = {schedule.name: schedule for schedule in result.fired}
        due_times = {
            name: [note(queue.job(job_id))["scheduled_for"][11:16] for job_id in schedule.job_ids]
            for name, schedule in fired.items()
        }
        assert due_times == {"all": ["12:01", "12:02", "12:03", "12:04"], "some": ["12:03", "12:04"]}
        assert (fired["all"].left_out, fired["some"].left_out) == (None, "catch_up")
        assert get(queue, "all").last_job_id == fired["all"].job_ids[-1]
        claimed = queue.claim(now=NOON + 5 * MINUTE)
        in_claim_order = [job.job_id for job in claimed if job.job_id in fired["all"].job_ids]
        assert in_claim_order == list(fired["all"].job_ids)

    def test_skip_leaves_out_what_is_late_and_fires_what_is_on_time(self, queue: JobQueue) -> None:
        upsert(queue, catch_up=CatchUp.SKIP)

        late = fire(queue, NOON + HOUR + 2 * MINUTE)
        on_time = fire(queue, NOON + 2 * HOUR + MINUTE)

        assert [(schedule.job_ids, schedule.left_out) for schedule in late.fired] == [((), "catch_up")]
        assert scheduled_for(queue, on_time) == ["2026-05-26T14:00:00Z"]
        assert get(queue).last_fired_at == NOON + 2 * HOUR + MINUTE

    def test_more_jobs_than_a_statement_takes_are_made_in_several(self, queue: JobQueue) -> None:
        for number in range(3):
            upsert(queue, f"s{number}", cron_expr=EVERY_MINUTE, catch_up=CatchUp.ALL, catch_up_limit=600)

        result = fire(queue, NOON + DAY)

        assert (result.job_count, result.is_full) == (1_200, True)
        assert queue.sql("SELECT count(*) FROM job_queue") == [(1_200,)]

    def test_what_a_transaction_does_not_begin_any_more_is_left_to_the_next(self, queue: JobQueue) -> None:
        for number in range(3):
            upsert(queue, f"s{number}", cron_expr=EVERY_MINUTE, catch_up=CatchUp.ALL, catch_up_limit=500)

        first, second = fire(queue, NOON + DAY), fire(queue, NOON + DAY)

        assert [(one.job_count, one.is_full) for one in (first, second)] == [(1_000, True), (500, False)]
        assert {one.name for one in (*first.fired, *second.fired)} == {"s0", "s1", "s2"}


class TestOverlap:
    def test_by_default_jobs_of_a_schedule_may_run_side_by_side(self, queue: JobQueue) -> None:
        upsert(queue)

        assert fire(queue, NOON + HOUR).job_count == 1
        assert fire(queue, NOON + 2 * HOUR).job_count == 1

    @pytest.mark.parametrize("is_claimed", [False, True], ids=["pending", "leased"])
    def test_skip_leaves_a_due_time_out_while_the_last_job_has_not_ended(
        self,
        queue: JobQueue,
        is_claimed: bool,  # noqa: FBT001 - parametrized
    ) -> None:
        upsert(queue, overlap=Overlap.SKIP)
        (first,) = fire(queue, NOON + HOUR).fired
        if is_claimed:
            queue.claim()

        (skipped,) = fire(queue, NOON + 2 * HOUR).fired
        schedule = get(queue)
        finish(queue, first.job_ids[0], now=NOON + 3 * HOUR)
        (second,) = fire(queue, NOON + 3 * HOUR).fired

        assert (skipped.job_ids, skipped.left_out) == ((), "overlap")
        assert (schedule.next_fire_at, schedule.last_fired_at) == (NOON + 3 * HOUR, NOON + HOUR)
        assert schedule.last_job_id == first.job_ids[0]
        assert len(second.job_ids) == 1

    def test_a_last_job_that_was_deleted_has_ended(self, queue: JobQueue) -> None:
        upsert(queue, overlap=Overlap.SKIP)
        fire(queue, NOON + HOUR)
        queue.sql("DELETE FROM job_queue")

        assert fire(queue, NOON + 2 * HOUR).job_count == 1

    def test_what_is_made_up_for_does_not_overlap_either(self, queue: JobQueue) -> None:
        upsert(queue, overlap=Overlap.SKIP, catch_up=CatchUp.ALL)

        assert scheduled_for(queue, fire(queue, NOON + 5 * HOUR)) == ["2026-05-26T17:00:00Z"]


class TestWhatCannotFire:
    def test_a_disabled_definition_defers_by_30_seconds(self, queue: JobQueue) -> None:
        """SCH-006. Only by hand can a definition that an active schedule needs be disabled."""
        upsert(queue)
        queue.sql("UPDATE job_definitions SET is_enabled = false")

        result = fire(queue, NOON + HOUR)

        (deferred,) = result.deferred
        assert (deferred.name, deferred.code) == (NAME, "job_schedule.definition_not_found_or_disabled")
        schedule = get(queue)
        assert schedule.next_fire_at == NOON + HOUR + timedelta(seconds=30)
        assert (schedule.deferred_due_at, schedule.last_fired_at) == (NOON + HOUR, None)
        assert queue.sql("SELECT count(*) FROM job_queue") == [(0,)]

    def test_the_due_time_that_waited_fires_when_it_can(self, queue: JobQueue) -> None:
        upsert(queue)
        queue.sql("UPDATE job_definitions SET is_enabled = false")
        first = fire(queue, NOON + HOUR)
        second = fire(queue, NOON + HOUR + MINUTE)
        queue.sql("UPDATE job_definitions SET is_enabled = true")

        third = fire(queue, NOON + HOUR + 2 * MINUTE)

        assert [result.deferred[0].was_deferred for result in (first, second)] == [False, True]
        assert scheduled_for(queue, third) == ["2026-05-26T13:00:00Z"]
        assert third.fired[0].was_deferred
        assert (get(queue).deferred_due_at, get(queue).next_fire_at) == (None, NOON + 2 * HOUR)

    @pytest.mark.parametrize(
        ("column", "value", "code"),
        [
            ("cron_expr", "every day", "job_schedule.invalid_cron"),
            ("timezone", "Europe/Atlantis", "job_schedule.invalid_timezone"),
        ],
    )
    def test_an_unreadable_schedule_holds_up_no_other(
        self, queue: JobQueue, column: str, value: str, code: str
    ) -> None:
        """SCH-007, SCH-008."""
        for name in ("a", "bad", "c"):
            upsert(queue, name)
        queue.sql(f"UPDATE job_schedules SET {column} = %s WHERE name = 'bad'", value)

        result = fire(queue, NOON + HOUR)

        assert sorted(schedule.name for schedule in result.fired) == ["a", "c"]
        assert [(schedule.name, schedule.code) for schedule in result.deferred] == [("bad", code)]
        assert get(queue, "bad").next_fire_at == NOON + HOUR + timedelta(seconds=30)

    def test_what_the_database_refuses_holds_up_no_other(self, queue: JobQueue) -> None:
        """SCH-007, SCH-008: each of the others fires in the same transaction."""
        for number in range(20):
            upsert(queue, f"s{number}", payload_template={"number": number})
        queue.refuse("job_queue", "NEW.payload -> 'number' IN ('7', '8')")

        result = fire(queue, NOON + HOUR)

        assert len(result.fired) == 18
        assert sorted(schedule.name for schedule in result.deferred) == ["s7", "s8"]
        assert {schedule.code for schedule in result.deferred} == {"db.query_failed"}
        assert queue.sql("SELECT count(*) FROM job_queue") == [(18,)]

    def test_those_that_always_fail_do_not_starve_the_others(self, queue: JobQueue) -> None:
        """SCH-009."""
        for number in range(5):
            upsert(queue, f"bad{number}")
        queue.sql("UPDATE job_schedules SET cron_expr = 'bad', next_fire_at = next_fire_at - interval '1 hour'")
        upsert(queue, "good")

        first = fire(queue, NOON + HOUR, limit=5)
        second = fire(queue, NOON + HOUR, limit=5)

        assert (len(first.deferred), first.fired, first.is_full) == (5, (), True)
        assert [schedule.name for schedule in second.fired] == ["good"]

    def test_what_cannot_even_be_put_off_is_reported_and_undoes_nothing(self, queue: JobQueue) -> None:
        for name in ("a", "bad", "c", "unreadable"):
            upsert(queue, name)
        queue.sql("UPDATE job_schedules SET cron_expr = 'bad' WHERE name = 'unreadable'")
        queue.refuse("job_schedules", "NEW.name = 'bad'", action="UPDATE")

        result = fire(queue, NOON + HOUR)

        assert sorted(schedule.name for schedule in result.fired) == ["a", "c"]
        assert [schedule.name for schedule in result.deferred] == ["unreadable"]
        assert result.stuck_schedule_ids == (get(queue, "bad").schedule_id,)


class TestTheEnd:
    def test_the_last_time_of_an_expression_fires_and_the_schedule_stops(self, queue: JobQueue) -> None:
        upsert(queue, cron_expr="0 0 13 26 5 ? 2026")

        (fired,) = fire(queue, NOON + HOUR).fired

        assert (len(fired.job_ids), fired.ends) == (1, True)
        assert not get(queue).is_active


@pytest.mark.parametrize(
    ("cron_expr", "day", "fires"),
    [
        ("30 2 * * *", datetime(2026, 3, 29, tzinfo=UTC), ["2026-03-29T01:00:00Z"]),
        ("30 2 * * *", datetime(2026, 10, 25, tzinfo=UTC), ["2026-10-25T00:30:00Z"]),
        ("0 30 2 * * *", datetime(2026, 3, 29, tzinfo=UTC), []),
        ("0 30 2 * * *", datetime(2026, 10, 25, tzinfo=UTC), ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"]),
    ],
    ids=["spring", "autumn", "spring-seconds", "autumn-seconds"],
)
def test_half_past_two_in_berlin_on_the_days_of_the_change(
    queue: JobQueue, cron_expr: str, day: datetime, fires: list[str]
) -> None:
    """On 29 March there is no 02:30, on 25 October there are two; the table is in docs/reference/cron-expressions."""
    upsert(queue, cron_expr=cron_expr, timezone="Europe/Berlin", now=day - HOUR)
    found: list[str] = []

    for quarter in range(24 * 4):
        found += scheduled_for(queue, fire(queue, day + quarter * timedelta(minutes=15)))

    assert found == fires


def test_the_next_due_time_is_told_by_the_database_clock(queue: JobQueue) -> None:
    upsert(queue, "later", cron_expr="0 15 * * *")
    upsert(queue, "sooner", cron_expr="0 14 * * *")

    assert queue.run(schedules.read_next_fire(now=NOON)) == 2 * HOUR
    assert queue.run(schedules.read_next_fire(now=NOON + 3 * HOUR)) == -HOUR


def test_without_a_given_instant_the_clock_of_the_database_counts(queue: JobQueue) -> None:
    queue.run(schedules.upsert_schedule(request(cron_expr="0 0 1 1 *"), scope=ADMIN))
    before = queue.clock()
    queue.run(schedules.set_schedule_next_fire(NAME, before - MINUTE, scope=ADMIN))

    (fired,) = queue.run(schedules.fire_due_schedules(limit=1, grace=MINUTE)).fired

    assert before <= queue.job(fired.job_ids[0]).next_run_at <= queue.clock()
