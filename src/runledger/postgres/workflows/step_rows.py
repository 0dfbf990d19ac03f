"""Steps and edges on their way into the database, in as many statements as they need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from runledger.core.json_value import encode_json
from runledger.core.workflows.enqueue_request import WorkflowStepEnqueue
from runledger.core.workflows.status import WorkflowStepStatus
from runledger.core.workflows.step_release import StepStart
from runledger.postgres.document import MAX_BATCH_BYTES, MAX_BATCH_ROWS, encode_document, json_text
from runledger.postgres.missing_definitions import definition_missing
from runledger.postgres.notices import Notices, sends_inside
from runledger.postgres.operation import Operation, Statement, Steps
from runledger.postgres.sql_files import SqlFile
from runledger.postgres.uuid7 import uuid7

_INSERT = SqlFile("workflows", "insert_workflow_steps")


@dataclass(slots=True)
class _Rows:
    """What one statement carries, as JSON."""

    steps: list[str] = field(default_factory=list[str])
    edges: list[str] = field(default_factory=list[str])
    size: int = 0

    def is_full(self, size: int) -> bool:
        count = len(self.steps) + len(self.edges)
        return count >= MAX_BATCH_ROWS or (count > 0 and self.size + size > MAX_BATCH_BYTES)


def insert_steps(
    run_id: UUID,
    steps: Sequence[WorkflowStepEnqueue],
    starts: Sequence[StepStart],
    *,
    existing: Mapping[str, UUID],
    organization_id: UUID | None,
    run_document: str | None = None,
    recovery: Operation[object] | None = None,
    notices: Notices | None,
    now: datetime | None,
    is_only: bool = False,
    is_guarded: bool = False,
) -> Steps[datetime]:
    """Insert the steps of a run with their edges, and the jobs of those that are released at once; return when.

    Args:
        run_id: The run.
        steps: The new steps, validated.
        starts: The way in which each of them begins.
        existing: Steps of the run that new ones wait for.
        organization_id: The tenant of the run.
        run_document: The run itself, where it is new and has no key.
        recovery: The operation that settles a commit which was not confirmed.
        notices: How workers are told of released steps.
        now: Instant to use instead of the database's clock, for tests.
        is_only: Whether the operation does nothing else; what fits one statement is then sent in one round trip.
        is_guarded: Whether the caller goes on when the database refuses the first statement.

    Raises:
        QueryError: ``workflow.definition_not_found_or_disabled``; nothing was inserted.
    """
    ids = [uuid7() for _ in steps]
    job_types = sorted({step.job_type for step in steps if step.job_type is not None})
    batches = _batches(steps, starts, ids, existing, organization_id)
    batch, following = next(batches), next(batches, None)
    is_alone = is_only and following is None
    first = f',"job_types":[{",".join(map(json_text, job_types))}]'
    if run_document is not None:
        first += f",{run_document[1:-1]}"
    head = encode_document(run_id=run_id, notifies=sends_inside(notices), now=now)[:-1]
    while True:
        document = f'{head}{first},"steps":[{",".join(batch.steps)}],"edges":[{",".join(batch.edges)}]}}'
        rows = yield Statement(
            sql=_INSERT,
            document=document,
            is_only=is_alone,
            is_guarded=is_guarded and bool(first),
            recovery=recovery,
        )
        missing = rows[0]["missing_job_types"]
        if missing:
            code = "workflow.definition_not_found_or_disabled"
            raise (yield from definition_missing(missing, code=code, opens_part=is_alone))
        if notices is not None:
            notices.take(rows[0])
        if following is None:
            return rows[0]["created_at"]
        batch, following, first = following, next(batches, None), ""


def _batches(
    steps: Sequence[WorkflowStepEnqueue],
    starts: Sequence[StepStart],
    ids: Sequence[UUID],
    existing: Mapping[str, UUID],
    organization_id: UUID | None,
) -> Iterator[_Rows]:
    """Yield batches within the limits. All steps come before the edges, whose ends have to be there."""
    batch = _Rows()
    for index, (step, start, step_id) in enumerate(zip(steps, starts, ids, strict=True)):
        row = _step(index, step, start, step_id, organization_id)
        size = len(row.encode())
        if batch.is_full(size):
            yield batch
            batch = _Rows()
        batch.steps.append(row)
        batch.size += size
    id_of = {step.step_key: step_id for step, step_id in zip(steps, ids, strict=True)}
    for step, step_id in zip(steps, ids, strict=True):
        for dependency in step.dependencies:
            prerequisite = id_of.get(dependency.prerequisite_step_key) or existing[dependency.prerequisite_step_key]
            row = (
                f'{{"prerequisite":"{prerequisite}","dependent":"{step_id}",'
                f'"release_mode":"{dependency.effective_release_mode.value}"}}'
            )
            if batch.is_full(len(row)):
                yield batch
                batch = _Rows()
            batch.edges.append(row)
            batch.size += len(row)
    yield batch


def _step(index: int, step: WorkflowStepEnqueue, start: StepStart, step_id: UUID, organization_id: UUID | None) -> str:
    # Built as text, like a job: the payload is encoded once, and its size is known before the batch is closed.
    row = (
        f'{{"id":"{step_id}","step_key":{json_text(step.step_key)},"execution_kind":"{step.execution_kind.value}",'
        f'"status":"{start.status.value}","total":{start.total},"pending":{start.pending},'
        f'"unsatisfied":{start.unsatisfied},"payload":{encode_json(step.payload, field=f"steps[{index}].payload")}'
    )
    organization = step.organization_id or organization_id
    if organization is not None:
        row += f',"organization_id":"{organization}"'
    if step.job_type is not None:
        row += f',"job_type":{json_text(step.job_type)}'
    if step.priority is not None:
        row += f',"priority":{int(step.priority)}'
    if step.max_attempts is not None:
        row += f',"max_attempts":{int(step.max_attempts)}'
    if step.timeout_seconds is not None:
        row += f',"timeout_seconds":{step.timeout_seconds}'
    stage = step.effective_stage
    if stage is not None:
        row += f',"stage":{json_text(stage)}'
    if start.status is WorkflowStepStatus.ENQUEUED:
        row += f',"job_id":"{uuid7()}"'
    return row + "}"
