"""Arguments of a wrong kind are told by their names, before anything is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest

from runledger import EnqueueRequest, JobRegistry, SyncLedger
from runledger.core import Admin, InvalidArgumentError
from runledger.testing import EphemeralDatabase

JOB = UUID(int=1)

MISTAKES: dict[str, tuple[Callable[[SyncLedger], object], str]] = {
    "text as id": (lambda ledger: ledger.get_job(wrong(str(JOB))), "job_id: is of type str; pass the uuid.UUID"),
    "number as id": (lambda ledger: ledger.job_events(wrong(5)), "job_id: is of type int"),
    "id to cancel": (lambda ledger: ledger.cancel_job(wrong("x"), scope=Admin()), "job_id: is of type str"),
    "text as scope": (lambda ledger: ledger.get_job(JOB, scope=wrong("x")), "scope: is of type str; pass Global"),
    "one request": (
        lambda ledger: ledger.enqueue_many(wrong(EnqueueRequest("a.b", None))),
        "requests: is a single request",
    ),
    "a registry": (lambda ledger: ledger.ensure_job_definitions(wrong(JobRegistry())), "registry.definitions"),
    "names": (lambda ledger: ledger.ensure_job_definitions(wrong(["a.b"])), "definitions: hold a str"),
}


def wrong(value: Any) -> Any:
    """Hide the type from the checker that would have found the mistake."""
    return value


@pytest.fixture
def ledger(runledger_database: EphemeralDatabase) -> Iterator[SyncLedger]:
    with SyncLedger.connect(runledger_database.url, max_connections=1) as opened:
        yield opened


@pytest.mark.parametrize(("call", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistaken_argument_is_told_by_its_name(
    ledger: SyncLedger, call: Callable[[SyncLedger], object], message: str
) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        call(ledger)

    assert message in str(refused.value)
