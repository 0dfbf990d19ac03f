"""Where the next claim begins: behind what was claimed, and from time to time at the very start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from runledger.postgres.jobs import ClaimPosition

_SHORTEST_SWEEP_PAUSE_SECONDS = 1.0
_SWEEP_SHARE = 20
_MOMENT = timedelta(microseconds=1)
_MAX_POSITIONS = 64


class ClaimCursor:
    """Keeps the position of the last claim, for each set of types that was claimed.

    Nothing depends on it but speed. A sweep, which is a claim from the start, is made at first, after :meth:`forget`,
    and whenever a second and twenty times the duration of the last sweep have gone by. It finds what lies behind the
    position: jobs that were committed late or were locked by somebody, and everything if a clock was moved. Each claim
    goes on where the one before it ended, a sweep or not, so however many jobs come late, one sweep gets at them.
    """

    def __init__(self) -> None:
        self._positions: dict[tuple[str, ...], ClaimPosition] = {}
        self._sweep_at: dict[tuple[str, ...], float] = {}
        # What came while a claim was in flight, which may have looked before.
        self._is_forgotten = False
        self._expected: datetime | None = None

    def position(self, job_types: Sequence[str], now: float) -> ClaimPosition | None:
        """Return where a claim of these types that begins now has to look; ``None`` is a sweep.

        Args:
            job_types: The types.
            now: Seconds of a monotonic clock.
        """
        types = tuple(job_types)
        self._is_forgotten = False
        self._expected = None
        return self._positions.get(types) if now < self._sweep_at.get(types, now) else None

    def ended(
        self, job_types: Sequence[str], position: ClaimPosition, *, is_sweep: bool, started_at: float, now: float
    ) -> None:
        """Note where a claim ended.

        Args:
            job_types: What it asked for.
            position: Its end.
            is_sweep: Whether it had no position.
            started_at: When it was sent, by the monotonic clock.
            now: When its answer was there.
        """
        if self._is_forgotten:
            return
        types = tuple(job_types)
        if types not in self._positions and len(self._positions) >= _MAX_POSITIONS:
            self._positions.clear()
            self._sweep_at.clear()
        self._positions[types] = position if self._expected is None else _lowered(position, self._expected)
        if is_sweep:
            self._sweep_at[types] = now + max(_SHORTEST_SWEEP_PAUSE_SECONDS, _SWEEP_SHARE * (now - started_at))

    def expect(self, due_at: datetime) -> None:
        """Let the next claim see jobs that are due from this instant on, however late they were committed."""
        self._expected = due_at if self._expected is None else min(self._expected, due_at)
        for types, position in self._positions.items():
            self._positions[types] = _lowered(position, due_at)

    def forget(self) -> None:
        """Make the next claim a sweep."""
        self._is_forgotten = True
        self._positions.clear()
        self._sweep_at.clear()


def _lowered(position: ClaimPosition, due_at: datetime) -> ClaimPosition:
    return replace(position, watermark=min(position.watermark, due_at - _MOMENT))
