"""Ids of new jobs."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from uuid import RFC_4122

import pytest

from runledger.postgres.uuid7 import Uuid7Generator, uuid7


def test_an_id_is_a_version_7_uuid_of_now() -> None:
    before = time.time_ns() // 1_000_000
    made = uuid7()
    after = time.time_ns() // 1_000_000

    assert (made.version, made.variant) == (7, RFC_4122)
    # Ids made within one tick are moved ahead of it, never by more than a moment.
    assert before <= made.int >> 80 <= after + 1


def test_ids_rise() -> None:
    ids = [uuid7() for _ in range(10_000)]

    assert ids == sorted(set(ids))


def test_ids_rise_when_the_clock_steps_back(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([2_000_000_000, 1_000_000_000, 1_500_000_000])
    monkeypatch.setattr("runledger.postgres.uuid7.time.time_ns", lambda: next(clock))
    generator = Uuid7Generator()

    ids = [generator.next() for _ in range(3)]

    assert ids == sorted(set(ids))


def test_ids_of_many_threads_differ() -> None:
    with ThreadPoolExecutor(8) as threads:
        ids = [future.result() for future in [threads.submit(uuid7) for _ in range(5_000)]]

    assert len(set(ids)) == 5_000
