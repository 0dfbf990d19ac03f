"""``runledger jobs`` and ``runledger metrics``."""

from __future__ import annotations

import json
import re
from uuid import UUID

import pytest

from runledger.cli import jobs
from runledger.cli.arguments import jobs as job_arguments
from runledger.core import Admin, JobStatus
from runledger.postgres import admin
from runledger.postgres.admin import job_lists
from runledger.postgres.jobs import cancel_job
from tests.cli.conftest import RunCommand
from tests.cli.test_job import queue as queue  # noqa: PLC0414 - a fixture
from tests.postgres.admin.test_job_lists import settle
from tests.postgres.job_queue import JOB_TYPE, JobQueue

TENANT = "0198c0de-0000-7000-8000-0000000000aa"


def listed(run_command: RunCommand, *options: str) -> list[str]:
    return [job["id"] for job in json.loads(run_command("jobs", "--json", *options).out)["jobs"]]


def test_jobs_are_listed_in_columns_newest_first(queue: JobQueue, run_command: RunCommand) -> None:
    first, second = settle(queue, JobStatus.DEAD_LETTERED), settle(queue, JobStatus.PENDING)

    ended = run_command("jobs")

    assert (ended.exit_code, ended.err) == (0, "")
    rows = [re.split(r" {2,}", line.strip()) for line in ended.out.splitlines()]
    assert rows[0] == ["id", "type", "status", "attempt", "enqueued", "last error"]
    assert [row[:4] for row in rows[1:]] == [
        [str(second), "email.send", "PENDING", "0 of 3"],
        [str(first), "email.send", "DEAD_LETTERED", "1 of 3"],
    ]
    assert rows[2][5] == "c: m"


def test_jobs_are_filtered(queue: JobQueue, run_command: RunCommand) -> None:
    queue.define("sms_send")
    dead = str(settle(queue, JobStatus.DEAD_LETTERED))
    owned = str(settle(queue, JobStatus.SUCCEEDED, organization_id=UUID(TENANT)))
    sms = str(settle(queue, JobStatus.PENDING, job_type="sms_send"))

    assert listed(run_command) == [sms, owned, dead]
    assert listed(run_command, "--status", "dead_lettered", "--type", "email.send") == [dead]
    assert listed(run_command, "--type-contains", "S_S") == [sms]
    assert listed(run_command, "--organization", TENANT) == [owned]
    assert listed(run_command, "--no-organization") == [sms, dead]
    assert listed(run_command, "--limit", "1") == [sms]
    assert run_command("jobs", "--type", "nothing").out.startswith("no such job in schema runledger at ")


def test_the_json_of_a_job_has_no_secrets(queue: JobQueue, run_command: RunCommand) -> None:
    queue.enqueue({"card": "4242"})

    (job,) = json.loads(run_command("jobs", "--json").out)["jobs"]

    assert not job.keys() & {"payload", "checkpoint", "output", "idempotency_key"}
    assert job["status"] == "PENDING"


def test_a_filter_without_matches_is_given_up_some_day(
    queue: JobQueue, run_command: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_lists, "SCAN_LIMIT", 1)
    monkeypatch.setattr(jobs, "_MAX_PAGES_WITHOUT_JOBS", 2)
    found = str(settle(queue, JobStatus.CANCELED))
    for _ in range(3):
        queue.enqueue()

    ended = run_command("jobs", "--type-contains", "nowhere", "--json")

    assert json.loads(ended.out) == {"jobs": []}
    assert "gave up" in ended.err
    assert listed(run_command, "--status", "canceled") == [found]


def test_the_statuses_of_the_option_are_those_of_jobs() -> None:
    assert tuple(JobStatus) == job_arguments._STATUSES  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


def test_metrics_are_printed_for_each_type(queue: JobQueue, run_command: RunCommand) -> None:
    queue.define("idle")
    settle(queue, JobStatus.DEAD_LETTERED)
    settle(queue, JobStatus.SUCCEEDED)
    settle(queue, JobStatus.PENDING)

    ended = run_command("metrics")
    document = json.loads(run_command("metrics", "--json", "--type", "email.send", "--window", "1h").out)

    assert (ended.exit_code, ended.err) == (0, "")
    assert ended.out.startswith("Attempts that began in the last 1 d:")
    email, idle = (re.split(r" {2,}", line.strip()) for line in ended.out.splitlines()[3:])
    assert email[:12] == ["email.send", "no", "1", "0", "0", "1", "0", "1", "0", "0", "0", "1"]
    assert idle == ["idle", "no", *["0"] * 10]
    (of_type,) = document["metrics"]
    assert of_type["pending"] == {"count": 1, "is_exact": True}
    assert of_type["terminal_count"] == 1
    assert document["since"] < document["until"]


def test_metrics_count_canceled_attempts_and_tell_durations_as_elsewhere(
    queue: JobQueue, run_command: RunCommand
) -> None:
    claimed = queue.enqueue_and_claim()
    queue.run(cancel_job(claimed.job_id, scope=Admin()))
    queue.sql("UPDATE job_attempts SET finished_at = started_at + interval '125 seconds'")

    ended = run_command("metrics")

    columns, values = (re.split(r" {2,}", line.strip()) for line in ended.out.splitlines()[2:])
    told = dict(zip(columns, values, strict=True))
    assert (told["canceled"], told["p50"], told["p95"]) == ("1", "2 min 5 s", "2 min 5 s")


def test_metrics_show_a_paused_type(queue: JobQueue, run_command: RunCommand) -> None:
    queue.run(admin.pause_job_type(JOB_TYPE))

    (of_type,) = json.loads(run_command("metrics", "--json").out)["metrics"]

    assert run_command("metrics").out.splitlines()[-1].split()[:2] == [JOB_TYPE, "yes"]
    assert of_type["paused_at"].endswith("Z")


def test_metrics_of_an_unknown_type_say_so(queue: JobQueue, run_command: RunCommand) -> None:
    assert queue
    assert run_command("metrics", "--type", "unknown").out.startswith("no such job type in schema runledger at ")
