"""Documents: the one JSON parameter of every statement."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest

from runledger.core import Admin, Global, InvalidArgumentError, LeaseIdentity, Organization, Scope
from runledger.postgres.document import (
    check_limit,
    encode_document,
    json_text,
    keyed_document,
    lease_document,
    milliseconds,
    retry_delay_milliseconds,
    scope_fields,
)

JOB_ID = UUID("0198c0de-0000-7000-8000-000000000001")
LEASE = LeaseIdentity(job_id=JOB_ID, run_number=2, attempt=3, worker_id="worker-1")


def test_what_is_none_is_left_out_and_false_zero_and_nothing_are_not() -> None:
    document = encode_document(a=None, b=False, c=0, d="", e=[])

    assert json.loads(document) == {"b": False, "c": 0, "d": "", "e": []}


def test_instants_and_ids_become_text_that_postgresql_reads() -> None:
    east = datetime(2026, 5, 26, 14, 0, tzinfo=timezone(timedelta(hours=2)))

    assert json.loads(encode_document(now=east, job_id=JOB_ID)) == {
        "now": "2026-05-26T14:00:00+02:00",
        "job_id": str(JOB_ID),
    }


@pytest.mark.parametrize("text", ["", 'quote " backslash \\', "line\n tab\t \x01", "\N{SNOWMAN}", "{schema} $1 %s"])
def test_a_json_text_reads_back_as_it_was(text: str) -> None:
    assert json.loads(json_text(text)) == text


def test_leases_are_keyed_by_job_id() -> None:
    now = datetime(2026, 5, 26, tzinfo=UTC)

    assert json.loads(lease_document("worker-1", [LEASE], now=now, lease_ttl_ms=5)) == {
        "worker_id": "worker-1",
        "now": "2026-05-26T00:00:00+00:00",
        "lease_ttl_ms": 5,
        "jobs": {str(JOB_ID): {"run_number": 2, "attempt": 3}},
    }


def test_a_keyed_document_takes_members_as_they_are() -> None:
    document = keyed_document('worker "1"', ['"a":{"x":1}', '"b":{}'])

    assert json.loads(document) == {"worker_id": 'worker "1"', "jobs": {"a": {"x": 1}, "b": {}}}


@pytest.mark.parametrize(
    ("scope", "fields"),
    [
        (Admin(), {"scope": "any"}),
        (Global(), {"scope": "global"}),
        (Organization(JOB_ID), {"scope": "organization", "organization_id": JOB_ID}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_scope_says_what_it_is(scope: Scope, fields: object) -> None:
    assert scope_fields(scope) == fields


def test_milliseconds_are_rounded_down_and_retry_delays_up() -> None:
    almost = timedelta(milliseconds=2) - timedelta(microseconds=1)

    assert (milliseconds(almost), retry_delay_milliseconds(almost)) == (1, 2)


@pytest.mark.parametrize("limit", [0, -1, True, 1.0, "1", None])
def test_a_limit_is_a_positive_integer(limit: object) -> None:
    with pytest.raises(InvalidArgumentError, check=lambda error: error.field == "limit"):
        check_limit(limit)  # pyright: ignore[reportArgumentType]
