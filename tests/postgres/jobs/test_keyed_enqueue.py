"""Enqueue with idempotency keys: a repeated request gives its first job, a different one is refused."""

from __future__ import annotations

import dataclasses
import hashlib
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from runledger.core import Admin, EnqueueRequest, Global, InvalidArgumentError, JobStatus, JsonValue, Organization
from runledger.postgres import QueryError, QueryErrorCategory, jobs, run_sync
from runledger.postgres.document import MAX_BATCH_ROWS
from tests.postgres.job_queue import JOB_TYPE, JobQueue

KEY = "order-17/hunter2"
SECRET = "s3cr3t-of-the-application"
NOON = datetime(2031, 5, 26, 12, 0, tzinfo=UTC)
REQUEST = EnqueueRequest(JOB_TYPE, {"secret": SECRET, "n": 1}, idempotency_key=KEY)


def changed(**changes: Any) -> EnqueueRequest:
    return dataclasses.replace(REQUEST, **changes)


def enqueue(queue: JobQueue, request: EnqueueRequest = REQUEST) -> UUID:
    return queue.run(jobs.enqueue_job(request))


def refusal_of(queue: JobQueue, request: EnqueueRequest) -> QueryError:
    with pytest.raises(QueryError) as caught:
        enqueue(queue, request)
    return caught.value


def count_jobs(queue: JobQueue) -> int:
    return queue.sql("SELECT count(*) FROM job_queue")[0][0]


def make_legacy(queue: JobQueue) -> None:
    """Store a keyed row as it was before the snapshots."""
    check = "ck_job_queue_idempotency_enqueue_request"
    queue.sql(f"ALTER TABLE job_queue DROP CONSTRAINT {check}")
    queue.sql(
        "INSERT INTO job_queue (job_type, payload, max_attempts, idempotency_key) VALUES (%s, '{}', 1, %s)",
        JOB_TYPE,
        KEY,
    )


# The same again -----------------------------------------------------------------------------------------------------


def test_the_same_request_again_gives_the_first_job_and_writes_nothing(queue: JobQueue) -> None:
    """ENQ-010."""
    first = enqueue(queue)
    before = queue.sql("SELECT * FROM job_queue")

    assert enqueue(queue) == first
    assert queue.sql("SELECT * FROM job_queue") == before
    assert queue.event_types(first) == ["ENQUEUED"]


def test_the_same_request_again_within_an_organisation_gives_its_first_job(queue: JobQueue) -> None:
    """ENQ-011."""
    request = changed(organization_id=uuid4())

    assert enqueue(queue, request) == enqueue(queue, request)
    assert count_jobs(queue) == 1


def test_each_organisation_and_the_global_scope_and_each_type_have_keys_of_their_own(queue: JobQueue) -> None:
    """ENQ-012, ENQ-013, ENQ-037."""
    acme, other = uuid4(), uuid4()
    queue.define("sms.send")

    ids = [
        enqueue(queue, request)
        for request in (
            REQUEST,
            changed(organization_id=acme),
            changed(organization_id=other),
            changed(job_type="sms.send"),
        )
    ]

    assert len(set(ids)) == count_jobs(queue) == 4
    for scope, job_id in zip((Global(), Organization(acme), Organization(other)), ids, strict=False):
        found = queue.run(jobs.get_job_by_idempotency_key(JOB_TYPE, KEY, scope=scope))
        assert found is not None
        assert (found.id, found.idempotency_key) == (job_id, KEY)


SAME: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "numbers of the same value": ({"payload": {"n": 1}}, {"payload": {"n": 1.0}}),
    "members in another order": ({"payload": {"a": 1, "b": 2}}, {"payload": {"b": 2, "a": 1}}),
    "JSON null": ({"payload": None}, {"payload": None}),
    "one instant in two time zones": (
        {"run_at": NOON},
        {"run_at": NOON.astimezone(timezone(timedelta(hours=5, minutes=45)))},
    ),
    "the stage that is left out": ({}, {"stage": "queued"}),
    "the same delay": ({"run_in": timedelta(minutes=90)}, {"run_in": timedelta(seconds=5400)}),
}


