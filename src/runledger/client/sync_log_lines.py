# Written by `make sync-ledger` from log_lines.py; do not edit.
"""The part of the ledger about the logs of jobs, for blocking applications."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from runledger.client.sync_ledger_part import SyncLedgerPart
from runledger.core.jobs.records import JobLog
from runledger.core.scope import Global, Scope
from runledger.postgres import jobs
from runledger.postgres.drivers.psycopg import Connection

_GLOBAL = Global()


class SyncJobLogs(SyncLedgerPart):
    """What the handlers of jobs said while they ran."""

    def list_job_logs(
        self,
        job_id: UUID,
        *,
        scope: Scope = _GLOBAL,
        limit: int = 1_000,
        after_id: int = 0,
        connection: Connection[Any] | None = None,
    ) -> list[JobLog]:
        """Return lines of a job's log, oldest first.

        Handlers write it with ``context.log(...)``, or through a :class:`~runledger.runtime.JobLogHandler`.

        Args:
            job_id: The job; one outside the scope has no log.
            scope: Whose rows may be seen: ``Global()``, ``Organization(id)`` or ``Admin()``.
            limit: The most lines to return.
            after_id: Only lines after this one; the id of the last line seen turns the page.
            connection: The caller's open transaction.
        """
        operation = jobs.list_job_logs(job_id, scope=scope, limit=limit, after_id=after_id)
        return self._run(operation, connection)

    def insert_job_logs(self, lines: Iterable[jobs.JobLogLine], *, connection: Connection[Any] | None = None) -> None:
        """Add lines to the logs of jobs, in their order.

        For an application that runs jobs in a loop of its own. Nothing is asked about the jobs: a line may come when
        the attempt is over.
        """
        self._run(jobs.insert_job_logs(lines), connection)
