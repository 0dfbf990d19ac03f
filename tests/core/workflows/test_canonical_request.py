"""The same request makes the same document, another one makes another."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runledger.core.errors import InvalidArgumentError
from runledger.core.workflows.canonical_request import canonical_append_request, canonical_run_request
from runledger.core.workflows.enqueue_request import WorkflowRunEnqueue, WorkflowStepDependencySpec
from runledger.core.workflows.status import WorkflowDependencyReleaseMode
from tests.core.workflows.dags import gate, job, run_of

SHOP, DEPOT = UUID(int=1), UUID(int=2)
ON_SUCCESS = WorkflowDependencyReleaseMode.ON_SUCCESS
ON_TERMINAL = WorkflowDependencyReleaseMode.ON_TERMINAL

BUILD = job("build", payload={"n": 1}, priority=3, max_attempts=2, timeout=timedelta(minutes=1), stage="new")
APPROVE = gate("approve", "build", payload=None, organization_id=DEPOT)
PUBLISH = job(
    "publish",
    dependencies=(
        WorkflowStepDependencySpec(prerequisite_step_key="build"),
        WorkflowStepDependencySpec(prerequisite_step_key="approve", release_mode=ON_SUCCESS),
    ),
)
RUN = run_of(BUILD, APPROVE, PUBLISH, organization_id=SHOP, metadata={"by": "me"}, idempotency_key="v1")


def document_of(run: WorkflowRunEnqueue) -> Any:
    return json.loads(canonical_run_request(run))


def test_the_document_holds_what_was_asked_for_with_defaults_spelled_out() -> None:
    assert document_of(RUN) == {
        "metadata": {"by": "me"},
        "steps": [
            {
                "step_key": "approve",
                "execution_kind": "EXTERNAL",
                "job_type": None,
                "organization_id": str(DEPOT),
                "payload": None,
                "priority": None,
                "max_attempts": None,
                "timeout_seconds": None,
                "stage": None,
                "dependencies": [{"prerequisite_step_key": "build", "release_mode": "ON_TERMINAL"}],
            },
            {
                "step_key": "build",
                "execution_kind": "JOB",
                "job_type": "t",
                "organization_id": str(SHOP),
                "payload": {"n": 1},
                "priority": 3,
                "max_attempts": 2,
                "timeout_seconds": 60,
                "stage": "new",
                "dependencies": [],
            },
            {
                "step_key": "publish",
                "execution_kind": "JOB",
                "job_type": "t",
                "organization_id": str(SHOP),
                "payload": None,
                "priority": None,
                "max_attempts": None,
                "timeout_seconds": None,
                "stage": "queued",
                "dependencies": [
                    {"prerequisite_step_key": "approve", "release_mode": "ON_SUCCESS"},
                    {"prerequisite_step_key": "build", "release_mode": "ON_TERMINAL"},
                ],
            },
        ],
    }


@given(seed=st.integers())
def test_the_order_of_steps_and_dependencies_does_not_count(seed: int) -> None:
    """WFE-017."""
    shuffled = random.Random(seed)  # noqa: S311 - no secret
    steps = [
        replace(step, dependencies=shuffled.sample(step.dependencies, len(step.dependencies))) for step in RUN.steps
    ]
    shuffled.shuffle(steps)

    assert canonical_run_request(replace(RUN, steps=steps)) == canonical_run_request(RUN)


def test_a_default_that_is_spelled_out_is_the_same() -> None:
    """WFE-018, WFE-019."""
    spelled_out = replace(
        PUBLISH,
        stage="queued",
        organization_id=SHOP,
        dependencies=[
            WorkflowStepDependencySpec(
                prerequisite_step_key=spec.prerequisite_step_key, release_mode=spec.effective_release_mode
            )
            for spec in PUBLISH.dependencies
        ],
    )

    assert document_of(replace(RUN, steps=(BUILD, APPROVE, spelled_out))) == document_of(RUN)


def test_type_organisation_and_key_are_no_content() -> None:
    """WFE-013: they say where to look. The organisation counts where steps inherit it."""
    owned = [replace(step, organization_id=SHOP) for step in RUN.steps]
    run = replace(RUN, steps=owned)

    others = replace(run, workflow_type="other", organization_id=DEPOT, idempotency_key="v2")
    assert document_of(others) == document_of(run)
    assert document_of(replace(RUN, organization_id=DEPOT)) != document_of(RUN)


CHANGES: dict[str, WorkflowRunEnqueue] = {
    "metadata": replace(RUN, metadata={"by": "you"}),
    "result step": replace(RUN, result_step_key="publish"),
    "fewer steps": replace(RUN, steps=(BUILD, replace(PUBLISH, dependencies=()))),
    "more steps": replace(RUN, steps=(*RUN.steps, job("more"))),
    "kind": replace(RUN, steps=(BUILD, replace(APPROVE, job_type="t"), PUBLISH)),
    "no dependency": replace(RUN, steps=(BUILD, APPROVE, replace(PUBLISH, dependencies=PUBLISH.dependencies[:1]))),
    "mode": replace(
        RUN,
        steps=(
            BUILD,
            APPROVE,
            replace(PUBLISH, dependencies=[replace(s, release_mode=ON_TERMINAL) for s in PUBLISH.dependencies]),
        ),
    ),
} | {
    name: replace(RUN, steps=(replace(BUILD, **{name: value}), APPROVE, PUBLISH))
    for name, value in {
        "payload": {"n": 2},
        "job_type": "u",
        "organization_id": DEPOT,
        "priority": None,
        "max_attempts": 3,
        "timeout": timedelta(minutes=2),
        "stage": None,
    }.items()
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_else_is_changed_makes_another_document(change: str) -> None:
    """WFE-014, WFE-015, WFE-016."""
    assert document_of(CHANGES[change]) != document_of(RUN)


def test_an_append_names_its_window_and_takes_the_organisation_of_the_run() -> None:
    document = json.loads(canonical_append_request("approve", (PUBLISH, BUILD), organization_id=SHOP))

    assert document == {
        "append_window_step_key": "approve",
        "steps": [step for step in document_of(RUN)["steps"] if step["step_key"] != "approve"],
    }


@dataclass(frozen=True)
class Package:
    name: str


def test_payloads_and_metadata_may_be_what_json_has_a_form_for() -> None:
    document = document_of(run_of(job("a", payload=Package("web")), metadata={"run": SHOP}))

    assert document["steps"][0]["payload"] == {"name": "web"}
    assert document["metadata"] == {"run": str(SHOP)}


@pytest.mark.parametrize(
    ("field", "run"),
    [
        ("steps[1].payload.price", run_of(job("b"), job("a", payload={"price": float("nan")}))),
        ("metadata.by", run_of(job("a"), metadata={"by": object()})),
    ],
)
def test_what_json_cannot_hold_is_refused_by_the_place_where_it_was_given(field: str, run: WorkflowRunEnqueue) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        canonical_run_request(run)

    assert caught.value.field == field
