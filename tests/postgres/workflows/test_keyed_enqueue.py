"""A run with an idempotency key: the same request is the same run, another one is refused."""

from __future__ import annotations

import hashlib
import traceback
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from runledger.core import (
    Admin,
    Global,
    Organization,
    Workflow,
    WorkflowRunEnqueue,
    WorkflowRunStatus,
    WorkflowStepDependencySpec,
    WorkflowStepEnqueue,
)
from runledger.core.workflows.status import WorkflowDependencyReleaseMode
from runledger.postgres import QueryError, QueryErrorCategory, run_sync, workflows
from tests.core.workflows.dags import gate, job
from tests.postgres.job_queue import JOB_TYPE
from tests.postgres.workflow_queue import WORKFLOW_TYPE, WorkflowQueue, refused
from tests.races.session import Session

SHOP, DEPOT = UUID(int=1), UUID(int=2)
KEY = "order-17/hunter2"

CONFLICT = "workflow.enqueue_conflicting_retry"
ISOLATION = "workflow.enqueue_idempotency_unsupported_isolation"


def email(key: str, *prerequisites: str, **fields: Any) -> WorkflowStepEnqueue:
    return job(key, *prerequisites, **({"job_type": JOB_TYPE} | fields))


REQUEST = WorkflowRunEnqueue(
    workflow_type=WORKFLOW_TYPE,
    idempotency_key=KEY,
    metadata={"by": "me", "amount": 1},
    steps=(email("a", payload={"n": 1, "price": 1.5}), gate("g"), email("c", "a", "g")),
)


def enqueue(queue: WorkflowQueue, request: WorkflowRunEnqueue) -> UUID:
    return queue.run(workflows.enqueue_workflow_run(request)).id


def with_steps(**changes: WorkflowStepEnqueue) -> WorkflowRunEnqueue:
    return replace(REQUEST, steps=[changes.get(step.step_key, step) for step in REQUEST.steps])


A, GATE, C = REQUEST.steps


def test_an_identical_request_is_the_same_run_and_writes_nothing(queue: WorkflowQueue) -> None:
    """WFE-011."""
    run_id = enqueue(queue, REQUEST)
    before = queue.contents()

    assert queue.run(workflows.enqueue_workflow_run(REQUEST)) == queue.workflow_run(run_id)
    assert queue.contents() == before


def test_an_identical_request_is_the_run_as_it_is_now_whatever_became_of_it(queue: WorkflowQueue) -> None:
    """WFE-011."""
    run_id = enqueue(queue, REQUEST)
    queue.cancel_run(run_id)

    again = queue.run(workflows.enqueue_workflow_run(REQUEST))

    assert (again.id, again.status) == (run_id, WorkflowRunStatus.CANCELED)


def specs(*prerequisites: str, mode: WorkflowDependencyReleaseMode | None) -> list[WorkflowStepDependencySpec]:
    return [WorkflowStepDependencySpec(prerequisite_step_key=key, release_mode=mode) for key in prerequisites]


ON_TERMINAL, ON_SUCCESS = WorkflowDependencyReleaseMode.ON_TERMINAL, WorkflowDependencyReleaseMode.ON_SUCCESS
SAME = {
    "WFE-017 steps reordered": replace(REQUEST, steps=(C, GATE, A)),
    "WFE-017 dependencies reordered": with_steps(c=email("c", "g", "a")),
    "WFE-018 stage spelled out": with_steps(a=replace(A, stage="queued")),
    "WFE-019 mode spelled out": with_steps(c=email("c", dependencies=specs("a", "g", mode=ON_TERMINAL))),
    "WFE-020 numbers by value": replace(
        with_steps(a=replace(A, payload={"n": 1.0, "price": 1.50})), metadata={"amount": 1.0, "by": "me"}
    ),
}


@pytest.mark.parametrize("request_", SAME.values(), ids=SAME)
def test_what_says_the_same_is_the_same(queue: WorkflowQueue, request_: WorkflowRunEnqueue) -> None:
    """WFE-017, WFE-018, WFE-019, WFE-020."""
    assert enqueue(queue, request_) == enqueue(queue, REQUEST)


