"""Progress: the holder of a lease says how far it has come, and saves what a later attempt needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from runledger.core.errors import InvalidArgumentError
from runledger.core.jobs.handler import JobProgress
from runledger.core.jobs.records import LeaseIdentity
from runledger.core.json_value import encode_json
from runledger.postgres.document import check_now, json_text, keyed_document
from runledger.postgres.locks import lock_job
from runledger.postgres.operation import Statement, Steps, operation
from runledger.postgres.row_decoding import job_ids
from runledger.postgres.sql_errors import lease_owner_mismatch
from runledger.postgres.sql_files import SqlFile

_UPDATE = SqlFile("jobs", "update_job_progress")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobProgressUpdate:
    """The progress of one attempt.

    The checkpoint is encoded when the update is made: what the caller changes in it later is not part of it.

    Attributes:
        lease: The lease of the worker that reports it.
        progress: The progress to record.
        checkpoint_json: Its checkpoint as JSON text.

    Raises:
        InvalidArgumentError: The progress says nothing, or its checkpoint is no JSON that PostgreSQL can store.
    """

    lease: LeaseIdentity
    progress: JobProgress
    checkpoint_json: str | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.progress == JobProgress():
            raise InvalidArgumentError("progress", "is empty", "give counts, a stage or a checkpoint")
        checkpoint = self.progress.checkpoint
        encoded = None if checkpoint is None else encode_json(checkpoint, field="checkpoint")
        object.__setattr__(self, "checkpoint_json", encoded)


@operation("jobs.update_progress_of_jobs")
def update_progress_of_jobs(
    worker_id: str, updates: Sequence[JobProgressUpdate], *, now: datetime | None = None
) -> Steps[set[UUID]]:
    """Record the progress of many jobs of one worker, one update for each.

    Returns:
        The ids that were updated. The others are held no longer, or locked by another transaction:
        :func:`~runledger.postgres.jobs.lease.read_held_leases` tells which.

    Raises:
        QueryError: ``db.business_rule_violation``: with the stored counts, more would be done than there is in one of
            the jobs. Nothing was written for any of them.
    """
    if not updates:
        return set()
    check_now(now)
    document = keyed_document(worker_id, [_member(update) for update in updates], now=now)
    rows = yield Statement(sql=_UPDATE, document=document, is_only=True)
    return job_ids(rows)


@operation("jobs.update_job_progress")
def update_job_progress(
    update: JobProgressUpdate, *, lock_timeout: timedelta | None = None, now: datetime | None = None
) -> Steps[None]:
    """Record the progress of one job, waiting for its row lock; the expiry is judged after it.

    A stage writes STAGE_CHANGED, counts write PROGRESS, a checkpoint alone writes no event. Stage ``running`` records
    the start of the attempt. The lease is not extended.

    Args:
        update: The lease, and what to record; what is absent keeps its stored value.
        lock_timeout: Bound on the wait; ``None`` leaves the transaction's setting alone.
        now: Instant to use instead of the database's clock, for tests.

    Raises:
        QueryError: ``job.lease_owner_mismatch``, or ``db.business_rule_violation`` when, with the stored counts, more
            would be done than there is. Nothing was written.
    """
    check_now(now)
    lease = update.lease
    yield from lock_job(lease.job_id, lock_timeout=lock_timeout)
    rows = yield Statement(sql=_UPDATE, document=keyed_document(lease.worker_id, [_member(update)], now=now))
    if not rows:
        raise lease_owner_mismatch("jobs.update_job_progress")


def _member(update: JobProgressUpdate) -> str:
    lease, progress = update.lease, update.progress
    member = f'"{lease.job_id}":{{"run_number":{lease.run_number},"attempt":{lease.attempt}'
    if progress.stage is not None:
        member += f',"stage":{json_text(progress.stage)}'
    if progress.progress_done is not None:
        member += f',"progress_done":{int(progress.progress_done)}'
    if progress.progress_total is not None:
        member += f',"progress_total":{int(progress.progress_total)}'
    if update.checkpoint_json is not None:
        member += f',"checkpoint":{update.checkpoint_json}'
    return member + "}"
