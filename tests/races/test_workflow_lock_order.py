"""The lock order of workflows, step by step on two connections: docs/explanation/lock-order.md."""

from __future__ import annotations

from concurrent.futures import Future, wait
from typing import Any
from uuid import UUID

import psycopg
import pytest

from runledger.core import Admin, ClaimedJob, JobFailureKind, WorkflowAppend, WorkflowRunStatus
from runledger.postgres import Operation, QueryError, jobs, workflows
from tests.postgres.job_queue import MINUTE
from tests.postgres.workflow_queue import WorkflowQueue, failure_of, workflow
from tests.races.session import Session

SECOND_WORKER = "worker-2"

LOCK_JOBS_OF_RUN = """
SELECT FROM runledger.job_queue AS q
 WHERE q.workflow_step_id IN (SELECT s.id FROM runledger.workflow_steps AS s WHERE s.workflow_run_id = %s)
 ORDER BY q.id FOR UPDATE OF q
"""


def chain(queue: WorkflowQueue, *, max_attempts: int | None = None) -> UUID:
    """Start a run of b after a."""
    flow = workflow()
    flow.job("b", "email.send", after=flow.job("a", "email.send", max_attempts=max_attempts))
    return queue.start(flow)


def success_of(claimed: ClaimedJob) -> jobs.JobSuccess:
    return jobs.JobSuccess(lease=claimed.lease)


def test_the_order_of_the_contract_deadlocks(queue: WorkflowQueue, first: Session, second: Session) -> None:
    """WFC-008: job rows, then a lock for the run, in two passes, cannot be carried out by cancel and completion.

    The second pass meets the job of a step that was released after the first one: its completion has the row already
    and waits for the lock that the cancel has.
    """
    run_id = chain(queue)
    second.run(jobs.complete_job(success_of(queue.claim_steps()["a"])))
    first_pass = first.begin_sql(queue, LOCK_JOBS_OF_RUN, run_id)  # of the cancel: it sees the job of a alone
    second.commit()
    first_pass.result()
    first.sql("SELECT pg_advisory_xact_lock(1)")

    claimed = queue.claim_steps()["b"]
    second.lock(claimed.job_id)  # the completion of b
    waiting = second.begin_sql(queue, "SELECT pg_advisory_xact_lock_shared(1)")
    second_pass = first.begin_sql(queue, LOCK_JOBS_OF_RUN, run_id)

    assert [state for future in (waiting, second_pass) if (state := _sqlstate(future))] == ["40P01"]


def test_a_cancel_that_waits_for_a_completion_takes_what_it_released_along(
    queue: WorkflowQueue, first: Session, second: Session
) -> None:
    """WFC-008, in one pass: nothing is released while the run is locked."""
    run_id = chain(queue)
    second.run(jobs.complete_job(success_of(queue.claim_steps()["a"])))
    cancel = first.begin(workflows.cancel_workflow_run(run_id, scope=Admin()), queue)
    second.commit()

    assert cancel.result().status is WorkflowRunStatus.CANCELED
    first.commit()
    assert queue.statuses(run_id) == {"a": "SUCCEEDED", "b": "CANCELED"}
    assert queue.claim_steps() == {}


def test_a_completion_that_waits_for_a_cancel_holds_nothing_meanwhile(
    queue: WorkflowQueue, first: Session, second: Session
) -> None:
    """WFC-010, WFC-011."""
    run_id = chain(queue)
    claimed = queue.claim_steps()["a"]
    first.run(workflows.list_workflow_step_keys_for_update(run_id, scope=Admin()))
    completion = second.begin(jobs.complete_job(success_of(claimed)), queue)

    canceled = first.run(workflows.cancel_workflow_run(run_id, scope=Admin()))  # it needs the job's row

    first.commit()
    assert canceled.status is WorkflowRunStatus.CANCELED
    assert _code(completion) == "job.lease_owner_mismatch"
    second.commit()
    assert queue.statuses(run_id) == {"a": "CANCELED", "b": "CANCELED"}


def test_a_completion_goes_on_when_the_cancel_was_rolled_back(
    queue: WorkflowQueue, first: Session, second: Session
) -> None:
    """WFC-010."""
    run_id = chain(queue)
    claimed = queue.claim_steps()["a"]
    first.run(workflows.cancel_workflow_run(run_id, scope=Admin()))
    completion = second.begin(jobs.complete_job(success_of(claimed)), queue)

    first.rollback()

    completion.result()
    second.commit()
    assert queue.statuses(run_id) == {"a": "SUCCEEDED", "b": "ENQUEUED"}


