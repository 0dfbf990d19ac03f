"""Running one attempt: how each way to end is classified. Nothing here needs a database."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Never
from uuid import UUID

import pytest

from runledger.core import JobContext, JobFailure, JobFailureKind
from runledger.postgres import Database, DatabaseConnectionError
from runledger.runtime.clock import monotonic
from runledger.runtime.execution import AttemptTimeouts, CancelCause, Execution
from runledger.runtime.executor import Executor
from runledger.runtime.handler_pools import HandlerPools
from runledger.runtime.handler_threads import HandlerThreads
from runledger.runtime.job_context import RunningJobContext, ThreadJobContext
from runledger.runtime.log_writer import LogWriter
from runledger.runtime.outcome import Dropped, Failed, Outcome, Succeeded
from runledger.runtime.progress_writer import ProgressWriter
from runledger.runtime.registry import JobRegistry
from runledger.runtime.workflow_access import WorkflowAccess
from tests.claimed_jobs import claimed_job

JOB = UUID("018fa1f8-0000-7000-8000-000000000123")
ORGANIZATION = UUID("018fa1f8-0000-7000-8000-0000000000aa")

Handler = Callable[[Any, Any], Any]


class Bench:
    """An executor with one handler, and the attempt it carries out.

    Attributes:
        execution: The attempt.
        ended: Set when the handler is over.
        is_stopping: Whether the worker ends.
    """

    def __init__(
        self,
        handler: Handler | None,
        *,
        payload_json: str = "[1]",
        checkpoint_json: str | None = None,
        timeout_seconds: int = 60,
        retry_on: tuple[type[Exception], ...] = (),
    ) -> None:
        self.registry = JobRegistry()
        if handler is not None:
            self.registry.job("email.send", retry_on=retry_on)(handler)
        job = claimed_job(
            job_id=JOB,
            organization_id=ORGANIZATION,
            payload_json=payload_json,
            run_number=2,
            attempt=3,
            max_attempts=5,
            timeout_seconds=timeout_seconds,
            checkpoint_json=checkpoint_json,
        )
        self.execution = Execution(job, claimed_at=monotonic(), lease_ttl=60)
        self.ended = asyncio.Event()
        self._threads = HandlerThreads()
        self.is_stopping = False
        # They connect when a handler needs them, which none does here.
        nowhere = Database("postgresql:///unused")
        self._executor = Executor(
            self.registry,
            self._threads,
            progress_writer=ProgressWriter(nowhere, worker_id="worker-1", lease_ttl=timedelta(seconds=60)),
            log_writer=LogWriter(nowhere, worker_id="worker-1", lease_ttl=timedelta(seconds=60)),
            pools=HandlerPools(nowhere, None, max_size=1),
            workflow_access=WorkflowAccess(
                nowhere, worker_id="worker-1", lease_ttl=timedelta(seconds=60), on_advanced=lambda _: None
            ),
            is_stopping=lambda: self.is_stopping,
            worker_id="worker-1",
        )

    async def execute(self) -> Outcome:
        return await self._executor.execute(self.execution, on_handler_ended=self.ended.set)

    def begin(self) -> asyncio.Task[Outcome]:
        """Execute in a task of its own, as the worker does."""
        AttemptTimeouts(self.execution.timeout_seconds, [self.execution])
        return asyncio.create_task(self.execute())

    async def failure(self) -> JobFailure:
        """Execute, and return the failure that must come of it."""
        outcome = await self.execute()
        assert isinstance(outcome, Failed)
        return outcome.failure


def plain(handler: Handler) -> Handler:
    """Return the handler as a plain function, which runs in a thread."""

    def call(context: JobContext, payload: object) -> object:
        return handler(context, payload)

    return call


def coroutine(handler: Handler) -> Handler:
    """Return the handler as a coroutine function."""

    async def call(context: JobContext, payload: object) -> object:
        return handler(context, payload)

    return call


both_kinds = pytest.mark.parametrize("kind", [plain, coroutine])


def raising(error: BaseException) -> Handler:
    def handler(context: JobContext, payload: object) -> Never:  # noqa: ARG001 - a handler's parameters
        raise error

    return handler


@both_kinds
@pytest.mark.parametrize(
    ("value", "text"),
    [(None, None), ({"id": 7}, '{"id":7}'), (0, "0"), (False, "false"), ("", '""'), ([], "[]"), ((1, 2), "[1,2]")],
)
async def test_what_a_handler_returns_becomes_the_output(
    kind: Callable[[Handler], Handler], value: Any, text: str | None
) -> None:
    bench = Bench(kind(lambda _context, _payload: value))

    assert await bench.execute() == Succeeded(output_json=text)
    await asyncio.wait_for(bench.ended.wait(), 5)


@both_kinds
@pytest.mark.parametrize("value", [object(), {1: "key"}, float("nan"), ["a\0b"], "\ud800", {"a": {1, 2}}])
async def test_an_output_that_is_no_json_fails_for_good(kind: Callable[[Handler], Handler], value: Any) -> None:
    failure = await Bench(kind(lambda _context, _payload: value)).failure()

    assert (failure.kind, failure.code) == (JobFailureKind.TERMINAL, "job.output_invalid")
    assert failure.message.startswith("output")


@both_kinds
@pytest.mark.parametrize("failure_kind", JobFailureKind)
async def test_the_failure_of_a_handler_is_recorded_as_it_is(
    kind: Callable[[Handler], Handler], failure_kind: JobFailureKind
) -> None:
    error = JobFailure(failure_kind, "smtp.busy", "try later")

    failure = await Bench(kind(raising(error))).failure()

    assert (failure.kind, failure.code, failure.message) == (failure_kind, "smtp.busy", "try later")
    assert failure.__cause__ is error


async def test_a_failure_carries_its_own_delay() -> None:
    bench = Bench(coroutine(raising(JobFailure.retryable("smtp.busy", "try later", retry_in=timedelta(seconds=7)))))

    outcome = await bench.execute()

    assert isinstance(outcome, Failed)
    assert outcome.retry_delay == timedelta(seconds=7)


async def test_a_failure_takes_the_delay_of_the_registry() -> None:
    """WRK-012."""
    bench = Bench(coroutine(raising(JobFailure.retryable("smtp.busy", "try later"))))
    bench.registry.register_retry_delay_override("email.send", "smtp.busy", timedelta(milliseconds=250))

    outcome = await bench.execute()

    assert isinstance(outcome, Failed)
    assert outcome.retry_delay == timedelta(milliseconds=250)


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


class DeadlyError(Exception):
    def __str__(self) -> str:
        raise SystemExit(1)


class UnfinishedFailure(JobFailure):
    def __init__(self) -> None:
        """Does not call the one of the base class."""


@both_kinds
@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("no such user"), "ValueError: no such user"),
        (LookupError("a\0b"), "LookupError: ab"),
        (SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt(), "KeyboardInterrupt: "),
        (asyncio.CancelledError(), "the handler canceled itself"),
        (TimeoutError("socket"), "TimeoutError: socket"),
        (StopAsyncIteration(), "StopAsyncIteration: "),
        (UnprintableError(), "the handler raised an exception whose text could not be read"),
        (DeadlyError(), "the handler raised an exception whose text could not be read"),
        (UnfinishedFailure(), "the handler raised an exception whose text could not be read"),
        (
            BaseExceptionGroup("two", [ValueError("a"), KeyboardInterrupt()]),
            "BaseExceptionGroup: two (2 sub-exceptions)",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
async def test_any_other_exception_is_a_panic(
    kind: Callable[[Handler], Handler], error: BaseException, text: str
) -> None:
    """WRK-003."""
    bench = Bench(kind(raising(error)))

    failure = await bench.failure()

    assert (failure.kind, failure.code) == (JobFailureKind.PANICKED, "job.handler_panic")
    assert failure.message == text
    await asyncio.wait_for(bench.ended.wait(), 5)


async def test_the_text_of_a_panic_is_cut() -> None:
    failure = await Bench(coroutine(raising(ValueError("x" * 1_000_000)))).failure()

    assert len(failure.message.encode()) <= 8_192


async def test_a_handler_that_exceeds_its_timeout_is_canceled() -> None:
    """WRK-005."""
    was_canceled = asyncio.Event()

    async def hang(context: JobContext, payload: object) -> None:  # noqa: ARG001 - a handler's parameters
        try:
            await asyncio.Event().wait()
        finally:
            was_canceled.set()

    bench = Bench(hang, timeout_seconds=1)

    outcome = await asyncio.wait_for(bench.begin(), 10)

    assert was_canceled.is_set()
    assert isinstance(outcome, Failed)
    assert (outcome.failure.kind, outcome.failure.code) == (JobFailureKind.TIMEOUT, "job.timeout_exceeded")
    assert bench.ended.is_set()


async def test_a_thread_that_exceeds_its_timeout_is_abandoned() -> None:
    """WRK-005, WRK-016. Its slot is taken until it returns, and what it returns then is not seen."""
    may_return = threading.Event()

    def hang(context: RunningJobContext, payload: object) -> str:  # noqa: ARG001 - a handler's parameters
        may_return.wait(10)
        return f"cancel_requested={context.cancel_requested}"

    bench = Bench(hang, timeout_seconds=1)

    outcome = await asyncio.wait_for(bench.begin(), 10)

    assert isinstance(outcome, Failed)
    assert outcome.failure.kind is JobFailureKind.TIMEOUT
    assert not bench.ended.is_set()
    may_return.set()
    await asyncio.wait_for(bench.ended.wait(), 5)


async def test_a_timer_watches_only_those_that_run() -> None:
    """An attempt's time begins with its handler, also when others of its claim began earlier."""
    begun = asyncio.Event()

    async def hang(context: JobContext, payload: object) -> None:  # noqa: ARG001 - a handler's parameters
        begun.set()
        await asyncio.Event().wait()

    early, late, never = (Bench(hang, timeout_seconds=1) for _ in range(3))
    AttemptTimeouts(1, [early.execution, late.execution, never.execution])
    early_task = asyncio.create_task(early.execute())

    assert isinstance(await asyncio.wait_for(early_task, 10), Failed)
    late_task = asyncio.create_task(late.execute())
    begun.clear()
    await begun.wait()
    began_at = monotonic()
    assert isinstance(await asyncio.wait_for(late_task, 10), Failed)

    assert monotonic() - began_at >= 0.9
    never.execution.end()


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        (CancelCause.TIMEOUT, JobFailureKind.TIMEOUT),
        (CancelCause.LEASE_LOST, Dropped(code="job.lease_owner_mismatch")),
        (CancelCause.LEASE_MAINTENANCE_FAILED, Dropped(code="job.lease_maintenance_failed")),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
