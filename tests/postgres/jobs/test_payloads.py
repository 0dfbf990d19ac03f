"""Payloads found by key or run, and the one edit of a payload."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from runledger.core import InvalidArgumentError, JobPayload, JsonValue
from runledger.postgres import jobs
from tests.postgres.job_queue import JOB_TYPE, JobQueue

ORGANIZATION = UUID("018fa1f8-0000-7000-8000-0000000000aa")
OTHER = UUID("018fa1f8-0000-7000-8000-0000000000bb")
RUN = UUID("018fa1f8-0000-7000-8000-000000000001")


def enqueue_with_key(queue: JobQueue, payload: JsonValue, organization_id: UUID | None, key: str = "order-17") -> UUID:
    job_id = queue.enqueue(payload, organization_id=organization_id)
    queue.sql("UPDATE job_queue SET idempotency_key = %s, enqueue_request = '{}' WHERE id = %s", key, job_id)
    return job_id


def by_key(queue: JobQueue, organization_id: Any, job_type: str = JOB_TYPE, key: str = "order-17") -> JobPayload | None:
    return queue.run(jobs.get_job_payload_by_idempotency_key(organization_id, job_type, key))


def test_a_payload_is_found_by_its_key_in_its_own_organization(queue: JobQueue) -> None:
    """ADM-019."""
    enqueue_with_key(queue, ["global"], None)
    mine = enqueue_with_key(queue, ["mine"], ORGANIZATION)
    nil = enqueue_with_key(queue, ["nil"], UUID(int=0))

    assert by_key(queue, ORGANIZATION) == JobPayload(job_id=mine, payload=["mine"])
    assert by_key(queue, UUID(int=0)) == JobPayload(job_id=nil, payload=["nil"])
    assert by_key(queue, OTHER) is None
    assert by_key(queue, ORGANIZATION, job_type="sms.send") is None
    assert by_key(queue, ORGANIZATION, key="order-18") is None


def test_a_payload_is_not_found_without_an_organization(queue: JobQueue) -> None:
    """ADM-019."""
    enqueue_with_key(queue, ["global"], None)

    with pytest.raises(InvalidArgumentError, check=lambda error: error.field == "organization_id"):
        by_key(queue, None)


def test_a_payload_that_is_json_null_is_found(queue: JobQueue) -> None:
    """ENQ-036."""
    job_id = enqueue_with_key(queue, None, ORGANIZATION)

    assert by_key(queue, ORGANIZATION) == JobPayload(job_id=job_id, payload=None)


def test_a_payload_is_not_shown() -> None:
    assert "4111" not in repr(JobPayload(job_id=RUN, payload={"card": "4111"}))


def latest(queue: JobQueue, organization_id: UUID = ORGANIZATION, run_id: UUID = RUN) -> JobPayload | None:
    return queue.run(jobs.get_latest_job_payload_for_run(organization_id, JOB_TYPE, run_id))


def test_the_newest_payload_of_a_run_is_that_of_its_type_and_organization(queue: JobQueue) -> None:
    """ADM-031."""
    queue.define("sms.send")
    created = queue.sql("SELECT now()")[0][0]
    payload = {"run_id": str(RUN)}
    queue.enqueue({**payload, "n": 1}, organization_id=ORGANIZATION, now=created + timedelta(seconds=1))
    newest = queue.enqueue({**payload, "n": 2}, organization_id=ORGANIZATION, now=created + timedelta(seconds=2))
    queue.enqueue({**payload, "n": 3}, organization_id=ORGANIZATION, now=created)
    later = created + timedelta(seconds=9)
    queue.enqueue(payload, organization_id=OTHER, now=later)
    queue.enqueue(payload, now=later)
    queue.enqueue(payload, organization_id=ORGANIZATION, job_type="sms.send", now=later)
    for other in ({"run_id": str(OTHER)}, [payload], str(RUN), {"run": payload}, {"run_id": [str(RUN)]}):
        queue.enqueue(other, organization_id=ORGANIZATION, now=later)

    assert latest(queue) == JobPayload(job_id=newest, payload={**payload, "n": 2})
    assert latest(queue, run_id=uuid4()) is None


def test_of_payloads_of_one_instant_the_larger_id_counts(queue: JobQueue) -> None:
    """ADM-031."""
    created = queue.sql("SELECT now()")[0][0]
    ids = [queue.enqueue({"run_id": str(RUN)}, organization_id=ORGANIZATION, now=created) for _ in range(3)]

    found = latest(queue)

    assert found is not None
    assert found.job_id == max(ids)


def update(queue: JobQueue, job_id: UUID, *uuids: UUID, **arguments: Any) -> bool:
    identity: dict[str, Any] = {"organization_id": ORGANIZATION, "job_type": JOB_TYPE, "field": "documents"}
    return queue.run(jobs.update_job_payload_uuid_array_field(job_id=job_id, uuids=uuids, **identity | arguments))


@pytest.mark.parametrize("before", [{"documents": ["old"], "to": [1]}, {"to": [1]}], ids=["there", "missing"])
def test_the_member_is_set_and_the_others_stay(queue: JobQueue, before: JsonValue) -> None:
    """ADM-020."""
    job_id = queue.enqueue(before, organization_id=ORGANIZATION)

    assert update(queue, job_id, RUN, OTHER)
    assert queue.job(job_id).payload == {"documents": [str(RUN), str(OTHER)], "to": [1]}
    assert update(queue, job_id)
    assert queue.job(job_id).payload == {"documents": [], "to": [1]}


@pytest.mark.parametrize(
    "change", [{"organization_id": OTHER}, {"job_type": "sms.send"}, {"job_id": uuid4()}], ids=lambda c: next(iter(c))
)
def test_another_job_is_left_alone(queue: JobQueue, change: dict[str, Any]) -> None:
    """ADM-021."""
    job_id = queue.enqueue({"to": 1}, organization_id=ORGANIZATION)
    before = queue.job(job_id)

    arguments = {"job_id": job_id} | change
    assert not update(queue, arguments.pop("job_id"), RUN, **arguments)
    assert queue.job(job_id) == before


@pytest.mark.parametrize("payload", [None, 7, ["documents"]], ids=str)
def test_a_payload_that_is_no_object_is_left_alone(queue: JobQueue, payload: JsonValue) -> None:
    job_id = queue.enqueue(payload, organization_id=ORGANIZATION)

    assert not update(queue, job_id, RUN)
    assert queue.job(job_id).payload == payload


def test_a_member_that_cannot_be_stored_is_refused(queue: JobQueue) -> None:
    with pytest.raises(InvalidArgumentError, check=lambda error: error.field == "field"):
        update(queue, uuid4(), field="a\0b")
