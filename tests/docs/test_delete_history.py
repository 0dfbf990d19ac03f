"""The statements of how-to/look-after-the-queue.md delete what ended before a day, and its history, and no more."""

from __future__ import annotations

from runledger.testing import EphemeralDatabase
from tests.docs.pages import DOCS, blocks_of
from tests.postgres.job_queue import JOB_TYPE
from tests.postgres.workflow_queue import WorkflowQueue, diamond, workflow

_RUNS, _JOBS = (
    block.text for block in blocks_of(DOCS / "how-to" / "look-after-the-queue.md") if block.language == "sql"
)

# Everything in the database of a test was made just now, so the day of the page is moved to the next hour.
_SHIFTS = {"interval '-90 days'": "interval '1 hour'", "interval '90 days'": "interval '-1 hour'"}


def test_the_statements_delete_what_ended_before_a_day(runledger_database: EphemeralDatabase) -> None:
    queue = WorkflowQueue(runledger_database.url)
    queue.define()
    queue.dead_letter_now(queue.enqueue_and_claim())
    ended = workflow()
    ended.job("only", JOB_TYPE)
    queue.start(ended)
    queue.succeed(queue.claim_one())
    open_run = queue.start(diamond())
    queue.succeed(queue.claim_one())
    waiting = queue.enqueue()
    before = queue.contents()

    queue.sql(_RUNS)
    assert queue.sql(_JOBS) == [(0,)]
    assert queue.contents() == before

    queue.sql(_shifted(_RUNS))
    assert queue.sql(_shifted(_JOBS)) == [(2,)]
    assert queue.sql("SELECT id FROM workflow_runs") == [(open_run,)]
    kept = {step.job_id for step in queue.steps(open_run).values() if step.job_id is not None} | {waiting}
    for table, column in (("job_queue", "id"), ("job_events", "job_id")):
        assert {job_id for (job_id,) in queue.sql(f"SELECT {column} FROM {table}")} == kept
    assert queue.sql("SELECT FROM job_dead_letters") == []
    assert len(queue.sql("SELECT FROM job_attempts")) == 1
    queue.close()


def _shifted(statement: str) -> str:
    for written, meant in _SHIFTS.items():
        assert written in statement
        statement = statement.replace(written, meant)
    return statement
