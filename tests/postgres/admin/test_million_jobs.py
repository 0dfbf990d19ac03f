"""Lists, counts and metrics over a million finished jobs: what they read, and by which index.

Pages of the table and not milliseconds: they do not depend on what else the machine does. One database for all.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg
import pytest
from psycopg.sql import Literal

from runledger.postgres.admin.pagination import SCAN_LIMIT
from runledger.postgres.sql_files import SqlFile
from runledger.testing import EphemeralDatabase

FINISHED = 1_000_000
LARGE_TABLES = {"job_queue", "job_attempts", "job_events", "job_dead_letters", "job_logs"}
LATEST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff"
JOB_ID = "0198c0de-0000-7000-8000-000000000001"

DOCUMENT: Mapping[str, Any] = {
    "scope": "any",
    "limit": 100,
    "scan_limit": SCAN_LIMIT,
    "count_limit": 10_000,
    "before_id": LATEST_ID,
    "before_at": "9999-01-01T00:00:00+00:00",
    "before_job_id": LATEST_ID,
    "job_ids": [JOB_ID],
    "job_id": JOB_ID,
    "after_id": 0,
    "members": {"a": 1},
    "removed": ["b"],
}
PRIMARY_KEY, GIVEN_UP = "job_queue_pkey", "idx_job_queue_given_up"
CLAIM, CLAIM_TYPE, EXPIRY = "idx_job_queue_claim", "idx_job_queue_claim_type", "idx_job_queue_leased_expiry"
LETTERS, BEGUN = "idx_job_dead_letters_failed_at", "idx_job_attempts_created_at"
TENANT = {"scope": "organization", "organization_id": JOB_ID}

# The statement, what it is asked besides, the indexes it may use, and how many pages it may touch at most.
CASES: dict[str, tuple[str, dict[str, Any], set[str], int]] = {
    "a page of all": ("list_jobs", {}, {PRIMARY_KEY}, 1_000),
    "a page of succeeded ones": ("list_jobs", {"status": "SUCCEEDED"}, {PRIMARY_KEY}, 1_000),
    "a type that is not there": ("list_jobs", {"job_type": "rare"}, {PRIMARY_KEY}, 30_000),
    "a part of a type": ("list_jobs", {"job_type_contains": "rare"}, {PRIMARY_KEY}, 30_000),
    "an organization that is not there": ("list_jobs", TENANT, {PRIMARY_KEY}, 30_000),
    "dead letters by status": ("list_given_up_jobs", {"status": "DEAD_LETTERED"}, {GIVEN_UP, PRIMARY_KEY}, 1_000),
    "canceled ones": ("list_given_up_jobs", {"status": "CANCELED"}, {GIVEN_UP, PRIMARY_KEY}, 1_000),
    "few pending ones": ("list_live_jobs", {"status": "PENDING"}, {CLAIM, EXPIRY, PRIMARY_KEY}, 3_000),
    "leased ones": ("list_live_jobs", {"status": "LEASED"}, {CLAIM, EXPIRY, PRIMARY_KEY}, 3_000),
    "count of all": ("count_jobs", {}, {CLAIM, EXPIRY, GIVEN_UP, PRIMARY_KEY}, 30_000),
    "count of pending ones": ("count_jobs", {"status": "PENDING"}, {CLAIM, EXPIRY, GIVEN_UP, PRIMARY_KEY}, 3_000),
    "count of canceled ones": ("count_jobs", {"status": "CANCELED"}, {CLAIM, EXPIRY, GIVEN_UP, PRIMARY_KEY}, 3_000),
    "summaries": ("get_job_summaries", {}, {PRIMARY_KEY}, 100),
    "dead letters": ("list_dead_letters", {}, {LETTERS}, 3_000),
    "attempts of a second": ("count_recent_attempts", {"seconds": "1"}, {BEGUN}, 5_000),
    "metrics of a second": (
        "get_job_metrics",
        {"at": "", "since": ""},
        {BEGUN, PRIMARY_KEY, "pk_job_events", CLAIM_TYPE, EXPIRY, LETTERS, "job_definitions_pkey"},
        40_000,
    ),
    "an edit": ("edit_job_payload", {}, {PRIMARY_KEY}, 100),
}


@pytest.fixture
def million(runledger_database: EphemeralDatabase) -> Iterator[psycopg.Connection[Any]]:
    """A session of an application, on tables with a million finished jobs, thousands given up, and hundreds live."""
    with psycopg.connect(runledger_database.url, autocommit=True, options="-c search_path=runledger") as connection:
        for statement in (
            "INSERT INTO job_definitions (job_type) SELECT 'type.' || n FROM generate_series(1, 20) AS n",
            # Without the trigger of each foreign key it takes a third of the time.
            "SET session_replication_role = replica",
            f"""
            INSERT INTO job_queue (id, job_type, max_attempts, status, attempt, created_at)
            SELECT uuidv7(-n * interval '50 ms'), 'type.' || n % 20, 8,
                   (CASE WHEN n % 500 = 0 THEN 'DEAD_LETTERED' WHEN n % 500 = 1 THEN 'CANCELED' WHEN n % 5000 = 2
                         THEN 'LEASED' WHEN n % 1000 = 3 THEN 'PENDING' ELSE 'SUCCEEDED' END)::job_status, 1,
                   now() - n * interval '50 ms'
              FROM generate_series({FINISHED}, 1, -1) AS n""",
            """
            INSERT INTO job_attempts (job_id, attempt, worker_id, leased_at, started_at, finished_at, created_at)
            SELECT id, 1, 'worker-1', created_at, created_at, created_at + interval '1 s', created_at
              FROM job_queue ORDER BY id""",
            """
            INSERT INTO job_dead_letters (job_id, job_type, attempt, payload_snapshot, failed_at)
            SELECT id, job_type, 1, '{}', created_at FROM job_queue WHERE status = 'DEAD_LETTERED'""",
            "SET session_replication_role = origin",
            "VACUUM (ANALYZE) job_queue, job_attempts, job_dead_letters",
        ):
            connection.execute(statement.encode())
        yield connection


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


def explain(
    connection: psycopg.Connection[Any], name: str, asked: Mapping[str, Any], *, mode: str
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Run a statement and return its plan, and those nodes of it that were executed."""
    document = Literal(json.dumps({**DOCUMENT, **asked})).as_string()
    with connection.transaction(force_rollback=True):
        connection.execute(f"SET LOCAL plan_cache_mode = {mode}".encode())
        connection.execute("DEALLOCATE ALL")
        connection.execute(f"PREPARE asked AS {SqlFile('admin', name).text('runledger')}".encode(), prepare=False)
        cursor = connection.execute(
            f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE asked ({document})".encode(), prepare=False
        )
        ((explained,),) = cursor.fetchall()
    plan = explained[0]["Plan"]
    return plan, [node for node in nodes(plan) if node["Actual Loops"] > 0]


