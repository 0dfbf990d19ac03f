"""How the program ends, and what becomes of its output on the way."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import psycopg
import pytest

from runledger import SyncLedger
from runledger.core import JobDefinition
from runledger.testing import EphemeralDatabase
from tests.cli.programs import COMMAND, ENVIRONMENT, Program

_SOMEBODY_WAITS = """
SELECT EXISTS (
    SELECT FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
     WHERE d.datname = current_database() AND l.locktype = 'advisory' AND NOT l.granted)
"""


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
def test_a_reader_that_has_gone_ends_the_program_silently(
    runledger_database: EphemeralDatabase, unbuffered: str
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ended = subprocess.run(
            [*COMMAND, "migrate", "--database-url", runledger_database.url],
            env=ENVIRONMENT | {"PYTHONUNBUFFERED": unbuffered},
            stdout=writer,
            stderr=subprocess.PIPE,
            check=False,
            text=True,
        )
    finally:
        os.close(writer)

    assert (ended.returncode, ended.stderr) == (141, "")


@pytest.mark.parametrize("words", ["migrate", "jobs", "payload ID", "job ID --show-payload"])
def test_a_closed_output_is_no_error(runledger_database: EphemeralDatabase, words: str) -> None:
    ended = redirected(runledger_database, words, ">&-")

    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("words", ["jobs", "jobs --json", "payload ID", "job ID --show-payload"])
def test_an_output_that_cannot_be_written_is_told(runledger_database: EphemeralDatabase, words: str) -> None:
    ended = redirected(runledger_database, words, ">/dev/full")

    told = "runledger: error: the output cannot be written: No space left on device\n"
    assert (ended.returncode, ended.stderr) == (1, told)


def redirected(database: EphemeralDatabase, words: str, redirection: str) -> subprocess.CompletedProcess[str]:
    """Run a command about a job with a payload of a megabyte."""
    with SyncLedger.connect(database.url) as ledger:
        ledger.ensure_job_definitions([JobDefinition(job_type="email.send")])
        job_id = ledger.enqueue("email.send", {"text": "x" * 1_000_000})
    command = [*COMMAND, *words.replace("ID", str(job_id)).split(), "--database-url", database.url]
    shell = ["/bin/sh", "-c", f'exec "$@" {redirection}', "sh", *command]
    return subprocess.run(shell, env=ENVIRONMENT, stderr=subprocess.PIPE, check=False, text=True)


def test_an_interrupt_ends_a_command_that_waits(runledger_database: EphemeralDatabase, tmp_path: Path) -> None:
    url = runledger_database.url
    with (
        SyncLedger.connect(url) as ledger,
        ledger.transaction() as connection,
        psycopg.connect(url, autocommit=True) as observer,
    ):
        ledger.migrate(connection=connection)
        with Program("migrate", "--database-url", url, directory=tmp_path) as program:
            while observer.execute(_SOMEBODY_WAITS).fetchone() != (True,):
                assert program.is_running
            program.send(signal.SIGINT)

            assert program.await_end() == 130
            assert not program.lines


def test_letters_that_the_encoding_of_the_output_lacks_are_escaped(runledger_database: EphemeralDatabase) -> None:
    with SyncLedger.connect(runledger_database.url) as ledger:
        ledger.ensure_job_definitions([JobDefinition(job_type="Gr\u00fc\u00dfe")])
        job_id = ledger.enqueue("Gr\u00fc\u00dfe")

    ended = subprocess.run(
        [*COMMAND, "job", str(job_id), "--database-url", runledger_database.url],
        env=ENVIRONMENT | {"PYTHONIOENCODING": "ascii:strict"},
        capture_output=True,
        check=True,
        text=True,
    )

    assert ended.stdout.startswith(f"Job {job_id} of type Gr\\xfc\\xdfe\n")
