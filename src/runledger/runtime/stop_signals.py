"""SIGTERM and SIGINT, for all supervisors of an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Generator

from runledger.runtime.per_loop import PerLoop

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """Calls whoever wants to be told of a signal. A loop has one handler for each signal, so it is shared."""

    def __init__(self) -> None:
        self._told: list[Callable[[], None]] = []
        self._handled: list[signal.Signals] = []

    @contextlib.contextmanager
    def calling(self, stop: Callable[[], None]) -> Generator[None, None, None]:
        """Call this at each signal, until the block ends; others that are called go on to be."""
        if not self._told:
            self._handle()
        self._told.append(stop)
        try:
            yield
        finally:
            self._told.remove(stop)
            if not self._told:
                self._leave()

    def _handle(self) -> None:
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            # Outside the main thread signals belong to the host; it calls request_shutdown.
            with contextlib.suppress(RuntimeError, ValueError):
                loop.add_signal_handler(number, self._tell)
                self._handled.append(number)

    def _leave(self) -> None:
        loop = asyncio.get_running_loop()
        while self._handled:
            loop.remove_signal_handler(self._handled.pop())

    def _tell(self) -> None:
        for stop in list(self._told):
            stop()


_stop_signals = PerLoop(StopSignals)


def calling_at_signals(stop: Callable[[], None]) -> contextlib.AbstractContextManager[None]:
    """Call this at each SIGTERM and SIGINT, as long as the block lasts."""
    return _stop_signals.of_running_loop().calling(stop)
