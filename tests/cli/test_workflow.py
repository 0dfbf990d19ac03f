"""``runledger workflow`` and ``runledger workflows``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from uuid import UUID

import pytest

from runledger.cli.arguments import workflows as workflow_arguments
from runledger.core import Workflow, WorkflowRunStatus, WorkflowStepStatus
from runledger.testing import EphemeralDatabase
from tests.cli.conftest import RunCommand
from tests.cli.test_job import make_terminal
from tests.postgres.job_queue import JOB_TYPE
from tests.postgres.workflow_queue import WORKFLOW_TYPE, WorkflowQueue, workflow

TENANT = UUID("0198c0de-0000-7000-8000-0000000000aa")
NOBODY = str(UUID(int=1))


@pytest.fixture
def queue(runledger_database: EphemeralDatabase, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkflowQueue]:
    """A queue that knows ``email.send``, in the database that the command finds by itself."""
    monkeypatch.setenv("RUNLEDGER_DATABASE_URL", runledger_database.url)
    workflow_queue = WorkflowQueue(runledger_database.url)
    workflow_queue.define()
    yield workflow_queue
    workflow_queue.close()


def release(*, key: str | None = None, organization_id: UUID | None = None, width: int = 2) -> Workflow:
    """Return discover, builds, a gate after them, publish, and a report after the end of all."""
    flow = workflow(key, organization_id)
    found = flow.job("discover", JOB_TYPE)
    built = [flow.job(f"build-{number}", JOB_TYPE, after=found) for number in range(width)]
    approved = flow.gate("approve", after=built)
    published = flow.job("publish", JOB_TYPE, {"token": "secret"}, after=approved)
    flow.job("report", JOB_TYPE, after_terminal=[*built, published])
    return flow


def advance(queue: WorkflowQueue, *, times: int) -> None:
    """Let everything that is due succeed, so often."""
    for _ in range(times):
        queue.succeed_all(queue.claim(limit=1_000))


def rows(text: str, title: str) -> list[list[str]]:
    """Return the rows of a part of a story, by columns."""
    part = text.split(f"\n\n{title}\n", 1)[1].split("\n\n", 1)[0]
    return [re.split(r" {2,}", line.strip()) for line in part.splitlines()]


def test_the_arguments_know_every_status() -> None:
    assert tuple(WorkflowRunStatus) == workflow_arguments._RUN_STATUSES  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    terminal = tuple(status for status in WorkflowStepStatus if status.is_terminal)
    assert terminal == workflow_arguments._GATE_STATUSES  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


def test_a_run_that_waits_names_the_gate(queue: WorkflowQueue, run_command: RunCommand) -> None:
    run_id = queue.start(release())
    advance(queue, times=2)

    ended = run_command("workflow", "show", str(run_id))

    assert (ended.exit_code, ended.err) == (0, "")
    assert ended.out.startswith(f"Workflow run {run_id} of type {WORKFLOW_TYPE}\n\nHas been running for ")
    assert "3 of 6 steps have ended; the gate approve waits." in ended.out
    assert [row[0] for row in rows(ended.out, "Waits for somebody")] == ["gate", "approve"]
    assert "secret" not in ended.out
    assert re.search(r"\nSteps\n  discover +SUCCEEDED .*\n  ├─ build-0 +SUCCEEDED", ended.out)
    assert re.search(r"\n  approve +WAITING_FOR_EXTERNAL  gate; after build-0, build-1\n", ended.out)
    assert re.search(r"\n  publish +BLOCKED\n", ended.out)
    assert re.search(r"\n  report +BLOCKED +after the end of build-0, build-1, publish\n?", ended.out)


def test_a_failed_step_stands_out_with_code_and_message(queue: WorkflowQueue, run_command: RunCommand) -> None:
    flow = workflow()
    flow.job("after", JOB_TYPE, after=flow.job("first", JOB_TYPE))
    run_id = queue.start(flow)
    queue.dead_letter_now(queue.claim_steps()["first"])

    ended = run_command("workflow", "show", str(run_id))

    job_id = str(queue.steps(run_id)["first"].job_id)
    assert rows(ended.out, "What went wrong") == [
        ["step", "status", "job", "code", "message"],
        ["first", "FAILED", job_id, "smtp.busy", "try later"],
    ]
    assert "not every step succeeded. First to fail: first." in ended.out


def test_a_wide_run_is_a_few_lines(queue: WorkflowQueue, run_command: RunCommand) -> None:
    run_id = queue.start(release(width=3_000))
    advance(queue, times=1)
    queue.succeed_all(queue.claim(limit=1_000))

    ended = run_command("workflow", "show", str(run_id))

    tree = ended.out.split("\nSteps\n", 1)[1].splitlines()
    assert len(tree) == 6
    assert re.search(r"SUCCEEDED$", tree[1].rstrip())
    assert "(1,000 steps)" in tree[1]
    assert "(2,000 steps)" in tree[2]


def test_a_terminal_gets_colours(
    queue: WorkflowQueue, run_command: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_terminal(monkeypatch)
    run_id = queue.start(release())

    ended = run_command("workflow", "show", str(run_id))

    assert re.search(r"\x1b\[33mdiscover +ENQUEUED", ended.out)


def test_values_are_shown_only_when_asked_for(queue: WorkflowQueue, run_command: RunCommand) -> None:
    run_id = str(queue.start(release(key="order-1")))

    hidden = json.loads(run_command("workflow", "show", run_id, "--json").out)
    shown = json.loads(run_command("workflow", "show", run_id, "--json", "--show-payload").out)

    assert not {"metadata", "result", "idempotency_key"} & set(hidden["run"])
    assert not any({"payload", "output"} & set(step) for step in hidden["steps"])
    assert shown["run"]["idempotency_key"] == "order-1"
    assert {"token": "secret"} in [step["payload"] for step in shown["steps"]]
    assert len(shown["dependencies"]) == 8
    assert "not shown:  metadata, idempotency key" in run_command("workflow", "show", run_id).out
    assert "order-1" in run_command("workflow", "show", run_id, "--show-payload").out


def test_a_run_is_drawn(queue: WorkflowQueue, run_command: RunCommand) -> None:
    run_id = queue.start(release())

    lines = run_command("workflow", "diagram", str(run_id)).out.splitlines()

    assert lines[0] == "flowchart TD"
    assert '    s0["discover"]:::ENQUEUED' in lines
    assert '    s3{{"approve"}}:::BLOCKED' in lines
    assert "    s0 --> s1" in lines
    assert "    s4 -.-> s5" in lines
    assert any(line.startswith("    classDef ENQUEUED ") for line in lines)


def test_a_diagram_that_nobody_could_read_is_refused(queue: WorkflowQueue, run_command: RunCommand) -> None:
    flow = workflow()
    last = flow.job("step-0", JOB_TYPE)
    for number in range(1, 301):
        last = flow.job(f"step-{number}", JOB_TYPE, after=last)
    run_id = queue.start(flow)

    ended = run_command("workflow", "diagram", str(run_id))

    assert (ended.exit_code, ended.out) == (1, "")
    assert "would have 301 boxes and 300 edges" in ended.err
    shown = run_command("workflow", "show", str(run_id)).out
    assert f"101 more lines; `runledger workflow show {run_id} --json` has every step" in shown


def test_a_diagram_that_mermaid_would_not_draw_is_refused(queue: WorkflowQueue, run_command: RunCommand) -> None:
    flow = workflow()
    earlier = [flow.job("step-0", JOB_TYPE)]
    for number in range(1, 33):
        earlier.append(flow.job(f"step-{number}", JOB_TYPE, after=earlier))

    ended = run_command("workflow", "diagram", str(queue.start(flow)))

    assert (ended.exit_code, ended.out) == (1, "")
    assert "would have 33 boxes and 528 edges" in ended.err


def test_a_gate_is_completed(queue: WorkflowQueue, run_command: RunCommand) -> None:
    run_id = queue.start(release())
    advance(queue, times=2)

    ended = run_command("workflow", "complete", str(run_id), "approve", "--output", '{"by": "ada"}', "--reason", "ok")

    assert (ended.exit_code, ended.err, ended.out) == (0, "", f"gate approve of run {run_id} is SUCCEEDED\n")
    step = queue.steps(run_id)["approve"]
    assert (step.status, step.output, step.status_reason) == (WorkflowStepStatus.SUCCEEDED, {"by": "ada"}, "ok")
    assert queue.statuses(run_id)["publish"] == "ENQUEUED"


def test_who_completes_a_gate_again_is_told(queue: WorkflowQueue, run_command: RunCommand) -> None:
    flow = workflow()
    flow.gate("approve")
    run_id = str(queue.start(flow))
    command = ("workflow", "complete", run_id, "approve")
    run_command(*command, "--output", '{"by": "ada"}')

    again = run_command(*command, "--output", '{"by": "eve"}', "--reason", "ok")
    bare = run_command(*command)
    document = json.loads(run_command(*command, "--json").out)

    assert (again.exit_code, bare.exit_code) == (0, 0)
    already = rf"gate approve of run {run_id} was SUCCEEDED already, since [-0-9]+T[:.0-9]+Z: nothing was changed"
    assert re.fullmatch(rf"{already}; --output and --reason of this command are not kept\n", again.out)
    assert re.fullmatch(rf"{already}\n", bare.out)
    assert document["was_completed_already"] is True
    assert queue.steps(UUID(run_id))["approve"].output == {"by": "ada"}


def test_a_gate_of_a_canceled_run_is_told(queue: WorkflowQueue, run_command: RunCommand) -> None:
    run_id = queue.start(release())
    queue.cancel_run(run_id, reason="ordered twice")

    ended = run_command("workflow", "complete", str(run_id), "approve")

    assert (ended.exit_code, ended.out) == (1, "")
    assert "the run was canceled, and no gate of it can be completed any more" in ended.err
    assert "(workflow.external_step_conflicting_completion_retry)" in ended.err


def test_a_gate_may_be_completed_with_an_error(queue: WorkflowQueue, run_command: RunCommand) -> None:
    flow = workflow()
    flow.gate("approve")
    run_id = queue.start(flow)
    error = ("--error-code", "approval.denied", "--error-message", "over the limit")

    run_command("workflow", "complete", str(run_id), "approve", "--status", "failed", *error)

    step = queue.steps(run_id)["approve"]
    assert (step.status, step.last_error_code, step.last_error_message) == (
        WorkflowStepStatus.FAILED,
        "approval.denied",
        "over the limit",
    )


def test_a_gate_may_be_completed_as_failed(queue: WorkflowQueue, run_command: RunCommand) -> None:
    run_id = queue.start(release())
    advance(queue, times=2)

    ended = run_command("workflow", "complete", str(run_id), "approve", "--status", "failed", "--json")

    assert json.loads(ended.out)["status"] == "FAILED"
    assert "output" not in json.loads(ended.out)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["complete", NOBODY, "approve"], "(workflow.external_step_not_found)"),
        (["cancel", NOBODY], "(workflow.run_not_found)"),
        (["show", NOBODY], f"there is no workflow run {NOBODY} in schema runledger"),
        (["diagram", NOBODY], f"there is no workflow run {NOBODY} in schema runledger"),
    ],
    ids=["complete", "cancel", "show", "diagram"],
)
@pytest.mark.usefixtures("queue")
def test_a_run_that_is_not_there_is_told(run_command: RunCommand, words: list[str], message: str) -> None:
    ended = run_command("workflow", *words)

    assert (ended.exit_code, ended.out) == (1, "")
    assert message in ended.err
    assert ended.err.count("\n") == 1


@pytest.mark.usefixtures("queue")
def test_output_that_is_no_json_is_refused(run_command: RunCommand) -> None:
    ended = run_command("workflow", "complete", NOBODY, "approve", "--output", "yes")

    assert ended.exit_code == 2
    assert "--output: is no JSON" in ended.err


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["complete", NOBODY, " "], "GATE: is blank"),
        (["cancel", NOBODY, "--reason", "\0"], "--reason: "),
    ],
)
@pytest.mark.usefixtures("queue")
def test_a_mistaken_argument_is_named_as_it_was_given(run_command: RunCommand, words: list[str], problem: str) -> None:
    ended = run_command("workflow", *words)

    assert ended.exit_code == 2
    assert ended.err.startswith(f"runledger: error: {problem}")


def test_a_run_is_canceled_once(queue: WorkflowQueue, run_command: RunCommand) -> None:
    """WFC-005: the second time nothing happens."""
    run_id = queue.start(release())

    first = run_command("workflow", "cancel", str(run_id), "--reason", "not needed")
    contents = queue.contents()
    second = run_command("workflow", "cancel", str(run_id))

    assert (first.exit_code, first.out) == (0, f"run {run_id} of type {WORKFLOW_TYPE} is CANCELED\n")
    assert queue.steps(run_id)["discover"].status_reason == "not needed"
    assert (second.out, queue.contents()) == (first.out, contents)


def listed(run_command: RunCommand, *options: str) -> list[str]:
    return [run["id"] for run in json.loads(run_command("workflows", "--json", *options).out)["runs"]]


def test_runs_are_listed_newest_first_and_filtered(queue: WorkflowQueue, run_command: RunCommand) -> None:
    first = str(queue.start(release()))
    owned = str(queue.start(release(organization_id=TENANT)))
    canceled = str(queue.start(release()))
    queue.cancel_run(UUID(canceled))

    assert listed(run_command) == [canceled, owned, first]
    assert listed(run_command, "--limit", "1") == [canceled]
    assert listed(run_command, "--status", "canceled") == [canceled]
    assert listed(run_command, "--type-contains", "FULFIL", "--organization", str(TENANT)) == [owned]
    assert listed(run_command, "--no-organization") == [canceled, first]
    assert listed(run_command, "--type-contains", "sms") == []
    text = run_command("workflows", "--status", "RUNNING").out
    table = [re.split(r" {2,}", line.strip()) for line in text.splitlines()]
    assert [row[:6] for row in table] == [
        ["id", "type", "status", "steps", "open", "failed or canceled"],
        [owned, WORKFLOW_TYPE, "RUNNING", "6", "6", "0"],
        [first, WORKFLOW_TYPE, "RUNNING", "6", "6", "0"],
    ]


def test_runs_that_wait_for_somebody_are_listed_whatever_their_status(
    queue: WorkflowQueue, run_command: RunCommand
) -> None:
    waiting = str(queue.start(release()))
    advance(queue, times=2)
    queue.start(release())

    assert listed(run_command, "--waiting") == [waiting]
    assert listed(run_command, "--waiting", "--status", "running") == [waiting]
    assert listed(run_command, "--waiting", "--status", "WAITING_FOR_EXTERNAL") == []


def test_the_story_of_a_job_names_run_and_step(queue: WorkflowQueue, run_command: RunCommand) -> None:
    run_id = queue.start(release())

    ended = run_command("job", str(queue.job_of(run_id, "discover").id))

    assert re.search(rf"\n  workflow run: +{run_id}\n  workflow step: +discover\n", ended.out)
