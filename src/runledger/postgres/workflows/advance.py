"""Advance runs: end steps, release or cancel what waited for them, and say where the runs stand then."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID

from runledger.core.workflows.status import WorkflowStepStatus
from runledger.postgres.document import encode_document
from runledger.postgres.notices import Notices, sends_inside
from runledger.postgres.operation import Statement, Steps
from runledger.postgres.sql_errors import QueryError, QueryErrorCategory, refusal
from runledger.postgres.sql_files import SqlFile
from runledger.postgres.workflows.run_lock import lock_runs_soon, try_lock_runs

_END = SqlFile("workflows", "end_workflow_steps")

MAX_RUNS = 64
"""Runs that one transaction advances at most: each is locked until it commits."""

TERMINAL_COMPLETION_ISOLATION = "workflow.terminal_completion_unsupported_isolation"
"""Code of a transaction in which the job of a workflow cannot end."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class GateEnd:
    """How the application ends a gate.

    Attributes:
        step_id: The gate.
        status: SUCCEEDED, FAILED or CANCELED.
        reason: The reason.
        error_code: What went wrong, as a code.
        error_message: The text that goes with it.
        output_json: JSON text to keep as its output.
    """

    step_id: UUID
    status: WorkflowStepStatus
    reason: str | None = None
    error_code: str | None = None
    error_message: str | None = field(default=None, repr=False)
    output_json: str | None = field(default=None, repr=False)


def end_job_steps(
    step_ids: Iterable[UUID], *, notices: Notices | None, now: datetime | None, is_guarded: bool = False
) -> Steps[None]:
    """End the steps of jobs that this transaction has ended, and move what waits for them.

    Args:
        step_ids: The steps. The locks of their runs and jobs are held.
        notices: How workers are told of released steps, and clients of ended runs.
        now: Instant to use instead of the database's clock, for tests.
        is_guarded: Whether the caller goes on when the database refuses it.
    """
    document = encode_document(step_ids=_texts(step_ids), notifies=sends_inside(notices), now=now)
    yield from _end(document, notices, now, is_guarded=is_guarded)


def end_gate(end: GateEnd, *, notices: Notices | None, now: datetime | None) -> Steps[None]:
    """End a gate, and move what waits for it. The lock of the run is held."""
    head = encode_document(
        gate_step_id=end.step_id,
        gate_status=end.status.value,
        gate_reason=end.reason,
        gate_error_code=end.error_code,
        gate_error_message=end.error_message,
        notifies=sends_inside(notices),
        now=now,
    )
    output = "" if end.output_json is None else f',"gate_output":{end.output_json}'
    yield from _end(f"{head[:-1]}{output}}}", notices, now)


def end_jobs_of_workflows(
    items: Mapping[UUID, Sequence[T]],
    end: Callable[[Sequence[T]], Steps[list[UUID]]],
    *,
    run_wait: timedelta,
    notices: Notices | None,
    now: datetime | None,
) -> Steps[None]:
    """End jobs of workflows, and with each its step: many runs in one transaction, as long as nobody else holds them.

    Each batch of runs is a part of the operation. Runs that are held are waited for in another part; what is held for
    longer is left alone, as a locked job is.

    Args:
        items: The jobs whose steps are to end, by run.
        end: Ends the jobs of some of it, under the locks of their runs, and returns the steps of those that ended.
        run_wait: How long to wait for a run that is held; zero does not wait.
        notices: How workers and waiting clients are told.
        now: Instant to use instead of the database's clock, for tests.
    """

    def advance(run_ids: Iterable[UUID]) -> Steps[None]:
        ended = yield from end([item for run_id in sorted(run_ids) for item in items[run_id]])
        if ended:
            yield from end_job_steps(ended, notices=notices, now=now)

    for run_ids in _batches(sorted(items)):
        free = yield from try_lock_runs(run_ids, isolation_code=TERMINAL_COMPLETION_ISOLATION, opens_part=True)
        if free:
            yield from advance(free)
        held = [run_id for run_id in run_ids if run_id not in free]
        if held and run_wait:
            freed = yield from lock_runs_soon(held, run_wait)
            if freed:
                yield from advance(freed)


def inconsistent_run(internal: str) -> QueryError:
    """Return the error of rows that the constraints forbid; whoever meets them rolls back."""
    return refusal(
        QueryErrorCategory.INTERNAL,
        "workflow.internal_state",
        "the workflow run is in a state that Runledger does not make",
        internal=internal,
    )


def _end(document: str, notices: Notices | None, now: datetime | None, *, is_guarded: bool = False) -> Steps[None]:
    while True:
        rows = yield Statement(sql=_END, document=document, is_guarded=is_guarded)
        inconsistent = rows[0]["inconsistent_count"]
        if inconsistent:
            raise inconsistent_run(f"workflows.advance: {inconsistent} steps with another job, or of another run")
        if notices is not None:
            notices.take(rows[0])
            notices.take_ended(rows[0]["ended_run_ids"])
        canceled: list[UUID] = rows[0]["canceled_step_ids"]
        if not canceled:
            return
        # Their ends may move others: one level of the graph is one statement.
        document = encode_document(canceled_step_ids=_texts(canceled), notifies=sends_inside(notices), now=now)


def _texts(ids: Iterable[UUID]) -> list[str]:
    return [str(one) for one in ids]


def _batches(run_ids: Sequence[UUID]) -> Iterable[Sequence[UUID]]:
    return [run_ids[start : start + MAX_RUNS] for start in range(0, len(run_ids), MAX_RUNS)]