def faults_of(
    connection: psycopg.Connection[Any], case: tuple[str, dict[str, Any], set[str], int], *, mode: str
) -> Iterator[str]:
    name, asked, indexes, most_pages = case
    plan, ran = explain(connection, name, asked, mode=mode)
    for node in ran:
        if node["Node Type"] == "Seq Scan" and node["Relation Name"] in LARGE_TABLES:
            yield f"reads {node['Relation Name']} from end to end"
        if node.get("Index Name", "job_definitions_pkey") not in {*indexes, "job_definitions_pkey"}:
            yield f"uses {node['Index Name']}"
    pages = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    if pages > most_pages:
        yield f"touches {pages} pages"


def test_what_is_read_is_found_by_index_and_bounded(million: psycopg.Connection[Any]) -> None:
    """One test, since the tables take twenty seconds to fill."""
    row = million.execute("SELECT now()::text, (now() - interval '1 s')::text").fetchone()
    assert row is not None
    (now, second_ago) = row
    CASES["metrics of a second"][1].update(at=now, since=second_ago)

    faults = {
        (case, mode): found
        for case, arguments in CASES.items()
        for mode in ("force_custom_plan", "force_generic_plan")
        if (found := list(faults_of(million, arguments, mode=mode)))
    }

    assert faults == {}
