# Written by `make sync-ledger` from events_of_all_jobs.py; do not edit.
"""The part of the ledger about the events of all jobs, for blocking applications."""

from __future__ import annotations

from collections.abc import Generator
from datetime import timedelta
from typing import Any

from runledger.client.pausing import sync_pause
from runledger.client.sync_ledger_part import SyncLedgerPart
from runledger.core.errors import InvalidArgumentError
from runledger.core.jobs.event_tail import EventPage, TailedEvent
from runledger.postgres import admin
from runledger.postgres.document import check_duration
from runledger.postgres.drivers.psycopg import Connection

_ONE_SECOND = timedelta(seconds=1)
_SHORTEST_PAUSE_SECONDS = 0.01


class SyncEventsOfAllJobs(SyncLedgerPart):
    """Follow what happens to all jobs, for a log or a bus outside."""

    def tail_events(
        self, *, cursor: str | None = None, poll_interval: timedelta = _ONE_SECOND
    ) -> Generator[TailedEvent]:
        """Yield the events of all jobs in the order of their ids, and wait for new ones, for ever.

        None is skipped, although ids are not committed in their order, and each is yielded once. Keep ``cursor`` of an
        event together with what was done about it, and give it again after a restart. Events of all organizations are
        among them, so it is for the system and not for a tenant.

        A transaction that writes, in any database of the server, holds back the events after it for as long as it runs.

        Args:
            cursor: The place to begin at; ``None`` is the oldest event, :meth:`find_newest_event_cursor` gives that of
                now.
            poll_interval: How long to wait when nothing is new.

        Raises:
            InvalidArgumentError: ``job.invalid_pagination``: the cursor is none. Or the interval is none.
            QueryError: ``job.event_tail_set_back``: the database was set back in time, or is another one than that of
                the cursor.
            RunledgerError: A read failed. Begin again behind the last event.
        """
        check_duration("poll_interval", poll_interval)
        longest = poll_interval.total_seconds()
        if longest <= 0:
            raise InvalidArgumentError("poll_interval", "is not positive", "say how long to wait when nothing is new")
        seconds = 0.0
        while True:
            page = self.read_events_after(cursor)
            for event in page.events:
                yield event
            cursor = page.next_cursor
            if page.events and not page.is_caught_up:
                seconds = 0.0
                continue
            # What waits for a transaction that is about to end is looked for soon, and then less and less often.
            seconds = longest if page.is_caught_up else min(max(2 * seconds, _SHORTEST_PAUSE_SECONDS), longest)
            sync_pause(seconds)

    def read_events_after(
        self, cursor: str | None = None, *, limit: int = 1_000, connection: Connection[Any] | None = None
    ) -> EventPage:
        """Return the events of all jobs behind a cursor, in the order of their ids, none of them skipped.

        An event is returned when no transaction is left that might still commit one before it; a new one is seen by the
        second read after its commit.

        Args:
            cursor: ``next_cursor`` of the read before, or ``cursor`` of an event; ``None`` begins with the oldest.
            limit: Events at most, 1 to 1000.
            connection: The caller's open transaction, which must have written nothing.

        Raises:
            InvalidArgumentError: ``job.invalid_pagination``: the limit or the cursor is none.
            QueryError: ``job.event_tail_after_write``: the transaction has written before. ``job.event_tail_set_back``:
                the database was set back in time, or is another one than that of the cursor.
        """
        return self._run(admin.read_events_after(cursor, limit=limit), connection)

    def find_newest_event_cursor(self, *, connection: Connection[Any] | None = None) -> str:
        """Return the cursor behind the newest event, for those who follow from now on.

        Events of transactions that are open at this moment may be missed.
        """
        return self._run(admin.find_newest_event_cursor(), connection)
