"""Everything that the ledger knows about one job."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from runledger.client import SyncLedger
from runledger.core import Admin, JobAttempt, JobDeadLetter, JobEvent, JobLog, JobRecord, WorkflowStepRecord
from runledger.postgres.drivers.psycopg import Connection

MAX_LOGS = 100
"""How many lines of a log are part of a job's history. There may be any number of them."""

_PAGE = 1_000
# Otherwise what moves between two reads would tell two stories.
ONE_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobHistory:
    """A job with its history, as of one instant.

    Attributes:
        job: The job.
        attempts: Its attempts of all runs, in order.
        events: Its events, oldest first.
        dead_letter: Its latest dead letter, also when it was requeued since.
        logs: The first lines of its log, at most :data:`MAX_LOGS`.
        has_more_logs: Whether there are others.
        step: The step of a workflow that it carries out, or ``None``.
        type_paused_at: Since when an operator has paused its type, or ``None``.
        is_type_served: Whether a live worker claims jobs of its type.
    """

    job: JobRecord
    attempts: list[JobAttempt]
    events: list[JobEvent]
    dead_letter: JobDeadLetter | None
    logs: list[JobLog]
    has_more_logs: bool
    step: WorkflowStepRecord | None = None
    type_paused_at: datetime | None = None
    is_type_served: bool = True


def read_history(ledger: SyncLedger, job_id: UUID) -> JobHistory | None:
    """Read a job of any organization; ``None`` when there is none."""
    with ledger.transaction() as connection:
        connection.execute(ONE_SNAPSHOT)
        job = ledger.get_job(job_id, scope=Admin(), connection=connection)
        if job is None:
            return None
        events: list[JobEvent] = []
        while page := ledger.list_job_events(
            job_id, scope=Admin(), after_id=events[-1].id if events else 0, limit=_PAGE, connection=connection
        ):
            events += page
        definition = ledger.get_job_definition(job.job_type, connection=connection)
        logs = ledger.list_job_logs(job_id, scope=Admin(), limit=MAX_LOGS + 1, connection=connection)
        return JobHistory(
            job=job,
            attempts=ledger.list_job_attempts(job_id, scope=Admin(), connection=connection),
            events=events,
            dead_letter=ledger.get_dead_letter(job_id, scope=Admin(), connection=connection),
            logs=logs[:MAX_LOGS],
            has_more_logs=len(logs) > MAX_LOGS,
            step=_read_step(ledger, job, connection),
            type_paused_at=None if definition is None else definition.paused_at,
            is_type_served=bool(ledger.list_workers(claims_job_type=job.job_type, limit=1, connection=connection)),
        )


def _read_step(ledger: SyncLedger, job: JobRecord, connection: Connection[Any]) -> WorkflowStepRecord | None:
    run_id = ledger.get_workflow_run_id_for_job(job.id, scope=Admin(), connection=connection)
    if run_id is None or job.workflow_step_id is None:
        return None
    # Steps are listed by id, so the step is the first one after the id before its own.
    before = UUID(int=job.workflow_step_id.int - 1)
    return ledger.list_workflow_steps(run_id, scope=Admin(), limit=1, after_step_id=before, connection=connection)[0]
