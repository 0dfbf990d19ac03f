"""Where the next claim begins: behind what was claimed, and from time to time at the very start."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from runledger.postgres.jobs import ClaimPosition

_SHORTEST_SWEEP_PAUSE_SECONDS = 1.0
# The answer to a sweep may be late for any reason. That must not hide a job for long.
_LONGEST_SWEEP_PAUSE_SECONDS = 15.0
_SWEEP_SHARE = 20
_MAX_POSITIONS = 64


class ClaimStart:
    """A claim in flight.

    Attributes:
        job_types: The types that it asks for.
        position: Where it begins; ``None`` is a sweep, which looks at everything.
        begun_at: When it was sent, in seconds of a monotonic clock.
        expected: The earliest due time of jobs that were told of meanwhile: the claim may have looked before.
        is_overtaken: Whether its end says nothing about where the next claim may begin.
    """

    __slots__ = ("begun_at", "expected", "is_overtaken", "job_types", "position")

    def __init__(self, job_types: tuple[str, ...], position: ClaimPosition | None, begun_at: float) -> None:
        self.job_types = job_types
        self.position = position
        self.begun_at = begun_at
        self.expected: datetime | None = None
        self.is_overtaken = False


class ClaimCursor:
    """Keeps the position of the last claim, for each set of types that was claimed. One claim is in flight at a time.

    Nothing depends on it but speed. A sweep, which is a claim from the start, is made at first, after :meth:`forget`
    and a failed claim, and whenever a second has gone by since the last one, or twenty times its duration if that is
    longer, but never more than fifteen seconds. It finds what lies behind the position: jobs that were committed late
    or were locked by somebody, and everything if a clock was moved. Each claim goes on where the one before it ended, a
    sweep or not, so however many jobs come late, one sweep gets at them.
    """

    def __init__(self) -> None:
        self._positions: dict[tuple[str, ...], ClaimPosition] = {}
        self._sweep_at: dict[tuple[str, ...], float] = {}
        self._in_flight: ClaimStart | None = None

    def begin(self, job_types: Sequence[str], now: float) -> ClaimStart:
        """Begin a claim of these types.

        Args:
            job_types: The types.
            now: The instant, in seconds of a monotonic clock.
        """
        types = tuple(job_types)
        position = self._positions.get(types) if now < self._sweep_at.get(types, now) else None
        self._in_flight = ClaimStart(types, position, now)
        return self._in_flight

    def ended(self, start: ClaimStart, position: ClaimPosition, now: float) -> None:
        """Note where a claim ended.

        Args:
            start: The claim.
            position: The position at which it ended.
            now: The instant of its answer.
        """
        self._in_flight = None
        if start.is_overtaken:
            return
        types = start.job_types
        if types not in self._positions and len(self._positions) >= _MAX_POSITIONS:
            self._positions.clear()
            self._sweep_at.clear()
        self._positions[types] = position if start.expected is None else position.before(start.expected)
        if start.position is None:
            pause = max(_SHORTEST_SWEEP_PAUSE_SECONDS, _SWEEP_SHARE * (now - start.begun_at))
            self._sweep_at[types] = now + min(pause, _LONGEST_SWEEP_PAUSE_SECONDS)

    def failed(self) -> None:
        """Note that a claim failed: nothing is known of what waits."""
        self._in_flight = None
        self.forget()

    def expect(self, due_at: datetime) -> None:
        """Let the next claim see jobs that are due from this instant on, however late they were committed."""
        start = self._in_flight
        if start is not None:
            start.expected = due_at if start.expected is None else min(start.expected, due_at)
        for types, position in self._positions.items():
            self._positions[types] = position.before(due_at)

    def forget(self) -> None:
        """Make the next claim a sweep."""
        if self._in_flight is not None:
            self._in_flight.is_overtaken = True
        self._positions.clear()
        self._sweep_at.clear()
