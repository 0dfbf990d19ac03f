"""Limits of single types, and which types the next claim may ask for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from runledger.core.jobs.records import ClaimedJob


class TypeLimits:
    """Counts what runs of the types that have a limit of their own.

    Args:
        limits: How many jobs of a type run at once.
    """

    def __init__(self, limits: Mapping[str, int]) -> None:
        self.limits = limits
        self._running: Counter[str] = Counter()

    def take(self, jobs: Iterable[ClaimedJob]) -> None:
        """Count jobs that were claimed."""
        if self.limits:
            self._running.update(job.job_type for job in jobs if job.job_type in self.limits)

    def free(self, job_type: str) -> bool:
        """Note that a job has ended, and tell whether its type was at its limit until now."""
        if job_type not in self.limits:
            return False
        self._running[job_type] -= 1
        return self.free_of(job_type) == 1

    def free_of(self, job_type: str) -> int:
        """How many more jobs of a type with a limit may run."""
        return self.limits[job_type] - self._running[job_type]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What one claim asks for.

    Attributes:
        limit: The most jobs to claim.
        job_types: The types to claim.
    """

    limit: int
    job_types: Sequence[str]


class ClaimTurns:
    """Which types the next claim asks for, so that no type is claimed beyond its own limit.

    A claim has one limit for all its types. While little is due, one claim asks for all types that have a free slot,
    for as many jobs as the scarcest of them may still start. When that comes back full there may be more: then the
    types without scarcity and each scarce one take turns with claims of their own, until a claim for each type that has
    a free slot came back short.

    Args:
        limits: The limits, and what runs.
        job_types: The types of the worker; read at each claim.
    """

    def __init__(self, limits: TypeLimits, job_types: Sequence[str]) -> None:
        self._limits = limits
        self._job_types = job_types
        self._is_taking_turns = False
        self._next = 0
        self._short_types: set[str] = set()

    def next(self, free: int) -> Turn | None:
        """Return what to claim with so many free slots; ``None`` when nothing may be claimed."""
        if free <= 0 or not self._job_types:
            return None
        if not self._limits.limits:
            return Turn(limit=free, job_types=self._job_types)
        groups = self._groups(free)
        if not groups:
            return None
        if self._is_taking_turns:
            return groups[self._next % len(groups)]
        return Turn(
            limit=min(group.limit for group in groups),
            job_types=[job_type for group in groups for job_type in group.job_types],
        )

    def answered(self, turn: Turn, *, is_short: bool) -> bool:
        """Take note of how a claim came back, and tell whether to wait before the next one.

        Args:
            turn: The turn that was asked for.
            is_short: Whether it brought less than it asked for, so that no more is due of its types.
        """
        if not self._is_taking_turns:
            self._is_taking_turns = bool(self._limits.limits) and not is_short
            self._short_types.clear()
            self._next = 0
            return is_short
        self._next += 1
        if not is_short:
            self._short_types.clear()
            return False
        # By type: which of them are scarce changes while claims are on their way, and with it who takes turns.
        self._short_types.update(turn.job_types)
        if any(self._has_room(job_type) for job_type in self._job_types if job_type not in self._short_types):
            return False
        self._is_taking_turns = False
        return True

    def woken(self) -> None:
        """More may be due, of any type, than the claims before this one have seen."""
        self._short_types.clear()

    def _has_room(self, job_type: str) -> bool:
        """Whether one more of a type may run. A type without room wakes the claims when it gets some."""
        return job_type not in self._limits.limits or self._limits.free_of(job_type) > 0

    def _groups(self, free: int) -> list[Turn]:
        left_of = {
            job_type: self._limits.free_of(job_type) for job_type in self._job_types if job_type in self._limits.limits
        }
        scarce = {job_type: left for job_type, left in left_of.items() if left < free}
        roomy = [job_type for job_type in self._job_types if job_type not in scarce]
        groups = [Turn(limit=free, job_types=roomy)] if roomy else []
        return groups + [Turn(limit=left, job_types=[job_type]) for job_type, left in scarce.items() if left > 0]
