"""The error tree: classes, codes, texts."""

import pickle
from uuid import UUID

import pytest

from runledger.core import errors
from runledger.core.errors import (
    BlankJobTypeError,
    BlankStepKeyError,
    BlankWorkflowTypeError,
    ConfigError,
    InvalidArgumentError,
    InvalidCronError,
    RunledgerError,
    UndecodableJsonError,
    UnknownStoredTextError,
    WorkflowRunFailedError,
)

EVERY_KIND = [
    (RunledgerError("it broke", code="some.code"), "some.code"),
    (InvalidArgumentError("priority", "is out of range", "pass less"), "argument.invalid"),
    (BlankJobTypeError(), "job.type_blank"),
    (BlankWorkflowTypeError(), "workflow.type_blank"),
    (BlankStepKeyError(), "workflow.step_key_blank"),
    (InvalidCronError("cron_expr (hour)", "has 24", "write less"), "job_schedule.invalid_cron"),
    (ConfigError("worker_id is blank"), "config.invalid"),
    (UnknownStoredTextError("JobStatus"), "core.unknown_stored_text"),
    (UndecodableJsonError("it is nested too deep"), "core.json_undecodable"),
    (WorkflowRunFailedError(UUID(int=1), "CANCELED", failed_step_key="build"), "workflow.run_failed"),
]


@pytest.mark.parametrize(("error", "code"), EVERY_KIND, ids=lambda value: type(value).__name__)
def test_every_error_is_a_runledger_error_with_its_code(error: RunledgerError, code: str) -> None:
    assert isinstance(error, RunledgerError)
    assert error.code == code


@pytest.mark.parametrize(("error", "code"), EVERY_KIND, ids=lambda value: type(value).__name__)
def test_an_error_survives_pickling_with_text_and_attributes(error: RunledgerError, code: str) -> None:
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes

    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert copy.__dict__ == error.__dict__
    assert copy.code == code


def test_an_invalid_argument_names_field_problem_and_remedy() -> None:
    error = InvalidArgumentError("run_in", "is negative", "pass zero or more")

    assert str(error) == "run_in: is negative; pass zero or more"
    assert (error.field, error.problem, error.remedy) == ("run_in", "is negative", "pass zero or more")


def test_an_invalid_argument_is_a_value_error_for_callers_who_do_not_know_us() -> None:
    assert issubclass(InvalidArgumentError, ValueError)


def test_a_blank_identifier_may_name_the_field_it_was_found_in() -> None:
    assert BlankStepKeyError("steps[2].step_key").field == "steps[2].step_key"


def test_the_tree_in_the_docstring_holds_every_class_and_its_code() -> None:
    drawn = errors.__doc__ or ""

    for error, code in EVERY_KIND[1:]:
        assert any(type(error).__name__ in line and code in line for line in drawn.splitlines()), (
            f"{type(error).__name__} is missing or has another code"
        )
