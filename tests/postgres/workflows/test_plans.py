"""Plans of the statements of workflows: by index among 100,000 steps, whatever the planner knows of them.

And what one end of a step costs: the pages of what it touches, however large its run is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.sql import Literal

from runledger.postgres import Database
from runledger.postgres.sql_files import SqlFile
from runledger.testing import EphemeralDatabase
from tests.postgres.test_plans import PLAN_CACHE_MODES, Plan, Session, foreign_session, session_of, take_settings

RUN, RUN_KEYS = (
    "workflow_runs_pkey",
    {"uq_workflow_runs_type_idempotency_org", "uq_workflow_runs_type_idempotency_global"},
)
WAITING_RUN = "idx_workflow_runs_waiting"
STEP, STEP_OF_RUN, STEP_KEY = "workflow_steps_pkey", "uq_workflow_steps_run_step_id", "uq_workflow_steps_run_step_key"
EDGE, EDGE_BACK = "pk_workflow_step_dependencies", "idx_workflow_step_dependencies_dependent"
MUTATION = "uq_workflow_run_mutations_run_mutation_key"
JOB, ATTEMPT, EVENT = "job_queue_pkey", "uq_job_attempts_job_run_attempt", "pk_job_events"

INDEXES_OF_STATEMENT: Mapping[SqlFile, set[str]] = {
    SqlFile("workflows", "end_workflow_steps"): {STEP, JOB, EDGE, RUN},
    SqlFile("workflows", "try_lock_workflow_runs"): {RUN},
    SqlFile("workflows", "lock_workflow_runs"): {RUN},
    SqlFile("workflows", "lock_workflow_job"): {JOB},
    SqlFile("workflows", "lock_workflow_run_jobs"): {STEP_OF_RUN, JOB},
    SqlFile("workflows", "cancel_workflow_run"): {STEP_OF_RUN, STEP, JOB, ATTEMPT, EDGE, EDGE_BACK, RUN},
    SqlFile("workflows", "insert_keyed_workflow_run"): RUN_KEYS,
    SqlFile("workflows", "insert_workflow_steps"): set(),
    SqlFile("workflows", "record_workflow_append"): {RUN},
    SqlFile("workflows", "check_append_lease"): {JOB},
    SqlFile("workflows", "find_workflow_run_by_idempotency_key"): RUN_KEYS,
    SqlFile("workflows", "find_workflow_run_mutation"): {MUTATION},
    SqlFile("workflows", "find_workflow_run_of_job"): {JOB, STEP},
    SqlFile("workflows", "get_workflow_run"): {RUN},
    SqlFile("workflows", "list_workflow_runs"): {RUN},
    SqlFile("workflows", "list_waiting_workflow_runs"): {WAITING_RUN},
    SqlFile("workflows", "list_workflow_steps"): {RUN, STEP_OF_RUN, STEP_KEY},
    SqlFile("workflows", "list_enqueued_workflow_steps"): {RUN, STEP_OF_RUN, JOB},
    SqlFile("workflows", "list_workflow_step_dependencies"): {RUN, STEP, EDGE},
    SqlFile("workflows", "read_workflow_steps_by_key"): {STEP_KEY},
    SqlFile("workflows", "read_prerequisites"): {EDGE_BACK, STEP},
    SqlFile("workflows", "update_workflow_step_payload"): {STEP_KEY, STEP, JOB},
    SqlFile("jobs", "complete_jobs"): {JOB, ATTEMPT, STEP},
    SqlFile("jobs", "fail_jobs"): {JOB, ATTEMPT, STEP},
    SqlFile("jobs", "reap_jobs"): {JOB, ATTEMPT, STEP},
    SqlFile("jobs", "return_claims"): {JOB, ATTEMPT, EVENT, STEP},
    SqlFile("jobs", "release_unstarted_job_claim"): {JOB, ATTEMPT, STEP},
}
LARGE_TABLES = (
    "workflow_runs",
    "workflow_steps",
    "workflow_step_dependencies",
    "workflow_run_mutations",
    "job_queue",
    "job_attempts",
    "job_events",
)

# One document for all: a statement reads what it knows and ignores the rest.
ID = "0198c0de-0000-7000-8000-000000000001"
DOCUMENT = {
    "run_id": ID,
    "run_ids": [ID],
    "step_id": ID,
    "step_ids": [ID],
    "canceled_step_ids": [ID],
    "gate_step_id": ID,
    "gate_status": "SUCCEEDED",
    "step_key": "s1",
    "step_keys": ["s1"],
    "job_id": ID,
    "job_ids": [ID],
    "jobs": {ID: {"run_number": 1, "attempt": 1, "kind": "TERMINAL", "error_code": "c", "error_message": "m"}},
    "worker_id": "worker-1",
    "job_types": ["email.send"],
    "workflow_type": "order.fulfil",
    "idempotency_key": "k1",
    "mutation_key": "k1",
    "status": "RUNNING",
    "metadata": {},
    "request": {},
    "payload": {},
    "enqueue_request": {},
    "total": 1,
    "active": 1,
    "waiting": 0,
    "unsuccessful": 0,
    "steps": [],
    "edges": [],
    "reason": "r",
    "scope": "any",
    "limit": 100,
    "lock_timeout_ms": 5_000,
    "ends_steps": True,
    "finds_runs": True,
}

LISTS_EDGES = "list_workflow_step_dependencies: reads workflow_step_dependencies from end to end"

SMALL_RUNS, LARGE_RUN = 2_000, 50_000


def execute(connection: psycopg.Connection[Any], statement: str, *parameters: object) -> None:
    connection.execute(statement.encode(), parameters or None)


def add_runs(connection: psycopg.Connection[Any], run_count: int, step_count: int) -> None:
    """Store runs that are chains, each step waiting for the one before; all their jobs are held."""
    execute(
        connection,
        """
        WITH run AS (
            INSERT INTO workflow_runs
                   (workflow_type, step_count_total, step_count_active, idempotency_key, enqueue_request)
            SELECT 'order.fulfil', %s, %s, uuidv7()::text, '{}' FROM generate_series(1, %s) RETURNING id
        ), step AS (
            INSERT INTO workflow_steps
                   (workflow_run_id, step_key, job_type, priority, max_attempts, timeout_seconds, stage, status, job_id,
                    dependency_count_total)
            SELECT id, 's' || n, 'email.send', 100, 8, 30, 'queued', 'RUNNING', uuidv7(), least(n, 1)
              FROM run, generate_series(0, %s - 1) AS n
            RETURNING *
        ), edge AS (
            INSERT INTO workflow_step_dependencies (workflow_run_id, prerequisite_step_id, dependent_step_id)
            SELECT s.workflow_run_id, r.id, s.id
              FROM step AS s
              JOIN step AS r ON r.workflow_run_id = s.workflow_run_id
                            AND r.step_key = 's' || substr(s.step_key, 2)::integer - 1
        ), mutation AS (
            INSERT INTO workflow_run_mutations (workflow_run_id, mutation_key, request) SELECT id, 'k1', '{}' FROM run
        ), job AS (
            INSERT INTO job_queue
                   (id, job_type, max_attempts, workflow_step_id, status, attempt, worker_id, lease_expires_at)
            SELECT job_id, job_type, 8, id, 'LEASED', 1, 'worker-1', now() + interval '1 hour' FROM step RETURNING id
        ), attempt AS (
            INSERT INTO job_attempts (job_id, attempt, worker_id, leased_at, started_at)
            SELECT id, 1, 'worker-1', now(), now() FROM job
        )
        INSERT INTO job_events (job_id, attempt, event_type) SELECT id, 1, 'LEASED' FROM job""",
        step_count,
        step_count,
        run_count,
        step_count,
    )


@pytest.fixture
def connection(runledger_database: EphemeralDatabase) -> Iterator[psycopg.Connection[Any]]:
    """A session with the server's own settings, on tables that autovacuum leaves alone."""
    with psycopg.connect(runledger_database.url, autocommit=True, options="-c search_path=runledger") as session:
        for table in LARGE_TABLES:
            execute(session, f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
        execute(session, "INSERT INTO job_definitions (job_type) VALUES ('email.send')")
        yield session


def fill(connection: psycopg.Connection[Any]) -> None:
    """Store 100,000 steps, half of them in one run. Checks of foreign keys would take longer than the tests."""
    execute(connection, "SET session_replication_role = replica")
    add_runs(connection, SMALL_RUNS, 25)
    add_runs(connection, 1, LARGE_RUN)
    execute(connection, "RESET session_replication_role")


def nodes(plan: Plan) -> Iterator[Plan]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


def prepare(session: Session) -> None:
    for file in INDEXES_OF_STATEMENT:
        session(f"PREPARE {file.name} AS {file.text('runledger')}")


def faults(session: Session) -> Iterator[str]:
    """Yield what is wrong with the plans, in words."""
    document = Literal(json.dumps(DOCUMENT)).as_string()
    for file, indexes in INDEXES_OF_STATEMENT.items():
        (plan,) = session(f"EXPLAIN (FORMAT JSON) EXECUTE {file.name} ({document})")
        for node in nodes(plan):
            table, index = node.get("Relation Name"), node.get("Index Name")
            if table in LARGE_TABLES and node["Node Type"] == "Seq Scan":
                yield f"{file.name}: reads {table} from end to end"
            if index is not None and table != "job_definitions":
                if index not in indexes:
                    yield f"{file.name}: uses {index}"
                elif "Index Cond" not in node:
                    yield f"{file.name}: walks over {index} without a condition"


@pytest.mark.parametrize("state", ["never analysed", "analysed while empty", "analysed"])
def test_every_statement_finds_its_rows_by_its_index(
    runledger_database: EphemeralDatabase, connection: psycopg.Connection[Any], state: str
) -> None:
    if state == "analysed while empty":
        execute(connection, f"ANALYZE {', '.join(LARGE_TABLES)}")
    fill(connection)
    if state == "analysed":
        execute(connection, f"ANALYZE {', '.join(LARGE_TABLES)}")
    with Database(runledger_database.url).own_sync_connection() as own:
        ours, foreign = session_of(own), foreign_session(connection)
        for session in (ours, foreign):
            prepare(session)
            for mode in PLAN_CACHE_MODES:
                session(f"SET plan_cache_mode = {mode}")
                # Without our settings a foreign session may take the edges of one run for half of this table.
                found = set(faults(session)) - (set() if session is ours else {LISTS_EDGES})
                assert found == set(), mode


@pytest.mark.parametrize("mode", PLAN_CACHE_MODES)
def test_the_end_of_a_step_costs_the_same_in_a_run_of_any_size(
    runledger_database: EphemeralDatabase, connection: psycopg.Connection[Any], mode: str
) -> None:
    """It ends with its job and releases the next. Pages and not milliseconds: nothing else here changes them."""
    execute(connection, "SET session_replication_role = replica")
    add_runs(connection, 1, 1_000)
    add_runs(connection, 1, 100_000)
    execute(connection, "UPDATE job_queue SET status = 'SUCCEEDED', worker_id = NULL, lease_expires_at = NULL")
    execute(
        connection,
        """UPDATE workflow_steps SET status = 'BLOCKED', job_id = NULL, dependency_count_pending = 1
            WHERE step_key = 's8'""",
    )
    execute(connection, "RESET session_replication_role")
    session = foreign_session(connection)
    with Database(runledger_database.url).own_sync_connection() as own:
        take_settings(connection, own)
    session(f"SET plan_cache_mode = {mode}")
    end = SqlFile("workflows", "end_workflow_steps")
    session(f"PREPARE {end.name} AS {end.text('runledger')}")

    def pages(run_id: UUID) -> int:
        row = connection.execute(
            "SELECT id FROM workflow_steps WHERE workflow_run_id = %s AND step_key = 's7'", [run_id], prepare=False
        ).fetchone()
        assert row is not None
        document = Literal(json.dumps({"step_ids": [str(row[0])]})).as_string()
        session("BEGIN")
        (plan,) = session(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE {end.name} ({document})")
        session("ROLLBACK")
        writes = [node for node in nodes(plan) if node["Node Type"] == "ModifyTable"]
        assert [node["Actual Rows"] for node in writes if node["Relation Name"] == "job_queue"] == [1]
        # What nobody reads from is written after the outermost node has ended, and is not in its numbers.
        return sum(node["Shared Hit Blocks"] + node["Shared Read Blocks"] for node in (plan, *writes))

    rows = connection.execute("SELECT id FROM workflow_runs ORDER BY step_count_total", prepare=False).fetchall()
    small, large = (pages(run_id) for (run_id,) in rows)

    assert large <= 1.5 * small
    assert large < 150
