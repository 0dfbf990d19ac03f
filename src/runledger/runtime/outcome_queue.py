"""The queue of outcomes that several writers write, many at a time."""

from __future__ import annotations

import asyncio
from collections import deque

from runledger.runtime.outcome_batch import OutcomeBatch
from runledger.runtime.unwritten_outcome import Unwritten


class OutcomeQueue:
    """Outcomes in the order in which they came.

    Any writer takes those of plain jobs. All outcomes of a run go to the same one: ends of steps in one run take turns,
    so two writers would wait for each other there.

    Args:
        writer_count: How many writers take from it.
    """

    def __init__(self, writer_count: int) -> None:
        self._plain: deque[_Numbered] = deque()
        self._of_runs: list[deque[_Numbered]] = [deque() for _ in range(writer_count)]
        self._is_filled = [asyncio.Event() for _ in range(writer_count)]
        self._added_count = 0

    def add(self, item: Unwritten) -> None:
        """Put one at the end."""
        self._added_count += 1
        run_id = item.execution.job.workflow_run_id
        if run_id is None:
            self._plain.append((self._added_count, item))
            for is_filled in self._is_filled:
                is_filled.set()
        else:
            # The last bits of an id are random, so the runs are spread evenly.
            writer = run_id.int % len(self._of_runs)
            self._of_runs[writer].append((self._added_count, item))
            self._is_filled[writer].set()

    async def take(self, writer: int) -> list[Unwritten]:
        """Wait for outcomes, and take a batch.

        Args:
            writer: The number of the writer that takes, counted from 0.
        """
        lines = (self._plain, self._of_runs[writer])
        while not any(lines):
            self._is_filled[writer].clear()
            await self._is_filled[writer].wait()
        batch = OutcomeBatch()
        while any(lines):
            line = min(filter(None, lines), key=_number_of_first)
            _, item = line[0]
            if not batch.take(item):
                break
            line.popleft()
        return batch.items


_Numbered = tuple[int, Unwritten]


def _number_of_first(line: deque[_Numbered]) -> int:
    return line[0][0]
