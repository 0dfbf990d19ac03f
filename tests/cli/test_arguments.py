"""What is refused before anything is done, and what the help says."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import pytest

from tests.cli.conftest import RunCommand

_OPTION = re.compile(r"(?<!\w)--[a-z][a-z-]*")
JOB_ID = "0197c1de-6f3a-7c01-9b6e-6b1f2f3c4d5e"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["job", "42"], "argument ID: '42' is no job id; give the UUID that enqueue returned"),
        (
            ["worker", "app:registry", "--type-concurrency", "email.send"],
            "argument --type-concurrency: 'email.send' is not TYPE=N, such as email.send=4",
        ),
        (
            ["worker", "app:registry", "--type-concurrency", "email.send=0"],
            "argument --type-concurrency: '0' is no whole number of at least",
        ),
        (
            ["worker", "app:registry", "--concurrency", "0"],
            "argument --concurrency: '0' is no whole number of at least",
        ),
        (
            ["worker", "app:registry", "--concurrency", "²"],
            "argument --concurrency: '²' is no whole number of at least",
        ),
        (["worker", "app:registry", "--batch-size", "many"], "argument --batch-size: 'many' is no whole number"),
        (["jobs", "--limit", "9" * 5_000], f"argument --limit: '{'9' * 97}...' is no whole number of at least 1"),
        (["logs", JOB_ID, "--after", "9" * 5_000], f"argument --after: '{'9' * 97}...' is no id of a line"),
        (["metrics", "\x1b[31mred\u202e"], "unrecognized arguments: \\x1b[31mred\\u202e"),
        (
            ["worker", "app:registry", "--poll-interval", "soon"],
            "argument --poll-interval: 'soon' is no duration; write",
        ),
        (
            ["worker", "app:registry", "--poll-interval", "0"],
            "argument --poll-interval: '0' is too short; give at least",
        ),
        (["worker", "app:registry", "--lease-ttl", "9s"], "argument --lease-ttl: '9s' is too short; give at least 10s"),
        (["worker", "app:registry", "--worker-id", " "], "argument --worker-id: is blank; leave the option out"),
        (["worker", "app:registry", "--log-level", "loud"], "argument --log-level: invalid choice: 'loud'"),
        (
            ["worker", "app:registry", "--shutdown-timeout", "-1s"],
            "argument --shutdown-timeout: '-1s' is no duration; write",
        ),
        (["payload", "42"], "argument ID: '42' is no job id; give the UUID that enqueue returned"),
        (["payload"], "no job is named; give its id, or --type and --key"),
        (["job"], "no job is named; give its id, or --type and --key"),
        (["payload", "--type", "email.send"], "no job is named; give its id, or --type and --key"),
        (["payload", JOB_ID, "--key", "order-1"], "give the id alone, or --type and --key"),
        (["payload", "--organization", "acme"], "argument --organization: 'acme' is no organization; give the UUID"),
        (["logs"], "no job is named; give its id, or --type and --key"),
        (["logs", JOB_ID, "--after", "-1"], "argument --after: '-1' is no id of a line"),
        (["definition"], "the following arguments are required: ACTION"),
        (["definition", "show"], "the following arguments are required: TYPE"),
        (["definition", "set", "email.send"], "nothing is to be changed; give --max-attempts, --timeout"),
        (["definition", "set", "email.send", "--enable", "--disable"], "not allowed with argument"),
        (["definition", "set", "email.send", "--priority", "high"], "argument --priority: 'high' is no whole number"),
        (["definition", "set", "email.send", "--timeout", "0"], "argument --timeout: '0' is too short; give at least"),
        (["workflow"], "the following arguments are required: ACTION"),
        (
            ["workflow", "show", "42"],
            "argument RUN: '42' is no id of a run; give the UUID that enqueue_workflow returned",
        ),
        (["workflow", "complete", JOB_ID], "the following arguments are required: GATE"),
        (["workflow", "complete", JOB_ID, "g", "--status", "RUNNING"], "argument --status: invalid choice: 'RUNNING'"),
        (["workflows", "--status", "LEASED"], "argument --status: invalid choice: 'LEASED'"),
        (["cancel"], "the following arguments are required: ID"),
        (["cancel", "42"], "argument ID: '42' is no job id; give the UUID that enqueue returned"),
        (["requeue", JOB_ID, "--at-once", "--keep-progress"], "not allowed with argument"),
        (["worker"], "the following arguments are required: MODULE:ATTRIBUTE"),
        (["migrat"], "invalid choice: 'migrat'"),
        (["migrate", "--schem", "x"], "unrecognized arguments: --schem x"),
    ],
)
def test_bad_input_is_refused_with_the_name_of_the_argument(
    run_command: RunCommand, words: list[str], message: str
) -> None:
    ended = run_command(*words)

    assert ended.exit_code == 2
    assert message in ended.err
    assert ended.err.startswith("runledger: error: ")
    assert ended.err.count("\n") == 1
    assert not ended.out


def test_a_refused_argument_leads_to_the_help_of_its_command(run_command: RunCommand) -> None:
    assert run_command("job", "42").err.endswith("; see `runledger job --help`\n")
    assert run_command("migrat").err.endswith("; see `runledger --help`\n")


@pytest.mark.parametrize("level", ["INFO", "Debug", "warning"])
def test_the_log_level_may_be_written_in_any_case(run_command: RunCommand, level: str) -> None:
    ended = run_command("worker", "nowhere.at.all:registry", "--log-level", level)

    assert "there is no module 'nowhere.at.all'" in ended.err


def test_without_a_command_the_help_is_shown_and_the_exit_code_is_that_of_bad_input(run_command: RunCommand) -> None:
    ended = run_command()

    assert ended.exit_code == 2
    assert ended.err.startswith("usage: runledger ")


@pytest.mark.parametrize(
    "words",
    [["--embedded", "migrate"], ["job", "--embedded", JOB_ID], ["worker", "--embedded", "app.jobs:registry"]],
    ids=lambda words: words[0],
)
def test_embedded_that_took_another_word_for_its_name_is_explained(run_command: RunCommand, words: list[str]) -> None:
    ended = run_command(*words)

    assert ended.exit_code == 2
    assert "write --embedded=NAME, or put --embedded last" in ended.err
    assert ended.err.count("\n") == 1


COMMANDS_WITH_A_PLACE = [
    *(["migrate"], ["check"], ["grants"], ["worker"], ["jobs"], ["metrics"], ["job"], ["logs"], ["payload"]),
    *(["cancel"], ["requeue"], ["definition"]),
    *(["schedule"], ["schedule", "list"], ["schedule", "show"], ["schedule", "set"]),
    *(["schedule", "pause"], ["schedule", "resume"], ["schedule", "delete"]),
    *(["workflows"], ["workflow"], ["workflow", "show"], ["workflow", "diagram"]),
    *(["workflow", "cancel"], ["workflow", "complete"]),
    *(["definition", "list"], ["definition", "show"], ["definition", "set"], ["definition", "pause"]),
    *(["config"], ["config", "list"], ["config", "show"], ["config", "set"], ["config", "delete"]),
    *(["catalog"], ["catalog", "sync"]),
]


@pytest.mark.parametrize("command", COMMANDS_WITH_A_PLACE, ids=" ".join)
def test_every_command_has_the_options_of_the_place_and_explains_variables_and_exit_codes(
    run_command: RunCommand, command: list[str]
) -> None:
    ended = run_command(*command, "--help")

    assert ended.exit_code == 0
    for part in (
        "--database-url",
        "--embedded",
        "--schema",
        "RUNLEDGER_DATABASE_URL",
        "RUNLEDGER_SCHEMA",
        "exit codes",
    ):
        assert part in ended.out


def test_the_help_of_embedded_says_that_the_data_stay(run_command: RunCommand) -> None:
    ended = run_command("embedded", "--help")

    assert ended.exit_code == 0
    assert "The data\nstay for the next start" in ended.out


def test_the_help_of_job_says_what_is_not_shown_and_why(run_command: RunCommand) -> None:
    help_text = run_command("job", "--help").out

    assert "Payload, checkpoint, output and idempotency key may hold secrets" in help_text
    assert "--show-payload" in help_text


def test_version(run_command: RunCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", {"runledger-pg": "1.2.3"}.__getitem__)

    ended = run_command("--version")

    assert (ended.exit_code, ended.out) == (0, "runledger 1.2.3\n")


def test_version_of_a_checkout_that_is_not_installed(run_command: RunCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    def not_installed(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", not_installed)

    ended = run_command("--version")

    assert (ended.exit_code, ended.out) == (0, "runledger, from a directory that was not installed\n")


def test_the_reference_has_every_option_and_no_other(run_command: RunCommand) -> None:
    reference = Path(__file__).parents[2].joinpath("docs/reference/command-line.md").read_text(encoding="utf-8")
    helps = [
        run_command(*words, "--help").out
        for words in ([], *COMMANDS_WITH_A_PLACE, ["embedded"], ["schedule", "next"], ["catalog", "show"])
    ]

    assert set(_OPTION.findall(reference)) == set(_OPTION.findall("".join(helps)))
