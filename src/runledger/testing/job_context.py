"""Contexts for tests that call a handler as the function it is, without a worker and without a database.

They are the contexts that workers hand in, with the same checks; only what those write to the ledger is kept here.
"""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, TypeVar
from uuid import UUID, uuid4

from psycopg import AsyncConnection, Connection

from runledger.core.errors import BlankJobTypeError, InvalidArgumentError
from runledger.core.identifiers import check_identifier
from runledger.core.jobs.handler import JobProgress
from runledger.core.jobs.records import ClaimedJob
from runledger.core.jobs.setting_checks import check_int32, check_organization_id, check_whole_seconds
from runledger.core.json_form import JsonEncodable
from runledger.core.json_value import JsonValue, decode_json, encode_json
from runledger.core.workflows.records import WorkflowAppendResult, WorkflowPrerequisite
from runledger.core.workflows.status import WorkflowStepStatus
from runledger.postgres.workflows import WorkflowAppendRequest
from runledger.runtime import AsyncJobContext, ThreadJobContext
from runledger.runtime.clock import monotonic
from runledger.runtime.execution import CancelCause, Execution
from runledger.runtime.job_context import RunningJobContext

T = TypeVar("T")

_A_WORKER = "let a worker carry out the job on a test database"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedLine:
    """A line that a handler logged.

    Attributes:
        level: How important it is, in capitals.
        message: What happened.
        fields: More about it, as it was given.
    """

    level: str
    message: str
    fields: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerRecord:
    """What a handler did with its context, in order.

    Attributes:
        logs: The lines that it logged.
        progress: What it reported; counts and stage that were not given are ``None``.
        checkpoints: The checkpoints that it saved.
        outputs: What it set as output in its own transaction; none where it returns its output.
    """

    logs: list[RecordedLine] = field(default_factory=list[RecordedLine])
    progress: list[JobProgress] = field(default_factory=list[JobProgress])
    checkpoints: list[JsonValue] = field(default_factory=list[JsonValue])
    outputs: list[JsonValue] = field(default_factory=list[JsonValue])


class _Recording(RunningJobContext):
    """What both kinds of contexts have besides the real ones."""

    recorded: HandlerRecord

    def request_cancel(self) -> None:
        """Let ``cancel_requested`` be true, as after a cancel of the job."""
        self._execution.cancel(CancelCause.JOB_CANCELED)


class RecordingAsyncContext(_Recording, AsyncJobContext):
    """The context for a test that calls an ``async`` handler.

    ::

        context = RecordingAsyncContext(attempt=2, saved_checkpoint=100)
        await import_rows(context, {"rows": 300})
        assert context.recorded.checkpoints == [200, 300]

    What needs the ledger is refused: to append steps, and :meth:`transaction` without a ``connection``.

    Attributes:
        recorded: What the handler did with it.
    """

    def __init__(
        self,
        *,
        job_type: str = "test.job",
        job_id: UUID | None = None,
        run_number: int = 1,
        attempt: int = 1,
        max_attempts: int = 8,
        timeout: timedelta = timedelta(minutes=15),
        organization_id: UUID | None = None,
        saved_checkpoint: JsonValue | None = None,
        prerequisites: Mapping[str, JsonValue | WorkflowPrerequisite] | None = None,
        connection: AsyncConnection[Any] | None = None,
    ) -> None:
        """Make the context of an attempt, as a worker may have one.

        Args:
            job_type: See :class:`~runledger.core.JobContext`, as for all up to ``saved_checkpoint``.
            job_id: A new one when not given.
            run_number: The run; as for ``job_type``.
            attempt: The attempt; as for ``job_type``.
            max_attempts: How many attempts there are; as for ``job_type``.
            timeout: How far away ``deadline`` is.
            organization_id: The tenant; as for ``job_type``.
            saved_checkpoint: The checkpoint; as for ``job_type``.
            prerequisites: The steps before, by their keys, for the handler of a workflow's step: the output of one that
                has succeeded, or how it ended. Without it the job belongs to no workflow.
            connection: What ``context.transaction()`` gives, in a transaction on it, as to a test database. It stays
                the test's to close.

        Raises:
            InvalidArgumentError: No job can have it, such as an attempt of 0 or beyond ``max_attempts``.
        """
        self.recorded = HandlerRecord()
        execution = _execution(
            job_type=job_type,
            job_id=job_id,
            run_number=run_number,
            attempt=attempt,
            max_attempts=max_attempts,
            timeout=timeout,
            organization_id=organization_id,
            saved_checkpoint=saved_checkpoint,
            is_in_workflow=prerequisites is not None,
        )
        super().__init__(
            execution,
            _RecordedTransaction(self.recorded, connection),
            _RecordedProgress(self.recorded),
            _PreparedWorkflow({} if prerequisites is None else prerequisites),
            log=_RecordedLog(self.recorded),
        )


class RecordingThreadContext(_Recording, ThreadJobContext):
    """The context for a test that calls a plain handler; otherwise the same as :class:`RecordingAsyncContext`.

    Attributes:
        recorded: What the handler did with it.
    """

    def __init__(
        self,
        *,
        job_type: str = "test.job",
        job_id: UUID | None = None,
        run_number: int = 1,
        attempt: int = 1,
        max_attempts: int = 8,
        timeout: timedelta = timedelta(minutes=15),
        organization_id: UUID | None = None,
        saved_checkpoint: JsonValue | None = None,
        prerequisites: Mapping[str, JsonValue | WorkflowPrerequisite] | None = None,
        connection: Connection[Any] | None = None,
    ) -> None:
        """Make the context of an attempt; arguments are those of :class:`RecordingAsyncContext`."""
        self.recorded = HandlerRecord()
        execution = _execution(
            job_type=job_type,
            job_id=job_id,
            run_number=run_number,
            attempt=attempt,
            max_attempts=max_attempts,
            timeout=timeout,
            organization_id=organization_id,
            saved_checkpoint=saved_checkpoint,
            is_in_workflow=prerequisites is not None,
        )
        super().__init__(
            execution,
            _RecordedTransaction(self.recorded, connection),
            _RecordedProgress(self.recorded),
            _PreparedWorkflow({} if prerequisites is None else prerequisites),
            _ended,
            log=_RecordedLog(self.recorded),
        )


