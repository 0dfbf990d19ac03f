"""Two who change one run at the same time, hundreds of times: no deadlock, and the run is always where it must be.

What `test_workflow_lock_order.py` shows step by step comes here as it falls. Each round has runs of its own; the two
operations begin together, one of them a few round trips late. ``RUNLEDGER_RACE_ROUNDS`` says how many rounds each race
has; ``make soak SOAK='--races 10000'`` sets it.
"""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from runledger.core import (
    Admin,
    ClaimedJob,
    EnqueueRequest,
    JobFailureKind,
    WorkflowDependencyReleaseMode,
    WorkflowRunEnqueue,
    WorkflowRunStatus,
    WorkflowStepDependencySpec,
    WorkflowStepEnqueue,
    WorkflowStepExecutionKind,
    WorkflowStepStatus,
)
from runledger.postgres import Database, Operation, QueryError, jobs, workflows
from tests.postgres.job_queue import JOB_TYPE, MINUTE, WORKER
from tests.postgres.workflow_queue import WORKFLOW_TYPE, WorkflowQueue
from tests.races.workflow_rules import check_runs

ROUNDS = int(os.environ.get("RUNLEDGER_RACE_ROUNDS", "300"))

# Rules are checked, and runs brought to their ends, for this many rounds at once: both cost more than a round.
_ROUNDS_OF_GROUP = 50
_MOST_ROUND_TRIPS_LATE = 8
_LEASE_TTL = 10 * MINUTE
_LATER = timedelta(days=1)  # what a reaper of the future has released is due then
_WAITING_GATES = "SELECT workflow_run_id, step_key FROM workflow_steps WHERE status = 'WAITING_FOR_EXTERNAL'"
_TABLES = ("workflow_runs", "job_events", "job_attempts", "job_dead_letters", "job_queue")

ON_SUCCESS = WorkflowDependencyReleaseMode.ON_SUCCESS
ON_TERMINAL = WorkflowDependencyReleaseMode.ON_TERMINAL
SECOND_WORKER = "worker-2"
LEASE_LOST = frozenset({"job.lease_owner_mismatch"})


class Racer:
    """One of two who race: a connection, and a thread that waits for it."""

    def __init__(self, url: str) -> None:
        self._connection = Database(url).own_sync_connection()
        self._thread = ThreadPoolExecutor(1)

    def close(self) -> None:
        self._thread.shutdown()
        self._connection.close()

    def start(self, operation: Operation[Any], *, round_trips_late: int) -> Callable[[], Any]:
        """Start an operation, and return what waits for its answer."""

        def run() -> Any:
            for _ in range(round_trips_late):
                self._connection.run(jobs.get_job_definition(JOB_TYPE))
            return self._connection.run(operation)

        return self._thread.submit(run).result


def job(key: str, *waits_for: str, mode: WorkflowDependencyReleaseMode = ON_SUCCESS) -> WorkflowStepEnqueue:
    """Return a step that one attempt may carry out."""
    dependencies = [WorkflowStepDependencySpec(prerequisite_step_key=one, release_mode=mode) for one in waits_for]
    return WorkflowStepEnqueue(step_key=key, job_type=JOB_TYPE, max_attempts=1, dependencies=dependencies)


def gate(key: str) -> WorkflowStepEnqueue:
    return WorkflowStepEnqueue(step_key=key, execution_kind=WorkflowStepExecutionKind.EXTERNAL)


def failure(claimed: ClaimedJob, kind: JobFailureKind) -> jobs.AttemptFailure:
    return jobs.AttemptFailure(lease=claimed.lease, kind=kind, error_code="code", error_message="message")


def cancel(run_id: UUID) -> Operation[Any]:
    return workflows.cancel_workflow_run(run_id, scope=Admin())


