"""The command against a database; what the words are is tested in test_job_story."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from collections.abc import Iterator
from uuid import UUID

import pytest

from runledger.core import JobAttempt, JobDeadLetter, JobEvent, JobFailureKind, JobRecord, JsonValue
from runledger.postgres import admin, jobs
from runledger.testing import EphemeralDatabase
from tests.cli.conftest import RunCommand
from tests.postgres.job_queue import JOB_TYPE, JobQueue

_SECRET = "4242-secret"
_PAYLOAD: JsonValue = {"card": _SECRET}


@pytest.fixture
def queue(runledger_database: EphemeralDatabase, monkeypatch: pytest.MonkeyPatch) -> Iterator[JobQueue]:
    """A queue that knows ``email.send``, in the database that the command finds by itself."""
    monkeypatch.setenv("RUNLEDGER_DATABASE_URL", runledger_database.url)
    job_queue = JobQueue(runledger_database.url)
    job_queue.define()
    yield job_queue
    job_queue.close()


def dead_letter(queue: JobQueue) -> UUID:
    """Return a job that failed twice, the second time for good, with every value that may be secret."""
    job_id = queue.enqueue(_PAYLOAD)
    for kind, code, message in (
        (JobFailureKind.RETRYABLE, "smtp.refused", "connection refused"),
        (JobFailureKind.TERMINAL, "smtp.unknown_address", "no such address\nsecond line"),
    ):
        lease = queue.claim_one().lease
        queue.run(jobs.fail_job(jobs.AttemptFailure(lease=lease, kind=kind, error_code=code, error_message=message)))
    queue.sql(
        "UPDATE job_queue SET checkpoint = to_jsonb(%s::text), output = to_jsonb(%s::text), idempotency_key = %s,"
        " enqueue_request = '{}'"
        " WHERE id = %s",
        *[_SECRET] * 3,
        job_id,
    )
    queue.sql("UPDATE job_dead_letters SET checkpoint_snapshot = to_jsonb(%s::text)", f"old {_SECRET}")
    return job_id


def test_the_story_of_a_job_is_told_in_plain_text(queue: JobQueue, run_command: RunCommand) -> None:
    job_id = dead_letter(queue)

    ended = run_command("job", str(job_id))

    assert (ended.exit_code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0] == f"Job {job_id} of type email.send"
    assert re.fullmatch(
        r"Given up on attempt 2 of 3, [\d.]+ m?s after it was enqueued: its handler said that trying again cannot "
        r"help \(smtp\.unknown_address: no such address \.\.\.\)\.",
        lines[2],
    )
    assert "  status:     DEAD_LETTERED" in lines
    events = lines[lines.index("Events") + 2 : lines.index("Dead letter") - 1]
    assert [re.sub(r"^\+\S+ m?s +", "", line.strip()) for line in events] == [
        "ENQUEUED         1             stage queued",
        "LEASED           1    1        by worker-1",
        "FAILED           1    1        failed (smtp.refused: connection refused)",
        "RETRY_SCHEDULED  1    1        due again after 0 ms",
        "LEASED           1    2        by worker-1",
        "FAILED           1    2        failed for good (smtp.unknown_address: no such address ...)",
        "DEAD_LETTERED    1    2",
    ]
    assert lines[-3:] == ["  smtp.unknown_address", "  no such address", "  second line"]


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "json"])
def test_secrets_are_shown_only_when_asked_for(queue: JobQueue, run_command: RunCommand, options: list[str]) -> None:
    job_id = dead_letter(queue)

    hidden = run_command("job", str(job_id), *options)
    shown = run_command("job", str(job_id), *options, "--show-payload")

    assert _SECRET not in hidden.out
    # Payload, checkpoint, output, key, and what the dead letter kept.
    assert shown.out.count(_SECRET) == (6 if options else 5)


def test_the_text_says_what_is_not_shown(queue: JobQueue, run_command: RunCommand) -> None:
    full, bare = dead_letter(queue), queue.enqueue()

    assert "  not shown:  payload; --show-payload shows it\n" in run_command("job", str(bare)).out
    assert (
        "  not shown:  payload, checkpoint, output, checkpoint of the dead letter, idempotency key; --show-payload "
        "shows them\n"
    ) in run_command("job", str(full)).out


def test_json_is_one_object_whose_keys_are_the_attributes_of_the_records(
    queue: JobQueue, run_command: RunCommand
) -> None:
    job_id = dead_letter(queue)

    document = json.loads(run_command("job", str(job_id), "--json", "--show-payload").out)

    assert list(document) == [
        *("job", "attempts", "events", "dead_letter", "logs", "has_more_logs"),
        *("type_paused_at", "is_type_served"),
    ]
    for part, record in (
        (document["job"], JobRecord),
        (document["attempts"][0], JobAttempt),
        (document["events"][0], JobEvent),
        (document["dead_letter"], JobDeadLetter),
    ):
        assert list(part) == [field.name for field in dataclasses.fields(record)]
    job = queue.job(job_id)
    assert document["job"]["id"] == str(job_id)
    assert document["job"]["status"] == "DEAD_LETTERED"
    assert document["job"]["payload"] == _PAYLOAD
    assert document["job"]["created_at"] == job.created_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert [attempt["outcome"] for attempt in document["attempts"]] == ["RETRYABLE", "TERMINAL"]
    assert [event["event_type"] for event in document["events"]] == queue.event_types(job_id)
    assert document["events"][1]["payload"]["worker_id"] == "worker-1"
    assert document["dead_letter"]["error_code"] == "smtp.unknown_address"


def test_json_without_secrets_leaves_their_keys_out(queue: JobQueue, run_command: RunCommand) -> None:
    document = json.loads(run_command("job", str(dead_letter(queue)), "--json").out)

    assert not document["job"].keys() & {"payload", "checkpoint", "output", "idempotency_key"}
    assert not document["dead_letter"].keys() & {"payload_snapshot", "checkpoint_snapshot"}


def test_json_of_a_job_without_history_has_all_keys(queue: JobQueue, run_command: RunCommand) -> None:
    job_id = queue.enqueue()
    queue.sql("UPDATE job_queue SET progress_done = 1, progress_total = 3 WHERE id = %s", job_id)

    document = json.loads(run_command("job", str(job_id), "--json").out)

    assert document["attempts"] == []
    assert len(document["events"]) == 1
    assert document["dead_letter"] is None
    assert document["job"]["progress_pct"] == 33.33


def test_why_a_job_does_not_run_is_told(queue: JobQueue, run_command: RunCommand) -> None:
    job_id = queue.enqueue()

    unserved = run_command("job", str(job_id)).out
    queue.sql(
        "INSERT INTO job_workers (worker_id, instance_id, hostname, process_id, version, job_types, slots, expires_at) "
        "VALUES ('w', gen_random_uuid(), 'h', 1, '1', ARRAY[%s], 1, now() + interval '1 h')",
        JOB_TYPE,
    )
    served = run_command("job", str(job_id)).out
    queue.run(admin.pause_job_type(JOB_TYPE))
    paused = json.loads(run_command("job", str(job_id), "--json").out)

    assert "No live worker serves its type" in unserved
    assert "No live worker" not in served
    assert "is paused" not in served
    assert paused["type_paused_at"].endswith("Z")
    assert paused["is_type_served"] is True
    assert "Its type is paused since 2" in run_command("job", str(job_id)).out


def test_a_job_of_an_organization_is_found(queue: JobQueue, run_command: RunCommand) -> None:
    organization = UUID(int=7)
    job_id = queue.enqueue(organization_id=organization)

    ended = run_command("job", str(job_id))

    assert ended.exit_code == 0
    assert f"  organization:  {organization}\n" in ended.out


def test_events_beyond_one_page_are_told(queue: JobQueue, run_command: RunCommand) -> None:
    job_id = queue.enqueue()
    queue.sql(
        "INSERT INTO job_events (job_id, run_number, event_type, progress_done)"
        " SELECT %s, 1, 'PROGRESS', n FROM generate_series(1, 1500) AS n",
        job_id,
    )

    document = json.loads(run_command("job", str(job_id), "--json").out)

    assert [event["progress_done"] for event in document["events"]] == [None, *range(1, 1501)]


def test_a_job_that_does_not_exist_is_told_with_the_place(queue: JobQueue, run_command: RunCommand) -> None:
    queue.enqueue()

    ended = run_command("job", str(UUID(int=1)))

    assert (ended.exit_code, ended.out) == (1, "")
    assert ended.err.startswith(f"runledger: error: there is no job {UUID(int=1)} in schema runledger at host ")
    assert ended.err.endswith("; check the id, --schema and the database\n")


def make_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the standard output of the test look like a terminal."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("NO_COLOR", raising=False)


def test_a_terminal_gets_colours(queue: JobQueue, run_command: RunCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    make_terminal(monkeypatch)
    job_id = queue.enqueue()

    ended = run_command("job", str(job_id))

    assert ended.exit_code == 0
    assert f"\x1b[1mJob {job_id} of type email.send\x1b[0m" in ended.out


def test_a_terminal_without_rich_gets_plain_text(
    queue: JobQueue, run_command: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_terminal(monkeypatch)
    monkeypatch.delitem(sys.modules, "runledger.cli.rich_text", raising=False)
    monkeypatch.setitem(sys.modules, "rich", None)

    ended = run_command("job", str(queue.enqueue()))

    assert ended.exit_code == 0
    assert "\nAttempts\n  none\n" in ended.out
    assert "\x1b" not in ended.out


def test_json_on_a_terminal_is_json(queue: JobQueue, run_command: RunCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    make_terminal(monkeypatch)

    assert json.loads(run_command("job", str(queue.enqueue()), "--json").out)["job"]["status"] == "PENDING"


def test_a_key_without_its_type_is_told(run_command: RunCommand) -> None:
    ended = run_command("job", "--key", "order-7")

    assert ended.exit_code != 0
    assert "--type is missing" in ended.err
    assert "order-7" not in ended.err
