"""Plans of the hot statements: by index, whatever the planner knows about the tables.

A queue is the worst customer of a planner. Its tables are filled and emptied faster than statistics follow, and nearly
all rows of the large one are finished and of no interest. A plan that is right for the statistics and wrong for the
table costs a factor of ten and more.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import psycopg
import pytest
from psycopg.sql import Literal

from runledger.postgres import Database
from runledger.postgres.drivers.psycopg.own_connection import SyncOwnConnection
from runledger.postgres.sql_files import SqlFile
from runledger.testing import EphemeralDatabase
from tests.postgres.plain_text import execute_text

FINISHED, PENDING, LEASED = 30_000, 10_000, 500

PRIMARY_KEY, CLAIM, CLAIM_TYPE = "job_queue_pkey", "idx_job_queue_claim", "idx_job_queue_claim_type"
STEPS, EDGES = "workflow_steps_pkey", "pk_workflow_step_dependencies"
EXPIRY, ATTEMPTS, EVENTS = "idx_job_queue_leased_expiry", "uq_job_attempts_job_run_attempt", "pk_job_events"
KEYS = {"uq_job_queue_type_idempotency_global", "uq_job_queue_type_idempotency_org"}

INDEXES_OF_STATEMENT: Mapping[str, set[str]] = {
    "claim_jobs": {CLAIM, CLAIM_TYPE, PRIMARY_KEY, STEPS, EDGES},
    "complete_jobs": {PRIMARY_KEY, ATTEMPTS, STEPS},
    "fail_jobs": {PRIMARY_KEY, ATTEMPTS, STEPS},
    "return_claims": {PRIMARY_KEY, ATTEMPTS, EVENTS, STEPS},
    "renew_leases": {PRIMARY_KEY},
    "heartbeat_job": {PRIMARY_KEY},
    "read_held_leases": {PRIMARY_KEY},
    "read_attempt_outcomes": {ATTEMPTS, EVENTS},
    "lock_job": {PRIMARY_KEY},
    "lock_job_in_scope": {PRIMARY_KEY},
    "update_job_progress": {PRIMARY_KEY, ATTEMPTS},
    "cancel_job": {PRIMARY_KEY, ATTEMPTS},
    "requeue_job": {PRIMARY_KEY},
    "release_unstarted_job_claim": {PRIMARY_KEY, ATTEMPTS, STEPS},
    "read_canceled_leases": {ATTEMPTS, EVENTS},
    "list_due_job_ids": {CLAIM},
    "list_worker_leases": {EXPIRY, ATTEMPTS},
    "list_expired_leases": {EXPIRY, STEPS},
    "reap_jobs": {PRIMARY_KEY, ATTEMPTS, STEPS},
    "enqueue_keyed_jobs": KEYS,
    "get_job": {PRIMARY_KEY},
    "find_job_by_idempotency_key": KEYS,
    "list_job_events": {PRIMARY_KEY, EVENTS},
    "list_job_attempts": {PRIMARY_KEY, ATTEMPTS},
}
MERGED_TYPES = 16
LARGE_TABLES = {"job_queue", "job_attempts", "job_events"}

# One document for all: a statement reads what it knows and ignores the rest.
JOB_ID = "0198c0de-0000-7000-8000-000000000001"
HELD = {
    "run_number": 1,
    "attempt": 1,
    "kind": "RETRYABLE",
    "error_code": "c",
    "error_message": "m",
    "retry_delay_ms": 0,
}
DOCUMENT = {
    "worker_id": "worker-1",
    "jobs": {JOB_ID: HELD},
    "job_id": JOB_ID,
    "job_ids": [JOB_ID],
    "job_types": ["email.send"],
    "excluded_job_ids": [JOB_ID],
    "limit": 100,
    "max_payload_bytes": 1_000_000,
    "lease_ttl_ms": 60_000,
    "claim_origin": "WORKER_PRESTART",
    "is_start": True,
    "reason": "SHUTDOWN",
    "retry_delay_ms": 1_000,
    "scope": "any",
    "after_id": 0,
}

Plan = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What the tables hold and what the planner knows of it.

    Attributes:
        priority: SQL for the priority of the n-th job.
        future: Jobs that are not due yet.
        is_analysed_empty: The tables were analysed before they were filled.
        is_analysed: They were analysed afterwards.
    """

    priority: str = "100"
    future: int = 0
    is_analysed_empty: bool = False
    is_analysed: bool = True


