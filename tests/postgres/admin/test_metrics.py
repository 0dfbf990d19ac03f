"""Metrics of job types."""

from __future__ import annotations

import statistics
from datetime import timedelta
from typing import Any

import pytest

from runledger.core import Admin, Global, InvalidArgumentError, JobFailureKind, JobStatus, Organization
from runledger.core.jobs.summaries import JobMetrics
from runledger.postgres import admin, jobs
from runledger.postgres.admin import metrics
from tests.postgres.admin.test_job_lists import settle
from tests.postgres.job_queue import JOB_TYPE, WORKER, JobQueue
from tests.postgres.jobs.test_reads import OTHER_TENANT, TENANT

HOUR = timedelta(hours=1)


def read(queue: JobQueue, **arguments: Any) -> dict[str, JobMetrics]:
    asked: dict[str, Any] = {"scope": Admin()} | arguments
    report = queue.run(admin.get_job_metrics(**asked))
    return {of_type.job_type: of_type for of_type in report.metrics}


def fail(queue: JobQueue, kind: JobFailureKind, **settings: Any) -> None:
    queue.enqueue(**settings)
    lease = queue.claim_one().lease
    failure = jobs.AttemptFailure(
        lease=lease, kind=kind, error_code="c", error_message="m", retry_delay=timedelta(hours=1)
    )
    queue.run(jobs.fail_jobs(WORKER, [failure]))


def test_every_definition_has_a_row_with_zeros_when_it_is_idle(queue: JobQueue) -> None:
    """ADM-022, ADM-033."""
    queue.define("email")
    queue.define("idle")

    found = read(queue)

    assert list(found) == ["email", JOB_TYPE, "idle"]
    idle = found["idle"]
    assert (idle.pending.count, idle.pending.is_exact, idle.leased_count, idle.stale_lease_count) == (0, True, 0, 0)
    assert (idle.succeeded_count, idle.dead_lettered_count, idle.p50_duration_ms) == (0, 0, None)
    assert list(read(queue, job_type="email")) == ["email"]
    assert read(queue, job_type="unknown") == {}


def test_what_waits_and_runs_is_counted(queue: JobQueue) -> None:
    """ADM-023."""
    settle(queue, JobStatus.LEASED)
    stale = settle(queue, JobStatus.LEASED)
    queue.sql("UPDATE job_queue SET lease_expires_at = now() - interval '1 s' WHERE id = %s", stale)
    settle(queue, JobStatus.PENDING)

    of_type = read(queue)[JOB_TYPE]

    assert (of_type.pending.count, of_type.leased_count, of_type.stale_lease_count) == (1, 2, 1)


