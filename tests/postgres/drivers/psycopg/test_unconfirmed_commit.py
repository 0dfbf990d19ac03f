"""Enqueue on a pool whose connection breaks while the transaction is being committed."""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import pytest

from runledger.core import EnqueueRequest
from runledger.postgres import DatabaseConnectionError, Operation, QueryError, Statement, jobs
from runledger.postgres.document import MAX_BATCH_ROWS
from runledger.postgres.jobs import enqueue as enqueue_module
from runledger.postgres.operation import Steps, operation
from tests.postgres.job_queue import JOB_TYPE, JobQueue
from tests.postgres.wired_client import Client, client_behind
from tests.wire import Loss, wire_to

UNKEYED = EnqueueRequest(JOB_TYPE, {"n": 1})
KEYED = dataclasses.replace(UNKEYED, idempotency_key="order-17/hunter2")
OTHER = dataclasses.replace(KEYED, priority=7)

COMMIT = b"COMMIT"
# One statement in autocommit is its own commit.
STATEMENT = b'"payload":{"n":1}'

UNCONFIRMED = "db.transaction_commit_unconfirmed"


@pytest.fixture(params=["asyncio", "blocking"])
async def client(queue: JobQueue, request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    async with wire_to(queue.url) as wire, client_behind(wire, request.param) as client:
        yield client


def stream_of(first: EnqueueRequest) -> Operation[list[UUID]]:
    """Return an enqueue of more jobs than one statement takes, which cannot be made again."""
    return jobs.enqueue_jobs(iter([first, *[UNKEYED] * MAX_BATCH_ROWS]))


def ids_of(queue: JobQueue) -> list[UUID]:
    return [row[0] for row in queue.sql("SELECT id FROM job_queue ORDER BY id")]


SINGLE = {"without key": (UNKEYED, STATEMENT), "with key": (KEYED, COMMIT)}
BOTH_ENDS = pytest.mark.parametrize("loss", [Loss.ANSWER, Loss.REQUEST], ids=lambda loss: loss.name)


@BOTH_ENDS
@pytest.mark.parametrize(("request_", "text"), SINGLE.values(), ids=SINGLE)
async def test_a_job_is_there_once_whether_or_not_the_lost_commit_took_place(
    queue: JobQueue, client: Client, request_: EnqueueRequest, text: bytes, loss: Loss
) -> None:
    client.wire.break_at(text, loss)

    job_id = await client.run(jobs.enqueue_job(request_))

    assert ids_of(queue) == [job_id]
    assert queue.event_types(job_id) == ["ENQUEUED"]


BATCHES = {
    "without keys": ([UNKEYED, UNKEYED], STATEMENT),
    "with keys": ([KEYED, dataclasses.replace(KEYED, idempotency_key="a")], COMMIT),
    "mixed": ([UNKEYED, KEYED], COMMIT),
}


@BOTH_ENDS
@pytest.mark.parametrize(("requests", "text"), BATCHES.values(), ids=BATCHES)
async def test_a_batch_is_there_once_whether_or_not_the_lost_commit_took_place(
    queue: JobQueue, client: Client, requests: list[EnqueueRequest], text: bytes, loss: Loss
) -> None:
    client.wire.break_at(text, loss)

    ids = await client.run(jobs.enqueue_jobs(requests))

    assert ids_of(queue) == sorted(ids)
    assert len(set(ids)) == 2


async def test_a_known_key_in_a_batch_keeps_its_job(queue: JobQueue, client: Client) -> None:
    known = queue.run(jobs.enqueue_job(KEYED))
    client.wire.break_at(COMMIT, Loss.ANSWER)

    ids = await client.run(jobs.enqueue_jobs([UNKEYED, KEYED]))

    assert ids[1] == known
    assert ids_of(queue) == sorted(ids)


@pytest.mark.parametrize("first", [UNKEYED, KEYED], ids=["without key", "with key"])
async def test_a_stream_is_confirmed_by_one_of_its_jobs(queue: JobQueue, client: Client, first: EnqueueRequest) -> None:
    client.wire.break_at(COMMIT, Loss.ANSWER)

    ids = await client.run(stream_of(first))

    assert ids_of(queue) == sorted(ids)


async def test_a_stream_that_was_not_committed_is_an_ordinary_loss_and_leaves_nothing(
    queue: JobQueue, client: Client
) -> None:
    client.wire.break_at(COMMIT, Loss.REQUEST)

    with pytest.raises(DatabaseConnectionError) as caught:
        await client.run(stream_of(UNKEYED))

    assert caught.value.code == "db.connection_failed"
    assert ids_of(queue) == []


async def test_a_stream_whose_keys_were_all_known_had_nothing_to_commit(queue: JobQueue, client: Client) -> None:
    requests = [dataclasses.replace(KEYED, idempotency_key=str(number)) for number in range(MAX_BATCH_ROWS + 1)]
    ids = queue.run(jobs.enqueue_jobs(requests))
    client.wire.break_at(COMMIT, Loss.REQUEST)

    assert await client.run(jobs.enqueue_jobs(requests)) == ids


@pytest.mark.parametrize("kind", ["single", "keyed", "stream"])
async def test_a_transaction_that_the_server_still_keeps_open_is_not_guessed(
    queue: JobQueue, client: Client, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enqueue_module, "_RECOVERY_LOCK_TIMEOUT", timedelta(milliseconds=10))
    operations: dict[str, Operation[object]] = {
        "single": jobs.enqueue_jobs([UNKEYED, KEYED]),
        "keyed": jobs.enqueue_job(KEYED),
        "stream": stream_of(KEYED),
    }
    client.wire.break_at(COMMIT, Loss.CLIENT)

    with pytest.raises(DatabaseConnectionError) as caught:
        await client.run(operations[kind])

    assert caught.value.code == UNCONFIRMED
    assert caught.value.source is not None
    assert "hunter2" not in "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    assert ids_of(queue) == []


async def test_a_conflict_that_arose_meanwhile_is_told(queue: JobQueue, client: Client) -> None:
    """The first was not committed, so the key is free, and somebody else takes it."""
    operation = jobs.enqueue_job(KEYED)
    recovery = next(operation.begin()).recovery
    assert recovery is not None
    queue.run(jobs.enqueue_job(OTHER))

    with pytest.raises(QueryError, check=lambda error: error.code == "job.idempotency_conflict"):
        await client.run(recovery)


async def test_a_definition_that_is_missing_afterwards_tells_nothing(queue: JobQueue, client: Client) -> None:
    recovery = next(jobs.enqueue_job(UNKEYED).begin()).recovery
    assert recovery is not None
    queue.define(is_enabled=False)

    with pytest.raises(DatabaseConnectionError) as caught:
        await client.run(recovery)

    assert caught.value.code == UNCONFIRMED
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


async def test_a_second_loss_leaves_the_commit_unconfirmed(
    queue: JobQueue, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.wire.break_at(COMMIT, Loss.ANSWER)
    # The recovery begins with this setting, and only it has one.
    monkeypatch.setattr(enqueue_module, "_RECOVERY_LOCK_TIMEOUT", timedelta(milliseconds=4_321))
    client.wire.break_at(b"4321", Loss.REQUEST)

    with pytest.raises(DatabaseConnectionError) as caught:
        await client.run(jobs.enqueue_job(KEYED))

    assert caught.value.code == UNCONFIRMED
    assert len(ids_of(queue)) == 1


async def test_a_loss_before_the_commit_is_an_ordinary_loss(queue: JobQueue, client: Client) -> None:
    client.wire.break_at(STATEMENT, Loss.ANSWER)

    with pytest.raises(DatabaseConnectionError) as caught:
        await client.run(jobs.enqueue_job(KEYED))

    assert caught.value.code == "db.connection_failed"
    assert ids_of(queue) == []


async def test_an_operation_that_cannot_be_repeated_says_that_its_commit_is_unconfirmed(
    queue: JobQueue, client: Client
) -> None:
    @operation("tests.enqueue_in_two_steps")
    def enqueue_in_two_steps() -> Steps[None]:
        for _ in range(2):
            statement = next(jobs.enqueue_job(UNKEYED).begin())
            yield Statement(sql=statement.sql, document=statement.document)

    client.wire.break_at(COMMIT, Loss.ANSWER)

    with pytest.raises(DatabaseConnectionError) as caught:
        await client.run(enqueue_in_two_steps())

    assert caught.value.code == UNCONFIRMED
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    assert len(ids_of(queue)) == 2
