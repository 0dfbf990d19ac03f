"""What must hold of a job after anything that happened to it: row, attempts and events tell one story."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from runledger.core import JobAttempt, JobEvent, JobEventType, JobRecord, JobStatus
from tests.postgres.job_queue import JobQueue


class _Story:
    """Where a job stands by its events alone. An event that its state does not allow ends the reading."""

    def __init__(self) -> None:
        self.status: JobStatus | None = None
        self.run_number = 1
        self.attempt = 0
        self._failed = False

    def read(self, event: JobEvent) -> None:
        assert event.run_number == self.run_number, event
        {
            JobEventType.ENQUEUED: self._enqueued,
            JobEventType.LEASED: self._leased,
            JobEventType.HEARTBEAT: self._held,
            JobEventType.STAGE_CHANGED: self._held,
            JobEventType.PROGRESS: self._held,
            JobEventType.SUCCEEDED: self._ended(JobStatus.SUCCEEDED, after_failure=False),
            JobEventType.FAILED: self._attempt_failed,
            JobEventType.RETRY_SCHEDULED: self._ended(JobStatus.PENDING, after_failure=True),
            JobEventType.DEAD_LETTERED: self._ended(JobStatus.DEAD_LETTERED, after_failure=True),
            JobEventType.CANCELED: self._canceled,
            JobEventType.REQUEUED: self._requeued,
        }[event.event_type](event)

    def _enqueued(self, event: JobEvent) -> None:
        assert self.status is None, event
        self.status = JobStatus.PENDING

    def _leased(self, event: JobEvent) -> None:
        assert self.status is JobStatus.PENDING, event
        assert event.attempt == self.attempt + 1, event
        self.status, self.attempt = JobStatus.LEASED, self.attempt + 1

    def _held(self, event: JobEvent) -> None:
        assert self.status is JobStatus.LEASED, event
        assert not self._failed, event
        assert event.attempt == self.attempt, event

    def _attempt_failed(self, event: JobEvent) -> None:
        self._held(event)
        self._failed = True

    def _ended(self, status: JobStatus, *, after_failure: bool) -> Callable[[JobEvent], None]:
        def read(event: JobEvent) -> None:
            assert self.status is JobStatus.LEASED, event
            assert self._failed is after_failure, event
            assert event.attempt == self.attempt, event
            self.status, self._failed = status, False

        return read

    def _canceled(self, event: JobEvent) -> None:
        assert self.status in {JobStatus.PENDING, JobStatus.LEASED}, event
        assert not self._failed, event
        assert event.attempt == (self.attempt or None), event
        self.status = JobStatus.CANCELED

    def _requeued(self, event: JobEvent) -> None:
        assert event.attempt == (self.attempt or None), event
        if self.status is JobStatus.LEASED:  # a claim was given back: its attempt never was
            self.attempt -= 1
        else:
            assert self.status is not None, event
            assert self.status.is_terminal, event
            self.run_number, self.attempt = self.run_number + 1, 0
        self.status = JobStatus.PENDING


def check_ledger(queue: JobQueue, job_id: UUID) -> None:
    """Assert that everything the ledger says about a job agrees."""
    job, attempts, events = queue.job(job_id), queue.attempts(job_id), queue.events(job_id)
    story = _Story()
    for event in events:
        story.read(event)
    assert (story.status, story.run_number, story.attempt) == (job.status, job.run_number, job.attempt)
    _check_row(job)
    _check_attempts(job, attempts)
    assert (queue.dead_letter(job_id) is not None) == (
        JobEventType.DEAD_LETTERED in {event.event_type for event in events}
    )


def _check_row(job: JobRecord) -> None:
    is_leased = job.status is JobStatus.LEASED
    for value in (job.worker_id, job.lease_expires_at, job.last_heartbeat_at):
        assert (value is not None) is is_leased
    assert (job.finished_at is not None) is job.status.is_terminal
    assert (job.started_at is None) is (job.attempt == 0)
    assert job.attempt <= job.max_attempts


def _check_attempts(job: JobRecord, attempts: list[JobAttempt]) -> None:
    by_run: dict[int, list[JobAttempt]] = {}
    for attempt in attempts:
        by_run.setdefault(attempt.run_number, []).append(attempt)
    assert all(run_number <= job.run_number for run_number in by_run)
    for of_run in by_run.values():
        assert [attempt.attempt for attempt in of_run] == list(range(1, len(of_run) + 1))
    assert len(by_run.get(job.run_number, [])) == job.attempt
    opened = [(attempt.run_number, attempt.attempt) for attempt in attempts if attempt.finished_at is None]
    assert opened == ([(job.run_number, job.attempt)] if job.status is JobStatus.LEASED else [])
