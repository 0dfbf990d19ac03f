"""Whether an append that comes again asks for the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from runledger.core.workflows.canonical_request import canonical_append_request, is_same_append
from runledger.core.workflows.enqueue_request import WorkflowStepDependencySpec, WorkflowStepEnqueue
from runledger.core.workflows.status import WorkflowDependencyReleaseMode
from tests.core.workflows.dags import gate, job

SHOP, DEPOT = UUID(int=1), UUID(int=2)

BUILD = job("build", "discover", payload={"n": 1})
CHECK = gate("check", "build", "discover", payload=None)
STEPS = (BUILD, CHECK)


def request(*steps: WorkflowStepEnqueue, window: str = "open", organization_id: UUID | None = SHOP) -> str:
    return canonical_append_request(window, steps or STEPS, organization_id=organization_id)


def is_same(stored: str, requested: str, *, organization_id: UUID | None = SHOP) -> bool:
    return is_same_append(stored, requested, organization_id=organization_id)


def changed(change: Callable[[Any], object]) -> str:
    """Return the request as it is stored, after a change of its document."""
    document = json.loads(request())
    change(document)
    return json.dumps(document)


def test_the_order_of_steps_and_dependencies_does_not_count() -> None:
    """WFA-007."""

    def turn(document: Any) -> None:
        document["steps"].reverse()
        for step in document["steps"]:
            step["dependencies"].reverse()

    assert is_same(changed(turn), request())


OLDER: dict[str, Callable[[Any], object]] = {
    "no window": lambda document: document.pop("append_window_step_key"),
    "a null window": lambda document: document.update(append_window_step_key=None),
    "an unknown member": lambda document: document.update(version=1),
    "an unknown member of a step": lambda document: document["steps"][0].update(version=1),
    "no organisation": lambda document: [step.pop("organization_id") for step in document["steps"]],
    "a null organisation": lambda document: [step.update(organization_id=None) for step in document["steps"]],
    "no stage": lambda document: [step.pop("stage") for step in document["steps"]],
    "no unset settings": lambda document: [step.pop("priority") for step in document["steps"]],
}


@pytest.mark.parametrize("change", OLDER.values(), ids=OLDER)
def test_a_request_of_an_older_shape_is_the_same(change: Callable[[Any], object]) -> None:
    """WFA-008."""
    assert is_same(changed(change), request())


def test_a_step_without_dependencies_may_have_been_stored_without_them() -> None:
    """WFA-008."""
    stored = json.loads(request(job("root")))
    del stored["steps"][0]["dependencies"]

    assert is_same(json.dumps(stored), request(job("root")))


@pytest.mark.parametrize(
    ("stored", "now", "expected"),
    [
        ("1", 1.0, True),
        ("1.50", 1.5, True),
        ("1e2", 100, True),
        ("0.1", 0.1, True),
        ("-0", 0, True),
        ("12345678901234567890", 12345678901234567890, True),
        ("12345678901234567891", 12345678901234567890, False),
        ("true", 1, False),
        ("1", True, False),
        ("false", 0, False),
        ("0", None, False),
        ('"1"', 1, False),
        ("[1, 2]", [1.0, 2.0], True),
        ("[1, true]", [1, 1], False),
        ("[1, 2]", [2, 1], False),
        ('{"a": {"b": 1}, "c": null}', {"c": None, "a": {"b": 1.0}}, True),
        ('{"a": null}', {}, False),
    ],
)
def test_payloads_are_compared_as_json_by_value(stored: str, now: Any, expected: bool) -> None:  # noqa: FBT001 - parametrized
    """WFA-006, WFA-008."""
    before = request(replace(BUILD, payload="here")).replace('"here"', stored)

    assert is_same(before, request(replace(BUILD, payload=now))) is expected


ON_SUCCESS = WorkflowDependencyReleaseMode.ON_SUCCESS
OTHERS: dict[str, str] = {
    "another window": request(window="other"),
    "a step more": request(*STEPS, job("more")),
    "a step less": request(BUILD),
    "another key": request(replace(BUILD, step_key="pack"), CHECK),
    "another type": request(replace(BUILD, job_type="u"), CHECK),
    "another organisation": request(replace(BUILD, organization_id=DEPOT), CHECK),
    "another stage": request(replace(BUILD, stage="packing"), CHECK),
    "a priority": request(replace(BUILD, priority=1), CHECK),
    "a dependency less": request(replace(BUILD, dependencies=()), CHECK),
    "another mode": request(
        replace(
            BUILD,
            dependencies=[WorkflowStepDependencySpec(prerequisite_step_key="discover", release_mode=ON_SUCCESS)],
        ),
        CHECK,
    ),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_whatever_else_is_changed_is_another_request(other: str) -> None:
    """WFA-004."""
    assert not is_same(request(), other)
    assert not is_same(other, request())


def test_an_organisation_of_a_step_that_is_that_of_the_run_is_the_same() -> None:
    """WFA-008."""
    assert is_same(request(replace(BUILD, organization_id=SHOP), CHECK), request())
    assert not is_same(
        request(replace(BUILD, organization_id=SHOP), organization_id=None),
        request(BUILD, organization_id=None),
        organization_id=None,
    )
