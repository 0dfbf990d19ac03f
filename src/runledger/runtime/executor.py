"""Run one attempt and say how it ended. Nothing is written here."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar, cast

from runledger.core.errors import InvalidArgumentError, PayloadMismatchError, UndecodableJsonError
from runledger.core.jobs.failure_text import clean_error_text
from runledger.core.jobs.handler import JobFailure
from runledger.core.jobs.status import JobFailureKind
from runledger.core.json_form import JsonEncodable
from runledger.core.json_value import encode_json
from runledger.postgres import DatabaseConnectionError
from runledger.postgres.sql_errors import LEASE_LOST
from runledger.runtime.execution import CancelCause, Execution
from runledger.runtime.handler_pools import HandlerPools
from runledger.runtime.handler_threads import HandlerThreads, NoThreadError
from runledger.runtime.handler_transaction import HandlerTransaction
from runledger.runtime.job_context import AsyncJobContext, ThreadJobContext, WaitInThread
from runledger.runtime.job_log import RunningJobLog, running_job_log
from runledger.runtime.log_writer import LogWriter
from runledger.runtime.outcome import JOB_CANCELED, SHUTDOWN_CODE, Dropped, Failed, Finished, Outcome, Succeeded
from runledger.runtime.progress_writer import ProgressWriter
from runledger.runtime.registry import JobRegistry, RegisteredJob
from runledger.runtime.worker_log import WorkerLog
from runledger.runtime.workflow_access import WorkflowAccess

T = TypeVar("T")
# A handler of either kind, called with the context that belongs to it.
_Function = Callable[[AsyncJobContext | ThreadJobContext, Any], T]

_NOT_CALLED = object()
_PANIC_PLACEHOLDER = "the handler raised an exception whose text could not be read"


class Executor:
    """Calls handlers under their timeout and classifies what they do.

    Args:
        registry: Where the handlers are.
        threads: Where plain functions run.
        progress_writer: Takes what handlers report on their way.
        log_writer: Takes what they log.
        pools: What the transactions of handlers take their connections from.
        workflow_access: Carries out what handlers do with their workflows.
        is_stopping: Tells whether the worker ends, so that a cancellation from outside is its end.
        worker_id: Whose attempts they are, for the log.
    """

    def __init__(
        self,
        registry: JobRegistry,
        threads: HandlerThreads,
        *,
        progress_writer: ProgressWriter,
        log_writer: LogWriter,
        pools: HandlerPools,
        workflow_access: WorkflowAccess,
        is_stopping: Callable[[], bool],
        worker_id: str,
    ) -> None:
        self._logger = WorkerLog("worker", worker_id)
        self._registry = registry
        self._progress_writer = progress_writer
        self._log_writer = log_writer
        self._pools = pools
        self._workflow_access = workflow_access
        self._is_stopping = is_stopping
        self._threads = threads

    async def execute(self, execution: Execution, *, on_handler_ended: Callable[[], None]) -> Outcome:
        """Run the attempt in the current task and return its outcome.

        Args:
            execution: The attempt.
            on_handler_ended: Called in the event loop when the handler is over. For an abandoned thread that is
                later than the outcome.
        """
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 (a coroutine runs in a task)
        registered = self._registry.get(execution.job.job_type)
        is_in_thread = False
        try:
            if registered is None:
                return self._failed(
                    execution,
                    JobFailure.terminal("job.handler_not_registered", "no handler is registered for the job type"),
                )
            try:
                context, payload = self._context(execution, registered), execution.job.payload
                if registered.decode_payload is not None:
                    payload = registered.decode_payload(payload)
            except UndecodableJsonError as error:
                return self._failed(execution, JobFailure.terminal("job.payload_undecodable", str(error)))
            except PayloadMismatchError as error:
                # What is stored does not change, so trying again cannot help.
                return self._failed(execution, JobFailure.terminal(error.code, str(error)))
            if not execution.begin(task):
                return self._canceled(execution)
            if registered.is_async:
                execute = cast("_Function[Awaitable[JsonEncodable]]", registered.execute)
                outcome = await self._call(execution, task, lambda: execute(context, payload))
            else:
                execution.is_in_thread = is_in_thread = True
                outcome = await self._call(
                    execution, task, lambda: self._in_thread(execution, registered, context, payload, on_handler_ended)
                )
            return self._finished(execution, outcome) if execution.is_finished else outcome
        finally:
            execution.end()
            if not is_in_thread:
                on_handler_ended()

    def _context(self, execution: Execution, registered: RegisteredJob) -> AsyncJobContext | ThreadJobContext:
        transaction = HandlerTransaction(execution, self._pools)
        log = RunningJobLog(self._log_writer, execution.lease)
        running_job_log.set(log)  # this task and what it starts, a thread included, are about no other job
        if registered.is_async:
            return AsyncJobContext(execution, transaction, self._progress_writer, self._workflow_access, log=log)
        wait = WaitInThread(asyncio.get_running_loop())
        return ThreadJobContext(execution, transaction, self._progress_writer, self._workflow_access, wait, log=log)

    async def _in_thread(
        self,
        execution: Execution,
        registered: RegisteredJob,
        context: AsyncJobContext | ThreadJobContext,
        payload: Any,  # noqa: ANN401 (what the handler's annotation asks for)
        on_handler_ended: Callable[[], None],
    ) -> JsonEncodable:
        loop = asyncio.get_running_loop()

        def call() -> Any:  # noqa: ANN401 (a handler's result)
            execution.thread_id = threading.get_ident()
            try:
                if execution.cancel_cause is not None:
                    return _NOT_CALLED
                return cast("_Function[Any]", registered.execute)(context, payload)
            finally:
                # A closed loop counts no slots any more.
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(on_handler_ended)

        try:
            submitted = self._threads.submit(call)
        except NoThreadError:
            on_handler_ended()
            raise JobFailure.retryable(
                "job.worker_overloaded", "the worker could not start a thread for the handler"
            ) from None
        result = await submitted
        if result.value is _NOT_CALLED:
            execution.is_in_thread = False  # nothing runs there that could outlive the attempt
            raise asyncio.CancelledError
        if result.error is not None:
            raise result.error
        if inspect.iscoroutine(result.value):
            # Hidden in a plain function it could not be told from one; nothing of it has run.
            result.value.close()
            raise TypeError("the handler is a plain function that returned a coroutine; declare it with async def")
        return result.value

    async def _call(
        self, execution: Execution, task: asyncio.Task[Any], start: Callable[[], Awaitable[JsonEncodable]]
    ) -> Outcome:
        try:
            result = await start()
            return self._succeeded(execution, result) if execution.may_end_by_itself else self._canceled(execution)
        except BaseException as error:  # noqa: BLE001 (also SystemExit: a handler must not end the worker)
            return self._raised(execution, task, error)
        finally:
            # cancel() of a task that then ends without raising CancelledError would leave the request behind.
            while task.cancelling():
                task.uncancel()

    def _raised(self, execution: Execution, task: asyncio.Task[Any], error: BaseException) -> Outcome:
        is_interrupted = isinstance(error, asyncio.CancelledError) and task.cancelling() > 0
        if is_interrupted and execution.cancel_cause is None and self._is_stopping():
            # Somebody outside canceled this task, as asyncio.run does when the program ends.
            execution.cancel_cause = CancelCause.SHUTDOWN
        if not execution.may_end_by_itself:
            return self._canceled(execution)
        has_broken_off = isinstance(error, asyncio.CancelledError) and not is_interrupted and execution.is_in_thread
        if has_broken_off and execution.cancel_cause is CancelCause.SHUTDOWN:
            execution.is_in_thread = False  # nothing runs there that could outlive the attempt
            return self._canceled(execution)
        if isinstance(error, JobFailure) and (failure := _checked(error)) is not None:
            return self._failed(execution, failure)
        # At a shutdown an async handler may fail over its cancellation; a thread does not notice any.
        if execution.cancel_cause is not None and (is_interrupted or not execution.is_in_thread):
            return self._canceled(execution)
        return self._retried(execution, error) or self._panicked(execution, error)

    def _succeeded(self, execution: Execution, result: JsonEncodable) -> Outcome:
        if result is None:
            return Succeeded(output_json=None)
        try:
            return Succeeded(output_json=encode_json(result, field="output"))
        except InvalidArgumentError as error:
            # The work is done, so doing it again cannot help; what it returned is a defect of the handler.
            return self._failed(execution, JobFailure.terminal("job.output_invalid", str(error)))

    def _finished(self, execution: Execution, outcome: Outcome) -> Finished:
        """Say what the handler did after the commit of its own transaction, which cannot be undone."""
        job = execution.job
        fields = {"job_id": str(job.job_id), "job_type": job.job_type}
        if isinstance(outcome, Failed):
            self._logger.warning("worker.failed_after_commit", extra={**fields, "code": outcome.failure.code})
        elif isinstance(outcome, Dropped):
            self._logger.warning("worker.failed_after_commit", extra={**fields, "code": outcome.code})
        elif isinstance(outcome, Succeeded) and outcome.output_json is not None:
            self._logger.warning("worker.output_after_commit", extra=fields)
        return Finished()

    def _failed(self, execution: Execution, failure: JobFailure) -> Failed:
        job = execution.job
        delay = self._registry.retry_delay(job.job_type, job.job_id, job.attempt, failure)
        return Failed(failure=failure, retry_delay=delay)

    def _canceled(self, execution: Execution) -> Outcome:
        match execution.cancel_cause:
            case CancelCause.TIMEOUT:
                seconds = max(execution.job.timeout_seconds, 1)
                failure = JobFailure.timeout("job.timeout_exceeded", f"the attempt took longer than {seconds} s")
                return self._failed(execution, failure)
            case CancelCause.SHUTDOWN if execution.is_in_thread and execution.started_at is not None:
                # The thread goes on: only the end of the lease makes another attempt safe.
                return Dropped(code=SHUTDOWN_CODE)
            case CancelCause.SHUTDOWN:
                failure = JobFailure(
                    JobFailureKind.RETRYABLE, SHUTDOWN_CODE, "the worker was shut down during the attempt"
                )
                return Failed(failure=failure, retry_delay=timedelta())
            case CancelCause.JOB_CANCELED:
                return Dropped(code=JOB_CANCELED)
            case CancelCause.LEASE_MAINTENANCE_FAILED:
                return Dropped(code="job.lease_maintenance_failed")
            case _:
                return Dropped(code=LEASE_LOST)

    def _retried(self, execution: Execution, error: BaseException) -> Failed | None:
        """Return the failure of an exception that passes by itself; ``None`` for any other."""
        registered = self._registry.get(execution.job.job_type)
        if isinstance(error, DatabaseConnectionError):
            code, message, traceback = error.code, clean_error_text(str(error)), None
        elif registered is not None and isinstance(error, registered.retry_on):
            code, message, traceback = "job.handler_exception", _panic_text(error), error
        else:
            return None
        self._logger.warning(
            "worker.handler_raised",
            extra={"job_id": str(execution.job.job_id), "job_type": execution.job.job_type, "code": code},
            exc_info=traceback,
        )
        return self._failed(execution, JobFailure.retryable(code, message))

    def _panicked(self, execution: Execution, error: BaseException) -> Failed:
        self._logger.error(
            "worker.handler_panicked",
            extra={"job_id": str(execution.job.job_id), "job_type": execution.job.job_type},
            exc_info=error,
        )
        return self._failed(execution, JobFailure.panicked("job.handler_panic", _panic_text(error)))


def _checked(raised: JobFailure) -> JobFailure | None:
    """Return a failure as it may be stored; ``None`` for one that is broken, a defect like any other.

    A subclass may not have called our ``__init__``, or may have replaced what it set.
    """
    try:
        failure = JobFailure(raised.kind, raised.code, raised.message, retry_in=raised.retry_in)
    except BaseException:  # noqa: BLE001 (a subclass's attributes are the application's code too)
        return None
    failure.__cause__ = raised  # a dead-letter hook may want to know the subclass
    return failure


def _panic_text(error: BaseException) -> str:
    if isinstance(error, asyncio.CancelledError):
        return "the handler canceled itself"
    try:
        return clean_error_text(f"{type(error).__name__}: {error}")
    except BaseException:  # noqa: BLE001 (an exception's __str__ is the application's code too)
        return _PANIC_PLACEHOLDER