@pytest.mark.parametrize("ending", ["returns", "fails", "panics", "lets go"])
async def test_a_canceled_handler_is_judged_by_why_it_was_canceled(
    cause: CancelCause, expected: JobFailureKind | Dropped, ending: str
) -> None:
    """Also one that swallows the cancellation."""
    begun = asyncio.Event()

    async def stubborn(context: JobContext, payload: object) -> str:  # noqa: ARG001 - a handler's parameters
        try:
            begun.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if ending == "fails":
                raise JobFailure.terminal("mine", "not the worker's") from None
            if ending == "panics":
                raise ValueError from None
            if ending == "lets go":
                raise
        return "done"

    bench = Bench(stubborn)
    task = bench.begin()
    await begun.wait()

    bench.execution.cancel(cause)
    outcome = await asyncio.wait_for(task, 5)

    assert (outcome.failure.kind if isinstance(outcome, Failed) else outcome) == expected


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        ("returns", Succeeded(output_json='"done"')),
        ("fails", "mine"),
        ("panics", "job.worker_shutdown"),
        ("lets go", "job.worker_shutdown"),
    ],
)
async def test_a_handler_that_ends_well_at_a_shutdown_counts(ending: str, expected: object) -> None:
    begun = asyncio.Event()

    async def stubborn(context: JobContext, payload: object) -> str:  # noqa: ARG001 - a handler's parameters
        try:
            begun.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if ending == "fails":
                raise JobFailure.terminal("mine", "not the worker's") from None
            if ending == "panics":
                raise ValueError from None
            if ending == "lets go":
                raise
        return "done"

    bench = Bench(stubborn)
    task = bench.begin()
    await begun.wait()

    bench.execution.cancel(CancelCause.SHUTDOWN)
    outcome = await asyncio.wait_for(task, 5)

    assert (outcome.failure.code if isinstance(outcome, Failed) else outcome) == expected


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        ("returns", Succeeded(output_json='"done"')),
        ("fails", "mine"),
        ("panics", "job.handler_panic"),
        ("breaks off", "job.worker_shutdown"),
    ],
)
async def test_a_thread_that_ends_after_it_was_asked_to_is_judged_by_its_end(ending: str, expected: object) -> None:
    """It cannot be canceled, so whatever it does is its own doing."""
    begun = asyncio.Event()
    was_asked = threading.Event()

    def obliging(context: ThreadJobContext, payload: object) -> str:  # noqa: ARG001 - a handler's parameters
        context.raise_if_cancel_requested()
        loop.call_soon_threadsafe(begun.set)
        was_asked.wait(10)
        assert context.cancel_requested
        if ending == "breaks off":
            context.raise_if_cancel_requested()
        if ending == "fails":
            raise JobFailure.terminal("mine", "not the worker's")
        if ending == "panics":
            raise ValueError
        return "done"

    loop = asyncio.get_running_loop()
    bench = Bench(obliging)
    task = bench.begin()
    await begun.wait()

    bench.execution.cancel(CancelCause.SHUTDOWN)
    was_asked.set()
    outcome = await asyncio.wait_for(task, 5)

    assert (outcome.failure.code if isinstance(outcome, Failed) else outcome) == expected


