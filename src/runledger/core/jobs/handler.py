"""What an application implements and what it gets in hand: handlers, their context, progress and failures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Self
from uuid import UUID

from runledger.core.errors import InvalidArgumentError
from runledger.core.jobs.setting_checks import INT32_MAX, check_count, check_failure_code, check_stage
from runledger.core.jobs.status import JobDeadLetterReason, JobFailureKind
from runledger.core.json_form import JsonEncodable
from runledger.core.json_value import JsonValue

_NO_DELAY = timedelta(0)
_MAX_RETRY_IN = timedelta(milliseconds=INT32_MAX)


class JobHandler(ABC):
    """Carries out the jobs of one type.

    One handler object serves all concurrent executions of its type, so it must not keep the state of one job
    in its attributes. A registry accepts any object of this shape; deriving from this class adds the default
    hook and lets type checkers see what is missing.

    A job may be executed more than once: when the worker dies after the work and before its outcome is
    written, the next attempt starts over. Make the effects of ``execute`` repeatable.

    Attributes:
        job_type: The type it serves; constant.
    """

    job_type: str

    @abstractmethod
    async def execute(self, context: JobContext, payload: Any) -> JsonEncodable:  # noqa: ANN401 (handlers narrow it)
        """Do the work of one attempt.

        Args:
            context: Which attempt of which job this is.
            payload: What was enqueued. A dataclass, a ``TypedDict`` and the like as its annotation let a worker decode
                it; see :class:`~runledger.runtime.JobRegistry`.

        Returns:
            The output to store, or ``None``.

        Raises:
            JobFailure: The attempt failed; its kind decides about another one. Any other exception counts as
                a defect (PANICKED) and is not retried, unless the registration names its class in ``retry_on``, or it
                is a ``DatabaseConnectionError`` of Runledger.
        """

    async def on_dead_letter(  # noqa: B027 - not abstract: most handlers need no hook
        self,
        context: JobContext,
        payload: Any,  # noqa: ANN401 (handlers narrow it)
        info: JobDeadLetterInfo,
    ) -> None:
        """Called after the dead letter of a job was committed; does nothing unless overridden.

        At most once, best effort: a crash between commit and call loses it, and its own failure changes
        nothing. Its payload is decoded by its own annotation; when that is the reason of the dead letter, only a hook
        that takes any JSON value can be called.
        """


class JobContext:
    """The attempt that a handler carries out.

    The attributes are the data of the attempt and are not to be changed. The runtime hands in a subclass that
    can act as well, for example report progress; this class alone is what a test of a handler needs.

    Attributes:
        job_id: The job.
        job_type: The type of the job.
        run_number: The run: 1, and one more with each requeue.
        attempt: The attempt within the run, from 1.
        max_attempts: How many attempts the run has.
        organization_id: The tenant that the job belongs to, or ``None``.
        worker_id: Who holds the lease; ``"reaper"`` when the reaper calls the dead-letter hook.
        saved_checkpoint: What an earlier attempt of this run saved, or ``None``.
        workflow_run_id: The run of the workflow whose step the job carries out, or ``None``.
        workflow_step_key: The key of that step, or ``None``.
    """

    def __init__(
        self,
        *,
        job_id: UUID,
        job_type: str,
        run_number: int,
        attempt: int,
        max_attempts: int,
        worker_id: str,
        organization_id: UUID | None = None,
        saved_checkpoint: JsonValue | None = None,
        workflow_run_id: UUID | None = None,
        workflow_step_key: str | None = None,
    ) -> None:
        self.job_id = job_id
        self.job_type = job_type
        self.run_number = run_number
        self.attempt = attempt
        self.max_attempts = max_attempts
        self.organization_id = organization_id
        self.worker_id = worker_id
        self.saved_checkpoint = saved_checkpoint
        self.workflow_run_id = workflow_run_id
        self.workflow_step_key = workflow_step_key

    @property
    def is_last_attempt(self) -> bool:
        """Whether a failure now dead-letters the job, whatever its kind."""
        return self.attempt >= self.max_attempts

    def __repr__(self) -> str:
        """Show which attempt it is; the checkpoint is left out, it may hold secrets."""
        step = (
            ""
            if self.workflow_run_id is None
            else f", workflow_run_id={self.workflow_run_id!r}, workflow_step_key={self.workflow_step_key!r}"
        )
        return (
            f"{type(self).__name__}(job_id={self.job_id!r}, job_type={self.job_type!r}, "
            f"run_number={self.run_number}, attempt={self.attempt}, max_attempts={self.max_attempts}, "
            f"organization_id={self.organization_id!r}, worker_id={self.worker_id!r}{step})"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class JobProgress:
    """How far a job has come. Each absent field leaves the stored value as it is.

    Attributes:
        stage: A name for what the job is doing; at most 1,024 bytes.
        progress_done: How many units are done.
        progress_total: Of how many. The stored counts are checked too: one given alone must fit the other.
        checkpoint: What a later attempt of the run needs to go on from here. ``None`` is absent; a stored
            checkpoint cannot be turned into JSON null.

    Raises:
        InvalidArgumentError: A count is negative, more is done than there is, or the stage is blank or too long.
    """

    stage: str | None = None
    progress_done: int | None = None
    progress_total: int | None = None
    checkpoint: JsonValue | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.stage is not None:
            check_stage("stage", self.stage)
        if self.progress_done is not None:
            check_count("progress_done", self.progress_done)
        if self.progress_total is not None:
            check_count("progress_total", self.progress_total)
            if self.progress_done is not None and self.progress_done > self.progress_total:
                raise InvalidArgumentError("progress_done", "is greater than progress_total", "pass at most the total")


class JobFailure(Exception):
    """The failure of an attempt, raised by a handler or recorded by the runtime.

    Code and message are stored with the job, and its tenant may see them: keep secrets out. The message is
    cleaned and cut when it is stored.

    Args:
        kind: Why the attempt failed; the named constructors say it.
        code: Short stable text to branch on and to count by, such as ``"smtp.rejected"``.
        message: For people. An exception, or whatever else is no text, counts by its text: a failing handler must not
            fail over its message.
        retry_in: The handler's own delay before the next attempt; without it the registry or the retry policy
            decides. Only for kind RETRYABLE. Handlers compute it, so a negative one counts as none and a longer one
            as 24 days.

    Raises:
        InvalidArgumentError: The code is blank, or ``retry_in`` is no ``timedelta`` or given for another kind.
    """

    kind: JobFailureKind
    code: str
    message: str
    retry_in: timedelta | None

    def __init__(self, kind: JobFailureKind, code: str, message: str, *, retry_in: timedelta | None = None) -> None:
        _check_kind(kind)
        check_failure_code("code", code)
        if retry_in is not None:
            _check_retry_in(kind, retry_in)
        message = str(message)
        super().__init__(kind, code, message)
        self.kind = kind
        self.code = code
        self.message = message
        self.retry_in = None if retry_in is None else min(max(retry_in, _NO_DELAY), _MAX_RETRY_IN)

    @classmethod
    def retryable(cls, code: str, message: str, *, retry_in: timedelta | None = None) -> Self:
        """Make a failure after which trying again may help."""
        return cls(JobFailureKind.RETRYABLE, code, message, retry_in=retry_in)

    @classmethod
    def terminal(cls, code: str, message: str) -> Self:
        """Make a failure after which trying again cannot help: the job is dead-lettered at once."""
        return cls(JobFailureKind.TERMINAL, code, message)

    @classmethod
    def timeout(cls, code: str, message: str) -> Self:
        """Make the failure of an attempt that took too long; retried while attempts remain."""
        return cls(JobFailureKind.TIMEOUT, code, message)

    @classmethod
    def lease_expired(cls, code: str, message: str) -> Self:
        """Make the failure of an attempt whose lease ran out; retried while attempts remain."""
        return cls(JobFailureKind.LEASE_EXPIRED, code, message)

    @classmethod
    def panicked(cls, code: str, message: str) -> Self:
        """Make the failure of an attempt that hit a defect: the job is dead-lettered at once."""
        return cls(JobFailureKind.PANICKED, code, message)

    def __str__(self) -> str:
        """Return the message."""
        return self.message


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDeadLetterInfo:
    """Why a job was given up, for the dead-letter hook.

    Attributes:
        failure: The last failure.
        reason: The rule that gave the job up.
        max_attempts: How many attempts it had; absent when the reaper gave it up.
    """

    failure: JobFailure
    reason: JobDeadLetterReason
    max_attempts: int | None = None


def _check_kind(kind: object) -> None:
    if not isinstance(kind, JobFailureKind):
        raise InvalidArgumentError("kind", f"is of type {type(kind).__name__}", "pass a JobFailureKind")


def _check_retry_in(kind: JobFailureKind, retry_in: object) -> None:
    if kind is not JobFailureKind.RETRYABLE:
        raise InvalidArgumentError("retry_in", f"is given for a {kind} failure", "use JobFailure.retryable")
    if not isinstance(retry_in, timedelta):
        raise InvalidArgumentError("retry_in", f"is of type {type(retry_in).__name__}", "pass a datetime.timedelta")
