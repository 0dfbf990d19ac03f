"""Claims: asked for on a connection of their own, given back when forgotten, and never stopped by one row."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from runledger.core.errors import RunledgerError
from runledger.core.jobs.records import ClaimedJob
from runledger.postgres import Database, Operation, QueryError, jobs
from runledger.postgres.compatibility import ensure_schema_serves
from runledger.postgres.jobs import ClaimedBatch
from runledger.postgres.uuid7 import uuid7
from runledger.runtime.claim_cursor import ClaimCursor
from runledger.runtime.clock import answer_timeout, monotonic
from runledger.runtime.config import JobsConfig
from runledger.runtime.error_judgement import meets_any_statement
from runledger.runtime.worker_log import WorkerLog

T = TypeVar("T")

_REFUSED_SECONDS = 60.0
_MAX_REFUSED = 500
_RECONCILE_PAUSE_SECONDS = 1.0
_LAST_RECONCILE_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a claim brought.

    Attributes:
        claim_id: The id by which its attempts are found.
        jobs: The claimed jobs, in the order in which they should start.
        asked_at: Instant of the monotonic clock before which no lease of them began.
        is_cut: Whether it may have brought less than there is, although it was told to bring more.
    """

    claim_id: UUID
    jobs: list[ClaimedJob]
    asked_at: float
    is_cut: bool = False