def append_after(window: str, *keys: str) -> workflows.WorkflowAppendRequest:
    """Return an append of x, after the steps named, and y after x."""
    steps = [job("x", *keys), job("y", "x", mode=ON_TERMINAL)]
    return workflows.WorkflowAppendRequest(mutation_key="more", window_step_key=window, steps=steps)


def _answer(waits: Callable[[], Any], refusals: frozenset[str]) -> Any:
    try:
        return waits()
    except QueryError as error:
        if error.code not in refusals:
            raise
        return None


@dataclass(slots=True)
class Arena:
    """Where a race is run.

    Attributes:
        queue: The queue, and a third connection.
        racers: The two.
        random: What decides.
        results: What the two operations of the last round answered; ``None`` for a refusal.
    """

    queue: WorkflowQueue
    racers: tuple[Racer, Racer]
    random: random.Random
    results: list[Any] = field(default_factory=list[Any])

    def race(self, one: Operation[Any], other: Operation[Any], *, refusals: frozenset[str] = frozenset()) -> None:
        """Run two operations at the same time. An error with another code, a deadlock above all, is raised."""
        late = self.random.randrange(_MOST_ROUND_TRIPS_LATE)
        delays = (late, 0) if self.random.random() < 0.5 else (0, late)
        waiting = [
            racer.start(operation, round_trips_late=delay)
            for racer, operation, delay in zip(self.racers, (one, other), delays, strict=True)
        ]
        self.results = [_answer(waits, refusals) for waits in waiting]

    def start(self, *steps: WorkflowStepEnqueue) -> UUID:
        return self.queue.start(WorkflowRunEnqueue(workflow_type=WORKFLOW_TYPE, steps=steps))

    def claim(self, *run_ids: UUID) -> dict[str, ClaimedJob]:
        """Claim all that is due, and return what is of these runs, by step; of several by number and step.

        What earlier rounds have left is claimed along, and finished at the end of the group.
        """
        claimed = self.queue.claim(lease_ttl=_LEASE_TTL, is_start=True)
        by_run = {run_id: f"{number}" if len(run_ids) > 1 else "" for number, run_id in enumerate(run_ids)}
        return {
            f"{by_run[job.workflow_run_id]}{job.workflow_step_key}": job
            for job in claimed
            if job.workflow_run_id is not None and job.workflow_run_id in by_run
        }

    def success(self, *claimed: ClaimedJob) -> Operation[Any]:
        """Return an operation that reports success; that of one job takes either form."""
        successes = [jobs.JobSuccess(lease=one.lease) for one in claimed]
        if len(successes) == 1 and self.random.random() < 0.5:
            return jobs.complete_job(successes[0])
        return jobs.complete_jobs(WORKER, successes)

    def dead_letter(self, *claimed: ClaimedJob) -> Operation[Any]:
        """Return an operation that reports failure for good; that of one job takes either form."""
        failures = [failure(one, JobFailureKind.TERMINAL) for one in claimed]
        if len(failures) == 1 and self.random.random() < 0.5:
            return jobs.fail_job(failures[0])
        return jobs.fail_jobs(WORKER, failures)

    def end(self, *claimed: ClaimedJob) -> Operation[Any]:
        """Return an operation that reports success or failure for good."""
        return self.success(*claimed) if self.random.random() < 0.5 else self.dead_letter(*claimed)

    def finish(self) -> None:
        """Bring every run to its end: whatever happened to it, it can be."""
        check_runs(self.queue)
        is_open = True
        while is_open:
            gates = self.queue.sql(_WAITING_GATES)
            for run_id, step_key in gates:
                self.queue.run(workflows.complete_external_workflow_step(run_id, step_key, scope=Admin()))
            self.queue.claim(limit=1000, lease_ttl=_LEASE_TTL, now=self.queue.clock() + _LATER)
            held = {worker: self.queue.run(jobs.list_worker_leases(worker)) for worker in (WORKER, SECOND_WORKER)}
            for worker, leases in held.items():
                self.queue.run(jobs.complete_jobs(worker, [jobs.JobSuccess(lease=lease) for lease in leases]))
            is_open = bool(gates or any(held.values()))
        check_runs(self.queue)
        assert self.queue.sql("SELECT id FROM workflow_runs WHERE finished_at IS NULL") == []

    def empty(self) -> None:
        self.queue.sql(";".join(f"DELETE FROM {table}" for table in _TABLES))


