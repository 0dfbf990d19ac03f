"""Edits of payloads: what may be changed, and what stays as it is."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from runledger.core import (
    Admin,
    EnqueueRequest,
    InvalidArgumentError,
    JobStatus,
    PayloadEdit,
    PayloadNotFound,
    PayloadRejected,
    PayloadRejection,
    PayloadUpdated,
    Scope,
)
from runledger.postgres import admin, jobs, run_sync
from runledger.postgres.sql_files import SqlFile
from tests.postgres.admin.test_job_lists import settle
from tests.postgres.job_queue import JOB_TYPE, JobQueue
from tests.postgres.jobs.test_reads import VISIBILITY

EVERYBODY = Admin()


def edit(queue: JobQueue, job_id: UUID, *, scope: Scope = EVERYBODY, **settings: Any) -> PayloadEdit:
    changes: dict[str, Any] = {"members": {"to": "b"}} | settings
    return queue.run(admin.edit_job_payload(job_id, scope=scope, **changes))


def test_members_are_set_and_removed_and_the_others_stay(queue: JobQueue) -> None:
    job_id = queue.enqueue({"to": "a", "cc": "c", "kept": [1]})

    outcome = edit(queue, job_id, members={"to": {"name": "b"}, "new": None}, removed=["cc", "absent"])

    assert isinstance(outcome, PayloadUpdated)
    assert outcome.job.payload == {"to": {"name": "b"}, "new": None, "kept": [1]}
    assert queue.job(job_id) == outcome.job


@pytest.mark.parametrize("status", [status for status in JobStatus if status is not JobStatus.PENDING])
def test_only_what_waits_is_changed(queue: JobQueue, status: JobStatus) -> None:
    job_id = settle(queue, status, payload={"to": "a"})

    assert edit(queue, job_id) == PayloadRejected(reason=PayloadRejection.NOT_PENDING)
    assert queue.job(job_id).payload == {"to": "a"}


def test_a_job_with_a_key_is_left_as_it_is(queue: JobQueue) -> None:
    job_id = queue.run(jobs.enqueue_job(EnqueueRequest(JOB_TYPE, {"to": "a"}, idempotency_key="order-1")))

    assert edit(queue, job_id) == PayloadRejected(reason=PayloadRejection.IDEMPOTENT)


def test_a_member_that_is_to_be_set_and_removed_is_refused_without_its_name(queue: JobQueue) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        edit(queue, queue.enqueue({"to": "a"}), members={"to": "b", "cc": "c"}, removed=["x", "to"])

    assert str(caught.value) == "removed: contains a member that members sets; name each in one of the two"


def test_a_payload_that_is_no_object_is_left_as_it_is(queue: JobQueue) -> None:
    assert edit(queue, queue.enqueue([1])) == PayloadRejected(reason=PayloadRejection.NOT_AN_OBJECT)


def test_a_job_of_a_workflow_is_left_as_it_is(queue: JobQueue) -> None:
    job_id = queue.enqueue({"to": "a"})
    queue.sql(
        """
        WITH run AS (INSERT INTO workflow_runs (workflow_type) VALUES ('w') RETURNING id),
        step AS (
            INSERT INTO workflow_steps
                   (workflow_run_id, step_key, job_type, priority, max_attempts, timeout_seconds, stage, job_id)
            SELECT id, 's', 'email.send', 1, 1, 1, 'queued', %s FROM run RETURNING id)
        UPDATE job_queue SET workflow_step_id = (SELECT id FROM step)""",
        job_id,
    )

    assert edit(queue, job_id) == PayloadRejected(reason=PayloadRejection.WORKFLOW_MANAGED)


@pytest.mark.parametrize(("owner", "scope", "is_visible"), VISIBILITY)
def test_a_job_outside_the_scope_is_not_found(
    queue: JobQueue, owner: UUID | None, scope: Scope, *, is_visible: bool
) -> None:
    job_id = queue.enqueue({"to": "a"}, organization_id=owner)

    outcome = edit(queue, job_id, scope=scope)

    assert isinstance(outcome, PayloadUpdated if is_visible else PayloadNotFound)
    assert queue.job(job_id).payload == {"to": "b" if is_visible else "a"}


def test_an_unknown_job_is_not_found(queue: JobQueue) -> None:
    assert edit(queue, uuid4()) == PayloadNotFound()


def test_a_job_that_stays_locked_is_left_as_it_is(queue: JobQueue) -> None:
    job_id = queue.enqueue({"to": "a"})
    with psycopg.connect(queue.url) as other:
        other.execute("SELECT FROM runledger.job_queue WHERE id = %s FOR UPDATE", [job_id])
        outcome = edit(queue, job_id, lock_timeout=timedelta(milliseconds=20))

    assert outcome == PayloadRejected(reason=PayloadRejection.LOCKED)


@pytest.mark.parametrize("is_locked", [False, True])
def test_the_bound_of_the_callers_transaction_counts_and_stays(queue: JobQueue, *, is_locked: bool) -> None:
    job_id = queue.enqueue({"to": "a"})
    with psycopg.connect(queue.url) as other, psycopg.connect(queue.url) as connection:
        if is_locked:
            other.execute("SELECT FROM runledger.job_queue WHERE id = %s FOR UPDATE", [job_id])
        connection.execute("SET LOCAL lock_timeout = '20ms'")
        edit_job = admin.edit_job_payload(
            job_id, members={"to": "b"}, scope=EVERYBODY, lock_timeout=timedelta(minutes=10)
        )
        outcome = run_sync(connection, edit_job)
        bound = connection.execute("SHOW lock_timeout").fetchone()

    assert isinstance(outcome, PayloadRejected if is_locked else PayloadUpdated)
    assert bound == ("20ms",)


def test_the_callers_transaction_waits_as_before_afterwards(queue: JobQueue) -> None:
    job_id = queue.enqueue({"to": "a"})
    with psycopg.connect(queue.url) as connection:
        run_sync(connection, admin.edit_job_payload(job_id, members={"to": "b"}, scope=EVERYBODY))

        assert connection.execute("SHOW lock_timeout").fetchone() == ("0",)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({"members": None}, "members"),
    "no JSON": ({"members": {"a": float("nan")}}, "members.a"),
    "one text": ({"removed": "abc"}, "removed"),
    "NUL": ({"removed": ["a\0"]}, "removed[0]"),
    "an array": ({"members": [1]}, "members"),
    "an array of objects": ({"members": [{"a": 2}]}, "members"),
    "a text": ({"members": "x"}, "members"),
    "an empty list": ({"members": [], "removed": ["a"]}, "members"),
    "a name that is a list": ({"removed": ["a", ["k"]]}, "removed[1]"),
    "a name that is a number": ({"removed": [0]}, "removed[0]"),
    "one number": ({"removed": 7}, "removed"),
}


@pytest.mark.parametrize(("arguments", "field"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_done_is_refused(queue: JobQueue, arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        edit(queue, uuid4(), **arguments)

    assert caught.value.field == field


@pytest.mark.parametrize(
    ("members", "removed", "verdict", "payload"),
    [
        ("[1]", "[]", "NOT_AN_OBJECT", {"to": "a", '["k"]': 1}),
        ("{}", '[["k"], "to"]', "UPDATED", {'["k"]': 1}),
    ],
    ids=["members", "removed"],
)
def test_the_statement_itself_keeps_the_payload_an_object(
    queue: JobQueue, members: str, removed: str, verdict: str, payload: dict[str, Any]
) -> None:
    """Whoever sends it: what is checked before is not all that guards a payload."""
    job_id = queue.enqueue({"to": "a", '["k"]': 1})
    document = f'{{"job_id":"{job_id}","scope":"any","members":{members},"removed":{removed}}}'

    with psycopg.connect(queue.url, autocommit=True, cursor_factory=psycopg.RawCursor) as connection:
        sql = SqlFile("admin", "edit_job_payload").text("runledger").encode()
        assert connection.execute(sql, [document]).fetchone() == (verdict,)

    assert queue.job(job_id).payload == payload
