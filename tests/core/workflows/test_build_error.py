"""Errors about workflows travel between processes as other errors do."""

import pickle

import pytest

from runledger.core.errors import InvalidArgumentError
from runledger.core.workflows.build_error import WorkflowBuildError
from runledger.core.workflows.graph_validation import validate_workflow_dag
from tests.core.workflows.dags import job


def test_an_error_survives_pickling_with_text_and_attributes() -> None:
    with pytest.raises(WorkflowBuildError) as caught:
        validate_workflow_dag("w", [job("a", "b"), job("b", "a")])

    copy = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own bytes

    assert type(copy) is WorkflowBuildError
    assert str(copy) == str(caught.value)
    assert copy.__dict__ == caught.value.__dict__


def test_it_is_an_invalid_argument_for_who_does_not_care_which() -> None:
    assert issubclass(WorkflowBuildError, InvalidArgumentError)