@pytest.mark.parametrize(("first", "second"), SAME.values(), ids=SAME)
def test_requests_that_mean_the_same_are_the_same(
    queue: JobQueue, first: dict[str, Any], second: dict[str, Any]
) -> None:
    """ENQ-015, ENQ-016, ENQ-023."""
    assert enqueue(queue, changed(**first)) == enqueue(queue, changed(**second))


DIFFERENT: dict[str, dict[str, Any]] = {
    "payload": {"payload": {"n": 2}},
    "JSON null": {"payload": None},
    "priority": {"priority": 7},
    "priority of the definition": {"priority": 100},
    "max_attempts": {"max_attempts": 7},
    "max_attempts of the definition": {"max_attempts": 3},
    "timeout": {"timeout": timedelta(seconds=7)},
    "timeout of the definition": {"timeout": timedelta(seconds=30)},
    "run_at": {"run_at": NOON + timedelta(microseconds=1)},
    "run_at left out": {"run_at": None},
    "run_in": {"run_at": None, "run_in": timedelta(hours=1)},
    "stage": {"stage": "draft"},
}


@pytest.mark.parametrize("change", DIFFERENT.values(), ids=DIFFERENT)
def test_another_request_with_the_same_key_is_a_conflict(queue: JobQueue, change: dict[str, Any]) -> None:
    """ENQ-017, ENQ-018, ENQ-019, ENQ-020, ENQ-021, ENQ-022, ENQ-024, ERR-009."""
    job_id = enqueue(queue, changed(run_at=NOON))

    error = refusal_of(queue, changed(**({"run_at": NOON} | change)))

    assert (error.code, error.category) == ("job.idempotency_conflict", QueryErrorCategory.CONFLICT)
    assert queue.event_types(job_id) == ["ENQUEUED"]
    assert count_jobs(queue) == 1


def test_another_delay_with_the_same_key_is_a_conflict(queue: JobQueue) -> None:
    enqueue(queue, changed(run_in=timedelta(hours=1)))

    assert refusal_of(queue, changed(run_in=timedelta(hours=1, microseconds=1))).code == "job.idempotency_conflict"


def run_job(queue: JobQueue) -> None:
    claim = queue.claim_one(is_start=True)
    queue.run(jobs.complete_job(jobs.JobSuccess(lease=claim.lease)))


LATER: dict[str, Callable[[JobQueue], object]] = {
    "running": lambda queue: queue.claim_one(is_start=True),
    "succeeded": run_job,
    "definition disabled": lambda queue: queue.define(is_enabled=False),
    "definition changed": lambda queue: queue.define(max_attempts=9, default_priority=1),
}


@pytest.mark.parametrize("happen", LATER.values(), ids=LATER)
def test_a_repeated_request_gives_its_job_whatever_became_of_it(
    queue: JobQueue, happen: Callable[[JobQueue], object]
) -> None:
    """ENQ-025, ENQ-026, ENQ-027."""
    first = enqueue(queue)
    happen(queue)

    assert enqueue(queue) == first


# The snapshot -------------------------------------------------------------------------------------------------------


def test_the_snapshot_has_what_was_asked_for_and_not_what_came_from_the_definition(queue: JobQueue) -> None:
    """ENQ-034."""
    asked = changed(organization_id=uuid4(), priority=5, max_attempts=2, timeout=timedelta(minutes=1), run_at=NOON)

    for request in (REQUEST, asked, changed(idempotency_key="third", run_in=timedelta(seconds=90, microseconds=7))):
        enqueue(queue, request)

    payload: JsonValue = {"secret": SECRET, "n": 1}
    nothing = {"priority": None, "max_attempts": None, "timeout_seconds": None, "next_run_at": None, "stage": "queued"}
    assert [row[0] for row in queue.sql("SELECT enqueue_request FROM job_queue ORDER BY id")] == [
        nothing | {"payload": payload},
        nothing
        | {
            "payload": payload,
            "priority": 5,
            "max_attempts": 2,
            "timeout_seconds": 60,
            "next_run_at": "2031-05-26T12:00:00.000000Z",
        },
        nothing | {"payload": payload, "next_run_at": "PT90.000007S"},
    ]


