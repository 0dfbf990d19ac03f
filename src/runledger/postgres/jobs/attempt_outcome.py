"""Ask how an attempt ended, when the answer to the write of its outcome was lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from runledger.core.jobs.records import LeaseIdentity
from runledger.core.jobs.status import JobFailureKind
from runledger.postgres.document import lease_document
from runledger.postgres.locks import lock_job
from runledger.postgres.operation import Row, Rows, Statement, Steps, operation
from runledger.postgres.row_decoding import decode_failure_kind
from runledger.postgres.sql_files import SqlFile

_READ = SqlFile("jobs", "read_attempt_outcomes")


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptOutcome:
    """How an attempt ended.

    Attributes:
        failure_kind: The kind of its failure; ``None`` when it succeeded.
        error_code: The code of its failure, as it was stored.
        is_dead_letter: Whether the job became a dead letter.
    """

    failure_kind: JobFailureKind | None
    error_code: str | None
    is_dead_letter: bool


@operation("jobs.read_attempt_outcomes")
def read_attempt_outcomes(worker_id: str, leases: Sequence[LeaseIdentity]) -> Steps[dict[UUID, AttemptOutcome]]:
    """Return how attempts of one worker ended, reading without a lock.

    An attempt that has not ended, or that was canceled, is left out. What the reaper recorded has kind LEASE_EXPIRED.
    """
    if not leases:
        return {}
    rows = yield Statement(sql=_READ, document=lease_document(worker_id, leases), is_only=True)
    return _outcomes(rows)


@operation("jobs.confirm_attempt_outcome")
def confirm_attempt_outcome(
    lease: LeaseIdentity, *, lock_timeout: timedelta | None = None
) -> Steps[AttemptOutcome | None]:
    """Return how an attempt ended, or ``None``; waits for a write of it that is still in progress in the server.

    Args:
        lease: The attempt and its worker.
        lock_timeout: Bound on the wait; ``None`` leaves the transaction's setting alone.
    """
    yield from lock_job(lease.job_id, lock_timeout=lock_timeout)
    rows = yield Statement(sql=_READ, document=lease_document(lease.worker_id, [lease]))
    return _outcomes(rows).get(lease.job_id)


def _outcomes(rows: Rows) -> dict[UUID, AttemptOutcome]:
    return {row["job_id"]: _outcome(row) for row in rows}


def _outcome(row: Row) -> AttemptOutcome:
    return AttemptOutcome(
        failure_kind=decode_failure_kind(row["outcome"]),
        error_code=row["error_code"],
        is_dead_letter=row["is_dead_letter"],
    )
