"""What is said of outcomes that cannot be written."""

from __future__ import annotations

import pytest

from runledger.postgres import DatabaseConnectionError
from runledger.runtime.write_trouble import WriteTrouble
from tests.runtime.log_watch import LogWatch

FAILED, RECOVERED = "worker.outcome_write_failed", "worker.outcome_write_recovered"
ERROR = DatabaseConnectionError("no answer")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The instant that the module takes for now."""
    instant = [100.0]
    monkeypatch.setattr("runledger.runtime.write_trouble.monotonic", lambda: instant[0])
    return instant


async def test_an_outage_is_said_once_and_its_end_too(log: LogWatch, clock: list[float]) -> None:
    trouble = WriteTrouble("one")

    for _ in range(10):
        clock[0] += 1
        trouble.failed(ERROR, 5)
        trouble.written(3)
    trouble.written(0)
    trouble.written(0)

    assert (len(log.named(FAILED)), len(log.named(RECOVERED))) == (1, 1)


async def test_a_busy_worker_has_recovered_when_no_write_failed_for_as_long_as_the_longest_wait(
    log: LogWatch, clock: list[float]
) -> None:
    trouble = WriteTrouble("one")
    trouble.failed(ERROR, 5)

    clock[0] += 5
    trouble.written(7)
    assert log.named(RECOVERED) == []
    clock[0] += 0.1
    trouble.written(7)

    assert len(log.named(RECOVERED)) == 1


async def test_a_worker_without_trouble_says_nothing(log: LogWatch) -> None:
    WriteTrouble("one").written(0)

    assert log.named(RECOVERED) == []


async def test_a_defect_is_said_with_its_traceback(log: LogWatch) -> None:
    WriteTrouble("one").failed(TypeError("no outcome"), 1)

    (record,) = log.named("worker.outcome_write_crashed")
    assert record.exc_info is not None
