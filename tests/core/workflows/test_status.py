"""States and transitions of workflow runs and steps."""

from runledger.core.workflows.status import (
    RUN_TRANSITIONS,
    STEP_TRANSITIONS,
    WorkflowRunStatus,
    WorkflowStepStatus,
)

Step = WorkflowStepStatus
Run = WorkflowRunStatus


def test_terminal_step_statuses_are_succeeded_failed_and_canceled() -> None:
    """CORE-040."""
    assert {status for status in Step if status.is_terminal} == {Step.SUCCEEDED, Step.FAILED, Step.CANCELED}


def test_terminal_run_statuses_are_succeeded_completed_with_errors_and_canceled() -> None:
    assert {status for status in Run if status.is_terminal} == {
        Run.SUCCEEDED,
        Run.COMPLETED_WITH_ERRORS,
        Run.CANCELED,
    }


def test_the_moves_of_steps_are_those_of_the_contract() -> None:
    assert {(row.from_status, row.to_status) for row in STEP_TRANSITIONS} == {
        (None, Step.BLOCKED),
        (Step.BLOCKED, Step.ENQUEUED),
        (Step.BLOCKED, Step.WAITING_FOR_EXTERNAL),
        (Step.BLOCKED, Step.CANCELED),
        (Step.ENQUEUED, Step.RUNNING),
        (Step.RUNNING, Step.ENQUEUED),
        *((held, end) for held in (Step.ENQUEUED, Step.RUNNING) for end in Step if end.is_terminal),
        *((Step.WAITING_FOR_EXTERNAL, end) for end in Step if end.is_terminal),
    }


def test_run_cancel_ends_a_step_from_every_open_status() -> None:
    canceled = {row.from_status for row in STEP_TRANSITIONS if row.operation == "cancel_workflow_run"}
    assert canceled == {status for status in Step if not status.is_terminal}


def test_the_moves_of_runs_are_those_of_the_contract() -> None:
    assert {(row.from_status, row.to_status) for row in RUN_TRANSITIONS} == {
        (None, Run.RUNNING),
        (Run.RUNNING, Run.WAITING_FOR_EXTERNAL),
        (Run.WAITING_FOR_EXTERNAL, Run.RUNNING),
        *((open_, end) for open_ in Run if not open_.is_terminal for end in Run if end.is_terminal),
    }


def test_a_run_is_canceled_by_run_cancel_and_by_nothing_else() -> None:
    assert {row.operation for row in RUN_TRANSITIONS if row.to_status is Run.CANCELED} == {"cancel_workflow_run"}


def test_nothing_leaves_a_terminal_status() -> None:
    assert not [row for row in STEP_TRANSITIONS if row.from_status and row.from_status.is_terminal]
    assert not [row for row in RUN_TRANSITIONS if row.from_status and row.from_status.is_terminal]


def test_no_row_is_listed_twice() -> None:
    steps = [(row.from_status, row.to_status, row.operation) for row in STEP_TRANSITIONS]
    runs = [(row.from_status, row.to_status, row.operation) for row in RUN_TRANSITIONS]
    assert len(steps) == len(set(steps))
    assert len(runs) == len(set(runs))
