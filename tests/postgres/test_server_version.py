"""Old servers are told by their version, before the first statement that they cannot run."""

from __future__ import annotations

from typing import Any

import pytest

from runledger.postgres import (
    QueryError,
    ensure_schema_compatible_after_idempotency_cutover,
    migrate_after_idempotency_cutover,
)
from runledger.postgres.compatibility import ensure_schema_serves
from runledger.postgres.operation import Operation
from runledger.postgres.server_version import check_server_version

OPERATIONS: dict[str, Operation[Any]] = {
    "migrate": migrate_after_idempotency_cutover(),
    "check": ensure_schema_compatible_after_idempotency_cutover(),
    "worker": ensure_schema_serves(),
}


@pytest.mark.parametrize(("number", "version"), [(150018, "15.18"), (170000, "17.0"), (90624, "9.624")])
def test_a_server_below_18_is_refused_with_its_version(number: int, version: str) -> None:
    with pytest.raises(QueryError) as refused:
        check_server_version(number)

    assert refused.value.code == "schema.server_too_old"
    assert str(refused.value) == f"the server is PostgreSQL {version}; Runledger needs PostgreSQL 18"


@pytest.mark.parametrize("number", [180000, 180004, 190000])
def test_version_18_and_later_ones_are_taken(number: int) -> None:
    check_server_version(number)


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_the_first_statement_tells_the_version_to_every_way_in(operation: Operation[Any]) -> None:
    steps = operation.begin()
    next(steps)

    with pytest.raises(QueryError, match=r"PostgreSQL 15\.18"):
        steps.send([{"server_version_num": 150018}])
