"""``runledger workflow`` and ``runledger workflows``."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from uuid import UUID

import pytest

from runledger.cli.arguments import workflows as workflow_arguments
from runledger.core import Admin, WorkerIdentity, Workflow, WorkflowRunStatus, WorkflowStepStatus
from runledger.postgres import admin, jobs, workers
from runledger.testing import EphemeralDatabase
from tests.cli.conftest import RunCommand
from tests.cli.test_job import make_terminal
from tests.postgres.job_queue import JOB_TYPE, MINUTE
from tests.postgres.workflow_queue import WORKFLOW_TYPE, WorkflowQueue, failure_of, workflow

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
    assert "3 of 6 steps have ended; waits for the gate approve, and nothing else goes on." in ended.out
    assert f"\n\nTo complete it\n  runledger workflow complete {run_id} approve\n\n" in ended.out
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
        ["step", "status", "job", "reason", "code", "message"],
        ["first", "FAILED", job_id, "TERMINAL", "smtp.busy", "try later"],
    ]
    assert "not every step succeeded. First to fail: first." in ended.out


def test_a_gate_that_was_refused_tells_the_reason(queue: WorkflowQueue, run_command: RunCommand) -> None:
    flow = workflow()
    flow.job("pay", JOB_TYPE, after=[flow.gate("approve"), flow.gate("check")])
    run_id = queue.start(flow)
    queue.complete(run_id, "approve", WorkflowStepStatus.FAILED, reason="too expensive")
    queue.complete(run_id, "check", reason="looked at it")

    ended = run_command("workflow", "show", str(run_id))

    assert rows(ended.out, "What went wrong") == [
        ["step", "status", "job", "reason", "code", "message"],
        ["approve", "FAILED", "too expensive"],
    ]
    assert re.search(r"\n  (├─ |└─ )?check +SUCCEEDED +gate; looked at it\n", ended.out)


def test_a_step_that_was_canceled_by_itself_tells_the_reason(queue: WorkflowQueue, run_command: RunCommand) -> None:
    flow = workflow()
    flow.job("after", JOB_TYPE, after=flow.job("first", JOB_TYPE))
    run_id = queue.start(flow)
    job_id = queue.job_of(run_id, "first").id
    queue.run(jobs.cancel_job(job_id, scope=Admin(), reason="wrong address"))

    ended = run_command("workflow", "show", str(run_id))

    assert rows(ended.out, "What went wrong")[1:] == [["first", "CANCELED", str(job_id), "wrong address"]]


@pytest.mark.parametrize(("reason", "words"), [("ordered twice", ": ordered twice."), (None, ".")])
def test_a_canceled_run_tells_the_reason(
    queue: WorkflowQueue, run_command: RunCommand, reason: str | None, words: str
) -> None:
    run_id = queue.start(release())
    advance(queue, times=1)
    queue.cancel_run(run_id, reason=reason)

    ended = run_command("workflow", "show", str(run_id))

    assert re.search(rf"\n\nCanceled [^:]+ after it was enqueued{re.escape(words)}\n\n", ended.out)
    assert "What went wrong" not in ended.out


def test_the_error_that_a_run_was_canceled_with_is_told_once(queue: WorkflowQueue, run_command: RunCommand) -> None:
    run_id = queue.start(release())
    queue.cancel_run(run_id, error_code="order.withdrawn", error_message="the customer called")

    ended = run_command("workflow", "show", str(run_id))

    assert [row[0] for row in rows(ended.out, "What went wrong")] == ["step", "discover and 5 more"]
    assert "order.withdrawn" in ended.out


def test_each_step_in_the_queue_tells_why_it_waits(queue: WorkflowQueue, run_command: RunCommand) -> None:
    """Those that nobody may take come first; the others are due, or are later."""
    for job_type in ("paused", "alone"):
        queue.define(job_type)
    flow = workflow()
    flow.job("retried", JOB_TYPE)
    flow.job("due", JOB_TYPE)
    flow.job("held", "paused")
    flow.job("lost", "alone")
    run_id = queue.start(flow)
    register(queue, JOB_TYPE, "paused")
    queue.run(admin.pause_job_type("paused"))
    (claimed,) = queue.claim(limit=1, job_types=[JOB_TYPE])
    queue.run(jobs.fail_job(failure_of(claimed)))
    queue.sql("UPDATE job_queue SET next_run_at = now() + interval '1 h' WHERE attempt = 1 AND status = 'PENDING'")

    ended = run_command("workflow", "show", str(run_id))
    document = json.loads(run_command("workflow", "show", str(run_id), "--json").out)

    found = {row[0]: row[1:] for row in rows(ended.out, "Waits to run")}
    job_of = {key: str(step.job_id) for key, step in queue.steps(run_id).items()}
    assert list(found) == ["step", "held", "lost", "due", "retried"]
    assert re.fullmatch(r"due for .+; type paused is paused", found["held"][0])
    assert re.fullmatch(r"due for .+; no live worker serves alone", found["lost"][0])
    assert re.fullmatch(r"due for [^;]+", found["due"][0])
    assert re.fullmatch(r"attempt 1 of 3 failed \(smtp\.busy\); due again in (59 min|1 h).*", found["retried"][0])
    assert {key: found[key][1] for key in job_of} == job_of
    assert {step["job_id"]: step["is_type_paused"] for step in document["enqueued"]} == {
        job_id: key == "held" for key, job_id in job_of.items()
    }


def test_steps_that_wait_for_the_same_are_one_row(queue: WorkflowQueue, run_command: RunCommand) -> None:
    flow = workflow()
    for number in range(100):
        flow.job(f"build-{number}", JOB_TYPE)
    run_id = queue.start(flow)

    ended = run_command("workflow", "show", str(run_id))

    (row,) = rows(ended.out, "Waits to run")[1:]
    assert row[0] == "build-0 and 99 more"
    assert re.fullmatch(rf"the first due for .+; no live worker serves {JOB_TYPE}", row[1])
    assert len(ended.out.split("\nSteps\n", 1)[1].splitlines()) == 1


def register(queue: WorkflowQueue, *job_types: str) -> None:
    """Put a worker into the table of live ones."""
    identity = WorkerIdentity(
        worker_id="worker-9",
        instance_id=UUID(int=9),
        hostname="host-1",
        process_id=17,
        version="1.0",
        job_types=job_types,
        slots=8,
    )
    queue.run(workers.register_worker(identity, lease_ttl=MINUTE))


def test_who_completes_a_gate_may_see_its_payload(queue: WorkflowQueue, run_command: RunCommand) -> None:
    flow = workflow()
    flow.gate("it's mine", {"amount": "1200.00"})
    flow.gate("plain")
    run_id = str(queue.start(flow))

    hidden = run_command("workflow", "show", run_id).out
    shown = run_command("workflow", "show", run_id, "--show-payload").out

    assert "1200.00" not in hidden
    assert "not shown:  metadata, payload of the gate; --show-payload shows them\n" in hidden
    assert '\n\nPayload of the gate it\'s mine\n  {\n    "amount": "1200.00"\n  }\n' in shown
    assert "Payload of the gate plain" not in shown
    for command in (shlex.split(line) for line in shown.split("\n\nTo complete them\n", 1)[1].splitlines()[:2]):
        assert run_command(*command[1:]).exit_code == 0
    assert queue.workflow_run(UUID(run_id)).status is WorkflowRunStatus.SUCCEEDED


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


def test_a_gate_that_the_run_does_not_have_is_told(queue: WorkflowQueue, run_command: RunCommand) -> None:
    run_id = queue.start(release())

    ended = run_command("workflow", "complete", str(run_id), "aprove")

    assert (ended.exit_code, ended.out) == (1, "")
    assert ": the run has no step 'aprove'; `runledger workflow show`" in ended.err


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