async def test_a_thread_that_does_not_end_at_a_shutdown_is_left_to_its_lease() -> None:
    """It goes on in this process, so no other may begin before the lease has ended."""
    begun = asyncio.Event()
    may_return = threading.Event()

    def hang(context: JobContext, payload: object) -> None:  # noqa: ARG001 - a handler's parameters
        loop.call_soon_threadsafe(begun.set)
        may_return.wait(10)

    loop = asyncio.get_running_loop()
    bench = Bench(hang)
    task = bench.begin()
    await begun.wait()

    bench.execution.cancel(CancelCause.SHUTDOWN)
    bench.execution.abandon()

    assert await asyncio.wait_for(task, 5) == Dropped(code="job.worker_shutdown")
    may_return.set()
    await asyncio.wait_for(bench.ended.wait(), 5)


@both_kinds
@pytest.mark.parametrize("cause", [CancelCause.SHUTDOWN, CancelCause.LEASE_LOST])
async def test_a_handler_that_was_canceled_before_it_began_is_never_called(
    kind: Callable[[Handler], Handler], cause: CancelCause
) -> None:
    calls: list[object] = []
    bench = Bench(kind(lambda context, _payload: calls.append(context)))
    bench.execution.cancel(cause)

    outcome = await bench.execute()

    assert calls == []
    assert bench.ended.is_set()
    if cause is CancelCause.SHUTDOWN:
        assert isinstance(outcome, Failed)
        assert outcome.failure.code == "job.worker_shutdown"
        assert outcome.retry_delay == timedelta()
    else:
        assert outcome == Dropped(code="job.lease_owner_mismatch")