def completion_and_cancel_of_run(arena: Arena) -> None:
    run_id = arena.start(job("a"), job("b", "a"), job("c", "a"), job("d", "b", "c"))
    claimed = arena.claim(run_id)
    arena.race(arena.end(claimed["a"]), cancel(run_id), refusals=LEASE_LOST)
    assert arena.queue.workflow_run(run_id).status.is_terminal


def retry_and_cancel_of_run(arena: Arena) -> None:
    """A retry locks its job alone."""
    run_id = arena.start(replace(job("a"), max_attempts=2), job("b", "a"))
    claimed = arena.claim(run_id)
    arena.race(jobs.fail_job(failure(claimed["a"], JobFailureKind.RETRYABLE)), cancel(run_id), refusals=LEASE_LOST)
    assert arena.queue.statuses(run_id) == {"a": "CANCELED", "b": "CANCELED"}


def append_and_cancel_of_run(arena: Arena) -> None:
    run_id = arena.start(gate("open"), job("a"))
    arena.race(
        workflows.append_workflow_steps(run_id, append_after("open", "a"), scope=Admin()),
        cancel(run_id),
        refusals=frozenset({"workflow.append_window_not_open"}),
    )
    assert set(arena.queue.statuses(run_id).values()) == {"CANCELED"}


def append_of_job_and_cancel_of_run(arena: Arena) -> None:
    run_id = arena.start(job("open"), job("a"))
    lease = arena.claim(run_id)["open"].lease
    arena.race(
        workflows.append_workflow_steps_of_job(run_id, append_after("open", "open", "a"), lease),
        cancel(run_id),
        refusals=LEASE_LOST,
    )
    assert set(arena.queue.statuses(run_id).values()) == {"CANCELED"}


def append_of_job_and_its_completion(arena: Arena) -> None:
    run_id = arena.start(job("open"), job("a"))
    claimed = arena.claim(run_id)
    arena.race(
        workflows.append_workflow_steps_of_job(run_id, append_after("open", "open"), claimed["open"].lease),
        arena.success(claimed["open"]),
        refusals=LEASE_LOST,
    )
    appended, _ = arena.results
    assert arena.queue.statuses(run_id).get("x") == (None if appended is None else "ENQUEUED")


def two_completions_into_one_fan_in(arena: Arena) -> None:
    run_id = arena.start(job("a"), job("b"), job("c", "a", "b"), job("d", "a", "b", mode=ON_TERMINAL), job("e", "c"))
    claimed = arena.claim(run_id)
    arena.race(arena.end(claimed["a"]), arena.end(claimed["b"]))
    assert arena.queue.statuses(run_id)["d"] in {"ENQUEUED", "BLOCKED"}  # the run of a batch may have been busy


def completion_and_cancel_of_job_into_one_fan_in(arena: Arena) -> None:
    run_id = arena.start(job("a"), job("b"), job("c", "a", "b"), job("d", "a", "b", mode=ON_TERMINAL))
    claimed = arena.claim(run_id)
    arena.race(arena.success(claimed["a"]), jobs.cancel_job(claimed["b"].job_id, scope=Admin()))


def gate_and_cancel_of_run(arena: Arena) -> None:
    run_id = arena.start(gate("open"), job("b", "open"), job("c", "open", mode=ON_TERMINAL))
    status = arena.random.choice([WorkflowStepStatus.SUCCEEDED, WorkflowStepStatus.FAILED])
    arena.race(
        workflows.complete_external_workflow_step(run_id, "open", scope=Admin(), status=status),
        cancel(run_id),
        refusals=frozenset({"workflow.external_step_conflicting_completion_retry"}),
    )
    completed, canceled = arena.results
    assert canceled is not None
    assert arena.queue.statuses(run_id)["open"] == ("CANCELED" if completed is None else status)