STATES = {
    "never analysed": State(is_analysed=False),
    "analysed while empty": State(is_analysed=False, is_analysed_empty=True),
    "analysed": State(),
    "a thousand priorities": State(priority="n % 1000"),
    "a thousand priorities, never analysed": State(priority="n % 1000", is_analysed=False),
    "a hundred thousand future jobs": State(future=100_000),
    "a hundred thousand future jobs, never analysed": State(future=100_000, is_analysed=False),
}
LARGE_STATES = {
    "a million future jobs": State(future=1_000_000),
    "a million future jobs of a thousand priorities": State(future=1_000_000, priority="n % 1000"),
    "a million future jobs, never analysed": State(future=1_000_000, is_analysed=False),
}


def fill(connection: psycopg.Connection[Any], state: State) -> None:
    def execute(statement: str) -> None:
        connection.execute(statement.encode())

    def insert_jobs(count: int, columns: str, values: str) -> None:
        execute(f"""
            INSERT INTO job_queue (job_type, max_attempts, priority, payload, {columns})
            SELECT 'email.send', 8, {state.priority}, '{{"to": "a@example.org"}}', {values}
              FROM generate_series(1, {count}) AS n""")

    if state.is_analysed_empty:
        execute("ANALYZE job_queue, job_attempts, job_events")
    execute("INSERT INTO job_definitions (job_type) VALUES ('email.send')")
    insert_jobs(FINISHED, "status, attempt, finished_at", "'SUCCEEDED', 1, now()")
    insert_jobs(LEASED, "status, attempt, worker_id, lease_expires_at", "'LEASED', 1, 'worker-1', now()")
    execute("""
        INSERT INTO job_attempts (job_id, attempt, worker_id, leased_at, started_at, finished_at)
        SELECT id, 1, 'worker-1', now(), now(), finished_at FROM job_queue""")
    execute("INSERT INTO job_events (job_id, attempt, event_type) SELECT id, 1, 'LEASED' FROM job_queue")
    insert_jobs(PENDING, "next_run_at", "now()")
    insert_jobs(state.future, "next_run_at", "now() + interval '1 day'")
    if state.is_analysed:
        execute("ANALYZE job_queue, job_attempts, job_events")


@pytest.fixture
def connection(runledger_database: EphemeralDatabase) -> Iterator[psycopg.Connection[Any]]:
    """A session with the server's own settings, on tables that autovacuum leaves alone."""
    with psycopg.connect(runledger_database.url, autocommit=True, options="-c search_path=runledger") as session:
        for table in sorted(LARGE_TABLES):
            session.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)".encode())
        yield session


class Session(Protocol):
    """Runs statements in one session; what EXPLAIN says comes back as plans."""

    def __call__(self, statement: str) -> list[Plan]: ...


def session_of(own: SyncOwnConnection) -> Session:
    """Return the session of a connection that Runledger made for itself."""

    def execute(statement: str) -> list[Plan]:
        return [row["QUERY PLAN"][0]["Plan"] for row in own.run(execute_text(statement))]

    return execute


def foreign_session(connection: psycopg.Connection[Any]) -> Session:
    """Return the session of an application, with the server's own settings."""

    def execute(statement: str) -> list[Plan]:
        cursor = connection.execute(statement.encode(), prepare=False)
        return [] if cursor.description is None else [row[0][0]["Plan"] for row in cursor]

    return execute


def take_settings(connection: psycopg.Connection[Any], own: SyncOwnConnection) -> None:
    """Give a session the settings of a connection of Runledger's, which itself leaves no transaction open."""
    for row in own.run(execute_text("SELECT name, setting FROM pg_settings WHERE source = 'session'")):
        # Not prepared: after a rollback psycopg would drop everything that is, our statements too.
        connection.execute("SELECT set_config(%s, %s, false)", [row["name"], row["setting"]], prepare=False)


def prepare(execute: Session) -> None:
    for name in INDEXES_OF_STATEMENT:
        execute(f"PREPARE {name} AS {SqlFile('jobs', name).text('runledger')}")