async def test_the_first_cause_counts() -> None:
    begun = asyncio.Event()

    async def hang(context: JobContext, payload: object) -> None:  # noqa: ARG001 - a handler's parameters
        begun.set()
        await asyncio.Event().wait()

    bench = Bench(hang)
    task = bench.begin()
    await begun.wait()

    bench.execution.cancel(CancelCause.LEASE_LOST)
    bench.execution.cancel(CancelCause.TIMEOUT)

    assert await asyncio.wait_for(task, 5) == Dropped(code="job.lease_owner_mismatch")


async def test_a_cancellation_after_the_end_changes_nothing() -> None:
    bench = Bench(coroutine(lambda _context, _payload: "done"))
    outcome = await bench.execute()

    bench.execution.cancel(CancelCause.TIMEOUT)
    bench.execution.abandon()

    assert outcome == Succeeded(output_json='"done"')
    assert bench.execution.cancel_cause is None


async def test_a_task_canceled_from_outside_ends_as_a_shutdown() -> None:
    """As ``asyncio.run`` does to all tasks when the program ends without stopping the worker."""
    begun = asyncio.Event()

    async def hang(context: JobContext, payload: object) -> None:  # noqa: ARG001 - a handler's parameters
        begun.set()
        await asyncio.Event().wait()

    bench = Bench(hang)
    task = bench.begin()
    await begun.wait()

    bench.is_stopping = True
    task.cancel()
    outcome = await asyncio.wait_for(task, 5)

    assert isinstance(outcome, Failed)
    assert (outcome.failure.kind, outcome.failure.code) == (JobFailureKind.RETRYABLE, "job.worker_shutdown")


