"""Environment variables for the length of a block."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import Self

# The environment belongs to the process, so its lock does too. Reentrant, so that blocks nest.
_ENVIRONMENT_LOCK = threading.RLock()


class ScopedEnv:
    """Sets and removes environment variables for a ``with`` block, and restores them also when it fails.

    ::

        with ScopedEnv.set([("JOBS_POLL_INTERVAL_MS", "25"), ("JOBS_WORKER_ID", None)]):
            config = JobsConfig.from_env()

    One thread at a time is in such a block; others wait. Blocks nest. Do not await within one what another
    task needs for a block of its own: tasks share a thread, so their blocks would restore each other's
    values.
    """

    def __init__(self, variables: Iterable[tuple[str, str | None]]) -> None:
        self._variables = tuple(variables)
        self._former: dict[str, str | None] = {}

    @classmethod
    def set(cls, variables: Iterable[tuple[str, str | None]]) -> Self:
        """Return a context manager that gives each name its value, or removes it for ``None``."""
        return cls(variables)

    def __enter__(self) -> Self:
        _ENVIRONMENT_LOCK.acquire()
        try:
            self._former = {name: os.environ.get(name) for name, _ in self._variables}
            try:
                _apply(self._variables)
            except BaseException:
                _apply(self._former.items())
                raise
        except BaseException:
            _ENVIRONMENT_LOCK.release()
            raise
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        try:
            _apply(self._former.items())
        finally:
            _ENVIRONMENT_LOCK.release()


def _apply(variables: Iterable[tuple[str, str | None]]) -> None:
    for name, value in variables:
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
