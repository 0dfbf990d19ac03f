"""``runledger cancel`` and ``runledger requeue`` against a database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from uuid import UUID

import psycopg
import pytest

from runledger.core import Admin, JobProgress, JobStatus, Workflow
from runledger.postgres import jobs, workflows
from runledger.testing import EphemeralDatabase
from tests.cli.conftest import RunCommand
from tests.postgres.job_queue import JobQueue

UNKNOWN = UUID(int=1)
ORGANIZATION = UUID(int=7)


@pytest.fixture
def queue(runledger_database: EphemeralDatabase, monkeypatch: pytest.MonkeyPatch) -> Iterator[JobQueue]:
    """A queue that knows ``email.send``, in the database that the command finds by itself."""
    monkeypatch.setenv("RUNLEDGER_DATABASE_URL", runledger_database.url)
    job_queue = JobQueue(runledger_database.url)
    job_queue.define()
    yield job_queue
    job_queue.close()


def canceled_while_running(queue: JobQueue) -> UUID:
    """Return a job whose handler may still be running, and which has saved a checkpoint."""
    claimed = queue.enqueue_and_claim({"card": "4242-secret"})
    progress = JobProgress(progress_done=1, checkpoint="4242-secret")
    queue.run(jobs.update_job_progress(jobs.JobProgressUpdate(lease=claimed.lease, progress=progress)))
    queue.run(jobs.cancel_job(claimed.job_id, scope=Admin()))
    return claimed.job_id


def let_quiesce(queue: JobQueue) -> None:
    queue.sql("UPDATE job_queue SET canceled_lease_expires_at = now()")


def test_jobs_of_any_organization_are_canceled_with_a_reason(queue: JobQueue, run_command: RunCommand) -> None:
    ids = [queue.enqueue(), queue.enqueue(organization_id=ORGANIZATION)]

    ended = run_command("cancel", str(ids[0]), str(ids[1]), "--reason", "wrong address")

    assert (ended.exit_code, ended.err) == (0, "")
    assert ended.out.splitlines() == [f"canceled {job_id} of type email.send" for job_id in ids]
    for job_id in ids:
        assert (queue.job(job_id).status, queue.job(job_id).status_reason) == (JobStatus.CANCELED, "wrong address")


def test_one_that_is_refused_does_not_keep_the_others(queue: JobQueue, run_command: RunCommand) -> None:
    ended_before, waiting = queue.enqueue(), queue.enqueue()
    queue.run(jobs.cancel_job(ended_before, scope=Admin()))

    ended = run_command("cancel", str(ended_before), str(UNKNOWN), str(waiting))

    assert ended.exit_code == 1
    assert ended.out == f"canceled {waiting} of type email.send\n"
    first, second = ended.err.splitlines()
    assert first.startswith(f"runledger: error: job {ended_before} in schema runledger at host ")
    assert first.endswith(": the job is CANCELED; it can be canceled while PENDING or LEASED")
    assert second.endswith(": there is no such job; check the id, --schema and the database")


def test_a_job_whose_run_is_locked_does_not_keep_the_others(
    queue: JobQueue, run_command: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = Workflow("order.fulfil")
    flow.job("send", "email.send")
    queue.run(workflows.enqueue_workflow_run(flow.build()))
    of_run = UUID(str(queue.sql("SELECT id FROM job_queue")[0][0]))
    before, after = queue.enqueue(), queue.enqueue()
    monkeypatch.setenv("PGOPTIONS", "-c lock_timeout=50ms")

    with psycopg.connect(queue.url) as other:
        other.execute("SELECT FROM runledger.workflow_runs FOR UPDATE")
        ended = run_command("cancel", str(before), str(of_run), str(after), "--json")

    document = json.loads(ended.out)
    assert (ended.exit_code, ended.err) == (1, "")
    assert [job["id"] for job in document["canceled"]] == [str(before), str(after)]
    assert [refused["code"] for refused in document["refused"]] == ["workflow.release_conflict"]


@pytest.mark.parametrize("is_json", [False, True], ids=["text", "json"])
def test_what_is_done_is_told_also_when_the_database_ends_the_command(
    queue: JobQueue, run_command: RunCommand, *, is_json: bool
) -> None:
    """It is committed."""
    before, broken, after = queue.enqueue(), queue.enqueue(), queue.enqueue()
    queue.sql(f"ALTER TABLE job_queue ADD CHECK (id <> '{broken}' OR status <> 'CANCELED')")

    ended = run_command("cancel", str(before), str(broken), str(after), *(["--json"] if is_json else []))

    assert ended.exit_code == 1
    assert ended.err.endswith(": a value breaks a rule of the database (db.business_rule_violation)\n")
    if is_json:
        assert [job["id"] for job in json.loads(ended.out)["canceled"]] == [str(before)]
    else:
        assert ended.out == f"canceled {before} of type email.send\n"
    assert [queue.job(job_id).status for job_id in (before, broken, after)] == [
        JobStatus.CANCELED,
        JobStatus.PENDING,
        JobStatus.PENDING,
    ]


def test_a_job_that_is_named_twice_is_canceled_once(queue: JobQueue, run_command: RunCommand) -> None:
    job_id = str(queue.enqueue())

    assert run_command("cancel", job_id, job_id).exit_code == 0


def test_a_blank_reason_is_bad_input(queue: JobQueue, run_command: RunCommand) -> None:
    job_id = queue.enqueue()

    ended = run_command("cancel", str(job_id), "--reason", " ")

    assert (ended.exit_code, ended.out) == (2, "")
    assert ended.err.startswith("runledger: error: --reason: is blank; ")
    assert queue.job(job_id).status is JobStatus.PENDING


def test_a_job_is_started_over(queue: JobQueue, run_command: RunCommand) -> None:
    job_id = queue.enqueue()
    queue.run(jobs.cancel_job(job_id, scope=Admin()))

    ended = run_command("requeue", str(job_id), "--reason", "needed after all")

    assert (ended.exit_code, ended.out) == (0, f"requeued {job_id} of type email.send\n")
    job = queue.job(job_id)
    assert (job.status, job.run_number, job.status_reason) == (JobStatus.PENDING, 2, "needed after all")


def test_a_canceled_handler_that_may_run_on_is_waited_for_unless_told_otherwise(
    queue: JobQueue, run_command: RunCommand
) -> None:
    job_id = canceled_while_running(queue)

    refused = run_command("requeue", str(job_id))
    status_then = queue.job(job_id).status
    done = run_command("requeue", str(job_id), "--at-once")

    assert refused.exit_code == 1
    assert "its canceled handler may run on for " in refused.err
    assert refused.err.endswith("; try again then, or give --at-once\n")
    assert status_then is JobStatus.CANCELED
    assert done.exit_code == 0
    assert queue.job(job_id).status is JobStatus.PENDING


@pytest.mark.parametrize(("options", "done"), [([], None), (["--keep-progress"], 1)], ids=["reset", "kept"])
def test_progress_is_kept_when_asked_for(
    queue: JobQueue, run_command: RunCommand, options: list[str], done: int | None
) -> None:
    job_id = canceled_while_running(queue)
    let_quiesce(queue)

    assert run_command("requeue", str(job_id), *options).exit_code == 0
    assert queue.job(job_id).progress_done == done


@pytest.mark.parametrize("options", [[], ["--at-once"]], ids=["compared", "at once"])
def test_a_job_that_has_not_ended_or_does_not_exist_is_refused(
    queue: JobQueue, run_command: RunCommand, options: list[str]
) -> None:
    job_id = queue.enqueue()

    ended = run_command("requeue", str(job_id), str(UNKNOWN), *options)

    assert (ended.exit_code, ended.out) == (1, "")
    first, second = ended.err.splitlines()
    assert first.endswith(": the job is PENDING; it can be requeued once it has ended")
    assert second.endswith(": there is no such job; check the id, --schema and the database")


def test_json_has_the_jobs_without_secrets_and_what_was_refused(queue: JobQueue, run_command: RunCommand) -> None:
    job_id = canceled_while_running(queue)
    let_quiesce(queue)

    ended = run_command("requeue", str(job_id), str(UNKNOWN), "--keep-progress", "--json")

    assert (ended.exit_code, ended.err) == (1, "")
    assert "4242" not in ended.out
    document = json.loads(ended.out)
    assert list(document) == ["requeued", "refused"]
    (job,) = document["requeued"]
    assert (job["id"], job["status"], job["run_number"]) == (str(job_id), "PENDING", 2)
    assert job["created_at"] == queue.job(job_id).created_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    (refused,) = document["refused"]
    assert (refused["job_id"], refused["code"]) == (str(UNKNOWN), "job.not_found")
