"""Jobs that carry out steps: statements that end jobs leave them alone at first, and tell their runs instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar
from uuid import UUID

from runledger.postgres.operation import Rows

T = TypeVar("T")


def run_of(rows: Rows) -> UUID | None:
    """Return the run of the one job that a statement was about, if it left it alone."""
    return rows[0]["workflow_run_id"] if rows else None


def jobs_by_run(rows: Rows, items: Mapping[UUID, T]) -> dict[UUID, list[T]]:
    """Return what a statement left alone, by run.

    Args:
        rows: The rows of the statement.
        items: What the statement was given, by job.
    """
    by_run: dict[UUID, list[T]] = {}
    for row in rows:
        if row["workflow_run_id"] is not None:
            by_run.setdefault(row["workflow_run_id"], []).append(items[row["job_id"]])
    return by_run


def steps_of(rows: Rows) -> list[UUID]:
    """Return the steps of jobs that a statement has changed; plain jobs have none."""
    return [row["workflow_step_id"] for row in rows if row["workflow_step_id"] is not None]
