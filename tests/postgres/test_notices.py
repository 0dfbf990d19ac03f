"""Notices: what is told to workers, how it is bounded, and that nothing else is taken for one."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runledger.core import EnqueueRequest, JobDefinition
from runledger.postgres import Database, jobs
from runledger.postgres.notices import (
    HORIZON,
    Cancellation,
    InvalidNoticeError,
    Notices,
    WakeUp,
    decode_notice,
    encode_cancellations,
    send_notices,
)
from runledger.postgres.schema_name import channel_of, quote_schema
from runledger.testing import EphemeralDatabase
from tests.channel import CHANNEL, channel_to
from tests.postgres.job_queue import JOB_TYPE, JobQueue

NOON = datetime(2026, 5, 26, 12, 0, tzinfo=UTC)

# The channel ----------------------------------------------------------------------------------------------------------


def test_the_channel_is_named_as_the_schema() -> None:
    assert channel_of("runledger") == CHANNEL
    assert channel_of("tenant_7") == "runledger_tenant_7"


@pytest.mark.parametrize("schema", ["a" * 63, "Mixed", "mit Leerzeichen", "schéma", "人" * 21, "a-b"])
def test_a_schema_that_is_long_or_no_plain_name_has_a_channel_of_its_own(schema: str) -> None:
    quote_schema(schema)  # it is one that a schema can have

    channel = channel_of(schema)

    assert channel.isascii()
    assert len(channel) <= 63
    assert channel != channel_of(schema[:-1])


@pytest.mark.parametrize("schema", ["runledger", "a" * 63, "Mixed Name", "schéma"])
async def test_what_is_sent_for_a_schema_is_heard_for_it_and_for_no_other(
    runledger_database: EphemeralDatabase, schema: str
) -> None:
    listening = Database(runledger_database.url, schema=schema).listening_connection()
    try:
        assert await listening.open()
        for other in ("other", schema):
            async with Database(runledger_database.url, schema=other).own_connection() as connection:
                await connection.run(send_notices([other]))

        assert await listening.hear() == [schema]
    finally:
        await listening.close()


# Payloads -------------------------------------------------------------------------------------------------------------

JOB_TYPES = st.none() | st.frozensets(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1))
WAKE_UPS = st.builds(
    WakeUp,
    job_types=JOB_TYPES,
    due_at=st.none() | st.datetimes(datetime(1900, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 (it gets one)
    delay=st.integers(0, 60_000).map(lambda ms: timedelta(milliseconds=ms)),
)


@given(WAKE_UPS)
def test_a_wake_up_is_read_as_it_was_written(wake_up: WakeUp) -> None:
    assert decode_notice(wake_up.encode()) == wake_up


@given(WAKE_UPS, WAKE_UPS)
def test_one_wake_up_does_for_two(first: WakeUp, second: WakeUp) -> None:
    joined = first.joined(second)

    for one in (first, second):
        assert joined.job_types is None or (one.job_types is not None and joined.job_types >= one.job_types)
        assert joined.due_at is None or (one.due_at is not None and joined.due_at <= one.due_at)
        assert joined.delay <= one.delay


def test_too_many_types_become_any() -> None:
    many = WakeUp(job_types=frozenset(f"type.{number:04}.日本" for number in range(1_000)), due_at=NOON)

    payload = many.encode()

    assert len(payload.encode()) < 8_000
    assert decode_notice(payload) == WakeUp(due_at=NOON)


def test_canceled_jobs_are_named_in_payloads_that_postgresql_passes_on() -> None:
    job_ids = {UUID(int=number) for number in range(1_000)}

    payloads = encode_cancellations(job_ids)

    assert max(map(len, payloads)) < 8_000
    notices = [decode_notice(payload) for payload in payloads]
    assert {one for notice in notices if isinstance(notice, Cancellation) for one in notice.job_ids} == job_ids


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "now",
        "7",
        "[]",
        "null",
        "[" * 7_000,
        '{"delay_ms":1' + "0" * 5_000 + "}",
        '{"job_types":"email.send"}',
        '{"job_types":[7]}',
        '{"delay_ms":-1}',
        '{"delay_ms":60001}',
        '{"delay_ms":1.5}',
        '{"delay_ms":"1"}',
        '{"due_at":"soon"}',
        '{"due_at":"2026-05-26T12:00:00"}',
        '{"due_at":7}',
        '{"canceled":"0198c0de-0000-7000-8000-000000000001"}',
        '{"canceled":["17"]}',
        '{"canceled":[null]}',
    ],
)
def test_what_is_no_notice_is_refused(payload: str) -> None:
    with pytest.raises(InvalidNoticeError):
        decode_notice(payload)


@given(st.text(max_size=200))
def test_any_text_is_a_notice_or_refused(payload: str) -> None:
    with contextlib.suppress(InvalidNoticeError):
        decode_notice(payload)


def test_a_due_time_at_the_beginning_of_time_counts_as_not_known() -> None:
    assert decode_notice('{"due_at":"0001-01-01T00:00:00+00:00"}') == WakeUp()


def test_a_due_time_with_an_offset_that_postgresql_refuses_is_passed_on_in_utc() -> None:
    notice = decode_notice('{"due_at":"2026-05-26T23:59:00+23:59"}')

    assert isinstance(notice, WakeUp)
    assert notice.due_at is not None
    assert notice.due_at.isoformat() == "2026-05-26T00:00:00+00:00"
    with pytest.raises(InvalidNoticeError):
        decode_notice('{"due_at":"9999-12-31T23:59:00-23:59"}')


async def test_a_payload_that_postgresql_would_refuse_is_left_out(runledger_database: EphemeralDatabase) -> None:
    async with (
        channel_to(runledger_database.url) as channel,
        Database(runledger_database.url).own_connection() as connection,
    ):
        await connection.run(send_notices(["x" * 8_000, "日" * 2_700, "kept"]))

        assert await channel.payloads() == ["kept"]


# What operations tell -------------------------------------------------------------------------------------------------


def notices_of(queue: JobQueue, *requests: EnqueueRequest, now: datetime = NOON) -> list[WakeUp]:
    """Enqueue, and return what is to be told after the commit."""
    notices = Notices(is_sent_inside=False)
    queue.run(jobs.enqueue_jobs(requests, notices=notices, now=now))
    told = [decode_notice(payload) for payload in notices.payloads]
    return [notice for notice in told if isinstance(notice, WakeUp)]


@pytest.mark.parametrize("key", [None, "order-17"])
def test_an_enqueue_tells_types_and_earliest_due_time(queue: JobQueue, key: str | None) -> None:
    queue.run(jobs.upsert_job_definitions([JobDefinition(job_type="report")]))

    told = notices_of(
        queue,
        EnqueueRequest("report", None, run_at=NOON + timedelta(seconds=30), idempotency_key=key),
        EnqueueRequest(JOB_TYPE, None, run_at=NOON - timedelta(hours=1), idempotency_key=key),
    )

    assert told == [WakeUp(job_types=frozenset({"report", JOB_TYPE}), due_at=NOON - timedelta(hours=1))]


def test_a_job_that_is_due_soon_is_told_with_its_delay(queue: JobQueue) -> None:
    told = notices_of(queue, EnqueueRequest(JOB_TYPE, None, run_in=timedelta(seconds=30)))

    due_at = NOON + timedelta(seconds=30)
    assert told == [WakeUp(job_types=frozenset({JOB_TYPE}), due_at=due_at, delay=timedelta(seconds=30))]


@pytest.mark.parametrize("key", [None, "order-17"])
def test_a_job_that_is_due_later_than_the_horizon_is_not_told(queue: JobQueue, key: str | None) -> None:
    later = HORIZON + timedelta(milliseconds=1)

    assert notices_of(queue, EnqueueRequest(JOB_TYPE, None, run_in=later, idempotency_key=key)) == []


def test_a_known_key_is_not_told(queue: JobQueue) -> None:
    request = EnqueueRequest(JOB_TYPE, None, idempotency_key="order-17")

    assert len(notices_of(queue, request)) == 1
    assert notices_of(queue, request) == []


async def test_types_without_number_are_told_as_any(queue: JobQueue) -> None:
    job_types = [f"type.{number:04}" for number in range(1_000)]
    queue.run(jobs.upsert_job_definitions([JobDefinition(job_type=job_type) for job_type in job_types]))

    async with channel_to(queue.url) as channel:
        requests = [EnqueueRequest(job_type, None) for job_type in job_types]
        queue.run(jobs.enqueue_jobs(requests, notices=Notices(is_sent_inside=True), now=NOON))

        assert await channel.notices() == [WakeUp(due_at=NOON)]
