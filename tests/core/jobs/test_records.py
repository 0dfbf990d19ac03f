"""Records of the job queue."""

import pickle
from dataclasses import FrozenInstanceError, fields, is_dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runledger.core.errors import BlankJobTypeError, InvalidArgumentError, UndecodableJsonError
from runledger.core.jobs.records import (
    JobAttempt,
    JobDeadLetter,
    JobDefinition,
    JobEvent,
    JobRecord,
    LeaseIdentity,
)
from runledger.core.jobs.status import JobClaimOrigin, JobEventType, JobFailureKind, JobStatus
from tests.claimed_jobs import claimed_job

NOON = datetime(2026, 5, 26, 12, tzinfo=UTC)
JOB = UUID("018fa1f8-0000-7000-8000-000000000123")
SECRET = "4111-secret"

CLAIMED = claimed_job(
    job_id=JOB, run_number=2, attempt=3, payload_json=f'{{"card": "{SECRET}"}}', checkpoint_json=f'["{SECRET}"]'
)
RECORD = JobRecord(
    id=JOB,
    job_type="email.send",
    organization_id=None,
    payload={"card": SECRET},
    status=JobStatus.LEASED,
    priority=100,
    run_number=1,
    attempt=1,
    max_attempts=8,
    timeout_seconds=900,
    next_run_at=NOON,
    lease_expires_at=NOON,
    last_heartbeat_at=NOON,
    worker_id="worker-1",
    started_at=NOON,
    finished_at=None,
    stage="running",
    progress_done=1,
    progress_total=3,
    progress_pct=Decimal("33.33"),
    checkpoint=[SECRET],
    output=SECRET,
    idempotency_key=SECRET,
    status_reason=None,
    last_error_code="smtp.rejected",
    last_error_message=SECRET,
    workflow_step_id=None,
    canceled_lease_expires_at=None,
    created_at=NOON,
    updated_at=NOON,
)
ATTEMPT = JobAttempt(
    job_id=JOB,
    run_number=1,
    attempt=1,
    worker_id="worker-1",
    claim_origin=JobClaimOrigin.WORKER_PRESTART,
    leased_at=NOON,
    started_at=NOON,
    execution_started_persisted_at=NOON,
    finished_at=NOON,
    outcome=JobFailureKind.RETRYABLE,
    error_code="smtp.rejected",
    error_message=SECRET,
    retry_delay_ms=10_000,
)
EVENT = JobEvent(
    id=7,
    job_id=JOB,
    run_number=1,
    attempt=1,
    event_type=JobEventType.FAILED,
    stage=None,
    progress_done=None,
    progress_total=None,
    payload={"error_message": SECRET},
    occurred_at=NOON,
)
DEAD_LETTER = JobDeadLetter(
    job_id=JOB,
    job_type="email.send",
    organization_id=None,
    run_number=1,
    attempt=8,
    error_code="smtp.rejected",
    error_message=SECRET,
    payload_snapshot={"card": SECRET},
    checkpoint_snapshot=[SECRET],
    failed_at=NOON,
)
LEASE = LeaseIdentity(job_id=JOB, run_number=2, attempt=3, worker_id="worker-1")
DEFINITION = JobDefinition(job_type="email.send")

every_record = pytest.mark.parametrize(
    "record",
    [CLAIMED, RECORD, ATTEMPT, EVENT, DEAD_LETTER, LEASE, DEFINITION],
    ids=lambda record: type(record).__name__,
)


@every_record
def test_no_secret_is_in_the_repr(record: object) -> None:
    assert SECRET not in repr(record)
    assert SECRET not in str(record)


@every_record
def test_a_record_is_frozen_slotted_and_built_by_name(record: Any) -> None:
    assert is_dataclass(record)
    names = [field.name for field in fields(record)]
    assert not hasattr(record, "__dict__")
    assert all(field.kw_only for field in fields(record))
    with pytest.raises(FrozenInstanceError):
        setattr(record, names[0], None)


@every_record
def test_a_record_survives_pickling(record: object) -> None:
    assert pickle.loads(pickle.dumps(record)) == record  # noqa: S301 - our own bytes


def test_a_claimed_job_names_its_lease() -> None:
    assert CLAIMED.lease == LEASE


def test_payload_and_checkpoint_of_a_claimed_job_are_decoded_on_demand() -> None:
    assert CLAIMED.payload == {"card": SECRET}
    assert CLAIMED.checkpoint == [SECRET]
    assert CLAIMED.payload is not CLAIMED.payload


@pytest.mark.parametrize("checkpoint_json", [None, "null"], ids=["absent", "JSON null"])
def test_a_claimed_job_without_checkpoint_has_none(checkpoint_json: str | None) -> None:
    assert replace(CLAIMED, checkpoint_json=checkpoint_json).checkpoint is None


def test_a_payload_that_python_cannot_read_fails_at_its_access_only() -> None:
    claimed = replace(CLAIMED, payload_json="[" * 100_000 + "]" * 100_000)

    assert claimed.lease == LEASE
    with pytest.raises(UndecodableJsonError):
        _ = claimed.payload


def test_a_definition_has_the_defaults_of_the_schema() -> None:
    explicit = JobDefinition(
        job_type="email.send",
        version=1,
        max_attempts=8,
        default_timeout=timedelta(minutes=15),
        default_priority=100,
        is_enabled=True,
    )

    assert explicit == DEFINITION
    assert DEFINITION.default_timeout_seconds == 900


@given(
    version=st.integers(1, 2**31 - 1),
    max_attempts=st.integers(1, 2**31 - 1),
    seconds=st.integers(1, 2**31 - 1),
    priority=st.integers(-(2**31), 2**31 - 1),
)
def test_a_definition_within_the_rules_is_accepted(
    version: int, max_attempts: int, seconds: int, priority: int
) -> None:
    definition = JobDefinition(
        job_type="email.send",
        version=version,
        max_attempts=max_attempts,
        default_timeout=timedelta(seconds=seconds),
        default_priority=priority,
    )

    assert definition.default_timeout_seconds == seconds


def test_a_definition_with_a_blank_job_type_is_refused() -> None:
    """CORE-001."""
    with pytest.raises(BlankJobTypeError):
        JobDefinition(job_type=" ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("job_type", 1),
        ("version", 0),
        ("version", 2**31),
        ("version", True),
        ("max_attempts", 0),
        ("max_attempts", 2**31),
        ("max_attempts", 1.0),
        ("default_timeout", timedelta(0)),
        ("default_timeout", timedelta(seconds=1.5)),
        ("default_timeout", timedelta(seconds=2**31)),
        ("default_timeout", 900),
        ("default_priority", 2**31),
        ("default_priority", -(2**31) - 1),
        ("default_priority", None),
        ("is_enabled", 1),
        ("is_enabled", None),
    ],
)
def test_a_definition_that_breaks_a_rule_is_refused_by_the_fields_name(name: str, value: object) -> None:
    arguments: dict[str, Any] = {"job_type": "email.send", name: value}

    with pytest.raises(InvalidArgumentError) as caught:
        JobDefinition(**arguments)

    assert caught.value.field == name
