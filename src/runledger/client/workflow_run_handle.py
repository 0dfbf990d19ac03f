"""A run of a workflow in the hands of those who wait for it, for asyncio applications."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Protocol
from uuid import UUID

from runledger.client.run_watch import POLL_SECONDS, RunWatch
from runledger.core.errors import WorkflowRunFailedError
from runledger.core.json_form import JsonEncodable
from runledger.core.json_value import JsonValue
from runledger.core.scope import Scope
from runledger.core.workflows.enqueue_request import WorkflowStepEnqueue
from runledger.core.workflows.records import CompletedGate, WorkflowAppendResult, WorkflowRunRecord, WorkflowStepRecord
from runledger.core.workflows.status import WorkflowRunStatus, WorkflowStepStatus
from runledger.core.workflows.workflow import WorkflowAppend
from runledger.postgres.document import check_duration
from runledger.postgres.drivers.psycopg import AsyncConnection
from runledger.postgres.workflows.refusals import run_not_found

_FIVE_MINUTES = timedelta(minutes=5)


class RunLedger(Protocol):
    """What a handle asks; a ledger is one."""

    async def get_workflow_run(self, run_id: UUID, *, scope: Scope) -> WorkflowRunRecord | None:
        """Return a run."""
        ...

    async def list_workflow_steps(
        self, run_id: UUID, *, scope: Scope, status: WorkflowStepStatus | None = None, limit: int | None = None
    ) -> list[WorkflowStepRecord]:
        """Return its steps."""
        ...

    async def complete_gate(
        self,
        run_id: UUID,
        step_key: str,
        *,
        status: WorkflowStepStatus,
        output: JsonEncodable,
        reason: str | None,
        error_code: str | None,
        error_message: str | None,
        scope: Scope,
        connection: AsyncConnection[Any] | None,
    ) -> CompletedGate:
        """Complete a gate of it."""
        ...

    async def append_workflow_steps(
        self,
        run_id: UUID,
        steps: WorkflowAppend | Sequence[WorkflowStepEnqueue],
        *,
        window: str,
        mutation_key: str,
        metadata: JsonEncodable,
        scope: Scope,
        connection: AsyncConnection[Any] | None,
    ) -> WorkflowAppendResult:
        """Append steps to it."""
        ...

    async def cancel_workflow_run(
        self,
        run_id: UUID,
        *,
        reason: str | None,
        error_code: str | None,
        error_message: str | None,
        scope: Scope,
        connection: AsyncConnection[Any] | None,
    ) -> WorkflowRunRecord:
        """Cancel it."""
        ...


class WorkflowRunHandle:
    """Asks for one run and changes it, in the scope that the handle was made with.

    Not made by callers: ``ledger.enqueue_workflow`` and ``ledger.workflow_run`` return it.

    Attributes:
        id: The run.
        scope: Whose runs may be seen and changed.
    """

    def __init__(self, ledger: RunLedger, watch: RunWatch, run_id: UUID, scope: Scope) -> None:
        self.id = run_id
        self.scope = scope
        self._ledger = ledger
        self._watch = watch

    def __repr__(self) -> str:
        """Show which run it is."""
        return f"{type(self).__name__}(id={self.id!r}, scope={self.scope!r})"

    async def run(self) -> WorkflowRunRecord:
        """Return the run as it is now.

        Raises:
            QueryError: ``workflow.run_not_found``: there is none in the scope, or it is not committed yet.
        """
        run = await self._ledger.get_workflow_run(self.id, scope=self.scope)
        if run is None:
            raise run_not_found("WorkflowRunHandle.run", self.scope)
        return run

    async def status(self) -> WorkflowRunStatus:
        """Return where the run stands.

        Raises:
            QueryError: As by :meth:`run`.
        """
        return (await self.run()).status

    async def steps(self) -> list[WorkflowStepRecord]:
        """Return the steps of the run in the order in which they were made.

        Raises:
            QueryError: As by :meth:`run`.
        """
        steps = await self._ledger.list_workflow_steps(self.id, scope=self.scope)
        if not steps:  # each run has one
            raise run_not_found("WorkflowRunHandle.steps", self.scope)
        return steps

    async def wait(self, *, timeout: timedelta | None = _FIVE_MINUTES) -> WorkflowRunRecord:  # noqa: ASYNC109 (a timedelta)
        """Wait until the run has ended, and return it.

        A notification ends the wait at once; where none can be heard, the run is looked at every second.

        Args:
            timeout: How long to wait at most; ``None`` is for ever.

        Raises:
            InvalidArgumentError: ``timeout`` is no ``timedelta``.
            TimeoutError: It has not ended in time. It goes on.
            QueryError: As by :meth:`run`.
        """
        if timeout is not None:
            check_duration("timeout", timeout)
        give_up_at = None if timeout is None else time.monotonic() + timeout.total_seconds()
        async with self._watch.watching(self.id) as ending:
            while True:
                run = await self.run()
                if run.status.is_terminal:
                    return run
                seconds = POLL_SECONDS if give_up_at is None else min(POLL_SECONDS, give_up_at - time.monotonic())
                if seconds <= 0:
                    raise TimeoutError(f"workflow run {self.id} has not ended in time; it is {run.status.value}")
                await ending.wait(seconds)

    async def result(self, *, timeout: timedelta | None = _FIVE_MINUTES) -> JsonValue:  # noqa: ASYNC109 (a timedelta)
        """Wait until the run has ended, and return its result.

        The result is the output of the step that was declared for it, if that has succeeded, whatever became of others.
        It is in the record of :meth:`run` before the run has ended: ``has_result`` tells. A run without such a step has
        the result ``None`` if it SUCCEEDED, and none if it ended otherwise; :meth:`wait` judges nothing.

        Args:
            timeout: How long to wait at most; ``None`` is for ever.

        Raises:
            WorkflowRunFailedError: The run has ended without a result. It names the first step that is FAILED.
            InvalidArgumentError: ``timeout`` is no ``timedelta``.
            TimeoutError: It has not ended in time. It goes on.
            QueryError: As by :meth:`run`.
        """
        run = await self.wait(timeout=timeout)
        is_successful = run.status is WorkflowRunStatus.SUCCEEDED if run.result_step_key is None else run.has_result
        if not is_successful:
            raise await self._failed(run)
        return run.result

    async def complete_gate(
        self,
        step_key: str,
        *,
        status: WorkflowStepStatus = WorkflowStepStatus.SUCCEEDED,
        output: JsonEncodable = None,
        reason: str | None = None,
        error_code: str | None = None,
        error_message: str | None = None,
        connection: AsyncConnection[Any] | None = None,
    ) -> CompletedGate:
        """Complete a gate of the run that is waiting, and return it, as :meth:`Ledger.complete_gate`."""
        return await self._ledger.complete_gate(
            self.id,
            step_key,
            status=status,
            output=output,
            reason=reason,
            error_code=error_code,
            error_message=error_message,
            scope=self.scope,
            connection=connection,
        )

    async def append_steps(
        self,
        steps: WorkflowAppend | Sequence[WorkflowStepEnqueue],
        *,
        window: str,
        mutation_key: str,
        metadata: JsonEncodable = None,
        connection: AsyncConnection[Any] | None = None,
    ) -> WorkflowAppendResult:
        """Append steps to the run through a gate of it that is waiting, as :meth:`Ledger.append_workflow_steps`."""
        return await self._ledger.append_workflow_steps(
            self.id,
            steps,
            window=window,
            mutation_key=mutation_key,
            metadata=metadata,
            scope=self.scope,
            connection=connection,
        )

    async def cancel(
        self,
        *,
        reason: str | None = None,
        error_code: str | None = None,
        error_message: str | None = None,
        connection: AsyncConnection[Any] | None = None,
    ) -> WorkflowRunRecord:
        """Cancel the run and return it, as :meth:`Ledger.cancel_workflow_run`."""
        return await self._ledger.cancel_workflow_run(
            self.id,
            reason=reason,
            error_code=error_code,
            error_message=error_message,
            scope=self.scope,
            connection=connection,
        )

    async def _failed(self, run: WorkflowRunRecord) -> WorkflowRunFailedError:
        steps = await self._ledger.list_workflow_steps(
            run.id, scope=self.scope, status=WorkflowStepStatus.FAILED, limit=1
        )
        return WorkflowRunFailedError(
            run.id,
            run.status.value,
            failed_step_key=steps[0].step_key if steps else None,
            failed_step_error_code=steps[0].last_error_code if steps else None,
        )
