"""What is compared when a request comes again: the same request always makes the same document.

PostgreSQL compares two documents as ``jsonb``: the order of members does not count, and numbers are equal by value. Nor
does the order of steps and dependencies count, which are sorted, or whether a default is spelled out: of stage,
organization and release mode the effective value is written. Settings that are left to the definition are null, so that
a changed definition makes no conflict.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

from runledger.core.jobs.status import JobStage
from runledger.core.json_value import encode_json
from runledger.core.workflows.enqueue_request import WorkflowRunEnqueue, WorkflowStepEnqueue
from runledger.core.workflows.status import WorkflowStepExecutionKind


def canonical_run_request(run: WorkflowRunEnqueue) -> str:
    """Return the JSON text of a run as it was asked for.

    Workflow type, organization and key are not in it: they say where to look for an earlier request. A result step is
    in it where one is declared.

    Args:
        run: A validated request.

    Raises:
        InvalidArgumentError: A payload or the metadata cannot be JSON; ``field`` is the place.
    """
    result_step = (
        ""
        if run.result_step_key is None
        else f',"result_step_key":{encode_json(run.result_step_key, field="result_step_key")}'
    )
    metadata = encode_json(run.metadata, field="metadata")
    return f'{{"metadata":{metadata}{result_step},"steps":{_steps(run.steps, run.organization_id)}}}'


def canonical_append_request(
    append_window_step_key: str, steps: Iterable[WorkflowStepEnqueue], *, organization_id: UUID | None
) -> str:
    """Return the JSON text of an append as it was asked for.

    Args:
        append_window_step_key: The step through which the others are appended.
        steps: The validated new steps.
        organization_id: The tenant of the run.

    Raises:
        InvalidArgumentError: A payload cannot be JSON; ``field`` is the place.
    """
    window = encode_json(append_window_step_key, field="append_window_step_key")
    return f'{{"append_window_step_key":{window},"steps":{_steps(steps, organization_id)}}}'


def is_same_append(stored: str, requested: str, *, organization_id: UUID | None) -> bool:
    """Whether two canonical appends ask for the same.

    A request that was stored by an older version may lack what was added to it since: its append window, the
    organization and the stage of a step, and it may have members that are not known any more. The order of steps and
    dependencies does not count, and numbers are equal by value.

    Args:
        stored: The JSON text of the request that was applied.
        requested: That of the request which came now, as :func:`canonical_append_request` makes it.
        organization_id: The tenant of the run.
    """
    known, new = _decoded(stored), _decoded(requested)
    window = known.get("append_window_step_key")
    if window is not None and window != new["append_window_step_key"]:
        return False
    return _equal(_comparable(known, organization_id), _comparable(new, organization_id))


def _decoded(text: str) -> Any:  # noqa: ANN401 (whatever an older version stored)
    return json.loads(text, parse_int=Decimal, parse_float=Decimal)


def _comparable(request: Any, organization_id: UUID | None) -> list[dict[str, Any]]:  # noqa: ANN401 (as above)
    steps = cast("list[dict[str, Any]]", request.get("steps") or [])
    return sorted((_comparable_step(step, organization_id) for step in steps), key=lambda step: str(step["step_key"]))


def _comparable_step(step: dict[str, Any], organization_id: UUID | None) -> dict[str, Any]:
    settings = ("step_key", "execution_kind", "job_type", "payload", "priority", "max_attempts", "timeout_seconds")
    is_job = step.get("execution_kind") == WorkflowStepExecutionKind.JOB
    organization = step.get("organization_id")
    dependencies = cast("list[dict[str, object]]", step.get("dependencies") or [])
    return {
        **{name: step.get(name) for name in settings},
        "organization_id": organization or (None if organization_id is None else str(organization_id)),
        "stage": step.get("stage") or (JobStage.QUEUED if is_job else None),
        "dependencies": sorted((str(one["prerequisite_step_key"]), str(one["release_mode"])) for one in dependencies),
    }


def _equal(one: object, other: object) -> bool:
    # To Python true is 1, to JSON it is not.
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        ours, theirs = cast("Mapping[str, object]", one), cast("Mapping[str, object]", other)
        return ours.keys() == theirs.keys() and all(_equal(ours[name], theirs[name]) for name in ours)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        items, others = cast("Sequence[object]", one), cast("Sequence[object]", other)
        return len(items) == len(others) and all(map(_equal, items, others))
    return one == other


def _steps(steps: Iterable[WorkflowStepEnqueue], organization_id: UUID | None) -> str:
    by_key = sorted(enumerate(steps), key=lambda numbered: numbered[1].step_key)
    return f"[{','.join(_step(index, step, organization_id) for index, step in by_key)}]"


def _step(index: int, step: WorkflowStepEnqueue, organization_id: UUID | None) -> str:
    payload = encode_json(step.payload, field=f"steps[{index}].payload")
    dependencies = sorted((spec.prerequisite_step_key, spec.effective_release_mode) for spec in step.dependencies)
    others = encode_json(
        {
            "step_key": step.step_key,
            "execution_kind": step.execution_kind,
            "job_type": step.job_type,
            "organization_id": organization_id if step.organization_id is None else step.organization_id,
            "priority": step.priority,
            "max_attempts": step.max_attempts,
            "timeout_seconds": step.timeout_seconds,
            "stage": step.effective_stage,
            "dependencies": [
                {"prerequisite_step_key": key, "release_mode": release_mode} for key, release_mode in dependencies
            ],
        },
        field=f"steps[{index}]",
    )
    # Spliced in as text: so the place of an offence in the payload is told by its own path.
    return f'{others[:-1]},"payload":{payload}}}'
