"""The places where outcomes wait to be written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import timedelta

from runledger.runtime.held_outcomes import HeldOutcomes
from runledger.runtime.outcome import Succeeded
from runledger.runtime.outcome_line import OutcomeLine
from runledger.runtime.outcome_queue import OutcomeQueue
from runledger.runtime.unwritten_outcome import Unwritten

_BUSY_PAUSES_SECONDS = (0.01, 0.02, 0.04, 0.08)


class OutcomePlaces:
    """Where each outcome is. Most are in the queue; what cannot be written with others goes on in one of three places.

    Attributes:
        queue: Written many at a time.
        held: Somebody keeps their jobs or their runs locked. Tried again until that ends.
        singles: PostgreSQL refused them in a batch. Written one by one.
        large_releases: More than a thousand steps wait for each of their steps. Written one by one as well.

    Args:
        writer_count: The number of writers of the queue.
        single_timeout: How long the write of a single one may take.
        large_release_timeout: How long that of one may take for which many steps wait.
        on_held: Called when one is held from now on, and no longer in the way of others.
    """

    def __init__(
        self,
        writer_count: int,
        *,
        single_timeout: timedelta,
        large_release_timeout: timedelta,
        on_held: Callable[[], None],
    ) -> None:
        self.queue = OutcomeQueue(writer_count)
        self.held = HeldOutcomes()
        self.singles = OutcomeLine(single_timeout)
        self.large_releases = OutcomeLine(large_release_timeout)
        self._on_held = on_held

    def add(self, item: Unwritten) -> None:
        """Put a new one where it belongs."""
        if item.releases_many:
            self._stand_in_line(item)
        elif self.held.holds_run_of(item) and isinstance(item.outcome, Succeeded):
            self._add_to_held(item)  # a batch would wait for the run in vain; a failure may need only the job
        else:
            self.queue.add(item)

    def write_later(self, item: Unwritten) -> None:
        """Move one whose row is locked: some times into the queue again, a little later each time, then to the held.

        Mostly it is the claim of another worker that has locked it. It saw the job waiting, came to the row when it was
        claimed here already, finds nothing to claim, and lets go of the row with its own commit milliseconds later. In
        a backlog that two workers share there are hundreds of them, which one by one would hold up both. A run was
        waited for already.
        """
        if item.is_held or item.busy_count == len(_BUSY_PAUSES_SECONDS) or not item.is_plain:
            self.hold(item)
            return
        again = _leave_batch(item)
        again.busy_count = item.busy_count + 1
        asyncio.get_running_loop().call_later(_BUSY_PAUSES_SECONDS[item.busy_count], self.queue.add, again)

    def hold(self, item: Unwritten) -> None:
        """Keep what somebody has locked until it is free, unless it is kept already."""
        if item.is_held:
            return
        again = _leave_batch(item)
        if again.releases_many:
            self._stand_in_line(again)  # at its end, so that the others get their turn
        else:
            self._add_to_held(again)

    def halve(self, group: Iterable[Unwritten]) -> list[list[Unwritten]]:
        """Return the halves of what is still to write. An item that stands alone goes on in the line of its own."""
        rest = [item for item in group if not item.is_settled]
        if len(rest) > 1:
            middle = len(rest) // 2
            return [rest[:middle], rest[middle:]]
        for item in rest:
            self._stand_in_line(_leave_batch(item))
        return []

    def _add_to_held(self, item: Unwritten) -> None:
        self.held.add(item)
        self._on_held()

    def _stand_in_line(self, item: Unwritten) -> None:
        (self.large_releases if item.releases_many else self.singles).add(item)


def _leave_batch(item: Unwritten) -> Unwritten:
    """Settle one for the batch it was written in, and return the same outcome for the place where it goes on."""
    item.is_settled = True
    return Unwritten(item.execution, item.outcome)