class Claimer:
    """Claims jobs for a worker, one claim at a time.

    A claim that PostgreSQL refuses because of one row is made again with half the limit, until that job stands alone;
    then it is left out for a minute. A claim whose answer was lost may have been committed: until its leases must have
    ended, what it brought is looked for by the claim's id and given back. The worker's id would not do: another process
    may have taken that over, and its handlers run under leases of the same name.

    A claim begins where the last one ended, unless :class:`~runledger.runtime.claim_cursor.ClaimCursor` wants a sweep.

    A claim ends with the payload that fills ``claim_max_payload_bytes``. The next one asks for at most twice as many
    jobs as that brought, so that the database does not lock and measure many that cannot come.

    Args:
        database: The database that holds the jobs.
        config: The settings; worker id and lease are read.
    """

    def __init__(self, database: Database, config: JobsConfig) -> None:
        self._config = config
        self._logger = WorkerLog("worker", config.worker_id)
        self._lease_ttl = config.lease_ttl.total_seconds()
        self._connection = database.own_connection(
            answer_timeout_seconds=answer_timeout(config.lease_ttl).total_seconds()
        )
        self._refused_until: dict[UUID, float] = {}
        self._lost_until: dict[UUID, float] = {}
        self._next_reconcile_at = 0.0
        self._fitting = config.claim_batch_size
        self._cursor = ClaimCursor()

    async def prepare(self, operation: Operation[T]) -> T:
        """Check that the tables are there and not older than the code, and run the operation that comes next."""
        await self._connection.run(ensure_schema_serves())
        return await self._connection.run(operation)

    async def claim(self, limit: int, job_types: Sequence[str], *, is_sweep: bool = False) -> Claim:
        """Claim due jobs.

        Args:
            limit: The most jobs to claim.
            job_types: The types to claim.
            is_sweep: Whether it looks at everything that is due, and not only at what follows the last claim.

        Raises:
            RunledgerError: The claim failed, and not because of one job.
        """
        if self._lost_until and monotonic() >= self._next_reconcile_at:
            await self._return_forgotten()
        if is_sweep:
            self._cursor.forget()
        excluded = self._excluded()
        asked = fitting = min(limit, self._fitting)
        has_failed = False
        while True:
            claim_id, asked_at = uuid7(), monotonic()
            try:
                batch = await self._claim(claim_id, asked, job_types, excluded)
                self._measure(batch)
                is_bounded = asked < fitting or fitting < limit
                is_cut = len(batch.jobs) < batch.due_count or (is_bounded and batch.due_count == asked)
                return Claim(claim_id=claim_id, jobs=batch.jobs, asked_at=asked_at, is_cut=is_cut)
            except QueryError as error:
                if error.sqlstate is None or meets_any_statement(error):
                    raise
                # The first of all due jobs is the one that failed only where the claim looked at all of them, as each
                # one after a failed one does.
                if asked == 1 and has_failed:
                    if not await self._refuse_first(job_types, excluded, error):
                        raise
                    return Claim(claim_id=claim_id, jobs=[], asked_at=asked_at, is_cut=True)
            has_failed = True
            asked = max(1, asked // 2)

    def expect(self, due_at: datetime | None) -> None:
        """Let the next claim see jobs due from this instant on, however late they were committed; ``None`` is any."""
        if due_at is None:
            self._cursor.forget()
        else:
            self._cursor.expect(due_at)

    async def give_back(self, claim: Claim, *, reason: str) -> None:
        """Return a claim of which no handler was called. What cannot be returned is looked for again while it lives."""
        leases = [job.lease for job in claim.jobs]
        try:
            await self._connection.run(jobs.return_claims(self._config.worker_id, leases, reason=reason))
        except BaseException as error:
            self._look_for(claim.claim_id)
            if not isinstance(error, RunledgerError):
                raise
            self._logger.warning("worker.claims_not_returned", extra={"code": error.code, "job_count": len(leases)})

    async def close(self) -> None:
        """Give back what a lost claim may have left, within moments, and close the connection."""
        if self._lost_until:
            remaining: int | None = None
            try:
                async with asyncio.timeout(_LAST_RECONCILE_SECONDS):
                    remaining = await self._return_forgotten()
            except (RunledgerError, TimeoutError):
                pass  # logged below: how many there are is not known then
            if remaining != 0:
                self._logger.warning("worker.forgotten_claims_left_to_reaper", extra={"job_count": remaining})
            self._lost_until.clear()
        await self._connection.close()

    async def _claim(
        self, claim_id: UUID, limit: int, job_types: Sequence[str], excluded: Sequence[UUID]
    ) -> ClaimedBatch:
        start = self._cursor.begin(job_types, monotonic())
        try:
            batch = await self._connection.run(
                jobs.claim_batch(
                    self._config.worker_id,
                    lease_ttl=self._config.lease_ttl,
                    limit=limit,
                    job_types=job_types,
                    excluded_job_ids=excluded,
                    max_payload_bytes=self._config.claim_max_payload_bytes,
                    after=start.position,
                    claim_id=claim_id,
                )
            )
        except BaseException as error:
            self._cursor.failed()
            # What the server itself refused was not committed; anything else may have been.
            if not isinstance(error, QueryError) or error.sqlstate is None:
                self._look_for(claim_id)
            raise
        self._cursor.ended(start, batch.position, monotonic())
        return batch

    def _measure(self, batch: ClaimedBatch) -> None:
        """Set how many jobs to ask for next: at most twice as many as fit into this claim."""
        is_full = len(batch.jobs) < batch.due_count
        self._fitting = min(2 * (len(batch.jobs) if is_full else self._fitting), self._config.claim_batch_size)

    def _excluded(self) -> list[UUID]:
        now = monotonic()
        return [job_id for job_id, until in self._refused_until.items() if until > now]

    async def _refuse_first(self, job_types: Sequence[str], excluded: Sequence[UUID], error: QueryError) -> bool:
        """Leave the first due job out for a while; ``False`` when there is none, or too many are left out already."""
        if len(excluded) >= _MAX_REFUSED:
            return False
        due = await self._connection.run(jobs.list_due_job_ids(limit=1, job_types=job_types, excluded_job_ids=excluded))
        for job_id in due:
            if self._refused_until.pop(job_id, None) is None:
                self._logger.error("worker.job_refused", extra={"job_id": str(job_id), "code": error.code})
            self._refused_until[job_id] = monotonic() + _REFUSED_SECONDS
        while len(self._refused_until) > _MAX_REFUSED:
            del self._refused_until[next(iter(self._refused_until))]
        return bool(due)

    def _look_for(self, claim_id: UUID) -> None:
        self._lost_until[claim_id] = monotonic() + self._lease_ttl
        self._next_reconcile_at = 0.0

    async def _return_forgotten(self) -> int:
        """Give back what lost claims brought, and return how many jobs of it could not be."""
        asked_at = monotonic()
        listing = jobs.list_worker_leases(self._config.worker_id, claim_ids=list(self._lost_until))
        forgotten = await self._connection.run(listing)
        returned = await self._connection.run(
            jobs.return_claims(self._config.worker_id, forgotten, reason="CLAIM_ANSWER_LOST")
        )
        remaining = len(forgotten) - len(returned)
        # A claim may still wait for a lock in the server and commit later, so it is looked for more than once.
        if remaining == 0:
            self._lost_until = {claim_id: until for claim_id, until in self._lost_until.items() if until > asked_at}
        self._next_reconcile_at = monotonic() + _RECONCILE_PAUSE_SECONDS
        return remaining