OTHER = {
    "WFE-014 metadata": replace(REQUEST, metadata={"by": "you"}),
    "WFE-015 payload": with_steps(a=replace(A, payload={"n": 2})),
    "WFE-015 payload, true for one": with_steps(a=replace(A, payload={"n": True, "price": 1.5})),
    "WFE-015 priority": with_steps(a=replace(A, priority=1)),
    "WFE-015 attempts": with_steps(a=replace(A, max_attempts=1)),
    "WFE-015 timeout": with_steps(a=replace(A, timeout=timedelta(seconds=1))),
    "WFE-015 stage": with_steps(a=replace(A, stage="packing")),
    "WFE-015 organisation": with_steps(a=replace(A, organization_id=SHOP)),
    "WFE-015 dependency": with_steps(c=email("c", "a")),
    "WFE-015 mode": with_steps(c=email("c", dependencies=specs("a", "g", mode=ON_SUCCESS))),
    "WFE-016 added": replace(REQUEST, steps=(*REQUEST.steps, email("d"))),
    "WFE-016 removed": replace(REQUEST, steps=(A, GATE)),
    "result step": replace(REQUEST, result_step_key="c"),
}


@pytest.mark.parametrize("other", OTHER.values(), ids=OTHER)
def test_another_request_with_the_key_is_refused_without_naming_it(
    queue: WorkflowQueue, other: WorkflowRunEnqueue
) -> None:
    """WFE-014, WFE-015, WFE-016, WFE-026."""
    enqueue(queue, REQUEST)
    before = queue.contents()

    with refused(CONFLICT, QueryErrorCategory.CONFLICT) as caught:
        enqueue(queue, other)

    assert queue.contents() == before
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + caught.value.client_message
    assert KEY not in told
    assert KEY not in caught.value.internal_message


def test_each_organisation_has_keys_of_its_own_and_the_global_scope_has_others(queue: WorkflowQueue) -> None:
    """WFE-013."""
    requests = [replace(REQUEST, organization_id=organization_id) for organization_id in (None, SHOP, DEPOT)]

    ids = [enqueue(queue, request) for request in requests]

    assert len(set(ids)) == 3
    assert [enqueue(queue, request) for request in requests] == ids


def test_each_type_has_keys_of_its_own(queue: WorkflowQueue) -> None:
    assert enqueue(queue, REQUEST) != enqueue(queue, replace(REQUEST, workflow_type="order.return"))


def test_a_key_is_looked_up_in_its_scope_alone(queue: WorkflowQueue) -> None:
    """WFE-025."""
    owned = enqueue(queue, replace(REQUEST, organization_id=SHOP))

    def found(scope: Any) -> UUID | None:
        run = queue.run(workflows.get_workflow_run_by_type_and_idempotency_key(WORKFLOW_TYPE, KEY, scope=scope))
        return None if run is None else run.id

    assert (found(Global()), found(Organization(DEPOT)), found(Organization(SHOP))) == (None, None, owned)
    everybody = enqueue(queue, REQUEST)
    assert (found(Global()), found(Organization(SHOP))) == (everybody, owned)
    with pytest.raises(ValueError, match="scope"):
        found(Admin())


def test_steps_that_were_appended_do_not_make_another_request(queue: WorkflowQueue) -> None:
    """WFE-021."""
    run_id = enqueue(queue, REQUEST)
    more = workflows.WorkflowAppendRequest(mutation_key="more", window_step_key="g", steps=[email("more")])
    queue.run(workflows.append_workflow_steps(run_id, more, scope=Admin()))

    assert enqueue(queue, REQUEST) == run_id


def test_a_payload_that_was_edited_does_not_make_another_request(queue: WorkflowQueue) -> None:
    """WFE-022."""
    run_id = enqueue(queue, REQUEST)
    edit = workflows.update_workflow_step_and_pending_job_payload(run_id, "a", {"n": 9}, scope=Admin())
    assert queue.run(edit)

    assert enqueue(queue, REQUEST) == run_id


