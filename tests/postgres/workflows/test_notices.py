"""What workers and waiting clients are told: of released steps, of canceled jobs, of runs that have ended."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

import pytest

from runledger.core import Admin, ClaimedJob, JobDefinition, JobFailureKind
from runledger.postgres import Operation, jobs, workflows
from runledger.postgres.notices import Cancellation, Notice, Notices, WakeUp, decode_notice, send_notices
from runledger.postgres.workflows import WorkflowAppendRequest
from tests.channel import RUN_CHANNEL, Channel, channel_to
from tests.core.workflows.dags import job
from tests.postgres.job_queue import JOB_TYPE, MINUTE, WORKER
from tests.postgres.workflow_queue import FAILED, WorkflowQueue, failure_of, workflow
from tests.races.session import Session

AFTER = "invoice.send"


@dataclass(frozen=True)
class Scene:
    """A run of which one step is held by a worker, one waits for it, and a gate is open."""

    run_id: UUID
    claimed: ClaimedJob


def scene_of(queue: WorkflowQueue, *, is_last: bool) -> Scene:
    """Return a run that ends with its held step, or one in which that step releases another."""
    queue.run(jobs.upsert_job_definitions([JobDefinition(job_type=AFTER)]))
    flow = workflow()
    held = flow.job("held", JOB_TYPE, max_attempts=1)
    if not is_last:
        flow.job("after", AFTER, after_terminal=held)
    run_id = queue.start(flow)
    return Scene(run_id, queue.claim_one())


Make = Callable[[Scene, Notices], Operation[object]]
ENDS: dict[str, Make] = {
    "complete": lambda scene, notices: jobs.complete_job(jobs.JobSuccess(lease=scene.claimed.lease), notices=notices),
    "complete many": lambda scene, notices: jobs.complete_jobs(
        WORKER, [jobs.JobSuccess(lease=scene.claimed.lease)], notices=notices
    ),
    "fail": lambda scene, notices: jobs.fail_job(failure_of(scene.claimed, JobFailureKind.TERMINAL), notices=notices),
    "fail many": lambda scene, notices: jobs.fail_jobs(WORKER, [failure_of(scene.claimed)], notices=notices),
    "cancel": lambda scene, notices: jobs.cancel_job(scene.claimed.job_id, scope=Admin(), notices=notices),
    "reap": lambda scene, notices: jobs.reap_expired_leases(
        limit=1, retry_delay=MINUTE, notices=notices, now=scene.claimed.lease_expires_at + MINUTE
    ),
}
EVERY_END = pytest.mark.parametrize("make", ENDS.values(), ids=ENDS)


@pytest.fixture
async def workers(queue: WorkflowQueue) -> AsyncIterator[Channel]:
    """What workers hear."""
    async with channel_to(queue.url) as channel:
        yield channel


@pytest.fixture
async def clients(queue: WorkflowQueue) -> AsyncIterator[Channel]:
    """What clients hear that wait for runs."""
    async with channel_to(queue.url, RUN_CHANNEL) as channel:
        yield channel


def woken(notices: Sequence[Notice]) -> list[frozenset[str] | None]:
    return [notice.job_types for notice in notices if isinstance(notice, WakeUp)]


@EVERY_END
async def test_in_a_transaction_of_the_caller_it_is_heard_when_that_commits(
    queue: WorkflowQueue, first: Session, workers: Channel, clients: Channel, make: Make
) -> None:
    releasing = scene_of(queue, is_last=False)
    first.run(make(releasing, Notices(is_sent_inside=True)))
    assert (await workers.payloads(), await clients.payloads()) == ([], [])
    first.commit()
    assert woken(await workers.notices()) == [frozenset({AFTER})]
    assert await clients.payloads() == []


@EVERY_END
async def test_the_end_of_a_run_is_heard_by_who_waits_for_it(
    queue: WorkflowQueue, first: Session, workers: Channel, clients: Channel, make: Make
) -> None:
    last = scene_of(queue, is_last=True)
    first.run(make(last, Notices(is_sent_inside=True)))
    assert await clients.payloads() == []
    first.commit()
    assert await clients.payloads() == [str(last.run_id)]
    assert woken(await workers.notices()) == []


@EVERY_END
async def test_nothing_is_heard_of_what_is_rolled_back(
    queue: WorkflowQueue, first: Session, workers: Channel, clients: Channel, make: Make
) -> None:
    first.run(make(scene_of(queue, is_last=True), Notices(is_sent_inside=True)))
    first.rollback()

    assert (await workers.payloads(), await clients.payloads()) == ([], [])


@EVERY_END
async def test_otherwise_it_is_collected_for_whoever_commits(
    queue: WorkflowQueue, workers: Channel, clients: Channel, make: Make
) -> None:
    releasing, last = Notices(is_sent_inside=False), Notices(is_sent_inside=False)
    scene = scene_of(queue, is_last=True)
    queue.run(make(scene, last))
    queue.run(make(scene_of(queue, is_last=False), releasing))

    assert woken([decode_notice(payload) for payload in releasing.payloads]) == [frozenset({AFTER})]
    assert (releasing.ended_run_ids, last.ended_run_ids) == ([], [scene.run_id])
    assert (await workers.payloads(), await clients.payloads()) == ([], [])
    queue.run(send_notices(last.payloads, ended_run_ids=last.ended_run_ids))
    assert await clients.payloads() == [str(scene.run_id)]


async def test_a_retry_tells_nobody(queue: WorkflowQueue, first: Session, workers: Channel, clients: Channel) -> None:
    flow = workflow()
    flow.job("a", JOB_TYPE)
    queue.start(flow)

    first.run(jobs.fail_job(failure_of(queue.claim_one()), notices=Notices(is_sent_inside=True)))
    first.commit()

    assert (await workers.payloads(), await clients.payloads()) == ([], [])


@pytest.mark.parametrize("key", [None, "order-17"])
async def test_an_enqueue_tells_of_its_roots(
    queue: WorkflowQueue, first: Session, workers: Channel, key: str | None
) -> None:
    queue.run(jobs.upsert_job_definitions([JobDefinition(job_type=AFTER)]))
    flow = workflow(key)
    flow.job("after", AFTER, after=[flow.job("a", JOB_TYPE), flow.job("b", JOB_TYPE)])
    told = Notices(is_sent_inside=True)

    first.run(workflows.enqueue_workflow_run(flow.build(), notices=told))
    first.commit()
    assert woken(await workers.notices()) == [frozenset({JOB_TYPE})]

    if key is not None:
        first.run(workflows.enqueue_workflow_run(flow.build(), notices=told))
        first.commit()
        assert await workers.payloads() == [], "a known run releases nothing"


async def test_a_run_of_gates_tells_nobody(queue: WorkflowQueue, workers: Channel) -> None:
    flow = workflow()
    flow.gate("approve")

    queue.run(workflows.enqueue_workflow_run(flow.build(), notices=Notices(is_sent_inside=True)))

    assert await workers.payloads() == []


async def test_an_append_tells_of_what_it_releases(queue: WorkflowQueue, workers: Channel) -> None:
    queue.run(jobs.upsert_job_definitions([JobDefinition(job_type=AFTER)]))
    flow = workflow()
    flow.gate("open")
    run_id = queue.start(flow)
    more = WorkflowAppendRequest(
        mutation_key="more", window_step_key="open", steps=[job("a", job_type=AFTER), job("b", "a", job_type=JOB_TYPE)]
    )

    for _ in range(2):
        asked = workflows.append_workflow_steps(run_id, more, scope=Admin(), notices=Notices(is_sent_inside=True))
        queue.run(asked)

    assert woken(await workers.notices()) == [frozenset({AFTER})], "once: the second appends nothing"


async def test_a_gate_tells_of_what_it_releases_and_of_the_end(
    queue: WorkflowQueue, workers: Channel, clients: Channel
) -> None:
    flow = workflow()
    flow.job("after", JOB_TYPE, after=flow.gate("approve"))
    released, ended = queue.start(flow), queue.start(flow)

    queue.complete(released, "approve", notices=Notices(is_sent_inside=True))
    assert (len(await workers.payloads()), await clients.payloads()) == (1, [])
    queue.complete(ended, "approve", FAILED, notices=Notices(is_sent_inside=True))
    assert (await workers.payloads(), await clients.payloads()) == ([], [str(ended)])


@pytest.mark.parametrize("is_sent_inside", [True, False])
async def test_a_cancel_of_a_run_tells_the_holders_of_its_jobs_and_who_waits(
    queue: WorkflowQueue, workers: Channel, clients: Channel, *, is_sent_inside: bool
) -> None:
    """More ids than one notice holds; a job that nobody held is not named."""
    flow = workflow()
    for n in range(200):
        flow.job(f"s{n}", JOB_TYPE)
    run_id = queue.start(flow)
    held = {claimed.job_id for claimed in queue.claim(limit=160)}
    told = Notices(is_sent_inside=is_sent_inside)

    queue.cancel_run(run_id, notices=told)

    payloads = await workers.payloads() if is_sent_inside else told.payloads
    decoded = [decode_notice(payload) for payload in payloads]
    assert len(decoded) == 2
    assert {one for notice in decoded if isinstance(notice, Cancellation) for one in notice.job_ids} == held
    assert (await clients.payloads() if is_sent_inside else [str(one) for one in told.ended_run_ids]) == [str(run_id)]


async def test_a_cancel_of_a_run_that_has_ended_tells_nobody(
    queue: WorkflowQueue, workers: Channel, clients: Channel
) -> None:
    flow = workflow()
    flow.gate("approve")
    run_id = queue.start(flow)
    queue.complete(run_id, "approve")

    queue.cancel_run(run_id, notices=Notices(is_sent_inside=True))

    assert (await workers.payloads(), await clients.payloads()) == ([], [])


async def test_without_notices_nobody_is_told(queue: WorkflowQueue, workers: Channel, clients: Channel) -> None:
    scene = scene_of(queue, is_last=False)
    queue.succeed(scene.claimed)
    queue.cancel_run(scene.run_id)

    assert (await workers.payloads(), await clients.payloads()) == ([], [])


async def test_released_types_without_number_are_told_as_any(queue: WorkflowQueue, workers: Channel) -> None:
    job_types = [f"type.{number:04}" for number in range(1_000)]
    queue.run(jobs.upsert_job_definitions([JobDefinition(job_type=job_type) for job_type in job_types]))
    flow = workflow()
    approve = flow.gate("approve")
    for job_type in job_types:
        flow.job(job_type, job_type, after=approve)
    run_id = queue.start(flow)

    queue.complete(run_id, "approve", notices=Notices(is_sent_inside=True))

    assert woken(await workers.notices()) == [None]
