"""States of a job, their transitions, and the other stored vocabularies of the job queue.

::

                      claim                    complete
      enqueue      ┌──────────►  LEASED  ───────────────────►  SUCCEEDED ──────┐
    ──────────► PENDING          │  │  │   fail, reap                          │
                 ▲ │ ▲───────────┘  │  └────────────────────►  DEAD_LETTERED ──┤
                 │ │   fail, reap,  │                                          │
                 │ │   give back    │ cancel                                   │
                 │ └────────────────┴──────────────────────►  CANCELED ────────┤
                 │                        requeue                              │
                 └─────────────────────────────────────────────────────────────┘

``TRANSITIONS`` is the same picture as data: each row is one guarded statement, whose ``WHERE`` names the
state it comes from and, for a held job, the lease. Where no row answers, the world has moved on.
"""

from __future__ import annotations

from dataclasses import dataclass

from runledger.core.stored_text import StoredTextEnum


class JobStatus(StoredTextEnum):
    """Where a job stands. A status is a committed row: a crash of any process leaves one of these five."""

    PENDING = "PENDING"
    """Waits for its due time and a free worker. No process holds it, so no crash can hurt it. A job whose
    type no worker serves stays here; disabling the definition does not remove it."""

    LEASED = "LEASED"
    """One worker holds it until ``lease_expires_at`` and renews the lease while the handler runs. If the
    worker dies or loses the database, the lease runs out and the reaper repairs it: back to PENDING, or
    DEAD_LETTERED when no attempt is left. From expiry on, the old holder can no longer write, also before the
    reaper has come."""

    SUCCEEDED = "SUCCEEDED"
    """The holder committed the success. Final: nothing needs repair, and only a requeue starts a new run."""

    DEAD_LETTERED = "DEAD_LETTERED"
    """Failed for good: a failure that is not retryable, or no attempt left. Payload and checkpoint are kept
    as a dead letter. Final: a person looks and requeues. The handler's dead-letter hook runs after the
    commit, at most once: a crash in between loses the call, not the dead letter."""

    CANCELED = "CANCELED"
    """Canceled while PENDING or LEASED. Final. The handler of a leased job may still be running: it hears of
    it by notification or at its next renewal, and whatever it writes is refused."""

    @property
    def is_terminal(self) -> bool:
        """Whether nothing but a requeue moves the job any more."""
        return self in _TERMINAL_STATUSES


_TERMINAL_STATUSES = frozenset({JobStatus.SUCCEEDED, JobStatus.DEAD_LETTERED, JobStatus.CANCELED})


class JobStage(StoredTextEnum):
    """The stages that Runledger writes. The column is free text: handlers may write stages of their own."""

    QUEUED = "queued"
    """Enqueued or requeued; a claim alone does not change it, a worker's start does."""

    SCHEDULED = "scheduled"
    """Enqueued by a schedule."""

    RUNNING = "running"
    """A worker has started the handler. Kept through a retry, until the job ends or is requeued."""

    COMPLETED = "completed"
    """The job succeeded; no other stage may accompany a success."""


class JobEventType(StoredTextEnum):
    """What an entry of a job's history tells. Entries are only ever added."""

    ENQUEUED = "ENQUEUED"
    """The job was created, by a caller, a schedule or a workflow."""

    LEASED = "LEASED"
    """A worker claimed it: a new attempt began."""

    HEARTBEAT = "HEARTBEAT"
    """The lease of one job was renewed. The renewals of a worker, for all its jobs at once, write none."""

    STAGE_CHANGED = "STAGE_CHANGED"
    """A progress update named a stage, also when it was the stage the job already had."""

    PROGRESS = "PROGRESS"
    """A progress update named counts; the event has them as given."""

    RETRY_SCHEDULED = "RETRY_SCHEDULED"
    """Follows FAILED: the job is due again after a delay."""

    SUCCEEDED = "SUCCEEDED"
    """The attempt completed the job."""

    FAILED = "FAILED"
    """The attempt failed; RETRY_SCHEDULED or DEAD_LETTERED follows."""

    DEAD_LETTERED = "DEAD_LETTERED"
    """Follows FAILED: the job is given up."""

    CANCELED = "CANCELED"
    """The job was canceled."""

    REQUEUED = "REQUEUED"
    """The job was put back without a failure: requeued by hand, or a claim was released before it ran."""


