"""Threads for plain (not async) handlers."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

_Call = tuple[contextvars.Context, Callable[[], Any], Callable[["ThreadResult"], None]]


@dataclass(frozen=True, slots=True)
class ThreadResult:
    """What a call returned or raised. Carried as a value: a future refuses StopIteration as its exception."""

    value: Any
    error: BaseException | None


class NoThreadError(Exception):
    """The system has no thread to give; the call was not taken."""


class HandlerThreads:
    """Runs calls in daemon threads and hands their results to the event loop.

    Not ``ThreadPoolExecutor``: its threads are joined at interpreter exit, so one handler that never returns would
    keep the whole process from ending. A thread ends after some idle time.
    """

    def __init__(self, *, idle_seconds: float = 30.0) -> None:
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._idle_count = 0
        self._thread_count = 0
        self._idle_seconds = idle_seconds

    def submit(self, function: Callable[[], Any]) -> asyncio.Future[ThreadResult]:
        """Run a call in a thread and return the future of its result.

        The future belongs to the running event loop. Canceling it does not stop the thread; whoever must know when
        that is over adds a callback of its own in the call.

        Raises:
            NoThreadError: No thread is idle and none can be started. The call was not taken.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[ThreadResult] = loop.create_future()

        def settle(result: ThreadResult) -> None:
            if not future.done():
                future.set_result(result)

        def deliver(result: ThreadResult) -> None:
            # A closed loop has given this call up; there is nobody to tell.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(settle, result)

        self._ensure_thread()  # first: a call without a thread would be run by a later one, when nobody waits for it
        self._calls.put((contextvars.copy_context(), function, deliver))
        return future

    def close(self) -> None:
        """Let idle threads end now. Busy ones end after their call; nobody waits for them."""
        with self._lock:
            count = self._thread_count
        for _ in range(count):
            self._calls.put(None)

    def _ensure_thread(self) -> None:
        with self._lock:
            if self._idle_count > 0:
                self._idle_count -= 1  # taken here, so that two calls in a row do not count on one idle thread
                return
            self._thread_count += 1
            number = self._thread_count
        thread = threading.Thread(target=self._serve, name=f"runledger-handler-{number}", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            with self._lock:
                self._thread_count -= 1
            raise NoThreadError from None

    def _serve(self) -> None:
        while True:
            try:
                call = self._calls.get(timeout=self._idle_seconds)
            except Empty:
                with self._lock:
                    if self._idle_count == 0:
                        continue  # a call was promised to this thread just now
                    self._idle_count -= 1
                    self._thread_count -= 1
                return
            if call is None:
                with self._lock:
                    self._thread_count -= 1
                return
            context, function, deliver = call
            try:
                result = ThreadResult(context.run(function), None)
            except BaseException as raised:  # noqa: BLE001 (a handler may raise anything; the executor classifies it)
                result = ThreadResult(None, raised)
            # Idle before the result is known, or the next job would start a thread for nothing.
            with self._lock:
                self._idle_count += 1
            deliver(result)
            del call, context, function, deliver, result  # keep nothing of the job while waiting