def gate_and_append_through_it(arena: Arena) -> None:
    run_id = arena.start(gate("open"), job("a"))
    arena.race(
        workflows.complete_external_workflow_step(run_id, "open", scope=Admin()),
        workflows.append_workflow_steps(run_id, append_after("open", "open"), scope=Admin()),
        refusals=frozenset({"workflow.append_window_not_open"}),
    )
    _, appended = arena.results
    assert arena.queue.statuses(run_id).get("x") == (None if appended is None else "ENQUEUED")


def reaper_and_late_completion(arena: Arena) -> None:
    """Each believes that its time is right. One of them ends the step."""
    run_id = arena.start(job("a"), job("b", "a"), job("c", "a", mode=ON_TERMINAL))
    claimed = arena.claim(run_id)["a"]
    reap = jobs.reap_expired_leases(limit=100, retry_delay=timedelta(), now=claimed.lease_expires_at + MINUTE)
    arena.race(arena.success(claimed), reap, refusals=LEASE_LOST)


def reaper_and_cancel_of_run(arena: Arena) -> None:
    run_id = arena.start(job("a"), job("b", "a", mode=ON_TERMINAL))
    claimed = arena.claim(run_id)["a"]
    reap = jobs.reap_expired_leases(limit=100, retry_delay=timedelta(), now=claimed.lease_expires_at + MINUTE)
    arena.race(cancel(run_id), reap)
    assert arena.queue.workflow_run(run_id).status is WorkflowRunStatus.CANCELED


def batch_and_batch_over_the_same_runs(arena: Arena) -> None:
    """Their jobs are different ones, their runs the same, and plain jobs are between them."""
    steps = (job("a"), job("b"), job("c", "a", "b"), job("d", "c"))
    run_ids = [arena.start(*steps) for _ in range(3)]
    arena.queue.run(jobs.enqueue_jobs([EnqueueRequest(JOB_TYPE, None)] * 2))
    claimed = arena.claim(*run_ids)
    batches = [[claimed[f"{number}{key}"] for number in range(3)] for key in "ab"]
    for batch in batches:
        arena.random.shuffle(batch)
    arena.race(arena.end(*batches[0]), arena.end(*batches[1]))


def append_and_completion_of_the_prerequisite(arena: Arena) -> None:
    """The new edge is seen by the completion, or the end of its prerequisite by the append."""
    run_id = arena.start(gate("open"), job("a"))
    claimed = arena.claim(run_id)["a"]
    is_success = arena.random.random() < 0.5
    arena.race(
        workflows.append_workflow_steps(run_id, append_after("open", "a"), scope=Admin()),
        jobs.complete_job(jobs.JobSuccess(lease=claimed.lease))
        if is_success
        else jobs.fail_job(failure(claimed, JobFailureKind.TERMINAL)),
    )
    statuses = arena.queue.statuses(run_id)
    assert (statuses["x"], statuses["y"]) == (("ENQUEUED", "BLOCKED") if is_success else ("CANCELED", "ENQUEUED"))


def cascade_and_cascade(arena: Arena) -> None:
    """Two failures cancel the same steps over many levels, by ways that cross."""
    keys = [[f"{letter}{level}" for letter in "abc"] for level in range(4)]
    steps = [job("a"), job("b"), *(job(key, *arena.random.sample("ab", 2)) for key in keys[0])]
    for above, level in itertools.pairwise(keys):
        steps += [job(key, *arena.random.sample(above, 2)) for key in level]
    steps.append(job("end", *keys[-1], mode=ON_TERMINAL))
    run_id = arena.start(*steps)
    claimed = arena.claim(run_id)
    one, other = (jobs.fail_job(failure(claimed[key], JobFailureKind.TERMINAL)) for key in "ab")
    arena.race(one, other)
    statuses = arena.queue.statuses(run_id)
    assert statuses.pop("end") == "ENQUEUED"
    assert (statuses.pop("a"), statuses.pop("b"), set(statuses.values())) == ("FAILED", "FAILED", {"CANCELED"})


