"""``runledger workflow``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from uuid import UUID

import pytest

from runledger import JobDefinition, SyncLedger
from runledger.core import Workflow, WorkflowRunStatus, WorkflowStepStatus
from runledger.testing import EphemeralDatabase
from tests.cli.conftest import RunCommand

TYPE, UNKNOWN = "build", UUID(int=1)


@pytest.fixture
def ledger(runledger_database: EphemeralDatabase, monkeypatch: pytest.MonkeyPatch) -> Iterator[SyncLedger]:
    """A ledger with one job type, in the database that the command finds by itself."""
    monkeypatch.setenv("RUNLEDGER_DATABASE_URL", runledger_database.url)
    with SyncLedger.connect(runledger_database.url, max_connections=1) as opened:
        opened.ensure_job_definitions([JobDefinition(job_type=TYPE)])
        yield opened


def enqueue_release(ledger: SyncLedger) -> UUID:
    """Enqueue a gate, three steps alike behind it, and a last one whatever became of these."""
    flow = Workflow("release", metadata={"card": "4242-secret"})
    gate = flow.gate('is "it" ok?', {"card": "4242-secret"})
    built = [flow.job(f"build-{number}", TYPE, after=gate) for number in range(3)]
    flow.job("report", TYPE, after_terminal=built)
    return ledger.enqueue_workflow(flow).id


def test_runs_are_listed_newest_first(ledger: SyncLedger, run_command: RunCommand) -> None:
    flow = Workflow("import")
    flow.job("load", TYPE)
    ids = [enqueue_release(ledger), enqueue_release(ledger), ledger.enqueue_workflow(flow).id]

    listed = run_command("workflow", "list")
    filtered = run_command("workflow", "list", "RELE", "--status", "running", "--limit", "1")

    assert (listed.exit_code, listed.err) == (0, "")
    assert [line.split()[0] for line in listed.out.splitlines()[1:]] == [str(run_id) for run_id in reversed(ids)]
    assert [line.split()[:6] for line in filtered.out.splitlines()[1:]] == [
        [str(ids[1]), "release", "RUNNING", "0", "of", "5"]
    ]


def test_a_list_longer_than_a_page_has_every_run_once(
    ledger: SyncLedger, run_command: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runledger.cli.workflow._PAGE", 2)
    ids = [enqueue_release(ledger) for _ in range(5)]

    listed = run_command("workflow", "list", "--json")

    assert [run["id"] for run in json.loads(listed.out)["runs"]] == [str(run_id) for run_id in reversed(ids)]


def test_an_empty_list_says_where_it_looked(
    ledger: SyncLedger, run_command: RunCommand, runledger_database: EphemeralDatabase
) -> None:
    assert ledger.list_workflow_runs() == []

    listed = run_command("workflow", "list")

    assert listed.exit_code == 0
    assert listed.out.startswith("no such run in schema runledger at ")
    assert runledger_database.name in listed.out


def test_a_run_is_shown_with_steps_alike_as_one(ledger: SyncLedger, run_command: RunCommand) -> None:
    run_id = enqueue_release(ledger)

    shown = run_command("workflow", "show", str(run_id))

    lines = shown.out.splitlines()
    assert (shown.exit_code, shown.err) == (0, "")
    assert lines[0] == f"Run {run_id} of workflow release"
    assert "4242-secret" not in shown.out
    steps = [line.split("  ") for line in lines[lines.index("Steps") + 2 :][:3]]
    told = [[cell.strip() for cell in cells if cell.strip()] for cells in steps]
    assert told[0][:3] == ['is "it" ok?', "WAITING_FOR_EXTERNAL", "gate"]
    assert told[1] == ["build-0 … build-2 (3)", "BLOCKED", "build", 'is "it" ok?']
    assert told[2] == ["report", "BLOCKED", "build", "build-0 … build-2 (3) (end)"]
    assert f"`runledger workflow complete {run_id} GATE` opens one" in shown.out


def test_a_gate_that_failed_is_shown_with_what_went_wrong(ledger: SyncLedger, run_command: RunCommand) -> None:
    run_id = enqueue_release(ledger)
    ledger.complete_gate(
        run_id,
        'is "it" ok?',
        status=WorkflowStepStatus.FAILED,
        error_code="no.way",
        error_message="not \x1b[2Jtoday",
    )

    shown = run_command("workflow", "show", str(run_id))

    assert "What went wrong" in shown.out
    assert "no.way" in shown.out
    assert "\x1b" not in shown.out
    assert "build-0 … build-2 (3)  CANCELED" in shown.out


def test_json_has_payloads_only_when_asked_for(ledger: SyncLedger, run_command: RunCommand) -> None:
    run_id = str(enqueue_release(ledger))

    plain = json.loads(run_command("workflow", "show", run_id, "--json").out)
    whole = json.loads(run_command("workflow", "show", run_id, "--json", "--show-payload").out)

    assert set(plain) == {"run", "steps", "dependencies"}
    assert (len(plain["steps"]), len(plain["dependencies"])) == (5, 6)
    assert "4242-secret" not in json.dumps(plain)
    assert whole["run"]["metadata"] == whole["steps"][0]["payload"] == {"card": "4242-secret"}
    assert "payload" not in plain["steps"][0]


def test_a_diagram_is_mermaid_with_quotes_escaped(ledger: SyncLedger, run_command: RunCommand) -> None:
    drawn = run_command("workflow", "diagram", str(enqueue_release(ledger)))

    assert drawn.out.splitlines()[:6] == [
        "flowchart TD",
        '    s0{{"is #quot;it#quot; ok?"}}:::WAITING_FOR_EXTERNAL',
        '    s1["build-0 … build-2 (3)"]:::BLOCKED',
        "    s0 --> s1",
        '    s2["report"]:::BLOCKED',
        "    s1 -.-> s2",
    ]


def test_a_picture_that_would_show_nothing_is_refused(
    ledger: SyncLedger, run_command: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runledger.cli.workflow_diagram._MOST_NODES", 2)

    drawn = run_command("workflow", "diagram", str(enqueue_release(ledger)))

    assert (drawn.exit_code, drawn.out) == (1, "")
    assert "3 groups of steps" in drawn.err


def test_a_gate_is_completed_once(ledger: SyncLedger, run_command: RunCommand) -> None:
    flow = Workflow("approval")
    flow.result_step(flow.gate("approve"))
    handle = ledger.enqueue_workflow(flow)
    words = ("workflow", "complete", str(handle.id), "approve")

    first = run_command(*words, "--output", '{"by": "me"}')
    again = run_command(*words)
    otherwise = run_command(*words, "--status", "failed")

    assert first.out == again.out == f"gate approve of run {handle.id} is SUCCEEDED\n"
    assert handle.result() == {"by": "me"}
    assert (otherwise.exit_code, otherwise.out) == (1, "")
    assert otherwise.err.startswith(f"runledger: error: run {handle.id}: ")


def test_an_output_that_is_no_json_completes_nothing(ledger: SyncLedger, run_command: RunCommand) -> None:
    run_id = enqueue_release(ledger)

    refused = run_command("workflow", "complete", str(run_id), 'is "it" ok?', "--output", "yes")

    assert refused.exit_code == 2
    assert "--output: is no JSON" in refused.err
    assert ledger.workflow_run(run_id).status() is WorkflowRunStatus.RUNNING


def test_a_run_is_canceled_and_later_only_told_of(ledger: SyncLedger, run_command: RunCommand) -> None:
    run_id = enqueue_release(ledger)

    canceled = run_command("workflow", "cancel", str(run_id), "--reason", "wrong version")
    again = run_command("workflow", "cancel", str(run_id))

    assert canceled.out == f"canceled run {run_id} of workflow release\n"
    assert again.out == f"run {run_id} of workflow release had ended already: CANCELED\n"
    assert {step.status_reason for step in ledger.workflow_run(run_id).steps()} == {"wrong version"}


@pytest.mark.parametrize("action", [("show",), ("diagram",), ("cancel",), ("complete", "approve")])
def test_a_run_that_is_not_there_is_named(action: tuple[str, ...], ledger: SyncLedger, run_command: RunCommand) -> None:
    assert ledger.get_workflow_run(UNKNOWN) is None

    refused = run_command("workflow", action[0], str(UNKNOWN), *action[1:])

    assert (refused.exit_code, refused.out) == (1, "")
    assert refused.err.startswith(f"runledger: error: there is no run {UNKNOWN} of a workflow in schema runledger at ")
