"""Every query of how-to/read-the-ledger.md runs, and finds something, in a ledger with jobs in every state."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import TupleRow

from runledger import EnqueueRequest, JobDefinition
from runledger.core import ClaimedJob, JobFailureKind, Workflow
from runledger.postgres import jobs, run_sync, workflows
from runledger.testing import EphemeralDatabase
from tests.docs.pages import DOCS, Block, blocks_of

_QUERIES = [block for block in blocks_of(DOCS / "how-to" / "read-the-ledger.md") if block.language == "sql"]


@pytest.mark.parametrize("query", _QUERIES, ids=lambda query: f"line-{query.line}")
def test_a_query_of_the_page_finds_rows(query: Block, runledger_database: EphemeralDatabase) -> None:
    with psycopg.connect(runledger_database.url) as connection:
        variables = {"job_id": _write_history(connection), "run_id": _enqueue_workflow(connection)}
        text = query.text
        for name, value in variables.items():
            # Statements of the page are for psql, where a variable is written :'name'.
            text = text.replace(f":'{name}'", f"'{value}'")
        assert connection.execute(text.encode()).fetchall()


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


def _failure(job: ClaimedJob, kind: JobFailureKind) -> jobs.AttemptFailure:
    return jobs.AttemptFailure(
        lease=job.lease, kind=kind, error_code="smtp.unavailable", error_message="", retry_delay=timedelta(minutes=1)
    )