def claim_and_cancel_of_run(arena: Arena) -> None:
    run_id = arena.start(job("a"), job("b"), job("c", "a", "b"))
    arena.race(jobs.claim_jobs(SECOND_WORKER, lease_ttl=_LEASE_TTL, limit=100), cancel(run_id))
    assert set(arena.queue.statuses(run_id).values()) == {"CANCELED"}


def claim_and_edit_of_the_payload(arena: Arena) -> None:
    run_id = arena.start(job("a"), job("b", "a"))
    arena.race(
        jobs.claim_jobs(SECOND_WORKER, lease_ttl=_LEASE_TTL, limit=100),
        workflows.update_workflow_step_and_pending_job_payload(run_id, "a", "edited", scope=Admin()),
    )
    claimed, is_in_time = arena.results
    payloads = [one.payload for one in claimed if one.workflow_run_id == run_id]
    # A claim goes around a job that is locked, and finds it with its new payload later.
    assert payloads in ([["edited"], []] if is_in_time else [[None]])


def enqueue_and_enqueue_of_twins(arena: Arena) -> None:
    key = str(arena.random.getrandbits(64))
    request = WorkflowRunEnqueue(workflow_type=WORKFLOW_TYPE, idempotency_key=key, steps=[job("a"), job("b", "a")])
    arena.race(*(workflows.enqueue_workflow_run(request) for _ in range(2)))
    one, other = arena.results
    assert one.id == other.id


def enqueue_and_enqueue_of_different_requests_with_one_key(arena: Arena) -> None:
    key = str(arena.random.getrandbits(64))
    requests = [
        WorkflowRunEnqueue(workflow_type=WORKFLOW_TYPE, idempotency_key=key, steps=[job(name)]) for name in "ab"
    ]
    arena.race(
        *(workflows.enqueue_workflow_run(request) for request in requests),
        refusals=frozenset({"workflow.enqueue_conflicting_retry"}),
    )
    assert sorted(result is None for result in arena.results) == [False, True]


RACES = (
    completion_and_cancel_of_run,
    retry_and_cancel_of_run,
    append_and_cancel_of_run,
    append_of_job_and_cancel_of_run,
    append_of_job_and_its_completion,
    two_completions_into_one_fan_in,
    completion_and_cancel_of_job_into_one_fan_in,
    gate_and_cancel_of_run,
    gate_and_append_through_it,
    reaper_and_late_completion,
    reaper_and_cancel_of_run,
    batch_and_batch_over_the_same_runs,
    append_and_completion_of_the_prerequisite,
    cascade_and_cascade,
    claim_and_cancel_of_run,
    claim_and_edit_of_the_payload,
    enqueue_and_enqueue_of_twins,
    enqueue_and_enqueue_of_different_requests_with_one_key,
)


@pytest.fixture
def arena(queue: WorkflowQueue) -> Iterator[Arena]:
    racers = (Racer(queue.url), Racer(queue.url))
    yield Arena(queue, racers, random.Random(random.getrandbits(64)))  # noqa: S311 (chooses, guards nothing)
    for racer in racers:
        racer.close()


@pytest.mark.parametrize("race", RACES, ids=lambda race: race.__name__)
def test_who_races_leaves_a_run_that_goes_on(arena: Arena, race: Callable[[Arena], None]) -> None:
    for start in range(0, ROUNDS, _ROUNDS_OF_GROUP):
        for _ in range(min(_ROUNDS_OF_GROUP, ROUNDS - start)):
            race(arena)
        arena.finish()
        arena.empty()
