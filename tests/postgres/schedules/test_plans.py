"""Plans of the scheduler's statements: by index among 100,000 schedules, whatever the planner knows of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg
import pytest
from psycopg.sql import Literal

from runledger.postgres import Database
from runledger.postgres.sql_files import SqlFile
from runledger.testing import EphemeralDatabase
from tests.postgres.test_plans import Plan, Session, foreign_session, session_of

SCHEDULES, DUE = 100_000, 50

NEXT_FIRE, TYPE, KEY, JOB_KEY = (
    "idx_job_schedules_next_fire",
    "idx_job_schedules_job_type",
    "job_schedules_pkey",
    "job_queue_pkey",
)
INDEXES_OF_STATEMENT: Mapping[SqlFile, set[str]] = {
    SqlFile("schedules", "claim_due_schedules"): {NEXT_FIRE},
    SqlFile("schedules", "list_unended_jobs"): {JOB_KEY},
    SqlFile("schedules", "read_next_fire"): {NEXT_FIRE},
    SqlFile("schedules", "fire_schedules"): {KEY, "job_definitions_pkey"},
    SqlFile("schedules", "defer_schedules"): {KEY},
    SqlFile("schedules", "lock_schedules"): {"uq_job_schedules_name"},
    SqlFile("definitions", "list_types_in_active_schedules"): {TYPE},
}
SCHEDULE_ID = "0198c0de-0000-7000-8000-000000000001"
DOCUMENT = {
    "limit": 100,
    "fired_at": "2026-05-26T12:00:00+00:00",
    "schedules": {SCHEDULE_ID: {"next_fire_at": "2026-05-26T13:00:00+00:00"}},
    "jobs": [{"id": SCHEDULE_ID, "schedule_id": SCHEDULE_ID, "scheduled_for": "2026-05-26T12:00:00Z"}],
    "schedule_ids": [SCHEDULE_ID],
    "job_ids": [SCHEDULE_ID],
    "retry_at": "2026-05-26T12:00:30+00:00",
    "names": ["s1"],
    "scope": "any",
    "job_types": ["type.1"],
}


@pytest.fixture
def connection(runledger_database: EphemeralDatabase) -> Iterator[psycopg.Connection[Any]]:
    """A session with the server's own settings, on a table of schedules that autovacuum leaves alone."""
    with psycopg.connect(runledger_database.url, autocommit=True, options="-c search_path=runledger") as session:
        session.execute("ALTER TABLE job_schedules SET (autovacuum_enabled = off)")
        session.execute("INSERT INTO job_definitions (job_type) SELECT 'type.' || n FROM generate_series(1, 100) AS n")
        session.execute(
            """
            INSERT INTO job_schedules (name, job_type, cron_expr, is_active, next_fire_at, last_job_id)
            SELECT 's' || n, 'type.' || mod(n, 100) + 1, '0 3 * * *', mod(n, 10) > 0,
                   now() + CASE WHEN n <= %s THEN - interval '1 minute' ELSE n * interval '1 second' END, uuidv7()
              FROM generate_series(1, %s) AS n""",
            [DUE, SCHEDULES],
        )
        yield session


def nodes(plan: Plan) -> Iterator[Plan]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


def faults(execute: Session) -> Iterator[str]:
    """Yield what is wrong with the plans, in words."""
    document = Literal(json.dumps(DOCUMENT)).as_string()
    for file, indexes in INDEXES_OF_STATEMENT.items():
        (plan,) = execute(f"EXPLAIN (FORMAT JSON) EXECUTE {file.name} ({document})")
        for node in nodes(plan):
            if node.get("Relation Name") in {"job_schedules", "job_queue"} and node["Node Type"] == "Seq Scan":
                yield f"{file.name}: reads {node['Relation Name']} from end to end"
            if node.get("Index Name", next(iter(indexes))) not in indexes:
                yield f"{file.name}: uses {node['Index Name']}"


@pytest.mark.parametrize("is_analysed", [False, True], ids=["never-analysed", "analysed"])
def test_due_schedules_are_found_by_their_index(
    runledger_database: EphemeralDatabase,
    connection: psycopg.Connection[Any],
    is_analysed: bool,  # noqa: FBT001 - parametrized
) -> None:
    if is_analysed:
        connection.execute("ANALYZE job_schedules, job_definitions")
    with Database(runledger_database.url).own_sync_connection() as own:
        ours, foreign = session_of(own), foreign_session(connection)
        for execute in (ours, foreign):
            for file in INDEXES_OF_STATEMENT:
                execute(f"PREPARE {file.name} AS {file.text('runledger')}")
            for mode in ("force_custom_plan", "force_generic_plan"):
                execute(f"SET plan_cache_mode = {mode}")
                assert list(faults(execute)) == [], mode


@pytest.mark.usefixtures("connection")
def test_a_claim_reads_the_pages_of_what_is_due(runledger_database: EphemeralDatabase) -> None:
    """Pages and not milliseconds: they do not depend on what else the machine does."""
    with Database(runledger_database.url).own_sync_connection() as own:
        execute = session_of(own)
        file = SqlFile("schedules", "claim_due_schedules")
        execute(f"PREPARE claim AS {file.text('runledger')}")
        document = Literal(json.dumps(DOCUMENT)).as_string()
        (plan,) = execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE claim ({document})")

    assert plan["Actual Rows"] == DUE - DUE // 10
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 10 * DUE
