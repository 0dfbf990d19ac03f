"""Where a run of a workflow stands, in a sentence or two."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from runledger.cli.times import describe_duration
from runledger.cli.workflow_tables import given_reason
from runledger.core import WorkflowRunRecord, WorkflowRunStatus, WorkflowStepRecord, WorkflowStepStatus
from runledger.core.printable import shortened


def summarize_run(
    run: WorkflowRunRecord,
    steps: Sequence[WorkflowStepRecord],
    *,
    gates: Sequence[WorkflowStepRecord],
    failures: Sequence[WorkflowStepRecord],
    now: datetime,
) -> str:
    """Say where the run stands, whom it waits for, and what failed first.

    Args:
        run: The run.
        steps: All its steps.
        gates: Those that wait for the application.
        failures: Those that went wrong, the first first.
        now: The present.
    """
    ended = sum(step.status.is_terminal for step in steps)
    done = f"{ended:,} of {_steps_in_words(len(steps))} have ended"
    age = describe_duration((run.finished_at or now) - run.created_at)
    match run.status:
        case WorkflowRunStatus.RUNNING:
            sentence = f"Has been running for {age}: {done}{_waiting(steps, gates)}."
        case WorkflowRunStatus.WAITING_FOR_EXTERNAL:
            sentence = f"Goes on when {_gates_in_words(gates, 'is', 'are')} completed: {done}."
        case WorkflowRunStatus.SUCCEEDED:
            return f"Succeeded with {_steps_in_words(len(steps))}, {age} after it was enqueued."
        case WorkflowRunStatus.COMPLETED_WITH_ERRORS:
            sentence = f"Ended {age} after it was enqueued; not every step succeeded."
        case WorkflowRunStatus.CANCELED:
            sentence = f"Canceled {age} after it was enqueued{_reason(run, steps)}."
    return f"{sentence} First to fail: {shortened(failures[0].step_key)}." if failures else sentence


def was_canceled_with(run: WorkflowRunRecord, step: WorkflowStepRecord) -> bool:
    """Tell whether it was the cancel of the run that ended the step: that ends both at one instant."""
    return (
        run.status is WorkflowRunStatus.CANCELED
        and step.status is WorkflowStepStatus.CANCELED
        and step.finished_at == run.finished_at
    )


def _waiting(steps: Sequence[WorkflowStepRecord], gates: Sequence[WorkflowStepRecord]) -> str:
    if not gates:
        return ""
    if any(step.status in {WorkflowStepStatus.ENQUEUED, WorkflowStepStatus.RUNNING} for step in steps):
        return f"; {_gates_in_words(gates, 'waits', 'wait')}"
    return f"; waits for {_gates_in_words(gates)}, and nothing else goes on"


def _reason(run: WorkflowRunRecord, steps: Sequence[WorkflowStepRecord]) -> str:
    """Return why it was canceled; its steps keep that."""
    reason = next((given_reason(step) for step in steps if was_canceled_with(run, step)), "")
    return f": {reason}" if reason else ""


def _steps_in_words(count: int) -> str:
    return f"{count:,} step{'' if count == 1 else 's'}"


def _gates_in_words(gates: Sequence[WorkflowStepRecord], verb: str = "", plural_verb: str = "") -> str:
    if len(gates) == 1:
        return f"the gate {shortened(gates[0].step_key)} {verb}".rstrip()
    return f"{len(gates):,} gates {plural_verb}".rstrip()
