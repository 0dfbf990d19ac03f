"""Which run and step a job belongs to."""

from __future__ import annotations

from uuid import UUID

from runledger.core.scope import Scope
from runledger.postgres.document import job_document
from runledger.postgres.operation import Statement, Steps
from runledger.postgres.sql_files import SqlFile

_FIND_RUN = SqlFile("workflows", "find_workflow_run_of_job")


def find_run_of_job(job_id: UUID, *, scope: Scope, is_only: bool = False) -> Steps[tuple[UUID, UUID] | None]:
    """Return the run and the step that a job belongs to, read without a lock, or ``None``.

    Args:
        job_id: The job.
        scope: Whose jobs may be seen.
        is_only: Whether the operation does nothing else.
    """
    rows = yield Statement(sql=_FIND_RUN, document=job_document(job_id, scope=scope), is_only=is_only)
    return (rows[0]["workflow_run_id"], rows[0]["workflow_step_id"]) if rows else None
