"""``runledger payload``, and the two ways of naming a job, against a database."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from uuid import UUID

import pytest

from runledger import SyncLedger
from runledger.core import JobDefinition
from runledger.testing import EphemeralDatabase
from tests.cli.conftest import RunCommand

TYPE = "email.send"
ORGANIZATION = UUID(int=7)


@pytest.fixture
def ledger(runledger_database: EphemeralDatabase, monkeypatch: pytest.MonkeyPatch) -> Iterator[SyncLedger]:
    """A ledger in the database that the command finds by itself."""
    monkeypatch.setenv("RUNLEDGER_DATABASE_URL", runledger_database.url)
    with SyncLedger.connect(runledger_database.url, max_connections=1) as opened:
        opened.ensure_job_definitions([JobDefinition(job_type=TYPE)])
        yield opened


@pytest.mark.parametrize("organization_id", [None, ORGANIZATION], ids=["of none", "of an organization"])
def test_the_payload_of_an_id_is_printed_as_json(
    ledger: SyncLedger, run_command: RunCommand, organization_id: UUID | None
) -> None:
    payload = {"to": "Grüße\x9b31m", "parts": [1, 2.5, None]}
    job_id = ledger.enqueue(TYPE, payload, organization_id=organization_id)

    ended = run_command("payload", str(job_id))

    assert (ended.exit_code, ended.err) == (0, "")
    assert ended.out.isascii()
    assert json.loads(ended.out) == payload


def test_a_terminal_gets_letters_of_every_language_and_nothing_that_it_would_obey(
    ledger: SyncLedger, run_command: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = ledger.enqueue(TYPE, "Grüße\x9b31m")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)

    assert run_command("payload", str(job_id)).out == '"Grüße\\x9b31m"\n'


def test_a_key_names_a_job_in_its_own_scope(ledger: SyncLedger, run_command: RunCommand) -> None:
    ledger.enqueue(TYPE, "of none", idempotency_key="order-1")
    ledger.enqueue(TYPE, "of one", idempotency_key="order-1", organization_id=ORGANIZATION)

    of_none = run_command("payload", "--type", TYPE, "--key", "order-1")
    of_one = run_command("payload", "--type", TYPE, "--key", "order-1", "--organization", str(ORGANIZATION))

    assert (of_none.out, of_one.out) == ('"of none"\n', '"of one"\n')


def test_the_story_of_a_job_is_found_by_its_key(ledger: SyncLedger, run_command: RunCommand) -> None:
    job_id = ledger.enqueue(TYPE, {"card": "4242"}, idempotency_key="order-1")

    ended = run_command("job", "--type", TYPE, "--key", "order-1")

    assert ended.out.startswith(f"Job {job_id} of type {TYPE}\n")
    assert "4242" not in ended.out
    assert "order-1" not in ended.out


@pytest.mark.parametrize("command", ["job", "payload"])
def test_an_unknown_job_is_told_without_its_key(ledger: SyncLedger, run_command: RunCommand, command: str) -> None:
    ledger.enqueue(TYPE, idempotency_key="order-1")

    by_id = run_command(command, str(UUID(int=1)))
    by_key = run_command(command, "--type", TYPE, "--key", "order-1-secret")
    of_another = run_command(command, "--type", TYPE, "--key", "order-1", "--organization", str(ORGANIZATION))

    assert (by_id.exit_code, by_key.exit_code, of_another.exit_code) == (1, 1, 1)
    assert f"there is no job {UUID(int=1)} in schema runledger at host " in by_id.err
    assert "there is no job of type email.send and no organization with this key in schema runledger" in by_key.err
    assert "secret" not in by_key.err
    assert f"and organization {ORGANIZATION} with this key" in of_another.err
    assert not by_id.out + by_key.out + of_another.out


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--type", TYPE, "--key", " "], "--key: is blank; "), (["--type", " ", "--key", "x"], "--type: is blank; ")],
    ids=["key", "type"],
)
def test_a_blank_name_is_bad_input(ledger: SyncLedger, run_command: RunCommand, words: list[str], message: str) -> None:
    assert ledger

    ended = run_command("payload", *words)

    assert (ended.exit_code, ended.out) == (2, "")
    assert ended.err.startswith(f"runledger: error: {message}")
