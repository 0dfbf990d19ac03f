"""Enqueue: defaults and overrides, all or none, in statements of bounded size."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from uuid import UUID, uuid4

import psycopg
import pytest

from runledger.core import EnqueueRequest, InvalidArgumentError, JobStatus, JsonValue
from runledger.postgres import QueryError, QueryErrorCategory, jobs, run_sync
from runledger.postgres.document import MAX_BATCH_BYTES, MAX_BATCH_ROWS
from tests.postgres.job_queue import JOB_TYPE, JobQueue

NOON = datetime(2026, 5, 26, 12, 0, tzinfo=UTC)


def documents_of(requests: Iterator[EnqueueRequest] | list[EnqueueRequest]) -> Iterator[str]:
    """Yield the documents that an enqueue of these sends, without a database."""
    steps = jobs.enqueue_jobs(requests).begin()
    try:
        statement = next(steps)
        while True:
            assert statement.document is not None
            yield statement.document
            statement = steps.send([{"missing_job_types": []}])
    except StopIteration:
        return


class Size(int, Enum):
    """Numbers with names, whose text is the name."""

    SMALL = 3


def test_settings_may_be_members_of_an_enum_of_numbers(queue: JobQueue) -> None:
    queue.define()

    job = queue.job(queue.enqueue(priority=Size.SMALL, max_attempts=Size.SMALL))

    assert (job.priority, job.max_attempts) == (3, 3)


def test_settings_that_are_not_given_come_from_the_definition(queue: JobQueue) -> None:
    """ENQ-001."""
    queue.define(max_attempts=7, default_timeout=timedelta(seconds=45), default_priority=-3)

    job = queue.job(queue.enqueue())

    assert (job.max_attempts, job.timeout_seconds, job.priority) == (7, 45, -3)


def test_settings_that_are_given_override_the_definition(queue: JobQueue) -> None:
    """ENQ-002."""
    organization = uuid4()
    request = EnqueueRequest(
        JOB_TYPE,
        {"to": "a@example.org"},
        organization_id=organization,
        priority=-5,
        max_attempts=9,
        timeout=timedelta(minutes=2),
        run_at=NOON,
        stage="draft",
    )

    job = queue.job(queue.run(jobs.enqueue_job(request)))

    assert (job.priority, job.max_attempts, job.timeout_seconds) == (-5, 9, 120)
    assert (job.organization_id, job.next_run_at, job.stage) == (organization, NOON, "draft")
    assert job.payload == {"to": "a@example.org"}


def test_a_new_job_is_pending_and_due_at_once(queue: JobQueue) -> None:
    """ENQ-003."""
    before = queue.clock()
    job = queue.job(queue.enqueue())

    assert (job.status, job.run_number, job.attempt, job.stage) == (JobStatus.PENDING, 1, 0, "queued")
    assert before <= job.next_run_at <= queue.clock()
    assert job.created_at == job.updated_at == job.next_run_at
    assert (job.started_at, job.worker_id, job.lease_expires_at, job.idempotency_key) == (None, None, None, None)


def test_enqueue_writes_one_event_with_stage_and_type_and_no_attempt(queue: JobQueue) -> None:
    """ENQ-004, ENQ-005."""
    job_id = queue.enqueue(stage="draft")

    (event,) = queue.events(job_id)

    assert (event.event_type, event.run_number, event.attempt) == ("ENQUEUED", 1, None)
    assert (event.stage, event.payload) == ("draft", {"job_type": JOB_TYPE})


@pytest.mark.parametrize("is_known", [False, True], ids=["unknown", "disabled"])
def test_a_type_without_enabled_definition_is_refused(queue: JobQueue, *, is_known: bool) -> None:
    """ENQ-006, ENQ-007."""
    if is_known:
        queue.define("sms.send", is_enabled=False)

    with pytest.raises(QueryError) as caught:
        queue.enqueue(job_type="sms.send")

    assert caught.value.code == "job.definition_not_found_or_disabled"
    assert caught.value.category is QueryErrorCategory.VALIDATION
    assert queue.sql("SELECT FROM job_queue") == []


class TestWhyATypeTakesNoJobs:
    """Each cause has another remedy."""

    @pytest.fixture(autouse=True)
    def definitions(self, queue: JobQueue) -> None:
        for job_type in ("off", "gone"):
            queue.define(job_type, is_enabled=False)
        queue.sql("UPDATE job_definitions SET catalog_scope = 'shop', absent_since = now() WHERE job_type = 'gone'")

    @pytest.mark.parametrize("key", [None, "key"], ids=["without key", "with key"])
    @pytest.mark.parametrize(
        ("job_type", "text"),
        [
            ("unknown", "has no definition; check the name, or define it with ensure_job_definitions"),
            ("off", "is disabled; enable it with update_job_definition or `runledger definition set`"),
            pytest.param(
                "gone",
                "is disabled because the catalog 'shop' does not declare it any more; declare it there, and sync the "
                "catalog",
            ),
        ],
    )
    def test_the_text_names_cause_and_remedy(self, queue: JobQueue, job_type: str, text: str, key: str | None) -> None:
        with pytest.raises(QueryError) as caught:
            queue.run(jobs.enqueue_job(EnqueueRequest(job_type, None, idempotency_key=key)))

        assert str(caught.value) == f"job type {job_type!r} {text}"

    def test_several_causes_are_all_named(self, queue: JobQueue) -> None:
        requests = [EnqueueRequest(job_type, None) for job_type in ("off", "gone", "a", "b", "c", "d")]

        with pytest.raises(QueryError) as caught:
            queue.run(jobs.enqueue_jobs(requests))

        unknown, disabled, absent = str(caught.value).split("; and ")
        assert unknown.startswith("from requests[0] on: job types 'a', 'b', 'c' and 1 more have no definition")
        assert (disabled.split(";")[0], absent.split(";")[0]) == (
            "job type 'off' is disabled",
            "job type 'gone' is disabled because the catalog 'shop' does not declare it any more",
        )

    def test_the_look_leaves_a_transaction_usable(self, queue: JobQueue) -> None:
        with psycopg.connect(queue.url) as connection:
            with pytest.raises(QueryError, match="is disabled"):
                run_sync(connection, jobs.enqueue_job(EnqueueRequest("off", None)))
            kept = run_sync(connection, jobs.enqueue_job(EnqueueRequest(JOB_TYPE, None)))

        assert queue.job(kept)


def test_two_identical_requests_make_two_jobs_without_snapshot(queue: JobQueue) -> None:
    """ENQ-008, ENQ-009."""
    first, second = queue.enqueue({"n": 1}), queue.enqueue({"n": 1})

    assert first != second
    assert queue.sql("SELECT enqueue_request FROM job_queue") == [(None,), (None,)]


@pytest.mark.parametrize("level", ["READ UNCOMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
def test_enqueue_without_key_works_at_any_isolation(queue: JobQueue, level: str) -> None:
    """ENQ-031."""
    with psycopg.connect(queue.url) as connection:
        connection.execute(f"SET TRANSACTION ISOLATION LEVEL {level}".encode())
        job_id = run_sync(connection, jobs.enqueue_job(EnqueueRequest(JOB_TYPE, None)))

    assert queue.job(job_id).status is JobStatus.PENDING


def test_a_null_payload_is_stored_as_json_null(queue: JobQueue) -> None:
    """ENQ-036."""
    job_id = queue.enqueue(None)

    assert queue.sql("SELECT jsonb_typeof(payload) FROM job_queue WHERE id = %s", job_id) == [("null",)]
    assert queue.job(job_id).payload is None
    assert queue.claim_one().payload is None


PAYLOADS: dict[str, JsonValue] = {
    "object": {},
    "array": [],
    "text": "",
    "zero": 0,
    "false": False,
    "large number": 12345678901234567890123456789,
    "nested": {"nested": [[{"a": [None, True, 1.5, -2.25]}], {}], "": "empty key"},
    "text that means something elsewhere": "quote \" backslash \\ tab \t line \n % %s $1 {schema} 'x' \N{SNOWMAN}",
}


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_a_payload_comes_back_as_it_was(queue: JobQueue, payload: JsonValue) -> None:
    job_id = queue.enqueue(payload)

    assert queue.job(job_id).payload == payload
    assert queue.claim_one().payload == payload


def test_a_delay_counts_from_the_clock_of_the_database_to_the_microsecond(queue: JobQueue) -> None:
    job = queue.job(queue.enqueue(run_in=timedelta(days=3, microseconds=1)))

    assert job.next_run_at - job.created_at == timedelta(days=3, microseconds=1)


def test_now_moves_the_time_of_an_enqueue(queue: JobQueue) -> None:
    job_id = queue.enqueue(run_in=timedelta(hours=1), now=NOON)

    job = queue.job(job_id)

    assert (job.created_at, job.updated_at, job.next_run_at) == (NOON, NOON, NOON + timedelta(hours=1))
    assert queue.events(job_id)[0].occurred_at == NOON


def test_many_jobs_come_back_as_ids_in_the_order_of_the_requests(queue: JobQueue) -> None:
    count = 2 * MAX_BATCH_ROWS + 1

    ids = queue.run(jobs.enqueue_jobs(EnqueueRequest(JOB_TYPE, number) for number in range(count)))

    rows = queue.sql("SELECT id FROM job_queue ORDER BY (payload #>> '{}')::integer")
    assert [row[0] for row in rows] == ids
    assert ids == sorted(ids), "ids rise, so that the primary key grows at its right edge"
    assert queue.sql("SELECT count(*) FROM job_events") == [(count,)]


@pytest.mark.parametrize(
    ("count", "position"),
    [(2, 0), (2, 2), (MAX_BATCH_ROWS, 1), (MAX_BATCH_ROWS, MAX_BATCH_ROWS)],
    ids=["first of one statement", "last of one statement", "first of two statements", "second of two statements"],
)
def test_one_missing_definition_lets_none_of_a_batch_in(queue: JobQueue, count: int, position: int) -> None:
    requests = [EnqueueRequest(JOB_TYPE, None) for _ in range(count)]
    requests.insert(position, EnqueueRequest("sms.send", None))

    with pytest.raises(QueryError, check=lambda error: error.code == "job.definition_not_found_or_disabled") as caught:
        queue.run(jobs.enqueue_jobs(iter(requests)))

    assert str(caught.value).startswith(f"requests[{position}]: job type 'sms.send' has no definition; ")
    assert queue.sql("SELECT FROM job_queue") == queue.sql("SELECT FROM job_events") == []


@pytest.mark.parametrize("position", [0, MAX_BATCH_ROWS + 1])
def test_the_payload_that_cannot_be_stored_is_told_by_its_place_among_all_requests(
    queue: JobQueue, position: int
) -> None:
    requests = [EnqueueRequest(JOB_TYPE) for _ in range(position)] + [EnqueueRequest(JOB_TYPE, {"a": float("nan")})]

    with pytest.raises(InvalidArgumentError) as caught:
        queue.run(jobs.enqueue_jobs(iter(requests)))
    with pytest.raises(InvalidArgumentError) as caught_alone:
        queue.run(jobs.enqueue_job(requests[-1]))

    assert caught.value.field == f"requests[{position}].payload.a"
    assert caught_alone.value.field == "payload.a"


def test_an_iterable_that_fails_on_the_way_leaves_nothing(queue: JobQueue) -> None:
    def requests() -> Iterator[EnqueueRequest]:
        for number in range(3 * MAX_BATCH_ROWS):
            yield EnqueueRequest(JOB_TYPE, number)
        raise OSError("the source broke")

    with pytest.raises(OSError, match="the source broke"):
        queue.run(jobs.enqueue_jobs(requests()))

    assert queue.sql("SELECT FROM job_queue") == []


def test_an_object_that_is_no_request_is_named_by_its_place(queue: JobQueue) -> None:
    wrong: list[EnqueueRequest] = [EnqueueRequest(JOB_TYPE, None), {"job_type": JOB_TYPE}]  # pyright: ignore[reportAssignmentType]

    with pytest.raises(InvalidArgumentError) as caught:
        queue.run(jobs.enqueue_jobs(wrong))

    assert caught.value.field == "requests[1]"
    assert queue.sql("SELECT FROM job_queue") == []


def test_no_requests_ask_nothing_of_the_database() -> None:
    assert list(documents_of([])) == []


def test_an_iterable_is_read_as_it_is_sent() -> None:
    read = 0

    def requests() -> Iterator[EnqueueRequest]:
        nonlocal read
        for read in range(1, 10 * MAX_BATCH_ROWS + 1):  # noqa: B007 - counted for the test
            yield EnqueueRequest(JOB_TYPE, None)

    documents = documents_of(requests())
    first = next(documents)

    assert len(json.loads(first)["jobs"]) == MAX_BATCH_ROWS
    # The batch after the first is made to know whether there is one, and ends when the next request is seen.
    assert read <= 2 * MAX_BATCH_ROWS + 1
    assert [len(json.loads(document)["jobs"]) for document in documents] == [MAX_BATCH_ROWS] * 9


@pytest.mark.parametrize("letter", ["a", "\N{SNOWMAN}"], ids=["ascii", "three bytes a letter"])
def test_a_statement_holds_eight_mebibytes_at_most(letter: str) -> None:
    payload = letter * (3 * 1024 * 1024 // len(letter.encode()))

    sizes = [len(document.encode()) for document in documents_of([EnqueueRequest(JOB_TYPE, payload)] * 5)]

    assert len(sizes) == 3
    assert max(sizes) <= MAX_BATCH_BYTES


def test_a_request_larger_than_that_goes_alone() -> None:
    large = EnqueueRequest(JOB_TYPE, "a" * (MAX_BATCH_BYTES + 1))
    small = EnqueueRequest(JOB_TYPE, 1)

    counts = [len(json.loads(document)["jobs"]) for document in documents_of([small, large, small])]

    assert counts == [1, 1, 1]


def test_an_operation_that_runs_twice_makes_two_jobs(queue: JobQueue) -> None:
    operation = jobs.enqueue_job(EnqueueRequest(JOB_TYPE, None))

    ids: set[UUID] = {queue.run(operation), queue.run(operation)}

    assert {row[0] for row in queue.sql("SELECT id FROM job_queue")} == ids
    assert len(ids) == 2


def test_a_naive_now_is_refused() -> None:
    operation = jobs.enqueue_job(EnqueueRequest(JOB_TYPE, None), now=datetime(2026, 5, 26))  # noqa: DTZ001

    with pytest.raises(InvalidArgumentError, check=lambda error: error.field == "now"):
        next(operation.begin())


def test_a_due_time_with_an_odd_offset_is_kept(queue: JobQueue) -> None:
    """PostgreSQL reads no offsets finer than a second."""
    odd = timezone(timedelta(hours=1, microseconds=7))
    run_at = datetime(2031, 5, 26, 12, 0, tzinfo=odd)

    job_id = queue.enqueue(run_at=run_at)

    assert queue.job(job_id).next_run_at == run_at