class JobFailureKind(StoredTextEnum):
    """Why an attempt failed; it decides whether another attempt is made."""

    RETRYABLE = "RETRYABLE"
    """The handler says that trying again may help."""

    TERMINAL = "TERMINAL"
    """The handler says that trying again cannot help."""

    PANICKED = "PANICKED"
    """The handler raised what is no ``JobFailure``: a defect, which a retry would only repeat."""

    TIMEOUT = "TIMEOUT"
    """The handler ran longer than the job allows."""

    LEASE_EXPIRED = "LEASE_EXPIRED"
    """The lease ran out before an outcome was written: the worker died, hung, or lost the database."""

    @property
    def is_retryable(self) -> bool:
        """Whether a failure of this kind is followed by another attempt while attempts remain."""
        return self in _RETRYABLE_KINDS


_RETRYABLE_KINDS = frozenset({JobFailureKind.RETRYABLE, JobFailureKind.TIMEOUT, JobFailureKind.LEASE_EXPIRED})


class JobDeadLetterReason(StoredTextEnum):
    """Why a job was dead-lettered. Told to the dead-letter hook; not stored."""

    FAILURE_KIND_NON_RETRYABLE = "FAILURE_KIND_NON_RETRYABLE"
    """The kind of failure allows no retry. Takes precedence over ATTEMPTS_EXHAUSTED when both apply."""

    ATTEMPTS_EXHAUSTED = "ATTEMPTS_EXHAUSTED"
    """A retryable failure on the last attempt."""

    LEASE_EXPIRED = "LEASE_EXPIRED"
    """The reaper found the lease of the last attempt expired."""


class JobClaimOrigin(StoredTextEnum):
    """Who made the claim of an attempt."""

    DIRECT = "DIRECT"
    """A host that claims by itself: the attempt counts from the claim on."""

    WORKER_PRESTART = "WORKER_PRESTART"
    """A worker: until the start is recorded, the claim can be given back without consuming the attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobTransition:
    """One permitted move of a job.

    Attributes:
        from_status: The status it comes from; ``None`` for creation.
        to_status: The status it leads to.
        operation: What makes it: a verb for all operations that do it, or the name of the only one.
        note: The guard or effect that the statuses do not show.
    """

    from_status: JobStatus | None
    to_status: JobStatus
    operation: str
    note: str


def _transition(from_status: JobStatus | None, to_status: JobStatus, operation: str, note: str) -> JobTransition:
    return JobTransition(from_status=from_status, to_status=to_status, operation=operation, note=note)


_PENDING = JobStatus.PENDING
_LEASED = JobStatus.LEASED
_SUCCEEDED = JobStatus.SUCCEEDED
_DEAD_LETTERED = JobStatus.DEAD_LETTERED
_CANCELED = JobStatus.CANCELED

TRANSITIONS: tuple[JobTransition, ...] = (
    _transition(None, _PENDING, "enqueue", "run 1, attempt 0; needs an enabled definition"),
    _transition(None, _PENDING, "materialize_schedule", "as enqueue, with stage 'scheduled'"),
    _transition(None, _PENDING, "release_step", "as enqueue, for a step whose dependencies are satisfied"),
    _transition(_PENDING, _LEASED, "claim", "due; attempt + 1; the definition is not consulted"),
    _transition(_LEASED, _SUCCEEDED, "complete", "by the lease holder, before expiry"),
    _transition(_LEASED, _PENDING, "fail", "by the lease holder: retryable, attempts left"),
    _transition(_LEASED, _DEAD_LETTERED, "fail", "by the lease holder: not retryable, or last attempt"),
    _transition(
        _LEASED,
        _PENDING,
        "reap",
        "lease expired: attempts left, or a worker's claim that never started (attempt - 1)",
    ),
    _transition(_LEASED, _DEAD_LETTERED, "reap", "lease expired on the last attempt"),
    _transition(
        _LEASED,
        _PENDING,
        "release_unstarted_job_claim",
        "by the lease holder: a worker's claim whose start was not recorded (attempt - 1)",
    ),
    _transition(_LEASED, _PENDING, "return_claims", "by the lease holder: the handler was never called (attempt - 1)"),
    _transition(_PENDING, _CANCELED, "cancel", "by anyone in scope"),
    _transition(_LEASED, _CANCELED, "cancel", "by anyone in scope; the holder loses its lease"),
    _transition(_SUCCEEDED, _PENDING, "requeue", "run + 1, attempt 0; never a workflow's job"),
    _transition(_DEAD_LETTERED, _PENDING, "requeue", "run + 1, attempt 0; never a workflow's job"),
    _transition(_CANCELED, _PENDING, "requeue", "run + 1, attempt 0; never a workflow's job"),
)
"""Every permitted move of a job; what is not listed does not happen."""