def test_a_cancel_waits_for_a_locked_job_and_locks_no_step_meanwhile(
    queue: WorkflowQueue, first: Session, second: Session
) -> None:
    """WFC-007."""
    run_id = chain(queue)
    claimed = queue.claim_steps()["a"]
    first.lock(claimed.job_id)
    cancel = second.begin(workflows.cancel_workflow_run(run_id, scope=Admin()), queue)

    steps = queue.sql("SELECT count(*) FROM (SELECT FROM workflow_steps FOR UPDATE NOWAIT) AS locked")

    first.rollback()
    assert cancel.result().status is WorkflowRunStatus.CANCELED
    assert steps == [(2,)]


def test_two_completions_in_one_run_take_turns(queue: WorkflowQueue, first: Session, second: Session) -> None:
    """WFC-009, differently: who comes second waits for the first to commit, so both see what the other has ended."""
    flow = workflow()
    flow.job("c", "email.send", after=[flow.job("a", "email.send"), flow.job("b", "email.send")])
    run_id = queue.start(flow)
    claimed = queue.claim_steps()
    first.run(jobs.complete_job(success_of(claimed["a"])))
    completion = second.begin(jobs.complete_job(success_of(claimed["b"])), queue)

    first.commit()

    completion.result()
    second.commit()
    assert queue.statuses(run_id)["c"] == "ENQUEUED"


def test_an_append_that_waits_for_a_completion_finds_its_prerequisite_ended(
    queue: WorkflowQueue, first: Session, second: Session
) -> None:
    flow = workflow()
    flow.gate("open")
    flow.job("a", "email.send")
    run_id = queue.start(flow)
    first.run(jobs.complete_job(success_of(queue.claim_steps()["a"])))
    append = second.begin(workflows.append_workflow_steps(run_id, step_after("a"), scope=Admin()), queue)

    first.commit()

    append.result()
    second.commit()
    assert (queue.statuses(run_id)["x"], queue.counters(run_id)["x"]) == ("ENQUEUED", (0, 0))


def test_a_completion_that_waits_for_an_append_sees_the_new_edge(
    queue: WorkflowQueue, first: Session, second: Session
) -> None:
    flow = workflow()
    flow.gate("open")
    flow.job("a", "email.send")
    run_id = queue.start(flow)
    claimed = queue.claim_steps()["a"]
    first.run(workflows.append_workflow_steps(run_id, step_after("a"), scope=Admin()))
    completion = second.begin(jobs.complete_job(success_of(claimed)), queue)

    first.commit()

    completion.result()
    second.commit()
    assert (queue.statuses(run_id)["x"], queue.counters(run_id)["x"]) == ("ENQUEUED", (0, 0))


def test_the_reaper_leaves_a_last_attempt_to_whoever_has_the_run(
    queue: WorkflowQueue, first: Session, second: Session
) -> None:
    """It holds job rows, so it may not wait for a run; whoever has the run may wait for the job."""
    run_id = chain(queue, max_attempts=1)
    claimed = queue.claim_steps()["a"]
    first.run(workflows.list_workflow_step_keys_for_update(run_id, scope=Admin()))
    after_expiry = claimed.lease_expires_at + MINUTE

    skipped = second.run(jobs.reap_expired_leases(limit=9, retry_delay=MINUTE, now=after_expiry))
    cancel = first.begin(workflows.cancel_workflow_run(run_id, scope=Admin()), queue)
    second.commit()

    assert skipped.processed_count == 0
    assert cancel.result().status is WorkflowRunStatus.CANCELED


def test_a_failure_after_the_lease_is_refused_when_the_last_attempt_has_begun(
    queue: WorkflowQueue, first: Session, second: Session
) -> None:
    """It waits for the claim of the attempt that would end the step, were it its own."""
    run_id = chain(queue, max_attempts=2)
    claimed = queue.claim_steps()["a"]
    queue.run(jobs.fail_job(failure_of(claimed)))
    first.run(jobs.claim_jobs(SECOND_WORKER, lease_ttl=MINUTE, limit=1))
    late = second.begin(jobs.fail_job(failure_of(claimed)), queue)

    first.commit()

    assert _code(late) == "job.lease_owner_mismatch"
    second.commit()
    assert queue.statuses(run_id) == {"a": "RUNNING", "b": "BLOCKED"}


