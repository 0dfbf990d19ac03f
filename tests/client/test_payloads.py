"""Payloads by what an application knows of a job. Each test runs for both ledgers."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from runledger.client import Ledger
from runledger.core import Admin, Global, InvalidArgumentError, JobPayload, Organization
from tests.client.conftest import TYPE

ACME = Organization(UUID(int=17))
OTHER = Organization(UUID(int=18))
RUN = UUID(int=5)


async def enqueue(ledger: Ledger, payload: Any, **settings: Any) -> UUID:
    return await ledger.enqueue(TYPE, payload, organization_id=ACME.organization_id, **settings)


async def test_the_payload_of_a_key_is_read_by_its_organization_only(ledger: Ledger) -> None:
    """ADM-019."""
    job_id = await enqueue(ledger, {"order": 1}, idempotency_key="order-1")
    await ledger.enqueue(TYPE, {"order": 2}, idempotency_key="order-2")

    found = await ledger.get_job_payload_by_idempotency_key(TYPE, "order-1", scope=ACME)

    assert found == JobPayload(job_id=job_id, payload={"order": 1})
    assert await ledger.get_job_payload_by_idempotency_key(TYPE, "order-1", scope=OTHER) is None
    assert await ledger.get_job_payload_by_idempotency_key("sms.send", "order-1", scope=ACME) is None
    assert await ledger.get_job_payload_by_idempotency_key(TYPE, "order-2", scope=ACME) is None


async def test_the_newest_payload_of_a_run_is_read_by_its_organization_only(ledger: Ledger) -> None:
    """ADM-031."""
    await enqueue(ledger, {"run_id": str(RUN), "part": 1})
    newest = await enqueue(ledger, {"run_id": str(RUN), "part": 2})
    await enqueue(ledger, {"run_id": str(uuid4())})

    found = await ledger.get_latest_job_payload_for_run(TYPE, RUN, scope=ACME)

    assert found == JobPayload(job_id=newest, payload={"run_id": str(RUN), "part": 2})
    assert await ledger.get_latest_job_payload_for_run(TYPE, RUN, scope=OTHER) is None


async def test_a_list_of_uuids_in_a_payload_is_replaced(ledger: Ledger) -> None:
    """ADM-020, ADM-021."""
    job_id = await enqueue(ledger, {"images": [], "album": 3})
    images = [uuid4(), uuid4()]

    replaced = await ledger.update_job_payload_uuid_array_field(job_id, TYPE, field="images", uuids=images, scope=ACME)
    refused = await ledger.update_job_payload_uuid_array_field(job_id, TYPE, field="images", uuids=[], scope=OTHER)

    assert (replaced, refused) == (True, False)
    job = await ledger.get_job(job_id, scope=ACME)
    assert job is not None
    assert job.payload == {"images": [str(image) for image in images], "album": 3}


@pytest.mark.parametrize(
    "scope", [None, Global(), Admin(), ACME.organization_id], ids=lambda scope: type(scope).__name__
)
@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("get_job_payload_by_idempotency_key", (TYPE, "order-1")),
        ("get_latest_job_payload_for_run", (TYPE, RUN)),
        ("update_job_payload_uuid_array_field", (UUID(int=1), TYPE)),
    ],
    ids=["by key", "of a run", "update"],
)
async def test_what_is_not_one_organization_is_refused(
    ledger: Ledger, method: str, arguments: tuple[Any, ...], scope: Any
) -> None:
    """ADM-019: there is no wildcard."""
    more: dict[str, Any] = {"field": "images", "uuids": []} if method.startswith("update") else {}

    with pytest.raises(InvalidArgumentError, match=r"^scope: is of type \w+; pass Organization\(id\)$"):
        await getattr(ledger, method)(*arguments, scope=scope, **more)
