"""Every query of how-to/read-the-ledger.md runs, and finds something, in a ledger with jobs in every state."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import TupleRow, dict_row

from runledger import EnqueueRequest, JobDefinition
from runledger.core import Admin, ClaimedJob, JobFailureKind, Workflow
from runledger.postgres import admin, jobs, run_sync, workflows
from runledger.testing import EphemeralDatabase
from tests.docs.pages import DOCS, Block, blocks_of

_QUERIES = [block for block in blocks_of(DOCS / "how-to" / "read-the-ledger.md") if block.language == "sql"]
_AT = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.mark.parametrize("query", _QUERIES, ids=lambda query: f"line-{query.line}")
def test_a_query_of_the_page_finds_rows(query: Block, runledger_database: EphemeralDatabase) -> None:
    with psycopg.connect(runledger_database.url) as connection:
        variables = {"job_id": _write_history(connection), "run_id": _enqueue_workflow(connection)}
        _enqueue_gates(connection)
        assert _rows(connection, query, **variables)


def test_what_holds_steps_up_names_steps_only(runledger_database: EphemeralDatabase) -> None:
    """A step that waits for no other holds NULL and not an array of NULL."""
    (query,) = (query for query in _QUERIES if "AS waits_for" in query.text and "run_id'" in query.text)
    with psycopg.connect(runledger_database.url) as connection:
        run_sync(connection, jobs.upsert_job_definitions([JobDefinition(job_type="email.send")]))
        run_id = _enqueue_workflow(connection)
        run_sync(connection, admin.pause_job_type("email.send"))

        steps = {row["step_key"]: row for row in _rows(connection, query, run_id=run_id)}

    assert {key: step["waits_for"] for key, step in steps.items()} == {"build": None, "approve": ["build"]}
    assert None not in (steps["build"]["due_at"], steps["build"]["type_paused_at"])
    assert (steps["approve"]["due_at"], steps["approve"]["type_paused_at"]) == (None, None)


@pytest.mark.parametrize("way", ["RUNNING", "RETRYABLE", "CANCELED", "SUCCEEDED"])
def test_an_attempt_tells_how_it_ended(way: str, runledger_database: EphemeralDatabase) -> None:
    """One of a canceled job has no outcome, as one that succeeded."""
    (query,) = (query for query in _QUERIES if "AS ended_as" in query.text)
    with psycopg.connect(runledger_database.url) as connection:
        run_sync(connection, jobs.upsert_job_definitions([JobDefinition(job_type="email.send")]))
        run_sync(connection, jobs.enqueue_job(EnqueueRequest("email.send", {})))
        (claimed,) = run_sync(connection, jobs.claim_jobs("worker-1", lease_ttl=timedelta(minutes=1), limit=1))
        if way == "RETRYABLE":
            run_sync(connection, jobs.fail_job(_failure(claimed, JobFailureKind.RETRYABLE)))
            # The event of this one has the number of the attempt that failed.
            run_sync(connection, jobs.cancel_job(claimed.job_id, scope=Admin()))
        elif way == "CANCELED":
            run_sync(connection, jobs.cancel_job(claimed.job_id, scope=Admin()))
        elif way == "SUCCEEDED":
            run_sync(connection, jobs.complete_job(jobs.JobSuccess(lease=claimed.lease)))

        assert [row["ended_as"] for row in _rows(connection, query, job_id=claimed.job_id)] == [way]


def test_the_inbox_has_the_gates_that_wait_and_those_that_wait_longest_first(
    runledger_database: EphemeralDatabase,
) -> None:
    (query,) = (query for query in _QUERIES if "step_count_waiting > 0" in query.text)
    with psycopg.connect(runledger_database.url) as connection:
        run_sync(connection, jobs.upsert_job_definitions([JobDefinition(job_type="email.send")]))
        _enqueue_workflow(connection)
        second, first, completed = (_enqueue_gates(connection, now=_AT + timedelta(hours=hours)) for hours in (2, 1, 0))
        run_sync(connection, workflows.complete_external_workflow_step(completed, "approve", scope=Admin()))

        found = _rows(connection, query)

    assert [(row["run_id"], row["step_key"], row["payload"]) for row in found] == [
        (run_id, "approve", {"amount": "1200.00"}) for run_id in (first, second)
    ]


def _rows(connection: psycopg.Connection[TupleRow], query: Block, **variables: UUID) -> list[dict[str, Any]]:
    """Run a statement of the page, which is for psql, where a variable is written :'name'."""
    text = query.text
    for name, value in variables.items():
        text = text.replace(f":'{name}'", f"'{value}'")
    return connection.cursor(row_factory=dict_row).execute(text.encode()).fetchall()


def _write_history(connection: psycopg.Connection[TupleRow]) -> UUID:
    """Leave one job waiting, and one each that runs, waits for its retry, succeeded and was given up."""
    run_sync(connection, jobs.upsert_job_definitions([JobDefinition(job_type="email.send", max_attempts=3)]))
    run_sync(connection, jobs.enqueue_jobs(EnqueueRequest("email.send", {"number": number}) for number in range(5)))
    running, retried, succeeded, given_up = run_sync(
        connection, jobs.claim_jobs("worker-1", lease_ttl=timedelta(minutes=1), limit=4, is_start=True)
    )
    run_sync(connection, jobs.heartbeat_job(running.lease, lease_ttl=timedelta(minutes=1)))
    run_sync(connection, jobs.fail_job(_failure(retried, JobFailureKind.RETRYABLE)))
    run_sync(connection, jobs.complete_job(jobs.JobSuccess(lease=succeeded.lease)))
    run_sync(connection, jobs.fail_job(_failure(given_up, JobFailureKind.TERMINAL)))
    return retried.job_id


def _enqueue_workflow(connection: psycopg.Connection[TupleRow]) -> UUID:
    """Leave a run whose gate waits for a job."""
    flow = Workflow("release")
    flow.gate("approve", after=flow.job("build", "email.send"))
    return run_sync(connection, workflows.enqueue_workflow_run(flow.build())).id


def _enqueue_gates(connection: psycopg.Connection[TupleRow], *, now: datetime | None = None) -> UUID:
    """Leave a run that is RUNNING, though it waits for its gate."""
    flow = Workflow("payout")
    flow.job("pay", "email.send", after=flow.gate("approve", {"amount": "1200.00"}))
    return run_sync(connection, workflows.enqueue_workflow_run(flow.build(), now=now)).id


def _failure(job: ClaimedJob, kind: JobFailureKind) -> jobs.AttemptFailure:
    return jobs.AttemptFailure(
        lease=job.lease, kind=kind, error_code="smtp.unavailable", error_message="", retry_delay=timedelta(minutes=1)
    )
