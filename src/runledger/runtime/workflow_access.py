"""What handlers do with the workflow that their job belongs to: append steps, and read what came before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from runledger.core.errors import InvalidArgumentError, RunledgerError
from runledger.core.workflows.records import WorkflowAppendResult, WorkflowPrerequisite
from runledger.postgres import Database, DatabaseConnectionError, Operation, QueryError, workflows
from runledger.postgres.drivers.psycopg.own_connection import AsyncOwnConnection
from runledger.postgres.notices import Notices
from runledger.postgres.sql_errors import LEASE_LOST
from runledger.postgres.workflows.run_lock import BRIEF_LOCK_TIMEOUT, RELEASE_CONFLICT
from runledger.runtime.backoff import Backoff
from runledger.runtime.clock import monotonic
from runledger.runtime.error_judgement import is_systemic
from runledger.runtime.execution import CancelCause, Execution
from runledger.runtime.worker_log import WorkerLog

T = TypeVar("T")

_SHORTEST_ANSWER_TIMEOUT = timedelta(seconds=30)
_CONFLICT_PAUSE_SECONDS = 0.05


class WorkflowAccess:
    """Runs these calls of all handlers of a worker, reads and appends on a connection each, one after the other.

    A database that is away, and a run that somebody keeps locked, are waited for while the lease lasts: an append can
    be repeated. The wait is for other appends to use, and reads need no lock, so a run that is locked holds up nobody
    who does not want to append to it.

    Args:
        database: Where the workflows are.
        worker_id: Whose handlers they are.
        lease_ttl: Time to live of leases. A call without an answer for so long, and for half a minute, is given up with
            its connection: many steps may be appended at once.
        on_advanced: Called after the commit with what appended steps have to tell.
    """

    def __init__(
        self, database: Database, *, worker_id: str, lease_ttl: timedelta, on_advanced: Callable[[Notices], None]
    ) -> None:
        self._logger = WorkerLog("worker", worker_id)
        answer_timeout = max(lease_ttl, _SHORTEST_ANSWER_TIMEOUT)
        self._reads = _Turns(database.own_connection(answer_timeout_seconds=answer_timeout.total_seconds()))
        self._appends = _Turns(database.own_connection(answer_timeout_seconds=answer_timeout.total_seconds()))
        self._on_advanced = on_advanced
        self._is_stopped = False

    async def append(self, execution: Execution, request: workflows.WorkflowAppendRequest) -> WorkflowAppendResult:
        """Append steps through the step of a job.

        Raises:
            asyncio.CancelledError: The lease is lost, so the handler is canceled.
            WorkflowBuildError: They are no steps that can be appended.
            QueryError: They were refused; nothing was written.
        """
        run_id = execution.job.workflow_run_id
        assert run_id is not None  # noqa: S101 (the context has looked)
        notices = Notices(is_sent_inside=False)
        append = workflows.append_workflow_steps_of_job(
            run_id, request, execution.lease, lock_timeout=BRIEF_LOCK_TIMEOUT, notices=notices
        )
        result = await self._run(execution, append, self._appends)
        key = execution.job.workflow_step_key
        execution.dependent_count += sum(
            dependency.prerequisite_step_key == key for step in request.steps for dependency in step.dependencies
        )
        if notices:
            self._on_advanced(notices)
        return result

    async def prerequisites(self, execution: Execution) -> dict[str, WorkflowPrerequisite]:
        """Return the steps that the step of a job waited for, by their keys."""
        run_id, step_id = execution.job.workflow_run_id, execution.job.workflow_step_id
        assert run_id is not None  # noqa: S101 (the context has looked)
        assert step_id is not None  # noqa: S101 (as above)
        return await self._run(execution, workflows.read_prerequisites(run_id, step_id), self._reads)

    async def stop(self) -> None:
        """Close the connections. Handlers that come later are canceled."""
        self._is_stopped = True
        await self._reads.close()
        await self._appends.close()

    async def _run(self, execution: Execution, operation: Operation[T], turns: _Turns) -> T:
        backoff = Backoff()
        is_delayed = False
        while True:
            delaying: RunledgerError
            if self._is_stopped:
                raise asyncio.CancelledError
            try:
                return await turns.run(operation)
            except DatabaseConnectionError as error:
                delaying = error
            except QueryError as error:
                if error.code == LEASE_LOST:
                    execution.cancel(CancelCause.LEASE_LOST)
                    await asyncio.sleep(0)  # in the handler's own task the cancellation arrives here
                    raise asyncio.CancelledError from None
                if not is_systemic(error):
                    raise
                delaying = error
            if execution.lease_good_until <= monotonic():
                execution.cancel(CancelCause.LEASE_MAINTENANCE_FAILED)
                await asyncio.sleep(0)
                raise asyncio.CancelledError
            if not is_delayed:
                is_delayed = True
                self._logger.warning(
                    "worker.workflow_call_delayed",
                    extra={"job_id": str(execution.job.job_id), "code": delaying.code},
                )
            # A run that is locked may be free in a moment, or wanted by many.
            await asyncio.sleep(_CONFLICT_PAUSE_SECONDS if delaying.code == RELEASE_CONFLICT else backoff.failed())


class _Turns:
    """A connection that one call uses after the other."""

    def __init__(self, connection: AsyncOwnConnection) -> None:
        self._connection = connection
        self._turn = asyncio.Lock()
        self._is_closed = False

    async def run(self, operation: Operation[T]) -> T:
        async with self._turn:
            if self._is_closed:  # while it waited; the connection would open again
                raise asyncio.CancelledError
            return await self._connection.run(operation)

    async def close(self) -> None:
        self._is_closed = True
        await self._connection.close()


def not_in_a_workflow(call: str) -> InvalidArgumentError:
    """Return the error of a handler that asks for a workflow which its job does not belong to."""
    return InvalidArgumentError(
        call, "is for jobs of workflows, and this job belongs to none", "look at `context.workflow_run_id` first"
    )
