"""Jobs that carry out steps: statements that end jobs leave them alone at first, and tell their runs instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar
from uuid import UUID

from runledger.core.scope import Scope
from runledger.postgres.document import job_document
from runledger.postgres.operation import Rows, Statement, Steps
from runledger.postgres.sql_files import SqlFile

_FIND_RUN = SqlFile("workflows", "find_workflow_run_of_job")

T = TypeVar("T")


def run_of(rows: Rows) -> UUID | None:
    """Return the run of the one job that a statement was about, if it left it alone."""
    return rows[0]["workflow_run_id"] if rows else None


def jobs_by_run(rows: Rows, items: Mapping[UUID, T]) -> dict[UUID, list[T]]:
    """Return what a statement left alone, by run.

    Args:
        rows: Its rows.
        items: What it was about, by job.
    """
    by_run: dict[UUID, list[T]] = {}
    for row in rows:
        if row["workflow_run_id"] is not None:
            by_run.setdefault(row["workflow_run_id"], []).append(items[row["job_id"]])
    return by_run


def find_run_of_job(job_id: UUID, *, scope: Scope, is_only: bool = False) -> Steps[tuple[UUID, UUID] | None]:
    """Return the run and the step that a job belongs to, read without a lock, or ``None``.

    Args:
        job_id: The job.
        scope: Whose jobs may be seen.
        is_only: The operation does nothing else.
    """
    rows = yield Statement(sql=_FIND_RUN, document=job_document(job_id, scope=scope), is_only=is_only)
    return (rows[0]["workflow_run_id"], rows[0]["workflow_step_id"]) if rows else None
