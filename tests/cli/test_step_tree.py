"""How the steps of a run become lines and boxes."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count
from uuid import UUID

import pytest

from runledger.cli.step_diagram import diagram_lines
from runledger.cli.step_groups import group_steps
from runledger.cli.workflow_story import tree_of
from runledger.core import (
    WorkflowDependencyReleaseMode,
    WorkflowStepDependency,
    WorkflowStepExecutionKind,
    WorkflowStepRecord,
    WorkflowStepStatus,
)

_AT = datetime(2026, 5, 1, 12, tzinfo=UTC)
_RUN = UUID(int=1)
_SUCCEEDED, _BLOCKED = WorkflowStepStatus.SUCCEEDED, WorkflowStepStatus.BLOCKED


class Graph:
    """Steps and edges, written down by key."""

    def __init__(self) -> None:
        self.steps: dict[str, WorkflowStepRecord] = {}
        self.edges: list[WorkflowStepDependency] = []
        self._ids = count(10)

    def add(self, key: str, *after: str, status: WorkflowStepStatus = _BLOCKED, is_gate: bool = False) -> None:
        kind = WorkflowStepExecutionKind.EXTERNAL if is_gate else WorkflowStepExecutionKind.JOB
        self.steps[key] = WorkflowStepRecord(
            id=UUID(int=next(self._ids)),
            workflow_run_id=_RUN,
            step_key=key,
            execution_kind=kind,
            job_type=None if is_gate else "email.send",
            organization_id=None,
            payload=None,
            priority=None,
            max_attempts=None,
            timeout_seconds=None,
            stage=None,
            status=status,
            job_id=None,
            output=None,
            released_at=None,
            started_at=None,
            finished_at=None,
            dependency_count_total=len(after),
            dependency_count_pending=0,
            dependency_count_unsatisfied=0,
            status_reason=None,
            last_error_code=None,
            last_error_message=None,
            created_at=_AT,
            updated_at=_AT,
        )
        for prerequisite in after:
            self.edges.append(
                WorkflowStepDependency(
                    workflow_run_id=_RUN,
                    prerequisite_step_id=self.steps[prerequisite].id,
                    prerequisite_step_key=prerequisite,
                    dependent_step_id=self.steps[key].id,
                    dependent_step_key=key,
                    release_mode=WorkflowDependencyReleaseMode.ON_SUCCESS,
                )
            )

    def lines(self) -> list[str]:
        return [line.text for line in tree_of(list(self.steps.values()), self.edges)]

    def names(self) -> list[str]:
        return [group.name for group in group_steps(list(self.steps.values()), self.edges)]


def test_a_chain_is_not_indented() -> None:
    graph = Graph()
    graph.add("a")
    graph.add("b", "a")
    graph.add("c", "b")

    assert graph.lines() == ["a  BLOCKED", "b  BLOCKED", "c  BLOCKED"]


def test_branches_are_indented_and_what_joins_them_is_not() -> None:
    graph = Graph()
    graph.add("a", status=_SUCCEEDED)
    graph.add("b", "a")
    graph.add("b2", "b")
    graph.add("c", "a")
    graph.add("d", "b2", "c", is_gate=True)

    assert graph.lines() == [
        "a      SUCCEEDED",
        "├─ b   BLOCKED",
        "│  b2  BLOCKED",
        "└─ c   BLOCKED",
        "d      BLOCKED    gate; after b2, c",
    ]


def test_steps_without_prerequisites_are_branches_of_the_run() -> None:
    graph = Graph()
    graph.add("a")
    graph.add("b")
    graph.add("c", "a", "b")

    assert graph.lines() == ["├─ a  BLOCKED", "└─ b  BLOCKED", "c     BLOCKED  after a, b"]


def test_equal_chains_are_one_as_far_as_they_stand_at_the_same() -> None:
    graph = Graph()
    for number in range(10):
        is_ahead = number < 5
        graph.add(f"build-{number}", status=_SUCCEEDED if is_ahead else _BLOCKED)
        graph.add(f"test-{number}", f"build-{number}")

    assert graph.names() == [
        "build-0 … build-4 (5 steps)",
        "build-5 … build-9 (5 steps)",
        "test-0 … test-4 (5 steps)",
        "test-5 … test-9 (5 steps)",
    ]


def test_three_equal_steps_are_named_one_by_one() -> None:
    graph = Graph()
    for key in "abc":
        graph.add(key)

    assert graph.names() == ["a", "b", "c"]


def test_a_chain_of_thousands_and_a_comb_have_lines_of_bounded_width() -> None:
    chain, comb = Graph(), Graph()
    chain.add("s0")
    comb.add("s0")
    for number in range(1, 3_000):
        chain.add(f"s{number}", f"s{number - 1}")
    for number in range(1, 200):
        comb.add(f"leaf{number}", f"s{number - 1}")
        comb.add(f"s{number}", f"s{number - 1}")

    assert len(chain.lines()) == 3_000
    assert len(comb.lines()) == 399
    assert max(map(len, comb.lines())) < 100


def test_keys_cannot_break_out_of_a_line_or_a_label() -> None:
    graph = Graph()
    graph.add('a"]\x1b[31m<b>#')

    assert graph.lines() == ['a"]\\x1b[31m<b>#  BLOCKED']
    diagram = diagram_lines(group_steps(list(graph.steps.values()), []))
    assert diagram[1] == '    s0["a#34;#93;#92;x1b#91;31m#60;b#62;#35;"]:::BLOCKED'


@pytest.mark.parametrize(
    ("key", "label"),
    [
        ("**b**", "#42;#42;b#42;#42;"),
        ("_b_ __c__", "#95;b#95; #95;#95;c#95;#95;"),
        ("~~b~~", "#126;#126;b#126;#126;"),
        ("1. x", "#49;#46; x"),
        ("12) x", "#49;#50;#41; x"),
        ("- x", "#45; x"),
        ("---", "#45;--"),
        ("+ x", "#43; x"),
        ("* x", "#42; x"),
        ("$$x$$", "#36;#36;x#36;#36;"),
        ("fa:fa-car", "fa#58;fa-car"),
        ("[a](b)", "#91;a#93;(b)"),
        ("http://a.example", "http#58;//a.example"),
        ("www.a.example", "www#46;a.example"),
        ("ada@a.example", "ada#64;a.example"),
        ("%%{init: {}}%%", "#37;#37;{init: {}}#37;#37;"),
        ("send_mail-1.2 (a:b) + c", "send_mail-1.2 (a:b) + c"),
        ("2.build", "2.build"),
    ],
)
def test_a_key_is_shown_as_it_is_and_not_as_the_markdown_that_it_might_be(key: str, label: str) -> None:
    graph = Graph()
    graph.add(key)

    assert diagram_lines(group_steps(list(graph.steps.values()), []))[1] == f'    s0["{label}"]:::BLOCKED'
