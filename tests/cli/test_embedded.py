"""The server for first steps, which one terminal keeps running for another."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.cli.conftest import RunCommand
from tests.cli.programs import Program
from tests.embedded.processes import await_stopped

# The command with its servers in the directory of the test.
_COMMAND = """
import sys
from pathlib import Path
import runledger.embedded
runledger.embedded.default_data_dir = lambda name: Path(sys.argv[1]) / name
from runledger.cli import main
sys.exit(main(sys.argv[2:]))
"""


def command(server_parent: Path) -> list[str]:
    return [sys.executable, "-c", _COMMAND, str(server_parent)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_the_server_runs_until_a_signal_and_its_data_stay(
    server_parent: Path, tmp_path: Path, number: signal.Signals
) -> None:
    with Program("embedded", "app", directory=tmp_path, command=command(server_parent)) as program:
        url = program.await_line("postgresql://")
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT current_database()").fetchone() == ("app",)
            connection.execute("CREATE TABLE kept ()")
        hint = program.await_line("Runs until Ctrl-C")

        program.send(number)

        assert program.await_end() == 0
    # What a person copies sets the variable to this URL: it has an ampersand, which a shell would obey.
    assignment = hint.partition("export ")[2]
    assert shlex.split(assignment) == [f"DATABASE_URL={url}"]
    shown = subprocess.run(
        ["/bin/sh", "-c", f'{assignment}; printf %s "$DATABASE_URL"'], capture_output=True, check=True, text=True
    )
    assert shown.stdout == url
    await_stopped(server_parent / "app")

    with Program("embedded", "app", directory=tmp_path, command=command(server_parent)) as program:
        with psycopg.connect(program.await_line("postgresql://")) as connection:
            connection.execute("SELECT FROM kept")
        program.send(number)
        program.await_end()


def test_the_name_is_default_unless_given(server_parent: Path, tmp_path: Path) -> None:
    with Program("embedded", directory=tmp_path, command=command(server_parent)) as program:
        assert "@/default?" in program.await_line("postgresql://")
        program.send(signal.SIGTERM)
        assert program.await_end() == 0


def test_an_impossible_name_is_refused(run_command: RunCommand) -> None:
    ended = run_command("embedded", "a/b")

    assert ended.exit_code == 2
    assert ended.err.startswith("runledger: error: argument NAME: is not a plain file name; use ")


@pytest.mark.parametrize("words", [["--database-url", "postgresql:///shop"], ["--embedded=demo"]], ids=lambda w: w[0])
def test_another_database_is_refused(run_command: RunCommand, words: list[str]) -> None:
    ended = run_command(*words, "embedded")

    assert ended.exit_code == 2
    assert "leave out --database-url, and give its name as NAME" in ended.err