def test_a_changed_definition_does_not_make_another_request(queue: WorkflowQueue) -> None:
    """WFE-011. Not even one that is disabled by now."""
    run_id = enqueue(queue, REQUEST)
    queue.define(max_attempts=9, is_enabled=False)

    assert enqueue(queue, REQUEST) == run_id


def test_a_run_from_before_the_snapshots_cannot_be_compared(queue: WorkflowQueue) -> None:
    """WFE-023."""
    enqueue(queue, REQUEST)
    queue.sql("ALTER TABLE workflow_runs DROP CONSTRAINT ck_workflow_runs_idempotency_enqueue_request")
    queue.sql("UPDATE workflow_runs SET enqueue_request = NULL")

    with refused("workflow.legacy_idempotency_snapshot_missing", QueryErrorCategory.CONFLICT):
        enqueue(queue, REQUEST)


def test_nobody_can_store_a_key_without_its_request(queue: WorkflowQueue) -> None:
    """WFE-027."""
    with pytest.raises(psycopg.errors.CheckViolation):
        queue.sql("INSERT INTO workflow_runs (workflow_type, idempotency_key) VALUES ('t', 'key')")


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_a_transaction_that_cannot_see_a_twin_is_refused_and_nothing_is_written(
    queue: WorkflowQueue, first: Session, level: str
) -> None:
    """WFE-024. Whether the key is known or not."""
    for known in (False, True):
        before = queue.contents()
        first.sql(f"SET TRANSACTION ISOLATION LEVEL {level}")

        with refused(ISOLATION):
            first.run(workflows.enqueue_workflow_run(REQUEST))
        first.commit()

        assert queue.contents() == before, known
        enqueue(queue, REQUEST)


def test_read_uncommitted_is_read_committed(queue: WorkflowQueue) -> None:
    """WFE-024."""
    with psycopg.connect(queue.url) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED")
        run = run_sync(connection, workflows.enqueue_workflow_run(REQUEST))

    assert queue.workflow_run(run.id) == run


@pytest.mark.parametrize("organization_id", [None, SHOP])
@pytest.mark.parametrize("is_committed", [True, False])
def test_of_twins_at_the_same_time_one_makes_the_run(
    queue: WorkflowQueue, first: Session, second: Session, organization_id: UUID | None, *, is_committed: bool
) -> None:
    """WFE-012. The second waits, and takes the run of the first, or makes it if the first is rolled back."""
    request = replace(REQUEST, organization_id=organization_id)
    made = first.run(workflows.enqueue_workflow_run(request))

    twin = second.begin(workflows.enqueue_workflow_run(request), queue)
    if is_committed:
        first.commit()
    else:
        first.rollback()
    run = twin.result()
    second.commit()

    assert (run.id == made.id) == is_committed
    assert queue.sql("SELECT id FROM workflow_runs") == [(run.id,)]
    assert queue.sql("SELECT count(*) FROM job_queue") == [(1,)]


def test_another_request_that_waited_for_the_first_is_refused(
    queue: WorkflowQueue, first: Session, second: Session
) -> None:
    """WFE-012, WFE-014."""
    first.run(workflows.enqueue_workflow_run(REQUEST))

    other = second.begin(workflows.enqueue_workflow_run(OTHER["WFE-014 metadata"]), queue)
    first.commit()

    with refused(CONFLICT, QueryErrorCategory.CONFLICT):
        other.result()


def test_a_constraint_of_the_application_is_no_known_key(queue: WorkflowQueue) -> None:
    queue.sql("CREATE UNIQUE INDEX uq_app ON workflow_runs (workflow_type)")
    enqueue(queue, replace(REQUEST, idempotency_key="other"))

    with pytest.raises(QueryError, check=lambda error: error.code == "db.unique_violation"):
        enqueue(queue, REQUEST)


def test_the_longest_type_and_the_longest_key_fit_into_the_index(queue: WorkflowQueue) -> None:
    """Digests, since PostgreSQL would compress what repeats itself."""
    digests = "".join(hashlib.sha256(bytes([number])).hexdigest() for number in range(32))
    flow = Workflow(digests[:1_024], idempotency_key=digests[1_024:], organization_id=SHOP)
    flow.gate("open")

    assert queue.start(flow) == queue.start(flow)