def _execution(
    *,
    job_type: str,
    job_id: UUID | None,
    run_number: int,
    attempt: int,
    max_attempts: int,
    timeout: timedelta,
    organization_id: UUID | None,
    saved_checkpoint: JsonValue | None,
    is_in_workflow: bool,
) -> Execution:
    check_identifier(job_type, field="job_type", blank_error=BlankJobTypeError)
    check_int32("run_number", run_number, minimum=1)
    check_int32("max_attempts", max_attempts, minimum=1)
    check_int32("attempt", attempt, minimum=1)
    if attempt > max_attempts:
        raise InvalidArgumentError("attempt", "is greater than max_attempts", "pass at most that, or raise it")
    check_whole_seconds("timeout", timeout)
    if organization_id is not None:
        check_organization_id("organization_id", organization_id)
    now = datetime.now(UTC)
    job = ClaimedJob(
        job_id=job_id or uuid4(),
        job_type=job_type,
        organization_id=organization_id,
        payload_json="null",
        run_number=run_number,
        attempt=attempt,
        max_attempts=max_attempts,
        timeout_seconds=int(timeout.total_seconds()),
        priority=100,
        next_run_at=now,
        checkpoint_json=None if saved_checkpoint is None else encode_json(saved_checkpoint, field="saved_checkpoint"),
        worker_id="test",
        leased_at=now,
        lease_expires_at=now + timeout,
        workflow_run_id=uuid4() if is_in_workflow else None,
        workflow_step_id=uuid4() if is_in_workflow else None,
        workflow_step_key="step" if is_in_workflow else None,
    )
    return Execution(job, claimed_at=monotonic(), lease_ttl=timeout.total_seconds())


def _ended(call: Coroutine[Any, Any, T]) -> T:
    """Run a call to its end in this thread; unlike a worker's, it waits for nothing."""
    try:
        call.send(None)
    except StopIteration as ended:
        return ended.value
    raise AssertionError("a recording waits for nothing")


class _RecordedLog:
    def __init__(self, recorded: HandlerRecord) -> None:
        self._recorded = recorded

    def write(self, level: str, message: str, fields: Mapping[str, object]) -> None:
        self._recorded.logs.append(RecordedLine(level=level, message=message, fields=fields))


class _RecordedProgress:
    def __init__(self, recorded: HandlerRecord) -> None:
        self._recorded = recorded

    async def write(self, execution: Execution, progress: JobProgress) -> None:  # noqa: ARG002 (there is only one)
        if progress.checkpoint is None:
            self._recorded.progress.append(progress)
        else:
            # As the next attempt would find it.
            stored = encode_json(progress.checkpoint, field="checkpoint")
            self._recorded.checkpoints.append(decode_json(stored))


class _PreparedWorkflow:
    def __init__(self, prerequisites: Mapping[str, JsonValue | WorkflowPrerequisite]) -> None:
        if not isinstance(prerequisites, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidArgumentError(
                "prerequisites",
                f"is of type {type(prerequisites).__name__}",
                "pass a dict with an output or a WorkflowPrerequisite for each step before",
            )
        self._prerequisites = {key: _ended_step(key, value) for key, value in prerequisites.items()}

    async def append(self, execution: Execution, request: WorkflowAppendRequest) -> WorkflowAppendResult:  # noqa: ARG002
        raise InvalidArgumentError("append_steps", "is called without a ledger", _A_WORKER)

    async def prerequisites(self, execution: Execution) -> dict[str, WorkflowPrerequisite]:  # noqa: ARG002 (as above)
        return self._prerequisites


def _ended_step(key: str, value: JsonValue | WorkflowPrerequisite) -> WorkflowPrerequisite:
    if isinstance(value, WorkflowPrerequisite):
        return value
    return WorkflowPrerequisite(
        step_key=key,
        status=WorkflowStepStatus.SUCCEEDED,
        output=value,
        status_reason=None,
        last_error_code=None,
        last_error_message=None,
    )


class _RecordedTransaction:
    """A transaction on the connection of the test."""

    def __init__(self, recorded: HandlerRecord, connection: AsyncConnection[Any] | Connection[Any] | None) -> None:
        self._recorded = recorded
        self._connection: Any = connection  # of the one kind or the other, as the handler is
        self._block: Any = None

    def set_output(self, output: JsonEncodable) -> None:
        if self._block is None:
            raise InvalidArgumentError(
                "output",
                "is set outside of the transaction",
                "set it inside the block, or return it where there is none",
            )
        self._recorded.outputs.append(decode_json(encode_json(output, field="output")))

    async def __aenter__(self) -> AsyncConnection[Any]:
        self._block = self._begin()
        await self._block.__aenter__()
        return self._connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        block, self._block = self._block, None
        return await block.__aexit__(kind, error, traceback)

    def __enter__(self) -> Connection[Any]:
        self._block = self._begin()
        self._block.__enter__()
        return self._connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        block, self._block = self._block, None
        return block.__exit__(kind, error, traceback)

    def _begin(self) -> Any:  # noqa: ANN401 (as the connection)
        if self._connection is None:
            raise InvalidArgumentError(
                "connection", "was not given, and the handler opens a transaction", f"pass one, or {_A_WORKER}"
            )
        return self._connection.transaction()
