"""Stored enumerations: every member leads to its text and back, nothing else leads anywhere."""

import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runledger.core.errors import UnknownStoredTextError
from runledger.core.jobs.status import (
    JobClaimOrigin,
    JobDeadLetterReason,
    JobEventType,
    JobFailureKind,
    JobStage,
    JobStatus,
)
from runledger.core.schedules.catch_up import CatchUp
from runledger.core.schedules.schedule import Overlap, ScheduleOwner
from runledger.core.stored_text import StoredTextEnum
from runledger.core.workflows.status import (
    WorkflowDependencyReleaseMode,
    WorkflowRunStatus,
    WorkflowStepExecutionKind,
    WorkflowStepStatus,
)

# The contract: members and their texts, in the order of the database's types.
STORED_TEXTS: dict[type[StoredTextEnum], list[str]] = {
    JobStatus: ["PENDING", "LEASED", "SUCCEEDED", "DEAD_LETTERED", "CANCELED"],
    JobStage: ["queued", "scheduled", "running", "completed"],
    JobEventType: [
        "ENQUEUED",
        "LEASED",
        "HEARTBEAT",
        "STAGE_CHANGED",
        "PROGRESS",
        "RETRY_SCHEDULED",
        "SUCCEEDED",
        "FAILED",
        "DEAD_LETTERED",
        "CANCELED",
        "REQUEUED",
    ],
    JobFailureKind: ["RETRYABLE", "TERMINAL", "PANICKED", "TIMEOUT", "LEASE_EXPIRED"],
    JobDeadLetterReason: ["FAILURE_KIND_NON_RETRYABLE", "ATTEMPTS_EXHAUSTED", "LEASE_EXPIRED"],
    JobClaimOrigin: ["DIRECT", "WORKER_PRESTART"],
    WorkflowRunStatus: ["RUNNING", "WAITING_FOR_EXTERNAL", "SUCCEEDED", "COMPLETED_WITH_ERRORS", "CANCELED"],
    WorkflowStepStatus: [
        "BLOCKED",
        "WAITING_FOR_EXTERNAL",
        "ENQUEUED",
        "RUNNING",
        "SUCCEEDED",
        "FAILED",
        "CANCELED",
    ],
    WorkflowDependencyReleaseMode: ["ON_TERMINAL", "ON_SUCCESS"],
    WorkflowStepExecutionKind: ["JOB", "EXTERNAL"],
    CatchUp: ["latest", "skip", "all"],
    Overlap: ["allow", "skip"],
    ScheduleOwner: ["operator", "catalog"],
}

every_enum = pytest.mark.parametrize("enum", STORED_TEXTS, ids=lambda enum: enum.__name__)


def test_every_stored_enumeration_is_in_this_contract() -> None:
    assert set(StoredTextEnum.__subclasses__()) == set(STORED_TEXTS)


@every_enum
def test_the_members_are_the_contracts_in_order(enum: type[StoredTextEnum]) -> None:
    assert [member.value for member in enum] == STORED_TEXTS[enum]
    assert [member.name for member in enum] == [text.upper() for text in STORED_TEXTS[enum]]


@every_enum
def test_every_member_converts_to_its_text_and_back_to_itself(enum: type[StoredTextEnum]) -> None:
    """CORE-007."""
    for member in enum:
        assert str(member) == member.value
        assert enum.from_stored(str(member)) is member


@every_enum
def test_stored_text_is_case_sensitive(enum: type[StoredTextEnum]) -> None:
    """CORE-009."""
    for member in enum:
        with pytest.raises(UnknownStoredTextError):
            enum.from_stored(member.value.swapcase())


@every_enum
@given(text=st.text())
def test_unknown_text_is_refused(enum: type[StoredTextEnum], text: str) -> None:
    """CORE-008."""
    if text in STORED_TEXTS[enum]:
        assert enum.from_stored(text) == text
        return
    with pytest.raises(UnknownStoredTextError) as caught:
        enum.from_stored(text)

    assert caught.value.enum_name == enum.__name__
    assert str(caught.value) == f"the database holds a text that is no member of {enum.__name__}"


@every_enum
def test_text_with_surrounding_whitespace_is_unknown(enum: type[StoredTextEnum]) -> None:
    with pytest.raises(UnknownStoredTextError):
        enum.from_stored(f" {STORED_TEXTS[enum][0]}")


def test_the_unknown_text_is_in_no_traceback() -> None:
    with pytest.raises(UnknownStoredTextError) as caught:
        JobStatus.from_stored("hunter" + str(2))

    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
