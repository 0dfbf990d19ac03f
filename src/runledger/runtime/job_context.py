"""What a handler gets in hand while it runs: its attempt, and what it can do about it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
from collections.abc import Coroutine, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Protocol, TypeVar

from runledger.core.errors import InvalidArgumentError
from runledger.core.jobs.handler import JobContext, JobProgress
from runledger.core.json_form import JsonEncodable
from runledger.core.json_value import JsonValue
from runledger.core.workflows.enqueue_request import WorkflowStepEnqueue
from runledger.core.workflows.records import WorkflowAppendResult, WorkflowPrerequisite
from runledger.core.workflows.workflow import WorkflowAppend
from runledger.postgres.drivers.psycopg import AsyncConnection, Connection
from runledger.postgres.workflows import WorkflowAppendRequest
from runledger.runtime.clock import monotonic
from runledger.runtime.execution import Execution
from runledger.runtime.logged_values import logged_text
from runledger.runtime.workflow_access import not_in_a_workflow

T = TypeVar("T")


class ProgressSink(Protocol):
    """Takes what a handler reports on its way."""

    async def write(self, execution: Execution, progress: JobProgress) -> None:
        """Return when it is kept."""
        ...


class LogSink(Protocol):
    """Takes what a handler logs. Never blocks and never fails."""

    def write(self, level: str, message: str, fields: Mapping[str, object]) -> None:
        """Take a line."""
        ...


class WorkflowCalls(Protocol):
    """Carries out what a handler does with the workflow of its job."""

    async def append(self, execution: Execution, request: WorkflowAppendRequest) -> WorkflowAppendResult:
        """Append steps."""
        ...

    async def prerequisites(self, execution: Execution) -> dict[str, WorkflowPrerequisite]:
        """Return the steps that the step of the job waited for, by their keys."""
        ...


class Waiting(Protocol):
    """How a thread waits for a call."""

    def __call__(self, call: Coroutine[Any, Any, T]) -> T:
        """Return what the call returns."""
        ...


class OwnTransaction(Protocol):
    """The transaction of a handler, with ``async with`` or ``with``; see :meth:`RunningJobContext.transaction`."""

    def set_output(self, output: JsonEncodable) -> None:
        """See :meth:`RunningJobContext.set_output`."""
        ...

    async def __aenter__(self) -> AsyncConnection[Any]:
        """Begin."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        """Finish the job and commit; after an error roll back."""
        ...

    def __enter__(self) -> Connection[Any]:
        """Begin."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        """Finish the job and commit; after an error roll back."""
        ...


class RunningJobContext(JobContext):
    """The context that a worker hands to a handler; what both kinds of handlers have in common.

    For tests without a worker there are those of :mod:`runledger.testing`.
    """

    def __init__(self, execution: Execution, transaction: OwnTransaction, log: LogSink) -> None:
        job = execution.job
        super().__init__(
            job_id=job.job_id,
            job_type=job.job_type,
            run_number=job.run_number,
            attempt=job.attempt,
            max_attempts=job.max_attempts,
            organization_id=job.organization_id,
            worker_id=job.worker_id,
            saved_checkpoint=None if job.checkpoint_json is None else job.checkpoint,
            workflow_run_id=job.workflow_run_id,
            workflow_step_key=job.workflow_step_key,
        )
        self._execution = execution
        self._transaction = transaction
        self._log = log

    def log(self, message: str, /, *, level: str | int = "INFO", **fields: object) -> None:
        """Add a line to the job's log, which :meth:`~runledger.client.Ledger.job_logs` and ``runledger logs`` show.

        ::

            context.log("page sent", page=3, recipients=250)

        Returns at once; a moment later the line is in the ledger, whatever becomes of the attempt. It never fails the
        handler: a message is cut at 8 KiB, the fields at 16 KiB, and while the database is away for long, lines are
        lost (``worker.log_lines_lost``). A text stands for what JSON cannot hold, what is nested deeper than 50 levels,
        and what raises when it is read. May be called in any thread.

        Args:
            message: What happened. Who may read the job may read it.
            level: How important it is: ``"DEBUG"``, ``"INFO"``, ``"WARNING"``, ``"ERROR"`` or a name of your own; or a
                number of ``logging``. A level that ``logging`` knows gets its name there: ``"warn"`` becomes WARNING.
            fields: More about it.
        """
        self._log.write(_level_name(level), message, fields)

    def transaction(self) -> OwnTransaction:
        """Open a transaction in whose commit the job is finished, together with the rows that are written in it.

        ::

            async with context.transaction() as connection:
                await connection.execute("INSERT INTO invoices ...")
                context.set_output({"invoices": 1})

        An ``async`` handler uses ``async with`` and gets an asyncio connection, a plain one ``with`` and a blocking
        connection, of the worker's ``pool`` or of one that the worker opens. The success of the job is the last thing
        that is written: when the block ends well both are committed, or, if the lease was lost meanwhile, neither. An
        exception in the block, the timeout and a shutdown roll back, and the attempt fails as usual.

        After the block the job is SUCCEEDED. The handler may go on, but whatever it returns or raises then changes
        nothing and is only logged. So make the block the last thing it does, and do not change other systems in it.
        There is one for each attempt.

        Raises:
            InvalidArgumentError: It is entered a second time, or in the wrong form.
            JobFailure: There was no connection, or it was lost and nothing is committed: another attempt may help.
            QueryError: ``job.lease_owner_mismatch``: the lease was lost, so nothing is committed.
        """
        return self._transaction

    def _append_request(
        self,
        steps: WorkflowAppend | Sequence[WorkflowStepEnqueue],
        mutation_key: str | None,
        metadata: JsonEncodable,
    ) -> WorkflowAppendRequest:
        if self.workflow_step_key is None:
            raise not_in_a_workflow("append_steps")
        return WorkflowAppendRequest(
            mutation_key=self.workflow_step_key if mutation_key is None else mutation_key,
            window_step_key=self.workflow_step_key,
            steps=steps.build() if isinstance(steps, WorkflowAppend) else steps,
            metadata={} if metadata is None else metadata,
        )

    def _check_workflow(self, call: str) -> None:
        if self.workflow_run_id is None:
            raise not_in_a_workflow(call)

    def set_output(self, output: JsonEncodable) -> None:
        """Set what is stored as the job's output, inside the block of :meth:`transaction`.

        Elsewhere the output is what the handler returns.

        Raises:
            InvalidArgumentError: JSON cannot hold it, or there is no open block.
        """
        self._transaction.set_output(output)

    @property
    def deadline(self) -> datetime:
        """When the attempt's timeout ends, by this host's clock."""
        elapsed = 0.0 if self._execution.started_at is None else monotonic() - self._execution.started_at
        return datetime.now(UTC) + timedelta(seconds=self._execution.timeout_seconds - elapsed)

    @property
    def cancel_requested(self) -> bool:
        """Whether this attempt is to end: job canceled, time over, lease lost, or the worker shuts down.

        An ``async`` handler is canceled anyway. One in a thread cannot be: a long one looks here now and then, or calls
        :meth:`ThreadJobContext.raise_if_cancel_requested`.
        """
        return self._execution.cancel_cause is not None


class AsyncJobContext(RunningJobContext):
    """The context of an ``async`` handler."""

    def __init__(
        self,
        execution: Execution,
        transaction: OwnTransaction,
        writer: ProgressSink,
        workflow_access: WorkflowCalls,
        *,
        log: LogSink,
    ) -> None:
        super().__init__(execution, transaction, log)
        self._writer = writer
        self._workflow_access = workflow_access

    async def progress(self, done: int | None = None, total: int | None = None, *, stage: str | None = None) -> None:
        """Tell how far the job has come; returns when it is in the ledger.

        What is not given keeps its value. Counts write a PROGRESS event, a stage writes STAGE_CHANGED. A database that
        is away is waited for while the lease lasts.

        Args:
            done: How many units are done.
            total: How many units there are.
            stage: A name for what the job is doing; at most 1,024 bytes.

        Raises:
            asyncio.CancelledError: The job was canceled or its lease is lost; the handler is to end.
            InvalidArgumentError: Nothing is given, a count is negative, or more is done than there is.
            QueryError: ``db.business_rule_violation``: with the stored counts, more would be done than there is.
        """
        await self._writer.write(self._execution, _progress(done, total, stage))

    async def checkpoint(self, value: JsonValue) -> None:
        """Save what a later attempt of this run needs to go on from here; returns when it is in the ledger.

        It replaces the checkpoint before. The next attempt finds it in ``saved_checkpoint``.

        Raises:
            asyncio.CancelledError: The job was canceled or its lease is lost; the handler is to end.
            InvalidArgumentError: The value is ``None``, or nothing that JSON and PostgreSQL can hold.
        """
        await self._writer.write(self._execution, _checkpoint(value))

    async def append_steps(
        self,
        steps: WorkflowAppend | Sequence[WorkflowStepEnqueue],
        *,
        mutation_key: str | None = None,
        metadata: JsonEncodable = None,
    ) -> WorkflowAppendResult:
        """Append steps to the run of this job; returns when they are committed, in a transaction of their own.

        As long as this handler runs, its step keeps the run open. New steps may wait for it, for each other and for any
        step of the run; those that wait for nothing unfinished begin at once. Steps of the run never wait for new ones,
        so what has to come after them is appended with them::

            more = WorkflowAppend()
            me = more.this_step(context)
            built = [more.job(f"build-{name}", "release.build", {"package": name}, after=me) for name in found]
            more.job("merge", "release.merge", after=built)
            await context.append_steps(more)

        A later attempt that appends the same steps again appends nothing, and gets the same answer. Let what is
        appended depend on the payload, or on a checkpoint that was saved before, and not on what may differ the next
        time.

        A database that is away is waited for while the lease lasts.

        Args:
            steps: The new steps.
            mutation_key: Names the append within the run; the key of this step when not given. A second append of the
                same step needs another one.
            metadata: Any JSON value about the append.

        Raises:
            asyncio.CancelledError: The job was canceled or its lease is lost; the handler is to end.
            WorkflowBuildError: The steps are none that can be appended.
            InvalidArgumentError: The job belongs to no workflow, or an argument breaks a rule.
            QueryError: Nothing was written: ``workflow.append_conflicting_retry`` (other steps were appended with this
                key), ``workflow.definition_not_found_or_disabled``.
        """
        return await self._workflow_access.append(self._execution, self._append_request(steps, mutation_key, metadata))

    async def prerequisites(self) -> dict[str, WorkflowPrerequisite]:
        """Return the steps that this one waited for, by their keys: how each ended, and what it put out.

        A step behind ``after_terminal=`` sees here what failed, and why::

            for step in (await context.prerequisites()).values():
                if step.status is not WorkflowStepStatus.SUCCEEDED:
                    context.log("missing", step=step.step_key, code=step.last_error_code)

        Raises:
            asyncio.CancelledError: The job was canceled or its lease is lost; the handler is to end.
            InvalidArgumentError: The job belongs to no workflow.
        """
        self._check_workflow("prerequisites")
        return await self._workflow_access.prerequisites(self._execution)

    async def prerequisite_outputs(self) -> dict[str, JsonValue]:
        """Return what the steps have put out that this one waited for, by their keys: :meth:`prerequisites` in short.

        ``None`` is the output of a step that put out nothing, as has every job that did not succeed. A gate has the
        output that it was completed with, also if that was as FAILED or CANCELED.

        Raises:
            asyncio.CancelledError: The job was canceled or its lease is lost; the handler is to end.
            InvalidArgumentError: The job belongs to no workflow.
        """
        self._check_workflow("prerequisite_outputs")
        return _outputs(await self._workflow_access.prerequisites(self._execution))


class ThreadJobContext(RunningJobContext):
    """The context of a plain handler, which runs in a thread. Its methods block that thread until they are done."""

    def __init__(
        self,
        execution: Execution,
        transaction: OwnTransaction,
        writer: ProgressSink,
        workflow_access: WorkflowCalls,
        wait: Waiting,
        *,
        log: LogSink,
    ) -> None:
        super().__init__(execution, transaction, log)
        self._writer = writer
        self._workflow_access = workflow_access
        self._wait = wait

    def progress(self, done: int | None = None, total: int | None = None, *, stage: str | None = None) -> None:
        """Tell how far the job has come; the same as :meth:`AsyncJobContext.progress`.

        A thread cannot be canceled from outside, so ``asyncio.CancelledError`` here is how it learns that its job was
        canceled or its lease is lost. Let it pass.
        """
        self._wait(self._writer.write(self._execution, _progress(done, total, stage)))

    def checkpoint(self, value: JsonValue) -> None:
        """Save what a later attempt of this run needs; the same as :meth:`AsyncJobContext.checkpoint`."""
        self._wait(self._writer.write(self._execution, _checkpoint(value)))

    def append_steps(
        self,
        steps: WorkflowAppend | Sequence[WorkflowStepEnqueue],
        *,
        mutation_key: str | None = None,
        metadata: JsonEncodable = None,
    ) -> WorkflowAppendResult:
        """Append steps to the run of this job; the same as :meth:`AsyncJobContext.append_steps`."""
        request = self._append_request(steps, mutation_key, metadata)
        return self._wait(self._workflow_access.append(self._execution, request))

    def prerequisites(self) -> dict[str, WorkflowPrerequisite]:
        """Return the steps that this one waited for; the same as :meth:`AsyncJobContext.prerequisites`."""
        self._check_workflow("prerequisites")
        return self._wait(self._workflow_access.prerequisites(self._execution))

    def prerequisite_outputs(self) -> dict[str, JsonValue]:
        """Return what the steps have put out that this one waited for, by their keys.

        The same as :meth:`AsyncJobContext.prerequisite_outputs`.
        """
        self._check_workflow("prerequisite_outputs")
        return _outputs(self._wait(self._workflow_access.prerequisites(self._execution)))

    def raise_if_cancel_requested(self) -> None:
        """End the attempt here if it is to end: job canceled, time over, lease lost, or the worker shuts down.

        A thread cannot be stopped from outside. A long handler calls this now and then, where it may break off; let the
        exception pass. After a shutdown the job is due again at once. A handler that returns instead has its job
        SUCCEEDED.

        Raises:
            asyncio.CancelledError: ``cancel_requested`` is true.
        """
        if self.cancel_requested:
            raise asyncio.CancelledError


class WaitInThread:
    """Lets the thread of a handler wait for what the worker does in its event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def __call__(self, call: Coroutine[Any, Any, T]) -> T:
        """Run the call in the event loop, and return what it returns."""
        try:
            future = asyncio.run_coroutine_threadsafe(call, self._loop)
        except RuntimeError:  # the event loop is closed: the worker has gone, and its leases with it
            call.close()
            raise asyncio.CancelledError from None
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            # As in the event loop: `except Exception` in a handler must not catch it.
            raise asyncio.CancelledError from None


def _outputs(prerequisites: dict[str, WorkflowPrerequisite]) -> dict[str, JsonValue]:
    return {key: step.output for key, step in prerequisites.items()}


def _level_name(level: str | int) -> str:
    """Return the name that a record of ``logging`` has for the level, so that both are found by one name."""
    text = logged_text(level).upper()
    number = level if isinstance(level, int) else logging.getLevelNamesMapping().get(text)
    return text if number is None else logging.getLevelName(number)


def _progress(done: int | None, total: int | None, stage: str | None) -> JobProgress:
    if done is None and total is None and stage is None:
        raise InvalidArgumentError("done", "is not given, nor is anything else", "give done, total or stage")
    return JobProgress(stage=stage, progress_done=done, progress_total=total)


def _checkpoint(value: JsonValue) -> JobProgress:
    if value is None:
        raise InvalidArgumentError(
            "value", "is None, which says that there is no checkpoint", "pass what to go on from"
        )
    return JobProgress(checkpoint=value)
