"""Outcomes that cannot be written yet, because another transaction keeps the job or its run locked."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from uuid import UUID

from runledger.runtime.clock import monotonic
from runledger.runtime.outcome_batch import OutcomeBatch
from runledger.runtime.unwritten_outcome import Unwritten

_UNCOUNTED_OUTCOMES = 1_000
_UNCOUNTED_BYTES = 16 * 1024 * 1024


class HeldOutcomes:
    """Held outcomes in groups. Those of one run are a group, as they become free together; so is each plain job."""

    def __init__(self) -> None:
        self._groups: dict[UUID, _Group] = {}
        self._count = 0
        self._bytes = 0
        self._turn_count = 0
        self._is_filled = asyncio.Event()

    @property
    def count(self) -> int:
        """How many there are."""
        return self._count

    @property
    def uncounted(self) -> int:
        """How many of them a worker leaves out when it looks whether it may claim.

        A run that somebody keeps locked must not stop the claims of everything else; neither may it fill the memory.
        """
        return min(self._count, _UNCOUNTED_OUTCOMES) if self._bytes <= _UNCOUNTED_BYTES else 0

    @property
    def longest(self) -> tuple[float, Unwritten] | None:
        """How many seconds the oldest group has been held, and one of its outcomes; ``None`` when there is none."""
        if not self._groups:
            return None
        group = min(self._groups.values(), key=_held_since)
        return monotonic() - group.since, group.items[0]

    def holds_run_of(self, item: Unwritten) -> bool:
        """Whether there are outcomes of the same run, so that this one would be held as well."""
        return not item.is_plain and _key(item) in self._groups

    def add(self, item: Unwritten) -> None:
        """Keep one."""
        item.is_held = True
        self._groups.setdefault(_key(item), _Group()).items.append(item)
        self._count += 1
        self._bytes += item.size
        self._is_filled.set()

    async def until_filled(self) -> None:
        """Wait until there is one."""
        await self._is_filled.wait()

    def batches(self) -> list[list[Unwritten]]:
        """Return all of them, in as many batches as it takes."""
        return _batches([item for group in self._groups.values() for item in group.items])

    def next_group(self) -> list[Unwritten]:
        """Return the group whose last turn is the longest ago, or a batch of it. There is one."""
        group = min(self._groups.values(), key=_last_turn)
        self._turn_count += 1
        group.last_turn = self._turn_count
        return _batches(group.items)[0]

    def let_go_settled(self) -> None:
        """Keep no longer what has been settled."""
        for group in self._groups.values():
            group.items = [item for item in group.items if not item.is_settled]
        self._groups = {key: group for key, group in self._groups.items() if group.items}
        # Anew: an outcome that was refused was exchanged for a smaller one.
        self._count = sum(len(group.items) for group in self._groups.values())
        self._bytes = sum(item.size for group in self._groups.values() for item in group.items)
        if not self._groups:
            self._is_filled.clear()


@dataclass(slots=True)
class _Group:
    items: list[Unwritten] = field(default_factory=list[Unwritten])
    since: float = field(default_factory=monotonic)
    last_turn: int = 0


def _held_since(group: _Group) -> float:
    return group.since


def _last_turn(group: _Group) -> int:
    return group.last_turn


def _key(item: Unwritten) -> UUID:
    return item.execution.job.workflow_run_id or item.job_id


def _batches(items: list[Unwritten]) -> list[list[Unwritten]]:
    batches = [OutcomeBatch()]
    for item in items:
        if not batches[-1].take(item):
            batches.append(OutcomeBatch())
            batches[-1].take(item)
    return [batch.items for batch in batches]
