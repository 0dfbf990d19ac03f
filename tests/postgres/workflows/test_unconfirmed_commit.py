"""Enqueue of a run on a pool whose connection breaks while the run is being committed."""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import pytest

from runledger.core import Admin, WorkflowRunEnqueue, WorkflowRunRecord
from runledger.postgres import DatabaseConnectionError, Operation, QueryError, workflows
from runledger.postgres.document import MAX_BATCH_ROWS
from runledger.postgres.workflows import enqueue as enqueue_module
from tests.core.workflows.dags import gate, job
from tests.postgres.job_queue import JOB_TYPE
from tests.postgres.wired_client import Client, client_behind
from tests.postgres.workflow_queue import WORKFLOW_TYPE, WorkflowQueue
from tests.wire import Loss, wire_to

UNKEYED = WorkflowRunEnqueue(
    workflow_type=WORKFLOW_TYPE,
    metadata={"by": "me"},
    steps=(job("a", job_type=JOB_TYPE), job("b", "a", job_type=JOB_TYPE)),
)
KEYED = dataclasses.replace(UNKEYED, idempotency_key="order-17/hunter2")
LARGE = dataclasses.replace(
    UNKEYED,
    steps=[job("a", job_type=JOB_TYPE), *(job(f"s{n}", "a", job_type=JOB_TYPE) for n in range(MAX_BATCH_ROWS))],
)

COMMIT = b"COMMIT"
# One statement in autocommit is its own commit.
STATEMENT = b'"step_key":"a"'

UNCONFIRMED = "db.transaction_commit_unconfirmed"

REQUESTS = {
    "without key": (UNKEYED, STATEMENT),
    "with key": (KEYED, COMMIT),
    "in several statements": (LARGE, COMMIT),
    "in several statements, with key": (dataclasses.replace(LARGE, idempotency_key="k"), COMMIT),
}
EVERY_REQUEST = pytest.mark.parametrize(("request_", "text"), REQUESTS.values(), ids=REQUESTS)