def test_more_jobs_than_are_counted_are_said_to_be_more(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_MAX_PENDING_COUNTED", 2)
    queue.enqueue()
    queue.enqueue()
    assert read(queue)[JOB_TYPE].pending.is_exact
    queue.enqueue()

    pending = read(queue)[JOB_TYPE].pending
    assert (pending.count, pending.is_exact) == (2, False)


def test_attempts_are_counted_by_how_they_ended(queue: JobQueue) -> None:
    """ADM-024: lease expiries are not counted by outcome."""
    for kind in JobFailureKind:
        fail(queue, kind)
    settle(queue, JobStatus.SUCCEEDED)
    settle(queue, JobStatus.SUCCEEDED)

    of_type = read(queue)[JOB_TYPE]

    assert (of_type.succeeded_count, of_type.retryable_count, of_type.terminal_count) == (2, 1, 1)
    assert (of_type.panicked_count, of_type.timeout_count, of_type.dead_lettered_count) == (1, 1, 2)


@pytest.mark.parametrize("is_requeued", [False, True])
def test_a_canceled_attempt_is_no_success_and_a_requeued_success_is_one(queue: JobQueue, *, is_requeued: bool) -> None:
    canceled = settle(queue, JobStatus.LEASED)
    queue.run(jobs.cancel_job(canceled, scope=Admin()))
    succeeded = settle(queue, JobStatus.SUCCEEDED)
    if is_requeued:
        for job_id in (canceled, succeeded):
            queue.run(jobs.requeue_job(job_id, scope=Admin()))

    of_type = read(queue)[JOB_TYPE]
    assert (of_type.succeeded_count, of_type.canceled_count) == (1, 1)


def test_percentiles_are_those_of_all_attempts_over_organizations(queue: JobQueue) -> None:
    """ADM-025; and not ADM-034: no average of averages."""
    durations = [10.0, 20.0, 30.0, 1_000.0]
    for number, milliseconds in enumerate(durations):
        job_id = settle(queue, JobStatus.SUCCEEDED, organization_id=TENANT if number == 3 else OTHER_TENANT)
        queue.sql(
            "UPDATE job_attempts SET finished_at = started_at + %s * interval '1 ms' WHERE job_id = %s",
            milliseconds,
            job_id,
        )

    everybody = read(queue)[JOB_TYPE]
    tenant = read(queue, scope=Organization(TENANT))[JOB_TYPE]
    nobody = read(queue, scope=Global())[JOB_TYPE]

    assert everybody.p50_duration_ms == pytest.approx(statistics.median(durations))
    assert everybody.p95_duration_ms == pytest.approx(854.5)
    assert (tenant.succeeded_count, tenant.p50_duration_ms) == (1, pytest.approx(1_000))
    assert (nobody.succeeded_count, nobody.p50_duration_ms) == (0, None)


def test_a_paused_type_is_told(queue: JobQueue) -> None:
    paused = queue.run(admin.pause_job_type(JOB_TYPE))

    assert paused is not None
    assert paused.paused_at is not None
    assert read(queue)[JOB_TYPE].paused_at == paused.paused_at


def test_only_the_window_is_counted(queue: JobQueue) -> None:
    settle(queue, JobStatus.DEAD_LETTERED)
    settle(queue, JobStatus.SUCCEEDED)
    now = queue.clock()
    queue.sql("UPDATE job_attempts SET created_at = created_at - interval '2 hours'")
    queue.sql("UPDATE job_dead_letters SET failed_at = failed_at - interval '2 hours'")

    inside = read(queue, window=3 * HOUR)[JOB_TYPE]
    outside = read(queue, window=HOUR)[JOB_TYPE]
    later = read(queue, window=3 * HOUR, now=now + 2 * HOUR)[JOB_TYPE]

    assert (inside.succeeded_count, inside.terminal_count, inside.dead_lettered_count) == (1, 1, 1)
    assert (outside.succeeded_count, outside.terminal_count, outside.dead_lettered_count) == (0, 0, 0)
    assert later.succeeded_count == 0


def test_of_more_attempts_than_are_read_the_latest_are_counted_whole(
    queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attempt a minute: ten of them reach ten minutes back."""
    monkeypatch.setattr(metrics, "_MAX_ATTEMPTS_READ", 10)
    everything = [settle(queue, JobStatus.SUCCEEDED) for _ in range(60)]
    for number, job_id in enumerate(everything):
        queue.sql(
            "UPDATE job_attempts SET created_at = now() - %s * interval '1 minute' WHERE job_id = %s", number, job_id
        )

    report = queue.run(admin.get_job_metrics(scope=Admin()))

    assert timedelta(minutes=2) < report.until - report.since < timedelta(minutes=30)
    minutes = (report.until - report.since) / timedelta(minutes=1)
    assert report.metrics[0].succeeded_count == pytest.approx(minutes, abs=1)
    whole = queue.run(admin.get_job_metrics(scope=Admin(), window=timedelta(minutes=5)))
    assert whole.until - whole.since == timedelta(minutes=5)


@pytest.mark.parametrize("window", [timedelta(), timedelta(seconds=-1), 60])
def test_a_window_that_is_none_is_refused(window: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="window"):
        next(admin.get_job_metrics(scope=Admin(), window=window).begin())