def test_an_append_through_a_job_keeps_its_step_running_until_it_commits(
    queue: WorkflowQueue, first: Session, second: Session
) -> None:
    run_id = chain(queue)
    claimed = queue.claim_steps()["a"]
    append = workflows.WorkflowAppendRequest(mutation_key="more", window_step_key="a", steps=more_after("a").build())
    first.run(workflows.append_workflow_steps_of_job(run_id, append, claimed.lease))

    retry = second.begin(jobs.fail_job(failure_of(claimed)), queue)  # which locks its job alone
    first.commit()

    assert retry.result() is False
    second.commit()
    assert queue.statuses(run_id) == {"a": "ENQUEUED", "b": "BLOCKED", "x": "BLOCKED"}


@pytest.mark.parametrize("former", ["0", "200ms", "1h"])
def test_waits_are_bounded_and_the_setting_of_the_transaction_is_put_back(
    queue: WorkflowQueue, first: Session, former: str
) -> None:
    """WFC-012, of the run and of the job, for whoever waits for both in a transaction of the application."""
    run_id = chain(queue)
    lease = queue.claim_steps()["a"].lease
    append = workflows.WorkflowAppendRequest(mutation_key="more", window_step_key="a", steps=more_after("a").build())
    first.sql("SELECT set_config('lock_timeout', %s, true)", former)

    first.run(workflows.append_workflow_steps_of_job(run_id, append, lease))
    first.run(workflows.update_workflow_step_and_pending_job_payload(run_id, "a", 1, scope=Admin()))

    assert first.sql("SHOW lock_timeout") == [(former,)]


def test_a_job_that_stays_locked_is_a_release_conflict(queue: WorkflowQueue, first: Session, second: Session) -> None:
    run_id = chain(queue)
    lease = queue.claim_steps()["a"].lease
    append = workflows.WorkflowAppendRequest(mutation_key="more", window_step_key="a", steps=more_after("a").build())
    first.lock(lease.job_id)

    waits: list[Operation[Any]] = [
        workflows.append_workflow_steps_of_job(run_id, append, lease),
        workflows.update_workflow_step_and_pending_job_payload(run_id, "a", 1, scope=Admin()),
        workflows.cancel_workflow_run(run_id, scope=Admin()),
    ]
    for operation in waits:
        second.sql("SET LOCAL lock_timeout = 10")
        assert _code(second.start(operation, queue)) == "workflow.release_conflict"
        second.rollback()

    assert queue.statuses(run_id) == {"a": "RUNNING", "b": "BLOCKED"}


@pytest.mark.parametrize("kind", [JobFailureKind.RETRYABLE, JobFailureKind.TERMINAL])
def test_a_failure_that_waits_for_a_cancel_of_its_run_is_refused(
    queue: WorkflowQueue, first: Session, second: Session, kind: JobFailureKind
) -> None:
    """WFC-011: a retry waits for its job alone, a dead letter for the run."""
    run_id = chain(queue)
    claimed = queue.claim_steps()["a"]
    first.run(workflows.cancel_workflow_run(run_id, scope=Admin()))
    late = second.begin(jobs.fail_job(failure_of(claimed, kind)), queue)

    first.commit()

    assert _code(late) == "job.lease_owner_mismatch"
    second.commit()
    assert queue.statuses(run_id) == {"a": "CANCELED", "b": "CANCELED"}


def step_after(key: str) -> workflows.WorkflowAppendRequest:
    """Return an append of x after a step, through the gate ``open``."""
    return workflows.WorkflowAppendRequest(mutation_key="more", window_step_key="open", steps=more_after(key).build())


def more_after(key: str) -> WorkflowAppend:
    """Return x, after a step of the run."""
    more = WorkflowAppend()
    more.job("x", "email.send", after=more.existing(key))
    return more


def _code(future: Future[Any]) -> str:
    with pytest.raises(QueryError) as refused:
        future.result()
    return refused.value.code


def _sqlstate(future: Future[Any]) -> str | None:
    """Return with which SQLSTATE a statement has failed, if it has; PostgreSQL looks for deadlocks after a second."""
    wait([future])
    error = future.exception()
    return error.sqlstate if isinstance(error, psycopg.Error) else None