def test_a_keyed_job_is_a_job_like_others(queue: JobQueue) -> None:
    organization = uuid4()
    job = queue.job(
        enqueue(queue, changed(organization_id=organization, priority=5, run_in=timedelta(hours=1), stage="draft"))
    )

    assert (job.status, job.run_number, job.attempt, job.stage) == (JobStatus.PENDING, 1, 0, "draft")
    assert (job.organization_id, job.priority, job.max_attempts, job.timeout_seconds) == (organization, 5, 3, 30)
    assert job.next_run_at - job.created_at == timedelta(hours=1)
    (event,) = queue.events(job.id)
    assert (event.stage, event.payload, event.attempt) == ("draft", {"job_type": JOB_TYPE}, None)


def test_a_direct_insert_of_a_key_without_snapshot_is_refused(queue: JobQueue) -> None:
    """ENQ-033."""
    with pytest.raises(psycopg.errors.CheckViolation, match="ck_job_queue_idempotency_enqueue_request"):
        queue.sql(
            "INSERT INTO job_queue (job_type, payload, max_attempts, idempotency_key) VALUES (%s, '{}', 1, 'k')",
            JOB_TYPE,
        )


# Refusals -----------------------------------------------------------------------------------------------------------


def test_a_row_from_before_the_snapshots_cannot_be_compared(queue: JobQueue) -> None:
    """ENQ-028."""
    make_legacy(queue)

    error = refusal_of(queue, REQUEST)

    assert error.code == "job.legacy_idempotency_snapshot_missing"
    assert error.category is QueryErrorCategory.CONFLICT
    assert str(queue.sql("SELECT id FROM job_queue")[0][0]) in error.internal_message


def test_a_key_of_a_type_without_definition_is_refused_as_without_key(queue: JobQueue) -> None:
    """ENQ-006, ENQ-007."""
    queue.define("sms.send", is_enabled=False)

    for job_type in ("sms.send", "unknown"):
        assert refusal_of(queue, changed(job_type=job_type)).code == "job.definition_not_found_or_disabled"
    assert count_jobs(queue) == 0


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_a_key_is_refused_in_a_transaction_that_could_not_see_a_twin(queue: JobQueue, level: str) -> None:
    """ENQ-029."""
    with psycopg.connect(queue.url) as connection:
        connection.execute(f"SET TRANSACTION ISOLATION LEVEL {level}".encode())
        with pytest.raises(QueryError) as caught:
            run_sync(connection, jobs.enqueue_jobs([EnqueueRequest(JOB_TYPE, None), REQUEST]))
        unkeyed = run_sync(connection, jobs.enqueue_job(EnqueueRequest(JOB_TYPE, None)))

    assert caught.value.code == "job.enqueue_idempotency_unsupported_isolation"
    assert caught.value.category is QueryErrorCategory.VALIDATION
    assert queue.sql("SELECT id FROM job_queue") == [(unkeyed,)], "the transaction stays usable"


def test_the_isolation_is_judged_before_the_job_that_has_the_key(queue: JobQueue) -> None:
    enqueue(queue)
    with psycopg.connect(queue.url) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        with pytest.raises(QueryError, check=lambda error: error.code.endswith("unsupported_isolation")):
            run_sync(connection, jobs.enqueue_job(REQUEST))


@pytest.mark.parametrize("level", ["READ UNCOMMITTED", "READ COMMITTED"])
def test_a_key_works_in_a_transaction_that_sees_commits(queue: JobQueue, level: str) -> None:
    """ENQ-030."""
    with psycopg.connect(queue.url) as connection:
        connection.execute(f"SET TRANSACTION ISOLATION LEVEL {level}".encode())
        first = run_sync(connection, jobs.enqueue_job(REQUEST))
        again = run_sync(connection, jobs.enqueue_job(REQUEST))

    assert first == again == enqueue(queue)


