"""What all parts that run in one event loop have in common, though they do not know of each other."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PerLoop(Generic[T]):
    """One object for each event loop, made when it is first asked for.

    Kept by a module: whether the loop stands still, and who gets its signals, is one matter for all workers and
    supervisors in it, and an application may make these in places that share nothing else.

    Args:
        make: Makes the object. It must not keep the loop alive when nobody uses it.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, T] = weakref.WeakKeyDictionary()

    def of_running_loop(self) -> T:
        """Return the object of the running loop."""
        loop = asyncio.get_running_loop()
        made = self._made.get(loop)
        if made is None:  # no other thread asks for this loop's
            made = self._made[loop] = self._make()
        return made
