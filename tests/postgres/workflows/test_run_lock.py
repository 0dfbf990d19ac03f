"""Who waits for whom at a run, for how long, and what is found when the wait is over."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from runledger.core import (
    Admin,
    ClaimedJob,
    JobFailureKind,
    JobStatus,
    WorkflowAppendOutcome,
    WorkflowAppendResult,
    WorkflowRunStatus,
)
from runledger.postgres import Operation, QueryError, QueryErrorCategory, jobs, workflows
from runledger.postgres.workflows import WorkflowAppendRequest
from tests.core.workflows.dags import job
from tests.postgres.job_queue import JOB_TYPE, WORKER
from tests.postgres.workflow_queue import CANCELED, WorkflowQueue, diamond, failure_of, refused, workflow
from tests.races.session import Session

CONFLICT = "workflow.release_conflict"


def run_of(claimed: ClaimedJob) -> UUID:
    assert claimed.workflow_run_id is not None
    return claimed.workflow_run_id


def two_branches(queue: WorkflowQueue) -> tuple[ClaimedJob, ClaimedJob]:
    """Return the claimed jobs of two steps of a run, each with one that waits for it, and both with one."""
    flow = workflow()
    a, b = flow.job("a", JOB_TYPE), flow.job("b", JOB_TYPE)
    flow.job("after_a", JOB_TYPE, after=a)
    flow.job("after_b", JOB_TYPE, after=b)
    flow.job("join", JOB_TYPE, after=[a, b])
    flow.gate("open")
    queue.start(flow)
    claimed = queue.claim_steps()
    return claimed["a"], claimed["b"]


def success(claimed: ClaimedJob) -> Operation[None]:
    return jobs.complete_job(jobs.JobSuccess(lease=claimed.lease))


def cancel(claimed: ClaimedJob) -> Operation[object]:
    return workflows.cancel_workflow_run(run_of(claimed), scope=Admin())


def append(claimed: ClaimedJob) -> Operation[object]:
    more = WorkflowAppendRequest(
        mutation_key="more", window_step_key="open", steps=[job("more", "a", job_type=JOB_TYPE)]
    )
    return workflows.append_workflow_steps(run_of(claimed), more, scope=Admin())


WAITING: dict[str, Callable[[ClaimedJob], Operation[object]]] = {
    "complete": success,
    "dead letter": lambda claimed: jobs.fail_job(failure_of(claimed, JobFailureKind.TERMINAL)),
    "cancel of the job": lambda claimed: jobs.cancel_job(claimed.job_id, scope=Admin()),
    "gate": lambda claimed: workflows.complete_external_workflow_step(run_of(claimed), "open", scope=Admin()),
    "append": append,
    "append of the job": lambda claimed: workflows.append_workflow_steps_of_job(
        run_of(claimed),
        WorkflowAppendRequest(mutation_key="more", window_step_key="a", steps=[job("more", job_type=JOB_TYPE)]),
        claimed.lease,
    ),
    "keys": lambda claimed: workflows.list_workflow_step_keys_for_update(run_of(claimed), scope=Admin()),
    "payload": lambda claimed: workflows.update_workflow_step_and_pending_job_payload(
        run_of(claimed), "join", {"n": 2}, scope=Admin()
    ),
}
EVERY_WAIT = pytest.mark.parametrize("wait", WAITING.values(), ids=WAITING)


# Two ends of one run --------------------------------------------------------------------------------------------------


def test_the_second_of_two_ends_waits_for_the_first_and_finds_its_counters(
    queue: WorkflowQueue, first: Session, second: Session
) -> None:
    """WFC-009, of which this is our variant: one transaction at a time advances a run."""
    a, b = two_branches(queue)
    first.run(success(a))

    waiting = second.begin(success(b), queue)
    first.commit()
    waiting.result()
    second.commit()

    statuses = queue.statuses(run_of(a))
    assert (statuses["after_a"], statuses["after_b"], statuses["join"]) == ("ENQUEUED",) * 3


def test_ends_of_different_runs_do_not_wait(queue: WorkflowQueue, first: Session, second: Session) -> None:
    """WFC-009."""
    (a, _), (other, _) = two_branches(queue), two_branches(queue)

    first.run(success(a))
    second.run(success(other))
    second.commit()
    first.commit()

    assert queue.statuses(run_of(other))["after_a"] == "ENQUEUED"


def test_an_end_finds_the_edge_that_was_appended_while_it_waited(
    queue: WorkflowQueue, first: Session, second: Session
) -> None:
    a, _ = two_branches(queue)
    first.run(append(a))

    waiting = second.begin(success(a), queue)
    first.commit()
    waiting.result()
    second.commit()

    assert queue.statuses(run_of(a))["more"] == "ENQUEUED"


def test_an_append_finds_the_end_that_it_waited_for(queue: WorkflowQueue, first: Session, second: Session) -> None:
    a, _ = two_branches(queue)
    first.run(success(a))

    waiting = second.begin(append(a), queue)
    first.commit()
    waiting.result()
    second.commit()

    assert queue.statuses(run_of(a))["more"] == "ENQUEUED"
    assert queue.counters(run_of(a))["more"] == (0, 0)


def test_of_two_that_append_the_same_the_second_finds_the_first(
    queue: WorkflowQueue, first: Session, second: Session
) -> None:
    """WFA-003."""
    a, _ = two_branches(queue)
    first.run(append(a))

    waiting = second.begin(append(a), queue)
    first.commit()

    outcome = waiting.result()
    assert isinstance(outcome, WorkflowAppendResult)
    assert outcome.outcome is WorkflowAppendOutcome.ALREADY_APPLIED


def test_of_two_completions_of_a_gate_the_second_finds_the_first(
    queue: WorkflowQueue, first: Session, second: Session
) -> None:
    """WFX-003, WFX-004, WFX-009: the lock is that of the run."""
    a, _ = two_branches(queue)
    first.run(WAITING["gate"](a))

    same = second.begin(WAITING["gate"](a), queue)
    first.commit()
    same.result()
    second.commit()
    other = workflows.complete_external_workflow_step(run_of(a), "open", scope=Admin(), status=CANCELED)

    with refused("workflow.external_step_conflicting_completion_retry"):
        second.run(other)


# Cancel and the rest --------------------------------------------------------------------------------------------------


def test_an_end_that_waited_for_a_cancel_which_was_rolled_back_releases_what_waits(
    queue: WorkflowQueue, first: Session, second: Session
) -> None:
    """WFC-010."""
    a, _ = two_branches(queue)
    first.run(cancel(a))

    waiting = second.begin(success(a), queue)
    first.rollback()
    waiting.result()
    second.commit()

    assert queue.statuses(run_of(a))["after_a"] == "ENQUEUED"


def test_an_end_that_waited_for_a_cancel_is_refused_and_releases_nothing(
    queue: WorkflowQueue, first: Session, second: Session
) -> None:
    """WFC-011."""
    a, _ = two_branches(queue)
    job_count = queue.contents()["job_queue"]
    first.run(cancel(a))

    waiting = second.begin(success(a), queue)
    first.commit()
    with pytest.raises(QueryError, check=lambda error: error.code == "job.lease_owner_mismatch"):
        waiting.result()
    second.commit()

    assert queue.workflow_run(run_of(a)).status is WorkflowRunStatus.CANCELED
    assert queue.contents()["job_queue"][0] == job_count[0]
    assert queue.job(a.job_id).status is JobStatus.CANCELED


def test_a_cancel_that_waited_for_an_end_catches_the_jobs_that_it_released(
    queue: WorkflowQueue, first: Session, second: Session
) -> None:
    """WFC-008."""
    a, _ = two_branches(queue)
    first.run(success(a))

    waiting = second.begin(cancel(a), queue)
    first.commit()
    waiting.result()
    second.commit()

    statuses = queue.statuses(run_of(a))
    assert statuses.pop("a") == "SUCCEEDED"
    assert set(statuses.values()) == {"CANCELED"}
    assert queue.job_of(run_of(a), "after_a").status is JobStatus.CANCELED


def test_a_cancel_waits_for_a_locked_job_without_holding_steps(
    queue: WorkflowQueue, first: Session, second: Session
) -> None:
    """WFC-007."""
    a, _ = two_branches(queue)
    first.lock(a.job_id)

    waiting = second.begin(cancel(a), queue)
    assert len(queue.sql("SELECT FROM workflow_steps FOR UPDATE NOWAIT")) == 6
    first.rollback()
    waiting.result()
    second.commit()

    assert queue.workflow_run(run_of(a)).status is WorkflowRunStatus.CANCELED


def test_a_cancel_that_waited_for_a_claim_cancels_the_attempt_too(
    queue: WorkflowQueue, first: Session, second: Session
) -> None:
    """WFC-008, CLM-011. A claim locks its jobs and steps, and no run."""
    run_id = queue.start(diamond())
    (claimed,) = first.run(jobs.claim_jobs(WORKER, lease_ttl=timedelta(minutes=1), limit=1))

    waiting = second.begin(workflows.cancel_workflow_run(run_id, scope=Admin()), queue)
    first.commit()
    waiting.result()
    second.commit()

    assert set(queue.statuses(run_id).values()) == {"CANCELED"}
    (attempt,) = queue.attempts(claimed.job_id)
    assert attempt.finished_at is not None


@EVERY_WAIT
def test_whatever_changes_a_run_waits_for_its_cancel(
    queue: WorkflowQueue, first: Session, second: Session, wait: Callable[[ClaimedJob], Operation[object]]
) -> None:
    """WFX-010, WFA-017, WFC-010."""
    a, _ = two_branches(queue)
    first.run(cancel(a))

    waiting = second.begin(wait(a), queue)
    first.rollback()
    waiting.result()


ISOLATION_CODES = {
    "complete": "workflow.terminal_completion_unsupported_isolation",
    "dead letter": "workflow.terminal_completion_unsupported_isolation",
    "cancel of the job": "workflow.terminal_completion_unsupported_isolation",
    "gate": "workflow.external_completion_unsupported_isolation",
}


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
@pytest.mark.parametrize("name", [*WAITING, "cancel", "complete many", "fail many"])
def test_a_run_that_was_changed_since_the_snapshot_is_refused_by_the_code_of_the_isolation(
    queue: WorkflowQueue, first: Session, level: str, name: str
) -> None:
    """WFA-016, WFX-011, WFC-006, WFP-016. PostgreSQL would refuse the lock itself, as a serialization failure."""
    a, b = two_branches(queue)
    others: dict[str, Operation[object]] = {
        "cancel": cancel(a),
        "complete many": jobs.complete_jobs(WORKER, [jobs.JobSuccess(lease=a.lease)]),
        "fail many": jobs.fail_jobs(WORKER, [failure_of(a, JobFailureKind.TERMINAL)]),
    }
    others |= {name: wait(a) for name, wait in WAITING.items()}
    codes = ISOLATION_CODES | {
        "cancel": "workflow.cancel_unsupported_isolation",
        "complete many": ISOLATION_CODES["complete"],
        "fail many": ISOLATION_CODES["complete"],
    }
    first.sql(f"SET TRANSACTION ISOLATION LEVEL {level}")
    first.sql("SELECT count(*) FROM runledger.workflow_runs")
    queue.succeed(b)

    with refused(codes.get(name, "workflow.append_unsupported_isolation")):
        first.run(others[name])

    assert first.sql("SELECT 1") == [(1,)]


@EVERY_WAIT
def test_a_wait_that_takes_too_long_is_a_conflict_and_leaves_nothing_behind(
    queue: WorkflowQueue, first: Session, second: Session, wait: Callable[[ClaimedJob], Operation[object]]
) -> None:
    """WFC-012, WFC-013, WFX-010, WFA-017. The shorter bound of the transaction counts, and the caller may commit."""
    a, _ = two_branches(queue)
    before = queue.contents()
    first.run(cancel(a))
    second.sql("SET LOCAL lock_timeout = '20ms'")

    with refused(CONFLICT, QueryErrorCategory.CONFLICT) as caught:
        second.run(wait(a))
    assert caught.value.sqlstate == "55P03"
    assert second.sql("SHOW lock_timeout") == [("20ms",)]
    second.commit()
    first.rollback()

    assert queue.contents() == before
    assert queue.job(a.job_id).status is JobStatus.LEASED


@pytest.mark.parametrize(
    ("own", "bound"), [("0", "5s"), ("6s", "5s"), ("1h", "5s"), ("5s", "5s"), ("4500ms", "4500ms"), ("1min", "5s")]
)
def test_the_bound_is_five_seconds_or_the_shorter_one_of_the_transaction(
    queue: WorkflowQueue, first: Session, own: str, bound: str
) -> None:
    """WFC-012. What is in force while the row of the run is being locked is told by a policy, which is asked then."""
    a, _ = two_branches(queue)
    role = f"told_{uuid4().hex}"  # roles belong to the server, which other tests use at the same time
    queue.sql("CREATE TABLE public.told (id serial, lock_timeout text)")
    queue.sql("""
        CREATE FUNCTION public.tell() RETURNS boolean LANGUAGE plpgsql AS $function$
        BEGIN INSERT INTO public.told (lock_timeout) VALUES (current_setting('lock_timeout')); RETURN true; END
        $function$""")
    queue.sql("CREATE POLICY tell ON workflow_runs USING (public.tell())")
    queue.sql("ALTER TABLE workflow_runs ENABLE ROW LEVEL SECURITY")
    queue.sql(f"CREATE ROLE {role}")
    queue.sql(f"GRANT USAGE ON SCHEMA runledger TO {role}")
    queue.sql(f"GRANT ALL ON ALL TABLES IN SCHEMA runledger, public TO {role}")
    queue.sql(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}")
    try:
        first.sql(f"SET LOCAL ROLE {role}")
        first.sql("SELECT set_config('lock_timeout', %s, true)", own)

        first.run(workflows.list_workflow_step_keys_for_update(run_of(a), scope=Admin()))

        assert first.sql("SELECT lock_timeout FROM public.told ORDER BY id LIMIT 1") == [(bound,)]
        assert first.sql("SHOW lock_timeout") == [(own,)]
    finally:
        first.rollback()
        queue.sql(f"DROP OWNED BY {role}")
        queue.sql(f"DROP ROLE {role}")


JOB_WAITS = pytest.mark.parametrize("name", ["append of the job", "payload of a job"])


def job_wait(name: str, claimed: ClaimedJob) -> Operation[object]:
    if name == "append of the job":
        return WAITING[name](claimed)
    return workflows.update_workflow_step_and_pending_job_payload(run_of(claimed), "a", {"n": 2}, scope=Admin())


@JOB_WAITS
def test_a_job_that_somebody_keeps_is_a_conflict_within_the_bound_of_the_transaction(
    queue: WorkflowQueue, first: Session, second: Session, name: str
) -> None:
    """WFC-012, WFC-013."""
    a, _ = two_branches(queue)
    before = queue.contents()
    first.lock(a.job_id)
    second.sql("SET LOCAL lock_timeout = '20ms'")

    with refused(CONFLICT, QueryErrorCategory.CONFLICT):
        second.run(job_wait(name, a))
    assert second.sql("SHOW lock_timeout") == [("20ms",)]
    second.commit()
    first.rollback()

    assert queue.contents() == before


@JOB_WAITS
def test_the_wait_for_a_job_leaves_the_setting_of_the_transaction_alone(
    queue: WorkflowQueue, first: Session, second: Session, name: str
) -> None:
    """WFC-012."""
    a, _ = two_branches(queue)
    first.lock(a.job_id)
    second.sql("SET LOCAL lock_timeout = '90s'")

    waiting = second.begin(job_wait(name, a), queue)
    first.rollback()
    waiting.result()

    assert second.sql("SHOW lock_timeout") == [("90s",)]


@pytest.mark.parametrize("is_local", [True, False])
def test_the_setting_of_session_or_transaction_is_put_back(
    queue: WorkflowQueue, first: Session, *, is_local: bool
) -> None:
    """WFC-012. After the transaction it is that of the session."""
    a, _ = two_branches(queue)
    first.sql("SET lock_timeout = '7s'")
    first.commit()
    if is_local:
        first.sql("SET LOCAL lock_timeout = '90s'")

    first.run(success(a))

    assert first.sql("SHOW lock_timeout") == [("90s" if is_local else "7s",)]
    first.commit()
    assert first.sql("SHOW lock_timeout") == [("7s",)]


def test_a_cancel_waits_as_long_as_the_transaction_lets_it(
    queue: WorkflowQueue, first: Session, second: Session
) -> None:
    """WFC-007."""
    a, _ = two_branches(queue)
    second.sql("SET LOCAL lock_timeout = '20ms'")

    first.run(success(a))
    with refused(CONFLICT, QueryErrorCategory.CONFLICT):
        second.run(cancel(a))
    first.rollback()
    first.lock(a.job_id)
    with refused(CONFLICT, QueryErrorCategory.CONFLICT):
        second.run(cancel(a))
    second.commit()

    assert queue.workflow_run(run_of(a)).status is WorkflowRunStatus.RUNNING


# Batches --------------------------------------------------------------------------------------------------------------


def test_a_batch_leaves_out_the_run_that_somebody_keeps_and_ends_the_others(
    queue: WorkflowQueue, first: Session
) -> None:
    """The outcome of that run is written alone then, waiting for longer."""
    (a, b), (other, _) = two_branches(queue), two_branches(queue)
    plain = queue.enqueue_and_claim()
    first.run(cancel(a))

    ended = queue.succeed_all([a, b, other, plain])

    assert ended == {other.job_id, plain.job_id}
    assert queue.statuses(run_of(other))["after_a"] == "ENQUEUED"
    assert queue.run(jobs.read_held_leases(WORKER, [a.lease])) == {a.job_id}, "it is busy, not lost"
    first.rollback()
    assert queue.succeed_all([a, b]) == {a.job_id, b.job_id}
    assert queue.statuses(run_of(a))["join"] == "ENQUEUED"


def test_a_batch_of_dead_letters_leaves_out_the_run_that_somebody_keeps(queue: WorkflowQueue, first: Session) -> None:
    (a, b), (other, _) = two_branches(queue), two_branches(queue)
    first.run(cancel(a))
    failures = [failure_of(a, JobFailureKind.TERMINAL), failure_of(other, JobFailureKind.TERMINAL), failure_of(b)]

    recorded = queue.run(jobs.fail_jobs(WORKER, failures))

    assert recorded == {other.job_id: True}, "the retry is of a job that the cancel has locked"


def test_a_batch_goes_around_a_locked_job_and_advances_the_run_for_the_others(
    queue: WorkflowQueue, first: Session
) -> None:
    a, b = two_branches(queue)
    first.lock(a.job_id)

    assert queue.succeed_all([a, b]) == {b.job_id}

    assert queue.statuses(run_of(a))["after_b"] == "ENQUEUED"
    first.rollback()
    assert queue.succeed_all([a]) == {a.job_id}
    assert queue.statuses(run_of(a))["join"] == "ENQUEUED"