def test_a_row_that_vanishes_again_and_again_is_an_internal_error() -> None:
    """The index refuses the key, and each look finds nobody who has it."""
    steps = jobs.enqueue_job(REQUEST).begin()
    unseen = {"ordinality": 1, "job_type": JOB_TYPE, "existing_job_id": None, "answer": "UNSEEN"}

    next(steps)
    for _ in range(3):
        steps.send([unseen])
    with pytest.raises(QueryError) as caught:
        steps.send([unseen])

    assert caught.value.code == "job.idempotency_conflict_missing_existing"
    assert caught.value.category is QueryErrorCategory.INTERNAL


def test_a_constraint_of_the_application_is_not_taken_for_a_known_key(queue: JobQueue) -> None:
    queue.sql("CREATE UNIQUE INDEX uq_own ON job_queue ((payload ->> 'n'))")
    enqueue(queue)

    error = refusal_of(queue, changed(idempotency_key="another"))

    assert (error.code, error.constraint) == ("db.unique_violation", "uq_own")


REFUSED: dict[str, tuple[Callable[[JobQueue], object], EnqueueRequest, str]] = {
    "conflict": (enqueue, changed(priority=7), "job.idempotency_conflict"),
    "legacy": (make_legacy, REQUEST, "job.legacy_idempotency_snapshot_missing"),
    "definition": (lambda _queue: None, changed(job_type="unknown"), "job.definition_not_found_or_disabled"),
    "database": (
        lambda queue: queue.sql("ALTER TABLE job_queue ADD CHECK (priority < 7)"),
        changed(priority=7),
        "db.business_rule_violation",
    ),
}


@pytest.mark.parametrize(("prepare", "request_", "code"), REFUSED.values(), ids=REFUSED)
def test_no_text_of_a_refusal_shows_key_or_payload(
    queue: JobQueue, prepare: Callable[[JobQueue], object], request_: EnqueueRequest, code: str
) -> None:
    """ENQ-032, ERR-004, ERR-006."""
    prepare(queue)

    error = refusal_of(queue, request_)

    assert error.code == code
    shown = "".join(traceback.format_exception(error)) + repr(error) + error.client_message + error.internal_message
    for secret in (KEY, SECRET, "hunter2", "DETAIL"):
        assert secret not in shown
    assert (error.__cause__, error.__context__) == (None, None)


def test_a_request_shows_neither_key_nor_payload() -> None:
    assert KEY not in repr(REQUEST)
    assert SECRET not in repr(REQUEST)


# Many ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, MAX_BATCH_ROWS])
@pytest.mark.parametrize("name", ["conflict", "legacy", "definition"])
def test_the_request_of_many_that_is_refused_is_told_by_its_place(queue: JobQueue, name: str, count: int) -> None:
    prepare, refused, code = REFUSED[name]
    prepare(queue)
    others = [EnqueueRequest(JOB_TYPE) for _ in range(count)]

    with pytest.raises(QueryError) as caught:
        queue.run(jobs.enqueue_jobs(iter([*others, changed(idempotency_key="new"), refused])))

    assert caught.value.code == code
    assert caught.value.client_message.startswith(f"requests[{count + 1}]: ")
    assert not refusal_of(queue, refused).client_message.startswith("requests")


def test_keyed_and_other_requests_may_be_mixed(queue: JobQueue) -> None:
    known = enqueue(queue)
    unkeyed = EnqueueRequest(JOB_TYPE, "unkeyed")
    new = changed(idempotency_key="new", organization_id=uuid4())

    ids = queue.run(jobs.enqueue_jobs([unkeyed, new, REQUEST, unkeyed, new, changed(idempotency_key="a")]))

    assert ids[2] == known
    assert ids[1] == ids[4], "a key that is repeated gives the job of its first request"
    assert len({*ids}) == 5
    assert count_jobs(queue) == 5
    assert [queue.job(job_id).idempotency_key for job_id in ids] == [None, "new", KEY, None, "new", "a"]
    assert queue.sql("SELECT count(*) FROM job_events") == [(5,)]


