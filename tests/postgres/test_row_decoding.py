"""What the database holds and this version cannot read becomes an error that shows nothing of it."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import pytest

from runledger.core import JobFailureKind
from runledger.postgres import QueryError, QueryErrorCategory, jobs
from runledger.postgres.row_decoding import decode_attempt, decode_event, decode_job
from tests.postgres.job_queue import JobQueue

SECRET = "NOT_A_MEMBER"


@pytest.mark.parametrize(
    ("decode", "row"),
    [
        (decode_job, {"status": SECRET}),
        (decode_event, {"event_type": SECRET}),
        (decode_attempt, {"claim_origin": "DIRECT", "outcome": SECRET}),
        (decode_attempt, {"claim_origin": SECRET, "outcome": None}),
        (decode_event, {"event_type": "ENQUEUED", "payload_json": f'"{SECRET}'}),
    ],
    ids=["status", "event type", "outcome", "claim origin", "JSON"],
)
def test_a_value_that_cannot_be_read_is_an_internal_error(decode: Callable[[Any], object], row: object) -> None:
    """ERR-008."""
    with pytest.raises(QueryError) as caught:
        decode(row)

    error = caught.value
    assert (error.category, error.code) == (QueryErrorCategory.INTERNAL, "db.row_undecodable")
    assert SECRET not in "".join(traceback.format_exception(error)) + error.internal_message


def test_a_status_that_a_newer_version_added_is_an_internal_error(queue: JobQueue) -> None:
    """ERR-008."""
    job_id = queue.enqueue()
    queue.sql("ALTER TYPE job_status ADD VALUE 'PAUSED'")
    queue.sql("UPDATE job_queue SET status = 'PAUSED'")

    with pytest.raises(QueryError, check=lambda error: error.code == "db.row_undecodable"):
        queue.job(job_id)


def test_a_payload_that_python_cannot_read_does_not_stop_the_claim(queue: JobQueue) -> None:
    job_id = queue.enqueue()
    queue.sql("UPDATE job_queue SET payload = repeat('9', 5000)::jsonb WHERE id = %s", job_id)

    claimed = queue.claim_one()

    failure = jobs.AttemptFailure(
        lease=claimed.lease, kind=JobFailureKind.TERMINAL, error_code="code", error_message="message"
    )
    assert queue.run(jobs.fail_job(failure)) is True
    with pytest.raises(QueryError, check=lambda error: error.code == "db.row_undecodable"):
        queue.dead_letter(job_id)
