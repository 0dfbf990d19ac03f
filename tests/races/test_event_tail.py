"""The events of all jobs in order, while transactions commit in another one."""

from __future__ import annotations

import base64
import struct
import time
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from runledger.core import (
    Admin,
    EnqueueRequest,
    InvalidArgumentError,
    JobEventType,
    JobFailureKind,
    JobProgress,
    TailedEvent,
)
from runledger.postgres import Operation, QueryError, admin, jobs, run_sync
from tests.postgres.job_queue import JOB_TYPE, WORKER, JobQueue
from tests.races.session import Session

MINUTE = timedelta(minutes=1)
_PATIENCE_SECONDS = 30


class Reader:
    """Follows the events in a session of its own."""

    def __init__(self, queue: JobQueue, cursor: str | None = None) -> None:
        self._queue = queue
        self.cursor = cursor
        self.is_caught_up = False

    def read(self, *, limit: int = 1_000) -> list[TailedEvent]:
        page = self._queue.run(admin.read_events_after(self.cursor, limit=limit))
        self.cursor, self.is_caught_up = page.next_cursor, page.is_caught_up
        return page.events

    def jobs(self, count: int, *, limit: int = 1_000) -> list[UUID]:
        """Read until there are so many events, and return their jobs.

        Tests beside this one write to the same server, and hold back events for a moment.
        """
        found: list[UUID] = []
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while len(found) < count:
            assert time.monotonic() < deadline, "the events do not come"
            found += [tailed.event.job_id for tailed in self.read(limit=limit)]
        return found

    def one(self) -> TailedEvent:
        """Read until there is an event, and return the first."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not (events := self.read(limit=1)):
            assert time.monotonic() < deadline, "the event does not come"
        (event,) = events
        return event

    def sees_nothing(self) -> bool:
        """Read a few times, and tell whether nothing came and there is something to wait for."""
        return not any(self.read() for _ in range(5)) and not self.is_caught_up


def marked(cursor: str | None, *, xid: int, after_id: int | None = None) -> str:
    """Return a cursor with another mark, and perhaps behind another event."""
    form = struct.Struct(">qqqQ")
    ids = (0, 0, 0, 0) if cursor is None else form.unpack(base64.urlsafe_b64decode(cursor + "="))
    changed = form.pack(ids[0] if after_id is None else after_id, *ids[1:3], xid)
    return base64.urlsafe_b64encode(changed).rstrip(b"=").decode()


def enqueue(session: Session) -> UUID:
    return session.run(jobs.enqueue_job(EnqueueRequest(JOB_TYPE, None)))


def test_an_event_whose_transaction_commits_late_is_not_skipped(
    queue: JobQueue, first: Session, second: Session
) -> None:
    """The earlier id is committed last."""
    reader = Reader(queue)
    early = enqueue(first)
    late = enqueue(second)
    second.commit()

    assert reader.sees_nothing()
    first.commit()

    assert reader.jobs(2) == [early, late]
    ids = queue.sql("SELECT array_agg(job_id ORDER BY id) FROM job_events")[0][0]
    assert ids == [early, late]


def test_a_transaction_that_began_first_and_has_the_newest_transaction_id_is_waited_for(
    queue: JobQueue, first: Session, second: Session
) -> None:
    """Its id is beyond those of all that have ended, where a snapshot does not list it as running."""
    second.sql("SELECT pg_current_xact_id()")
    early = enqueue(first)
    late = enqueue(second)
    second.commit()
    reader = Reader(queue)

    assert reader.sees_nothing()
    first.commit()

    assert reader.jobs(2) == [early, late]


def test_what_began_later_holds_back_only_what_comes_after_it(queue: JobQueue, first: Session, second: Session) -> None:
    reader = Reader(queue)
    done = queue.enqueue()
    assert reader.read() == []
    open_job = enqueue(first)

    assert reader.jobs(1) == [done]
    later = enqueue(second)
    second.commit()
    assert reader.sees_nothing()
    first.commit()
    assert reader.jobs(2) == [open_job, later]


def test_a_transaction_that_is_rolled_back_leaves_a_gap_and_nothing_else(
    queue: JobQueue, first: Session, second: Session
) -> None:
    reader = Reader(queue)
    enqueue(first)
    late = enqueue(second)
    second.commit()
    assert reader.sees_nothing()
    first.sql("ROLLBACK")

    assert reader.jobs(1) == [late]


def test_a_savepoint_is_part_of_its_transaction(queue: JobQueue, first: Session, second: Session) -> None:
    reader = Reader(queue)
    first.sql("SAVEPOINT inside")
    early = enqueue(first)
    first.sql("RELEASE inside")
    late = enqueue(second)
    second.commit()

    assert reader.sees_nothing()
    first.commit()
    assert reader.jobs(2) == [early, late]


def test_pages_and_cursors_of_events_go_on_where_they_ended(queue: JobQueue) -> None:
    ids = [queue.enqueue() for _ in range(5)]
    reader = Reader(queue)

    pages = [reader.jobs(count, limit=2) for count in (2, 2, 1)]
    again = Reader(queue)
    third = [again.one() for _ in range(3)][2]

    assert pages == [ids[:2], ids[2:4], ids[4:]]
    assert Reader(queue, third.cursor).jobs(2) == ids[3:]
    assert reader.read() == []


def test_an_event_tells_of_its_job(queue: JobQueue) -> None:
    tenant = UUID(int=7)
    job_id = queue.enqueue(organization_id=tenant)
    tailed = Reader(queue).one()

    assert (tailed.job_type, tailed.organization_id) == (JOB_TYPE, tenant)
    assert tailed.event == queue.run(jobs.list_job_events(job_id, scope=Admin()))[0]


def test_an_event_without_its_job_is_read_all_the_same(queue: JobQueue) -> None:
    queue.enqueue()
    queue.sql("DELETE FROM job_queue")
    tailed = Reader(queue).one()

    assert (tailed.job_type, tailed.event.event_type) == (None, JobEventType.ENQUEUED)


def test_who_begins_now_sees_what_comes(queue: JobQueue) -> None:
    queue.enqueue()
    reader = Reader(queue, queue.run(admin.find_newest_event_cursor()))
    new = queue.enqueue()

    assert reader.jobs(1) == [new]


def test_who_has_caught_up_knows_it(queue: JobQueue) -> None:
    reader = Reader(queue)
    assert reader.read() == []
    assert reader.is_caught_up
    queue.enqueue()
    assert reader.read() == []
    assert not reader.is_caught_up
    assert len(reader.jobs(1)) == 1
    assert reader.is_caught_up


@pytest.mark.parametrize("is_far", [False, True], ids=["crash", "another server"])
def test_a_mark_that_the_server_has_not_given_out_is_set_anew_and_decides_nothing(
    queue: JobQueue,
    first: Session,
    second: Session,
    is_far: bool,  # noqa: FBT001 - parametrized
) -> None:
    """After a crash the ids of transactions that had written nothing yet are given out again, to others."""
    early = enqueue(first)
    late = enqueue(second)
    second.commit()
    reader = Reader(queue)
    assert reader.read() == []
    # As if the mark was from before a crash, and beyond what has been given out since.
    next_xid = int(queue.sql("SELECT pg_snapshot_xmax(pg_current_snapshot())::text")[0][0])
    reader.cursor = marked(reader.cursor, xid=2**60 if is_far else next_xid)

    assert reader.sees_nothing()
    first.commit()

    assert reader.jobs(2) == [early, late]


def test_a_cursor_beyond_what_the_database_has_given_out_is_refused(queue: JobQueue) -> None:
    for _ in range(2):
        queue.enqueue()
    reader = Reader(queue)
    reader.jobs(2)
    queue.sql("DELETE FROM job_events")
    assert reader.read() == []
    queue.sql("ALTER SEQUENCE job_events_id_seq RESTART WITH 1")
    queue.enqueue()

    with pytest.raises(QueryError, match="find_newest_event_cursor") as caught:
        reader.read()

    assert caught.value.code == "job.event_tail_set_back"


def test_a_database_that_has_given_out_nothing_is_not_where_a_cursor_is_from(queue: JobQueue) -> None:
    reader = Reader(queue, marked(Reader(queue).cursor, xid=0, after_id=1))

    with pytest.raises(QueryError, check=lambda error: error.code == "job.event_tail_set_back"):
        reader.read()


def test_who_may_not_read_the_sequence_reads_events_all_the_same(queue: JobQueue, first: Session) -> None:
    role = f"reading_{uuid4().hex}"  # roles belong to the server, which other tests use at the same time
    cursor = marked(None, xid=0, after_id=7)
    queue.sql(f"CREATE ROLE {role}")
    queue.sql(f"GRANT USAGE ON SCHEMA runledger TO {role}")
    queue.sql(f"GRANT SELECT ON job_events, job_queue TO {role}")
    try:
        first.sql(f"SET LOCAL ROLE {role}")
        assert first.run(admin.read_events_after(cursor)).events == []
    finally:
        first.rollback()
        queue.sql(f"DROP OWNED BY {role}")
        queue.sql(f"DROP ROLE {role}")


def test_a_transaction_that_has_written_is_refused(queue: JobQueue) -> None:
    with psycopg.connect(queue.url) as connection:
        run_sync(connection, jobs.enqueue_job(EnqueueRequest(JOB_TYPE, None)))
        with pytest.raises(QueryError) as caught:
            run_sync(connection, admin.read_events_after())

    assert caught.value.code == "job.event_tail_after_write"
    assert "call it before anything that writes" in str(caught.value)


@pytest.mark.parametrize("cursor", ["", "AAAA", "!" * 43, "_" * 43])
def test_a_cursor_of_something_else_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        next(admin.read_events_after(cursor).begin())

    assert caught.value.code == "job.invalid_pagination"


def test_every_statement_has_a_transaction_id_before_it_takes_the_id_of_an_event(queue: JobQueue) -> None:
    """What the reader relies on: else an id could be taken by a transaction that nothing shows as running."""
    for statement in (
        "ALTER TABLE job_events ALTER COLUMN id DROP IDENTITY",
        "CREATE SEQUENCE event_ids START 1000",
        """
        CREATE FUNCTION next_event_id() RETURNS bigint LANGUAGE plpgsql AS $$
        BEGIN
            ASSERT pg_current_xact_id_if_assigned() IS NOT NULL, 'no transaction id yet';
            RETURN nextval('runledger.event_ids');
        END $$""",
        "ALTER TABLE job_events ALTER COLUMN id SET DEFAULT runledger.next_event_id()",
    ):
        queue.sql(statement)

    def run(operation: Operation[Any]) -> Any:
        return queue.run(operation)

    def claimed() -> Any:
        queue.enqueue()
        return queue.claim_one().lease

    failure: dict[str, Any] = {"error_code": "c", "error_message": "m"}
    terminal, retryable = JobFailureKind.TERMINAL, JobFailureKind.RETRYABLE
    run(jobs.enqueue_job(EnqueueRequest(JOB_TYPE, None, idempotency_key="k", run_in=timedelta(days=1))))
    lease = claimed()
    run(jobs.update_progress_of_jobs(WORKER, [jobs.JobProgressUpdate(lease=lease, progress=JobProgress(stage="s"))]))
    run(jobs.heartbeat_job(lease, lease_ttl=MINUTE))
    run(jobs.complete_jobs(WORKER, [jobs.JobSuccess(lease=lease)]))
    run(jobs.requeue_job(lease.job_id, scope=Admin()))
    run(jobs.cancel_job(lease.job_id, scope=Admin()))
    run(jobs.fail_jobs(WORKER, [jobs.AttemptFailure(lease=claimed(), kind=terminal, **failure)]))
    run(jobs.fail_jobs(WORKER, [jobs.AttemptFailure(lease=claimed(), kind=retryable, retry_delay=MINUTE, **failure)]))
    run(jobs.return_claims(WORKER, [claimed()], reason="r", retry_delay=MINUTE))
    (prestart,) = (queue.enqueue(), run(jobs.claim_prestart_jobs(WORKER, lease_ttl=MINUTE, limit=1)))[1]
    run(jobs.release_unstarted_job_claim(prestart.lease, reason="r", retry_delay=MINUTE))
    claimed()
    run(jobs.reap_expired_leases(limit=10, retry_delay=MINUTE, now=queue.clock() + timedelta(hours=1)))

    found = {text for (text,) in queue.sql("SELECT DISTINCT event_type::text FROM job_events")}
    assert found == {event_type.value for event_type in JobEventType} - {"PROGRESS"}