async def test_what_follows_a_canceled_handler_is_not_canceled() -> None:
    begun = asyncio.Event()

    async def stubborn(context: JobContext, payload: object) -> None:  # noqa: ARG001 - a handler's parameters
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return

    async def execute_and_count() -> int:
        await bench.execute()
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    bench = Bench(stubborn)
    task = asyncio.create_task(execute_and_count())
    await begun.wait()
    bench.execution.cancel(CancelCause.TIMEOUT)

    assert await asyncio.wait_for(task, 5) == 0


async def test_a_type_without_a_handler_fails_for_good() -> None:
    """WRK-006."""
    bench = Bench(None)

    failure = await bench.failure()

    assert (failure.kind, failure.code) == (JobFailureKind.TERMINAL, "job.handler_not_registered")
    assert bench.ended.is_set()


@both_kinds
@pytest.mark.parametrize(
    "stored",
    [{"payload_json": "[" * 100_000 + "]" * 100_000}, {"checkpoint_json": "9" * 5_000}],
    ids=["payload", "checkpoint"],
)
async def test_what_python_cannot_decode_fails_for_good(
    kind: Callable[[Handler], Handler], stored: dict[str, str]
) -> None:
    calls: list[object] = []
    bench = Bench(kind(lambda context, _payload: calls.append(context)), **stored)  # pyright: ignore[reportArgumentType]

    failure = await bench.failure()

    assert (failure.kind, failure.code) == (JobFailureKind.TERMINAL, "job.payload_undecodable")
    assert calls == []
    assert bench.ended.is_set()


@both_kinds
async def test_a_handler_gets_context_and_payload(kind: Callable[[Handler], Handler]) -> None:
    """WRK-023."""
    seen: list[tuple[RunningJobContext, object]] = []
    bench = Bench(
        kind(lambda context, payload: seen.append((context, payload))),
        payload_json='{"to":"a@example.org"}',
        checkpoint_json="[7]",
    )

    await bench.execute()

    ((context, payload),) = seen
    assert payload == {"to": "a@example.org"}
    assert (context.job_id, context.job_type, context.organization_id) == (JOB, "email.send", ORGANIZATION)
    assert (context.run_number, context.attempt, context.max_attempts, context.worker_id) == (2, 3, 5, "worker-1")
    assert context.saved_checkpoint == [7]
    assert not context.cancel_requested
    remaining = context.deadline - datetime.now(UTC)
    assert timedelta(seconds=30) < remaining <= timedelta(seconds=61)


async def test_a_thread_sees_the_context_variables_of_the_worker() -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("set")

    outcome = await Bench(plain(lambda _context, _payload: variable.get())).execute()

    assert outcome == Succeeded(output_json='"set"')


async def test_a_callable_object_with_an_async_call_is_awaited() -> None:
    class Mailer:
        async def __call__(self, context: JobContext, payload: object) -> object:
            return [context.attempt, payload]

    assert await Bench(Mailer()).execute() == Succeeded(output_json="[3,[1]]")


async def test_a_plain_function_that_returns_a_coroutine_is_a_panic_that_says_so() -> None:
    async def send() -> None:
        raise AssertionError("it must not run")

    failure = await Bench(lambda _context, _payload: send()).failure()

    assert failure.kind is JobFailureKind.PANICKED
    assert "async def" in failure.message