def test_a_key_that_is_repeated_in_a_batch_is_compared_with_its_first(queue: JobQueue) -> None:
    with pytest.raises(QueryError, check=lambda error: error.code == "job.idempotency_conflict"):
        queue.run(jobs.enqueue_jobs([REQUEST, EnqueueRequest(JOB_TYPE, None), changed(priority=7)]))

    assert count_jobs(queue) == 0


def test_one_conflict_lets_none_of_a_batch_in_also_in_the_callers_transaction(queue: JobQueue) -> None:
    enqueue(queue)
    conflicting = [EnqueueRequest(JOB_TYPE, None), changed(idempotency_key="new"), changed(priority=7)]

    with psycopg.connect(queue.url) as connection:
        with pytest.raises(QueryError, check=lambda error: error.code == "job.idempotency_conflict"):
            run_sync(connection, jobs.enqueue_jobs(conflicting))
        connection.commit()

    assert count_jobs(queue) == 1


def test_a_large_number_of_keys_is_sent_in_batches_and_may_be_sent_again(queue: JobQueue) -> None:
    def requests() -> list[EnqueueRequest]:
        return [changed(idempotency_key=f"key {number}") for number in range(MAX_BATCH_ROWS + 1)]

    ids = queue.run(jobs.enqueue_jobs(iter(requests())))

    assert queue.run(jobs.enqueue_jobs(reversed(requests()))) == ids[::-1]
    assert count_jobs(queue) == len(set(ids)) == MAX_BATCH_ROWS + 1


# Reading by key -----------------------------------------------------------------------------------------------------


def test_a_job_can_be_read_by_its_key_in_its_scope(queue: JobQueue) -> None:
    """ENQ-037."""
    acme = uuid4()
    job_id = enqueue(queue, changed(organization_id=acme))

    def read(scope: Global | Organization, key: str = KEY) -> UUID | None:
        job = queue.run(jobs.get_job_by_idempotency_key(JOB_TYPE, key, scope=scope))
        return None if job is None else job.id

    assert read(Organization(acme)) == job_id
    assert read(Organization(uuid4())) is read(Global()) is read(Organization(acme), "other") is None


def test_reading_by_key_needs_the_scope_of_the_key() -> None:
    with pytest.raises(InvalidArgumentError, check=lambda error: error.field == "scope"):
        next(jobs.get_job_by_idempotency_key(JOB_TYPE, KEY, scope=Admin()).begin())
    with pytest.raises(InvalidArgumentError, check=lambda error: error.field == "idempotency_key"):
        next(jobs.get_job_by_idempotency_key(JOB_TYPE, "", scope=Global()).begin())


# PostgreSQL would compress what repeats itself.
DIGESTS = "".join(hashlib.sha256(bytes([number])).hexdigest() for number in range(50))


def test_the_longest_key_and_the_longest_type_fit_into_the_index(queue: JobQueue) -> None:
    longest = changed(
        job_type=DIGESTS[:1_024], idempotency_key=DIGESTS[1_024:2_048], organization_id=UUID(int=1), payload=None
    )
    queue.define(longest.job_type)

    assert enqueue(queue, longest) == enqueue(queue, longest)


def test_a_key_that_is_too_long_for_an_index_of_the_application_is_no_conflict(queue: JobQueue) -> None:
    """A caller that takes a conflict for a job that exists already would lose this one."""
    queue.sql("CREATE UNIQUE INDEX uq_own ON job_queue (idempotency_key, (payload ->> 'long'))")

    error = refusal_of(queue, changed(idempotency_key=DIGESTS[:1_024], payload={"long": DIGESTS[1_024:]}))

    assert (error.code, error.sqlstate) == ("db.query_failed", "54000")
    assert str(error) == "a value is larger than PostgreSQL can store or index"
