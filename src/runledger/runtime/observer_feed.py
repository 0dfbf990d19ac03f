"""Tell observers what happened, without anybody waiting for them."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from runledger.core.errors import InvalidArgumentError
from runledger.runtime.handler_threads import HandlerThreads
from runledger.runtime.lifecycle import LifecycleEvent, LifecycleObserver

_logger = logging.getLogger("runledger.observer")

_MOST_WAITING = 10_000
_BATCH = 500
_TIMEOUT_SECONDS = 10.0
_LAST_SECONDS = 1.0
_GRACE_SECONDS = 0.25


class ObserverFeed:
    """Hands events to observers, each in a task of its own.

    Belongs to the event loop. An observer that falls behind by 10,000 events misses those that follow until it has
    caught up; one call takes ten seconds at most, then an ``async`` one is canceled, and a thread is waited for.

    Args:
        observers: The observers to tell.

    Raises:
        InvalidArgumentError: One of them has no method ``observe``, or it is no list of them.
    """

    def __init__(self, observers: Sequence[LifecycleObserver] = ()) -> None:
        if not isinstance(observers, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
            problem = f"is of type {type(observers).__name__}"
            raise InvalidArgumentError("observers", problem, "put objects with a method observe(events) into a list")
        self._lines = [_Line(observer) for observer in observers]
        self.is_used = bool(self._lines)

    def tell(self, event: LifecycleEvent) -> None:
        """Take an event that was committed."""
        for line in self._lines:
            line.put(event)

    async def stop(self) -> None:
        """Let the observers take what waits, for a moment, and stop telling them."""
        await asyncio.gather(*(line.stop() for line in self._lines))


class _Line:
    """The events that wait for one observer."""

    def __init__(self, observer: LifecycleObserver) -> None:
        if inspect.isclass(observer) or not callable(getattr(observer, "observe", None)):
            raise InvalidArgumentError(
                "observers", "contains an object without observe()", "pass objects with a method observe(events)"
            )
        self._observe: Any = observer.observe
        self._is_async = inspect.iscoroutinefunction(observer.observe)
        self._name = type(observer).__qualname__
        self._threads = HandlerThreads()
        self._waiting: deque[LifecycleEvent] = deque()
        self._missed_count = 0
        self._is_failing = False
        self._has_news = asyncio.Event()
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._task: asyncio.Task[None] | None = None

    def put(self, event: LifecycleEvent) -> None:
        if len(self._waiting) >= _MOST_WAITING:
            self._missed_count += 1
            return
        self._waiting.append(event)
        self._is_idle.clear()
        self._has_news.set()
        if self._task is None:
            self._task = asyncio.create_task(self._tell_until_stopped())

    async def stop(self) -> None:
        if self._task is not None:
            try:
                async with asyncio.timeout(_LAST_SECONDS):
                    await self._is_idle.wait()
            except TimeoutError:
                self._missed_count += len(self._waiting)
            self._task.cancel()
            await asyncio.wait([self._task], timeout=_GRACE_SECONDS)
        self._log_missed()
        self._threads.close()

    async def _tell_until_stopped(self) -> None:
        while True:
            await self._has_news.wait()
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), _BATCH))]
            if not self._waiting:
                self._has_news.clear()
            try:
                await (self._call(batch) if self._is_async else self._call_in_thread(batch))
            except BaseException as error:
                # An observer may raise anything, and nobody may be harmed.
                if isinstance(error, asyncio.CancelledError) and _is_canceled():
                    raise
                self._log_failure(error)
            else:
                self._is_failing = False
            if len(self._waiting) < _MOST_WAITING:
                self._log_missed()
            if not self._waiting:
                self._is_idle.set()

    async def _call(self, batch: list[LifecycleEvent]) -> None:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            await self._observe(batch)

    async def _call_in_thread(self, batch: list[LifecycleEvent]) -> None:
        future = self._threads.submit(lambda: self._observe(batch))
        done, _ = await asyncio.wait([future], timeout=_TIMEOUT_SECONDS)
        if not done:
            # Nothing can end it, and a second one beside it would be against the promise.
            self._log_failure(TimeoutError("the observer took longer than ten seconds"))
        result = await future
        if result.error is not None:
            raise result.error

    def _log_failure(self, error: BaseException) -> None:
        if not self._is_failing:
            self._is_failing = True
            _logger.error("observer.failed", extra={"observer": self._name}, exc_info=error)

    def _log_missed(self) -> None:
        if self._missed_count:
            _logger.warning("observer.events_missed", extra={"observer": self._name, "event_count": self._missed_count})
            self._missed_count = 0


def _is_canceled() -> bool:
    """Whether somebody canceled the current task. An observer may raise CancelledError by itself."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