@pytest.fixture(params=["asyncio", "blocking"])
async def client(queue: WorkflowQueue, request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    async with wire_to(queue.url) as wire, client_behind(wire, request.param) as client:
        yield client


def enqueue(request: WorkflowRunEnqueue) -> Operation[WorkflowRunRecord]:
    return workflows.enqueue_workflow_run(request)


def recovery_of(request: WorkflowRunEnqueue) -> Operation[WorkflowRunRecord]:
    """Return what would settle an unconfirmed commit of the request."""
    steps = enqueue(request).begin()
    statement = next(steps)
    if request.idempotency_key is not None:
        statement = steps.send([{"answer": "SAME", "existing_run_id": UUID(int=1)}])
    assert statement.recovery is not None
    return statement.recovery


def run_ids(queue: WorkflowQueue) -> list[UUID]:
    return [row[0] for row in queue.sql("SELECT id FROM workflow_runs")]


@pytest.mark.parametrize("loss", [Loss.ANSWER, Loss.REQUEST], ids=lambda loss: loss.name)
@EVERY_REQUEST
async def test_a_run_is_there_once_whether_or_not_the_lost_commit_took_place(
    queue: WorkflowQueue, client: Client, request_: WorkflowRunEnqueue, text: bytes, loss: Loss
) -> None:
    client.wire.break_at(text, loss)

    run = await client.run(enqueue(request_))

    assert client.wire.breaks_to_come == 0
    assert run_ids(queue) == [run.id]
    assert run == queue.workflow_run(run.id)
    assert len(queue.steps(run.id)) == len(request_.steps)
    assert queue.sql("SELECT count(*) FROM job_queue") == queue.sql("SELECT count(*) FROM job_events") == [(1,)]


async def test_a_known_run_stays_the_one_that_the_key_has(queue: WorkflowQueue, client: Client) -> None:
    """It had nothing to commit."""
    known = queue.start(KEYED)
    client.wire.break_at(COMMIT, Loss.ANSWER)

    assert (await client.run(enqueue(KEYED))).id == known

    assert run_ids(queue) == [known]


async def test_a_run_that_went_on_meanwhile_is_returned_as_it_is(queue: WorkflowQueue, client: Client) -> None:
    """Its first commit took place, and workers have begun."""
    client.wire.break_at(COMMIT, Loss.ANSWER)
    run = await client.run(enqueue(KEYED))
    queue.succeed(queue.claim_one())

    again = await client.run(recovery_of(KEYED))

    assert again == queue.workflow_run(run.id)


@pytest.mark.parametrize("request_", [KEYED, LARGE], ids=["with key", "without"])
async def test_a_transaction_that_the_server_still_keeps_open_is_not_guessed(
    queue: WorkflowQueue, client: Client, request_: WorkflowRunEnqueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """WFE-026. And the key is in none of the texts."""
    monkeypatch.setattr(enqueue_module, "_RECOVERY_LOCK_TIMEOUT", timedelta(milliseconds=10))
    client.wire.break_at(COMMIT, Loss.CLIENT)

    with pytest.raises(DatabaseConnectionError) as caught:
        await client.run(enqueue(request_))

    assert caught.value.code == UNCONFIRMED
    assert "hunter2" not in "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    assert run_ids(queue) == []


async def test_a_conflict_that_arose_meanwhile_is_told(queue: WorkflowQueue, client: Client) -> None:
    """The first was not committed, so the key is free, and somebody else takes it."""
    recovery = recovery_of(KEYED)
    queue.start(dataclasses.replace(KEYED, metadata={"by": "you"}))

    with pytest.raises(QueryError, check=lambda error: error.code == "workflow.enqueue_conflicting_retry"):
        await client.run(recovery)


@pytest.mark.parametrize("request_", [UNKEYED, KEYED], ids=["without key", "with key"])
async def test_a_definition_that_is_missing_afterwards_tells_nothing(
    queue: WorkflowQueue, client: Client, request_: WorkflowRunEnqueue
) -> None:
    recovery = recovery_of(request_)
    queue.define(is_enabled=False)

    with pytest.raises(DatabaseConnectionError, check=lambda error: error.code == UNCONFIRMED):
        await client.run(recovery)

    assert run_ids(queue) == []


async def test_a_second_loss_leaves_the_commit_unconfirmed(
    queue: WorkflowQueue, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.wire.break_at(COMMIT, Loss.ANSWER)
    # The recovery begins with this setting, and only it has one.
    monkeypatch.setattr(enqueue_module, "_RECOVERY_LOCK_TIMEOUT", timedelta(milliseconds=4_321))
    client.wire.break_at(b"4321", Loss.REQUEST)

    with pytest.raises(DatabaseConnectionError, check=lambda error: error.code == UNCONFIRMED):
        await client.run(enqueue(KEYED))

    assert len(run_ids(queue)) == 1


async def test_a_loss_before_the_commit_is_an_ordinary_loss(queue: WorkflowQueue, client: Client) -> None:
    client.wire.break_at(STATEMENT, Loss.ANSWER)

    with pytest.raises(DatabaseConnectionError, check=lambda error: error.code == "db.connection_failed"):
        await client.run(enqueue(KEYED))

    assert run_ids(queue) == []


async def test_an_advance_that_was_not_confirmed_says_so(queue: WorkflowQueue, client: Client) -> None:
    """A gate is completed again by whoever asked for it: the same once more changes nothing (WFX-003)."""
    run_id = queue.start(dataclasses.replace(UNKEYED, steps=[gate("g")]))
    client.wire.break_at(COMMIT, Loss.ANSWER)
    complete = workflows.complete_external_workflow_step(run_id, "g", scope=Admin())

    with pytest.raises(DatabaseConnectionError, check=lambda error: error.code == UNCONFIRMED):
        await client.run(complete)

    assert (await client.run(complete)).status == "SUCCEEDED"
