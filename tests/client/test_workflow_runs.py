"""Workflows through the ledger, and waiting for their end. Each test runs for both ledgers."""

from __future__ import annotations

import asyncio
import inspect
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg_pool
import pytest

from runledger.client import Ledger, SyncLedger, run_watch
from runledger.core import (
    Global,
    InvalidArgumentError,
    Organization,
    Workflow,
    WorkflowAppend,
    WorkflowAppendOutcome,
    WorkflowRunFailedError,
    WorkflowRunStatus,
    WorkflowStepStatus,
)
from runledger.postgres import QueryError
from runledger.testing import EphemeralDatabase
from tests.client.blocking import execute
from tests.client.conftest import TYPE
from tests.observer import Observer
from tests.wire import wire_to

MINUTE = timedelta(minutes=1)
SHOP = Organization(UUID("0198c0de-0000-7000-8000-0000000000aa"))


async def ask(handle: Any, name: str, **arguments: Any) -> Any:
    """Call a method of either kind of handle, the blocking one in a thread."""
    method = getattr(handle, name)
    if inspect.iscoroutinefunction(method):
        return await method(**arguments)
    return await asyncio.to_thread(method, **arguments)


def gated(**settings: Any) -> Workflow:
    """Return a workflow that a gate alone makes up, whose output is the result."""
    flow = Workflow("approval", **settings)
    flow.result_step(flow.gate("approve"))
    return flow


async def test_a_handle_waits_until_the_run_has_ended_and_gives_its_result(ledger: Ledger) -> None:
    handle = await ledger.enqueue_workflow(gated())
    waiting = asyncio.create_task(ask(handle, "result", timeout=MINUTE))

    await ledger.complete_gate(handle.id, "approve", output={"by": "me"})

    assert await waiting == {"by": "me"}
    assert await ask(handle, "status") is WorkflowRunStatus.SUCCEEDED
    (step,) = await ask(handle, "steps")
    assert (step.step_key, step.output) == ("approve", {"by": "me"})


