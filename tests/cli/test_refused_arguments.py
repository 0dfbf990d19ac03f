"""What the ledger refuses is told in one line, by the option or the argument that it came from."""

from __future__ import annotations

import pytest

from tests.cli.conftest import RunCommand
from tests.cli.test_job import queue as queue  # noqa: PLC0414 - a fixture
from tests.cli.test_logs import log
from tests.postgres.job_queue import JobQueue

BAD_BYTE = "q\udcff"
"""As Python has an argument with a byte that is no UTF-8."""

RUN = "0198c0de-0000-7000-8000-0000000000aa"


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["jobs", "--type"], "--type"),
        (["jobs", "--type-contains"], "--type-contains"),
        (["metrics", "--type"], "--type"),
        (["workflows", "--type-contains"], "--type-contains"),
        (["definition", "list"], "TEXT"),
        (["definition", "show"], "TYPE"),
        (["definition", "pause"], "TYPE"),
        (["definition", "resume"], "TYPE"),
        (["schedule", "list"], "TEXT"),
        (["schedule", "list", "--type"], "--type"),
        (["schedule", "show"], "NAME"),
        (["schedule", "pause"], "NAME"),
        (["logs", "--type", "t", "--key"], "--key"),
    ],
    ids=" ".join,
)
def test_a_word_that_postgresql_cannot_hold_is_bad_input(
    queue: JobQueue, run_command: RunCommand, words: list[str], option: str
) -> None:
    assert queue

    ended = run_command(*words, BAD_BYTE)

    assert (ended.exit_code, ended.out) == (2, "")
    assert ended.err == (
        f"runledger: error: {option}: contains a lone surrogate; PostgreSQL cannot store it, remove it\n"
    )


def test_a_window_that_no_clock_has_is_bad_input(queue: JobQueue, run_command: RunCommand) -> None:
    assert queue

    ended = run_command("metrics", "--window", "800000000h")

    assert (ended.exit_code, ended.out) == (2, "")
    assert ended.err == "runledger: error: --window: is too long; pass at most 36,500 days\n"


def test_an_id_that_no_line_has_is_bad_input(queue: JobQueue, run_command: RunCommand) -> None:
    ended = run_command("logs", log(queue), "--after", "9" * 23)

    assert (ended.exit_code, ended.out) == (2, "")
    assert ended.err == "runledger: error: --after: is out of range; pass at most 9223372036854775807\n"


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["schedule", "set", "n", "--type", "email.send", "--cron", "@daily", "--payload"], "--payload"),
        (["workflow", "complete", RUN, "gate", "--output"], "--output"),
    ],
    ids=["schedule", "workflow"],
)
def test_json_that_is_nested_too_deep_is_bad_input(
    queue: JobQueue, run_command: RunCommand, words: list[str], option: str
) -> None:
    assert queue

    ended = run_command(*words, "[" * 100_000)

    assert (ended.exit_code, ended.out) == (2, "")
    assert ended.err == f"runledger: error: {option}: is nested too deep; flatten it\n"
