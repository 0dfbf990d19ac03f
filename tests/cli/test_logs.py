"""``runledger logs``, and the log in the story of a job."""

from __future__ import annotations

import json
import re

from runledger.cli.job_history import MAX_LOGS
from runledger.postgres import jobs
from tests.cli.conftest import RunCommand
from tests.cli.test_job import queue as queue  # noqa: PLC0414 - a fixture
from tests.postgres.job_queue import JobQueue


def log(queue: JobQueue, count: int = 2) -> str:
    job_id = queue.enqueue()
    queue.run(
        jobs.insert_job_logs(
            jobs.JobLogLine(job_id=job_id, attempt=1, message=f"page {number}\x1b[31m", payload={"card": "4242"})
            for number in range(count)
        )
    )
    return str(job_id)


def test_a_log_is_printed_line_by_line_and_safe_for_a_terminal(queue: JobQueue, run_command: RunCommand) -> None:
    ended = run_command("logs", log(queue))

    assert (ended.exit_code, ended.err) == (0, "")
    lines = [re.sub(r"^\+?-?\S+ (m?s|min|d|h) +", "", line.strip()) for line in ended.out.splitlines()]
    assert re.split(r" {2,}", lines[0]) == ["time", "run", "attempt", "level", "message"]
    assert [re.split(r" {2,}", line) for line in lines[1:]] == [
        ["1", "1", "INFO", f"page {number}\\x1b[31m"] for number in range(2)
    ]


def test_what_was_logged_besides_the_message_is_shown_only_when_asked_for(
    queue: JobQueue, run_command: RunCommand
) -> None:
    job_id = log(queue)

    for command in ("logs", "job"):
        for options in ([], ["--json"]):
            assert "4242" not in run_command(command, job_id, *options).out
            assert "4242" in run_command(command, job_id, *options, "--show-payload").out


def test_json_is_an_object_for_each_line_and_goes_on_after_one(queue: JobQueue, run_command: RunCommand) -> None:
    job_id = log(queue, 1_002)

    everything = [json.loads(line) for line in run_command("logs", job_id, "--json").out.splitlines()]
    rest = run_command("logs", job_id, "--json", "--after", str(everything[-2]["id"])).out.splitlines()

    assert [line["message"] for line in everything] == [f"page {number}\x1b[31m" for number in range(1_002)]
    assert [json.loads(line) for line in rest] == everything[-1:]


def test_an_empty_log_says_so(queue: JobQueue, run_command: RunCommand) -> None:
    job_id = queue.enqueue()

    assert run_command("logs", str(job_id)).out == f"the log of job {job_id} is empty\n"


def test_the_log_of_an_unknown_job_is_an_error(queue: JobQueue, run_command: RunCommand) -> None:
    assert queue
    ended = run_command("logs", "0197c1de-6f3a-7c01-9b6e-6b1f2f3c4d5e")

    assert (ended.exit_code, ended.out) == (1, "")
    assert "there is no job 0197c1de-6f3a-7c01-9b6e-6b1f2f3c4d5e" in ended.err


def test_the_story_of_a_job_has_the_first_lines_of_its_log(queue: JobQueue, run_command: RunCommand) -> None:
    job_id = log(queue, MAX_LOGS + 1)

    story = run_command("job", job_id).out
    document = json.loads(run_command("job", job_id, "--json").out)

    assert story.count("page ") == MAX_LOGS
    assert f"`runledger logs {job_id}` shows all of it" in story
    assert (len(document["logs"]), document["has_more_logs"]) == (MAX_LOGS, True)
