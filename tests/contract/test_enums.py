"""Enumerations of the code and of the database have the same members."""

from __future__ import annotations

import re
from enum import StrEnum

import psycopg
import pytest

from runledger.core import (
    CatchUp,
    JobClaimOrigin,
    JobEventType,
    JobFailureKind,
    JobStatus,
    Overlap,
    ScheduleOwner,
    WorkflowDependencyReleaseMode,
    WorkflowRunStatus,
    WorkflowStepExecutionKind,
    WorkflowStepStatus,
)
from runledger.testing import EphemeralDatabase

ENUM_OF_TYPE: dict[str, type[StrEnum]] = {
    "job_event_type": JobEventType,
    "job_failure_kind": JobFailureKind,
    "job_status": JobStatus,
    "workflow_dependency_release_mode": WorkflowDependencyReleaseMode,
    "workflow_run_status": WorkflowRunStatus,
    "workflow_step_execution_kind": WorkflowStepExecutionKind,
    "workflow_step_status": WorkflowStepStatus,
}


def test_every_enum_type_has_the_members_of_its_python_enum_in_the_same_order(
    runledger_database: EphemeralDatabase,
) -> None:
    with psycopg.connect(runledger_database.url) as connection:
        rows = connection.execute("""
            SELECT t.typname, array_agg(e.enumlabel::text ORDER BY e.enumsortorder)
              FROM pg_type AS t JOIN pg_enum AS e ON e.enumtypid = t.oid
             WHERE t.typnamespace = 'runledger'::regnamespace
             GROUP BY t.typname""").fetchall()

    assert dict(rows) == {name: [str(member) for member in enum] for name, enum in ENUM_OF_TYPE.items()}


def test_the_check_of_claim_origins_names_the_members_of_the_enum(runledger_database: EphemeralDatabase) -> None:
    with psycopg.connect(runledger_database.url) as connection:
        row = connection.execute(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'chk_job_attempts_claim_origin'"
        ).fetchone()

    assert row is not None
    assert set(re.findall(r"'(\w+)'", row[0])) == {str(member) for member in JobClaimOrigin}


@pytest.mark.parametrize(
    ("constraint", "enum"),
    [
        ("chk_job_schedules_catch_up", CatchUp),
        ("chk_job_schedules_overlap", Overlap),
        ("chk_job_schedules_owner", ScheduleOwner),
    ],
)
def test_a_check_of_schedules_names_the_members_of_its_enum(
    runledger_database: EphemeralDatabase, constraint: str, enum: type[StrEnum]
) -> None:
    with psycopg.connect(runledger_database.url) as connection:
        row = connection.execute(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = %s", [constraint]
        ).fetchone()

    assert row is not None
    assert set(re.findall(r"'(\w+)'", row[0])) == {str(member) for member in enum}