def plans(execute: Session) -> dict[str, list[Plan]]:
    """Return the nodes of the plan of each prepared statement."""
    document = Literal(json.dumps(DOCUMENT)).as_string()
    return {
        name: list(_nodes(*execute(f"EXPLAIN (FORMAT JSON) EXECUTE {name} ({document})")))
        for name in INDEXES_OF_STATEMENT
    }


def _nodes(plan: Plan) -> Iterator[Plan]:
    yield plan
    for child in plan.get("Plans", []):
        yield from _nodes(child)


def faults(execute: Session) -> list[str]:
    """Return what is wrong with the plans, in words."""
    return [fault for name, nodes in plans(execute).items() for fault in _faults_of(name, nodes)]


def _faults_of(name: str, nodes: list[Plan]) -> Iterator[str]:
    for node in nodes:
        table, index = node.get("Relation Name"), node.get("Index Name")
        if table in LARGE_TABLES and node["Node Type"] == "Seq Scan":
            yield f"{name}: reads {table} from end to end"
        if index is not None and table != "job_definitions":
            if index not in INDEXES_OF_STATEMENT[name]:
                yield f"{name}: uses {index}"
            elif "Index Cond" not in node:
                yield f"{name}: walks over {index} without a condition"


def claims_in_index_order(execute: Session) -> bool:
    """Tell whether a claim stops at its limit; with a sort below it would read every pending job first."""
    limit = next(node for node in plans(execute)["claim_jobs"] if node["Node Type"] == "Limit")  # the outermost
    below = list(_nodes(limit))
    scans = [node.get("Index Name") for node in below if node["Node Type"] in {"Index Scan", "Index Only Scan"}]
    return (
        not any("Sort" in node["Node Type"] for node in below)
        and scans.count(CLAIM) == 3
        and scans.count(CLAIM_TYPE) == 3 * MERGED_TYPES
    )


PLAN_CACHE_MODES = ("force_custom_plan", "force_generic_plan")


@pytest.mark.parametrize(
    "state",
    [pytest.param(state, id=name) for name, state in STATES.items()]
    + [pytest.param(state, id=name, marks=pytest.mark.slow) for name, state in LARGE_STATES.items()],
)
def test_every_hot_statement_finds_its_rows_by_its_index(
    runledger_database: EphemeralDatabase, connection: psycopg.Connection[Any], state: State
) -> None:
    fill(connection, state)
    with Database(runledger_database.url).own_sync_connection() as own:
        ours, foreign = session_of(own), foreign_session(connection)
        for execute in (ours, foreign):
            prepare(execute)
            for mode in PLAN_CACHE_MODES:
                execute(f"SET plan_cache_mode = {mode}")
                assert faults(execute) == [], mode
                # Without statistics the server expects a handful of pending jobs and sorts them. Only our own
                # sessions can keep it from that.
                assert claims_in_index_order(execute) or (execute is foreign and not state.is_analysed), mode


def test_an_own_connection_that_planned_at_an_empty_queue_still_finds_rows_by_index(
    runledger_database: EphemeralDatabase, connection: psycopg.Connection[Any]
) -> None:
    """A worker polls an empty queue, the server keeps the plans that it made there, and then the jobs come."""
    with Database(runledger_database.url).own_sync_connection() as own:
        execute = session_of(own)
        execute("SET plan_cache_mode = force_generic_plan")
        prepare(execute)
        plans(execute)

        fill(connection, State(is_analysed=False))

        assert faults(execute) == []
        assert claims_in_index_order(execute)


FREE, BEHIND, MANY = "invoice.send", "report.build", [f"type.{number}" for number in range(MERGED_TYPES - 1)]
BACKLOG, CLAIMABLE = 100_000, 2_000


def pages_of_claim(
    execute: Session, job_types: list[str] | None, limit: int, after: Mapping[str, object] | None = None
) -> int:
    """Claim, give everything back, and return how many pages the claim touched."""
    fields = DOCUMENT | {"job_types": job_types, "limit": limit} | dict(after or {})
    document = Literal(json.dumps({name: value for name, value in fields.items() if value is not None})).as_string()
    execute("BEGIN")
    (plan,) = execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE claim_jobs ({document})")
    execute("ROLLBACK")
    assert plan["Actual Rows"] == limit
    return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]