class Broken(JobFailure):
    """A failure whose subclass makes its attributes unusable."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(JobFailureKind.RETRYABLE, "smtp.busy", "try later")
        self.__dict__.update(attributes)


class Unreadable:
    def __str__(self) -> str:
        raise ValueError("no text")


@pytest.mark.parametrize("attributes", [{"kind": "RETRYABLE"}, {"code": " "}, {"code": 7}, {"message": Unreadable()}])
async def test_a_broken_failure_is_a_panic(attributes: dict[str, Any]) -> None:
    failure = await Bench(coroutine(raising(Broken(**attributes)))).failure()

    assert (failure.kind, failure.code) == (JobFailureKind.PANICKED, "job.handler_panic")


async def test_a_handler_that_cancels_its_own_task_panics() -> None:
    """As a shutdown it would be due again at once and burn its attempts."""

    async def cancel_itself(context: JobContext, payload: object) -> None:  # noqa: ARG001 - a handler's parameters
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.Event().wait()

    failure = await Bench(cancel_itself).failure()

    assert (failure.kind, failure.message) == (JobFailureKind.PANICKED, "the handler canceled itself")


@both_kinds
async def test_a_handler_does_not_begin_after_its_lease(kind: Callable[[Handler], Handler]) -> None:
    calls: list[object] = []
    bench = Bench(kind(lambda _context, payload: calls.append(payload)))
    bench.execution.lease_good_until = monotonic()

    assert await bench.execute() == Dropped(code="job.lease_maintenance_failed")
    assert calls == []


async def test_a_handler_that_gets_no_thread_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    bench = Bench(plain(lambda _context, payload: calls.append(payload)))

    def refuse(thread: threading.Thread) -> Never:  # noqa: ARG001 - a method's parameter
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        failure = await bench.failure()

    assert (failure.kind, failure.code) == (JobFailureKind.RETRYABLE, "job.worker_overloaded")
    assert bench.ended.is_set()
    assert calls == []


async def test_a_call_that_waited_for_its_thread_is_not_made_after_a_cancellation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[object] = []
    bench = Bench(plain(lambda _context, payload: calls.append(payload)))
    start = threading.Thread.start

    def start_late(thread: threading.Thread) -> None:
        bench.execution.cancel(CancelCause.SHUTDOWN)
        start(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start_late)
        failure = await bench.failure()

    assert failure.code == "job.worker_shutdown"
    assert calls == []
    await asyncio.wait_for(bench.ended.wait(), 5)


def fails_to_connect(_context: JobContext, _payload: object) -> Never:
    raise ConnectionRefusedError("no answer")


@pytest.mark.parametrize("form", [plain, coroutine])
@pytest.mark.parametrize("retry_on", [(OSError,), (KeyError, ConnectionError)])
async def test_an_exception_that_the_registration_names_is_retryable(
    form: Callable[[Handler], Handler], retry_on: tuple[type[Exception], ...]
) -> None:
    failure = await Bench(form(fails_to_connect), retry_on=retry_on).failure()

    assert (failure.kind, failure.code) == (JobFailureKind.RETRYABLE, "job.handler_exception")
    assert failure.message == "ConnectionRefusedError: no answer"


@pytest.mark.parametrize("form", [plain, coroutine])
async def test_an_exception_that_the_registration_does_not_name_is_a_panic(form: Callable[[Handler], Handler]) -> None:
    failure = await Bench(form(fails_to_connect), retry_on=(KeyError,)).failure()

    assert (failure.kind, failure.code) == (JobFailureKind.PANICKED, "job.handler_panic")


@pytest.mark.parametrize("retry_on", [(), (OSError,)])
async def test_a_lost_connection_of_runledger_is_retryable_under_its_own_code(
    retry_on: tuple[type[Exception], ...],
) -> None:
    async def enqueue(_context: JobContext, _payload: object) -> None:
        raise DatabaseConnectionError("the pool gave no connection", code="db.pool_timeout")

    failure = await Bench(enqueue, retry_on=retry_on).failure()

    assert (failure.kind, failure.code) == (JobFailureKind.RETRYABLE, "db.pool_timeout")
    assert failure.message == "the pool gave no connection"
