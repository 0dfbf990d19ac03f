"""Which outcomes a writer gets: in order, one run at one writer, as many as a statement carries."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

from runledger.postgres.document import MAX_BATCH_BYTES
from runledger.runtime.clock import monotonic
from runledger.runtime.execution import Execution
from runledger.runtime.outcome import Succeeded
from runledger.runtime.outcome_batch import MAX_BATCH
from runledger.runtime.outcome_queue import OutcomeQueue
from runledger.runtime.unwritten_outcome import Unwritten
from tests.claimed_jobs import claimed_job

EVEN_RUN = UUID("0197c1de-0000-7000-8000-000000000002")
ODD_RUN = UUID("0197c1de-0000-7000-8000-000000000003")


def outcome(*, run_id: UUID | None = None, job_id: UUID | None = None, output_json: str | None = None) -> Unwritten:
    job = claimed_job(job_id=job_id or uuid4(), workflow_run_id=run_id)
    return Unwritten(Execution(job, claimed_at=monotonic(), lease_ttl=60), Succeeded(output_json=output_json))


def queue_of(*items: Unwritten) -> OutcomeQueue:
    queue = OutcomeQueue(2)
    for item in items:
        queue.add(item)
    return queue


async def test_each_run_belongs_to_one_writer_and_plain_outcomes_to_whoever_comes_first() -> None:
    even, plain, odd, even_again, plain_again = items = [
        outcome(run_id=EVEN_RUN),
        outcome(),
        outcome(run_id=ODD_RUN),
        outcome(run_id=EVEN_RUN),
        outcome(),
    ]
    queue = queue_of(*items)

    assert await queue.take(1) == [plain, odd, plain_again]
    assert await queue.take(0) == [even, even_again]


async def test_a_writer_sleeps_until_there_is_something_for_it() -> None:
    queue = OutcomeQueue(2)
    odd = asyncio.create_task(queue.take(1))
    for_even, plain = outcome(run_id=EVEN_RUN), outcome()

    queue.add(for_even)
    assert await asyncio.create_task(queue.take(0)) == [for_even]
    assert not odd.done()
    queue.add(plain)
    assert await odd == [plain]


async def test_a_batch_has_no_more_than_a_statement_carries() -> None:
    items = [outcome(run_id=EVEN_RUN if number % 2 else None) for number in range(MAX_BATCH + 1)]
    queue = queue_of(*items)

    assert await queue.take(0) == items[:MAX_BATCH]
    assert await queue.take(0) == items[MAX_BATCH:]


async def test_large_outputs_are_written_apart() -> None:
    small, large, last = outcome(output_json="1"), outcome(output_json="9" * MAX_BATCH_BYTES), outcome()
    queue = queue_of(small, large, last)

    assert await queue.take(0) == [small]
    assert await queue.take(0) == [large, last]


async def test_a_job_occurs_once_in_a_batch() -> None:
    job_id = uuid4()
    first, second = outcome(job_id=job_id), outcome(job_id=job_id)
    queue = queue_of(first, second)

    assert await queue.take(0) == [first]
    assert await queue.take(0) == [second]