@pytest.mark.parametrize("mode", PLAN_CACHE_MODES)
@pytest.mark.parametrize(
    ("is_ours", "is_analysed"), [(True, False), (True, True), (False, True)], ids=["ours-new", "ours", "foreign"]
)
def test_a_type_behind_the_backlog_of_another_costs_at_most_three_times_as_much(
    runledger_database: EphemeralDatabase,
    connection: psycopg.Connection[Any],
    mode: str,
    is_ours: bool,  # noqa: FBT001 - parametrized
    is_analysed: bool,  # noqa: FBT001 - parametrized
) -> None:
    """Pages and not milliseconds: they do not depend on what else the machine does.

    The last statistics, if there are any, know one type alone: that is how it is when another one comes.
    """
    connection.execute(
        "INSERT INTO job_definitions (job_type) SELECT unnest(%s::text[])", [[FREE, BEHIND, *MANY, "email.send"]]
    )

    def insert_jobs(job_type: str, count: int, age: str) -> None:
        connection.execute(
            """
            INSERT INTO job_queue (job_type, max_attempts, next_run_at)
            SELECT %s, 8, now() - %s::interval FROM generate_series(1, %s)""",
            [job_type, age, count],
        )

    execute = foreign_session(connection)
    if is_ours:
        with Database(runledger_database.url).own_sync_connection() as own:
            take_settings(connection, own)
    insert_jobs(FREE, CLAIMABLE, "1 minute")
    if is_analysed:
        connection.execute("ANALYZE job_queue")
    execute(f"SET plan_cache_mode = {mode}")
    prepare(execute)
    limits = (1, 100, 500)
    free = [pages_of_claim(execute, [FREE], limit) for limit in limits]

    insert_jobs(BEHIND, BACKLOG, "1 hour")

    for limit, pages in zip(limits, free, strict=True):
        assert pages_of_claim(execute, [FREE], limit) <= 3 * pages
        # Each type that has nothing costs a look at its index.
        assert pages_of_claim(execute, [FREE, *MANY], limit) <= 3 * pages + 4 * len(MANY)


CHURNED, STILL_WAITING = 50_000, 1_000


@pytest.mark.parametrize("mode", PLAN_CACHE_MODES)
@pytest.mark.parametrize("job_types", [None, ["email.send"], ["email.send", "invoice.send"]], ids=["any", "1", "2"])
@pytest.mark.parametrize("is_drained", [True, False], ids=["drained", "backlog"])
def test_under_an_old_snapshot_a_claim_that_goes_on_from_the_last_one_costs_what_it_brings(
    runledger_database: EphemeralDatabase,
    connection: psycopg.Connection[Any],
    mode: str,
    job_types: list[str] | None,
    is_drained: bool,  # noqa: FBT001 - parametrized
) -> None:
    """Whatever somebody's old snapshot may still see stays in the index, and a claim from the start reads all of it."""
    execute = foreign_session(connection)
    with Database(runledger_database.url).own_sync_connection() as own:
        take_settings(connection, own)
    execute(f"SET plan_cache_mode = {mode}")
    connection.execute("INSERT INTO job_definitions (job_type) VALUES ('email.send')")

    def insert_jobs(count: int, due_at: str) -> None:
        connection.execute(
            f"""
            INSERT INTO job_queue (job_type, max_attempts, next_run_at)
            SELECT 'email.send', 8, {due_at} FROM generate_series(1, {count})""".encode()
        )

    prepare(execute)
    insert_jobs(STILL_WAITING, "now()")
    free = pages_of_claim(execute, job_types, 10)
    insert_jobs(CHURNED, "now() - interval '1 hour'")
    with psycopg.connect(runledger_database.url) as old:
        old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT count(*) FROM runledger.job_queue")
        connection.execute("UPDATE job_queue SET status = 'SUCCEEDED' WHERE next_run_at < now() - interval '1 minute'")
        last = connection.execute(
            "SELECT next_run_at::text, id::text FROM job_queue WHERE status = 'SUCCEEDED' ORDER BY id DESC LIMIT 1"
        ).fetchone()
        assert last is not None
        after = {"after_watermark": last[0], "after_priority": -(2**31), "after_next_run_at": last[0]}
        if not is_drained:
            after |= {"after_priority": 100, "after_job_id": last[1]}

        # Dead entries touch few pages more where they lie close together, but each is a row to be looked at.
        assert pages_of_claim(execute, job_types, 10) > 10 * free
        assert pages_of_claim(execute, job_types, 10, after) <= 2 * free
