"""Pass on what a worker's writes have released: to the worker itself, other workers, and those who wait for a run."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from runledger.postgres import Database
from runledger.postgres.notices import Notices, WakeUp, decode_notice
from runledger.postgres.notifier import Notifier

_ANSWER_TIMEOUT = timedelta(seconds=5)


class Announcer:
    """Tells of released steps and ended runs after their commit.

    Args:
        database: The database that the notifications are sent to.
        notifies: Whether they are; the worker itself hears without them.
        on_due: Called when jobs were made due, with the earliest due time by the database's clock.
    """

    def __init__(self, database: Database, *, notifies: bool, on_due: Callable[[datetime | None], None]) -> None:
        self._connection = database.own_connection(answer_timeout_seconds=_ANSWER_TIMEOUT.total_seconds())
        self._notifier = Notifier(self._connection.run) if notifies else None
        self._on_due = on_due

    def announce(self, notices: Notices) -> None:
        """Tell of it. Returns at once and never fails."""
        for payload in notices.payloads:
            notice = decode_notice(payload)
            if isinstance(notice, WakeUp):
                self._on_due(notice.due_at)
        if self._notifier is not None:
            self._notifier.tell(notices)

    async def close(self) -> None:
        """Let go what is to be told, for a moment, and close the connection."""
        if self._notifier is not None:
            await self._notifier.finish()
        await self._connection.close()