async def test_a_waiter_is_told_and_does_not_find_out_by_looking(
    ledger: Ledger, observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("workflow_run_handle", "sync_workflow_run_handle"):
        monkeypatch.setattr(f"runledger.client.{module}.POLL_SECONDS", 3_600.0)
    handle = await ledger.enqueue_workflow(gated())
    waiting = asyncio.create_task(ask(handle, "wait", timeout=None))
    await observer.until("(SELECT count(*) > 0 FROM pg_stat_activity WHERE query LIKE 'LISTEN%%runs%%')")

    await ledger.complete_gate(handle.id, "approve")

    run = await asyncio.wait_for(waiting, 20)
    assert run.status is WorkflowRunStatus.SUCCEEDED


async def test_where_nothing_can_be_heard_the_run_is_looked_at(
    runledger_database: EphemeralDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runledger.client.workflow_run_handle.POLL_SECONDS", 0.01)
    async with wire_to(runledger_database.url) as wire:
        wire.is_pooler = True
        async with await Ledger.connect(wire.url) as ledger:
            handle = await ledger.enqueue_workflow(gated())
            waiting = asyncio.create_task(handle.result(timeout=MINUTE))

            await ledger.complete_gate(handle.id, "approve", output=1)

            assert await waiting == 1


async def test_a_pool_that_computes_where_it_connects_to_is_looked_at(runledger_database: EphemeralDatabase) -> None:
    pool: psycopg_pool.AsyncConnectionPool[Any] = psycopg_pool.AsyncConnectionPool(
        lambda: runledger_database.url, min_size=1, open=False, kwargs={"autocommit": True}
    )
    async with pool:
        ledger = Ledger(pool)
        handle = await ledger.enqueue_workflow(gated())
        await ledger.complete_gate(handle.id, "approve")

        assert await handle.result(timeout=MINUTE) is None


async def test_a_wait_ends_in_time(ledger: Ledger) -> None:
    handle = await ledger.enqueue_workflow(gated())

    with pytest.raises(TimeoutError, match="WAITING_FOR_EXTERNAL"):
        await ask(handle, "wait", timeout=timedelta(milliseconds=20))


@pytest.mark.parametrize("call", ["wait", "result"])
async def test_a_timeout_without_a_unit_is_refused_by_name(ledger: Ledger, call: str) -> None:
    handle = await ledger.enqueue_workflow(gated())

    with pytest.raises(InvalidArgumentError, match=r"timeout: is of type int; pass a datetime\.timedelta"):
        await ask(handle, call, timeout=5)


async def test_a_missing_result_is_explained_by_the_first_step_that_failed(ledger: Ledger) -> None:
    flow = Workflow("approvals")
    gates = [flow.gate(key) for key in ("first", "second", "third")]
    flow.result_step(flow.job("pay", TYPE, after=gates))
    handle = await ledger.enqueue_workflow(flow)
    await ledger.complete_gate(handle.id, "first")
    for key in ("third", "second"):
        await ledger.complete_gate(
            handle.id, key, status=WorkflowStepStatus.FAILED, error_code=f"{key}.refused", error_message="hunter2"
        )

    with pytest.raises(WorkflowRunFailedError) as caught:
        await ask(handle, "result", timeout=MINUTE)

    error = caught.value
    assert (error.failed_step_key, error.failed_step_error_code) == ("second", "second.refused")
    assert "COMPLETED_WITH_ERRORS and has no result: step 'second' is FAILED with second.refused;" in str(error)
    assert "hunter2" not in str(error)


async def test_a_run_without_result_step_has_a_result_only_if_it_succeeded(ledger: Ledger) -> None:
    flow = Workflow("approval")
    flow.gate("approve")
    good, bad = await ledger.enqueue_workflow(flow), await ledger.enqueue_workflow(flow)
    await ledger.complete_gate(good.id, "approve", output=1)
    await ledger.complete_gate(bad.id, "approve", status=WorkflowStepStatus.CANCELED)

    assert await ask(good, "result", timeout=MINUTE) is None
    with pytest.raises(WorkflowRunFailedError) as caught:
        await ask(bad, "result", timeout=MINUTE)
    assert caught.value.failed_step_key is None
    assert (await ask(bad, "wait", timeout=MINUTE)).status is WorkflowRunStatus.COMPLETED_WITH_ERRORS


async def test_steps_are_listed_by_their_status(ledger: Ledger) -> None:
    flow = Workflow("approvals")
    for key in "abc":
        flow.gate(key)
    handle = await ledger.enqueue_workflow(flow)
    await ledger.complete_gate(handle.id, "b")

    waiting = await ledger.list_workflow_steps(handle.id, status=WorkflowStepStatus.WAITING_FOR_EXTERNAL)

    assert [step.step_key for step in waiting] == ["a", "c"]
    text: Any = "FAILED"
    with pytest.raises(InvalidArgumentError, match="status: is of type str; pass a WorkflowStepStatus"):
        await ledger.list_workflow_steps(handle.id, status=text)
    with pytest.raises(InvalidArgumentError, match="status: is of type str; pass a WorkflowRunStatus"):
        await ledger.list_workflow_runs(status=text)


async def test_a_run_that_was_canceled_has_no_result(ledger: Ledger) -> None:
    handle = await ledger.enqueue_workflow(gated())

    run = await ledger.cancel_workflow_run(handle.id, reason="withdrawn")

    assert run.status is WorkflowRunStatus.CANCELED
    with pytest.raises(WorkflowRunFailedError, match="CANCELED"):
        await ask(handle, "result", timeout=MINUTE)


async def test_a_handle_sees_its_own_scope_and_no_other(ledger: Ledger) -> None:
    handle = await ledger.enqueue_workflow(gated(organization_id=SHOP.organization_id))

    assert handle.scope == SHOP
    assert await ask(handle, "status") is WorkflowRunStatus.WAITING_FOR_EXTERNAL
    for scope, asked in (
        (Global(), "in the global scope; pass `scope="),
        (Organization(uuid4()), "the organization that"),
    ):
        for call in ("status", "steps"):
            with pytest.raises(QueryError, match=asked) as caught:
                await ask(_of(ledger).workflow_run(handle.id, scope=scope), call)
            assert caught.value.code == "workflow.run_not_found"
        with pytest.raises(QueryError, match=asked) as caught:
            await ledger.complete_gate(handle.id, "approve", scope=scope)
        assert caught.value.code == "workflow.external_step_not_found"


async def test_a_handle_changes_its_run_in_its_own_scope(ledger: Ledger) -> None:
    """Nobody has to pass the organisation again."""
    handle = await ledger.enqueue_workflow(gated(organization_id=SHOP.organization_id))
    more = WorkflowAppend()
    more.gate("more")

    appended = await ask(handle, "append_steps", steps=more, window="approve", mutation_key="more", metadata={"n": 1})
    gate = await ask(
        handle,
        "complete_gate",
        step_key="approve",
        status=WorkflowStepStatus.FAILED,
        output=[1],
        reason="too dear",
        error_code="approval.refused",
        error_message="too dear by far",
    )
    run = await ask(handle, "cancel", reason="withdrawn", error_code="shop.withdrawn", error_message="by the shop")

    assert [step.step_key for step in appended.steps] == ["more"]
    assert (gate.status, gate.output, gate.status_reason) == (WorkflowStepStatus.FAILED, [1], "too dear")
    assert (gate.last_error_code, gate.last_error_message) == ("approval.refused", "too dear by far")
    assert run.status is WorkflowRunStatus.CANCELED
    more_step = (await ask(handle, "steps"))[1]
    assert (more_step.status_reason, more_step.last_error_code, more_step.last_error_message) == (
        "withdrawn",
        "shop.withdrawn",
        "by the shop",
    )


async def test_a_handle_changes_its_run_in_the_transaction_of_the_caller(ledger: Ledger) -> None:
    handle = await ledger.enqueue_workflow(gated())
    more = WorkflowAppend()
    more.gate("more")

    async def change_of_mind() -> None:
        async with ledger.transaction() as connection:
            await ask(handle, "append_steps", steps=more, window="approve", mutation_key="more", connection=connection)
            await ask(handle, "complete_gate", step_key="approve", connection=connection)
            await ask(handle, "cancel", connection=connection)
            raise LookupError

    with pytest.raises(LookupError):
        await change_of_mind()

    assert [step.status for step in await ask(handle, "steps")] == [WorkflowStepStatus.WAITING_FOR_EXTERNAL]
    assert await ask(handle, "status") is WorkflowRunStatus.WAITING_FOR_EXTERNAL


async def test_a_run_commits_with_the_rows_of_the_application_or_not_at_all(ledger: Ledger) -> None:
    async with ledger.transaction() as connection:
        await execute(connection, "INSERT INTO orders VALUES (1)")
        kept = await ledger.enqueue_workflow(gated(), connection=connection)
    lost: list[UUID] = []

    async def change_of_mind() -> None:
        async with ledger.transaction() as connection:
            lost.append((await ledger.enqueue_workflow(gated(), connection=connection)).id)
            raise LookupError

    with pytest.raises(LookupError):
        await change_of_mind()

    assert await ledger.get_workflow_run(kept.id) is not None
    assert await ledger.get_workflow_run(lost[0]) is None


async def test_runs_are_listed_found_and_read(ledger: Ledger) -> None:
    flow = gated(idempotency_key="order-17")
    first, second = await ledger.enqueue_workflow(flow), await ledger.enqueue_workflow(gated())

    runs = await ledger.list_workflow_runs(workflow_type_contains="APPROV", limit=1)
    older = await ledger.list_workflow_runs(before_run_id=second.id)
    by_key = await ledger.get_workflow_run_by_idempotency_key("approval", "order-17")
    latest = await ledger.get_latest_workflow_run("approval")

    assert [run.id for run in runs] == [second.id]
    assert [run.id for run in older] == [first.id]
    assert by_key is not None
    assert by_key.id == first.id
    assert latest is not None
    assert latest.id == second.id
    assert (await ledger.enqueue_workflow(flow)).id == first.id


async def test_steps_are_appended_through_a_gate_and_edited_before_they_begin(ledger: Ledger) -> None:
    handle = await ledger.enqueue_workflow(gated())
    more = WorkflowAppend()
    built = more.job("build", TYPE, {"n": 1}, after=more.existing("approve"))
    more.job("notify", TYPE, after=built)

    for outcome in (WorkflowAppendOutcome.APPENDED, WorkflowAppendOutcome.ALREADY_APPLIED):
        result = await ledger.append_workflow_steps(handle.id, more, window="approve", mutation_key="more")
        assert result.outcome is outcome
        assert [step.step_key for step in result.steps] == ["build", "notify"]

    assert await ledger.list_workflow_step_keys_for_update(handle.id) == ["approve", "build", "notify"]
    assert await ledger.update_workflow_step_payload(handle.id, "build", {"n": 2})
    assert not await ledger.update_workflow_step_payload(handle.id, "unknown", {})
    await ledger.complete_gate(handle.id, "approve")
    steps = {step.step_key: step for step in await ledger.list_workflow_steps(handle.id)}
    assert steps["build"].payload == {"n": 2}
    assert steps["build"].status is WorkflowStepStatus.ENQUEUED
    job_id = steps["build"].job_id
    assert job_id is not None
    assert await ledger.get_workflow_run_id_for_job(job_id) == handle.id
    edges = await ledger.list_workflow_step_dependencies(handle.id)
    assert [(edge.prerequisite_step_key, edge.dependent_step_key) for edge in edges] == [
        ("approve", "build"),
        ("build", "notify"),
    ]


async def test_a_held_job_of_a_workflow_ends_its_step(ledger: Ledger) -> None:
    flow = Workflow("chain")
    flow.result_step(flow.job("b", TYPE, after=flow.job("a", TYPE)))
    handle = await ledger.enqueue_workflow(flow)

    for key in ("a", "b"):
        (claimed,) = await ledger.claim_jobs("loop", lease_ttl=MINUTE, limit=1, is_start=True)
        assert (claimed.workflow_run_id, claimed.workflow_step_key) == (handle.id, key)
        await ledger.complete_job_success(claimed.lease, output=key)

    assert await ask(handle, "result", timeout=MINUTE) == "b"


async def test_many_waiters_share_one_connection_which_is_let_go(
    runledger_database: EphemeralDatabase, observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_watch, "_LINGER_SECONDS", 0.01)
    listening = "(SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%%')"
    async with await Ledger.connect(runledger_database.url) as ledger:
        handles = [await ledger.enqueue_workflow(gated()) for _ in range(20)]
        waiting = [asyncio.create_task(handle.result(timeout=MINUTE)) for handle in handles]
        await observer.until(f"{listening} = 1")

        for number, handle in enumerate(handles):
            await ledger.complete_gate(handle.id, "approve", output=number)

        assert await asyncio.gather(*waiting) == list(range(20))
        await observer.until(f"{listening} = 0")


def _of(ledger: Any) -> Ledger | SyncLedger:
    """Return the ledger behind the interface, whose methods that do no I/O are not awaited."""
    return getattr(ledger, "_ledger", ledger)
