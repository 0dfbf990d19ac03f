"""Outcomes that one statement writes."""

from __future__ import annotations

from uuid import UUID

from runledger.postgres.document import MAX_BATCH_BYTES
from runledger.runtime.outcome import Succeeded
from runledger.runtime.unwritten_outcome import Unwritten

MAX_BATCH = 500
"""Outcomes that one statement carries at most."""


class OutcomeBatch:
    """What one statement can carry, and at least one outcome."""

    def __init__(self) -> None:
        self._by_job: dict[UUID, Unwritten] = {}
        self._room = MAX_BATCH_BYTES

    @property
    def items(self) -> list[Unwritten]:
        """What was taken, in order."""
        return list(self._by_job.values())

    def take(self, item: Unwritten) -> bool:
        """Take one more, if the statement can carry it too. A job occurs once in it: its document is keyed by job."""
        size = _output_size(item)
        is_full = len(self._by_job) == MAX_BATCH or size > self._room
        if self._by_job and (is_full or item.job_id in self._by_job):
            return False
        self._room -= size
        self._by_job[item.job_id] = item
        return True


def _output_size(item: Unwritten) -> int:
    outcome = item.outcome
    if not isinstance(outcome, Succeeded) or outcome.output_json is None:
        return 0  # the text of a failure is cut when it is stored
    return len(outcome.output_json.encode())
