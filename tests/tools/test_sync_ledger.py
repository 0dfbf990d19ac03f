"""The program that makes the blocking ledger: which words it changes, and when it says that a file is not current."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import sync_ledger


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with one module that has a blocking form, which does not exist yet."""
    monkeypatch.setattr(sync_ledger, "CLIENT", tmp_path)
    monkeypatch.setattr(sync_ledger, "MODULES", ("ledger",))
    tmp_path.joinpath("ledger.py").write_text("async def close() -> None: ...\n", encoding="utf-8")
    return tmp_path


def made(source: str) -> str:
    """Return the blocking form of a text, without the line that says so."""
    mark, _, text = sync_ledger.blocking_source("ledger", source).partition("\n")
    assert mark == "# Written by `make sync-ledger` from ledger.py; do not edit."
    return text


@pytest.mark.parametrize(
    ("source", "blocking"),
    [
        ("async def f() -> None:\n    await g(await h())\n", "def f() -> None:\n    g(h())\n"),
        ("async with a, b:\n    pass\n", "with a, b:\n    pass\n"),
        ("x: AsyncConnection[Any] | None\n", "x: Connection[Any] | None\n"),
        ("await run(self._run, running)\n", "run_sync(self._run, running)\n"),
        ("class Ledger(HeldJobs):\n    pass\n", "class SyncLedger(SyncHeldJobs):\n    pass\n"),
        ("f(a, b=None)  # noqa: ASYNC109 (the job's)\n", "f(a, b=None)\n"),
        ("f(a, b=None)  # noqa: ARG001 (kept)\n", "f(a, b=None)  # noqa: ARG001 (kept)\n"),
    ],
    ids=["await", "with", "names", "whole words", "classes", "exception", "other exception"],
)
def test_words_of_asyncio_become_those_of_blocking_code(source: str, blocking: str) -> None:
    assert made(source) == blocking


@pytest.mark.parametrize(
    ("text", "blocking"),
    [
        ("async with await Ledger.connect(url):", "with SyncLedger.connect(url):"),
        ("A ledger and its held_jobs run in ``async with``.", "A ledger and its held_jobs run in ``with``."),
        (":class:`SyncLedger` is the same for blocking code.", ":class:`Ledger` is the same for asyncio code."),
    ],
    ids=["example", "prose", "sentence"],
)
def test_docstrings_change_with_the_code_and_stay_prose(text: str, blocking: str) -> None:
    assert made(f'"""{text}"""\n') == f'"""{blocking}"""\n'


def test_imports_are_sorted_and_lines_joined_as_if_written_by_hand() -> None:
    source = """\
from runledger.client.held_jobs import HeldJobs
from runledger.client.argument_checks import check_lease

async def a_function(
    self, *, connection: AsyncConnection[Any] | None = None, a_parameter_with_a_long_name: int = 1_000_000
) -> JobDefinition:
    pass
"""
    assert (
        made(source)
        == """\
from runledger.client.argument_checks import check_lease
from runledger.client.sync_held_jobs import SyncHeldJobs


def a_function(
    self, *, connection: Connection[Any] | None = None, a_parameter_with_a_long_name: int = 1_000_000
) -> JobDefinition:
    pass
"""
    )


def test_a_file_that_was_just_written_is_current(client: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sync_ledger.main([]) == 0
    assert sync_ledger.main(["--check"]) == 0
    assert capsys.readouterr().out == ""
    assert "def close" in client.joinpath("sync_ledger.py").read_text(encoding="utf-8")


def test_a_file_that_differs_is_shown_as_a_difference_and_left_alone(
    client: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sync_ledger.main([])
    kept = client / "sync_ledger.py"
    by_hand = kept.read_text(encoding="utf-8").replace("close", "end")
    kept.write_text(by_hand, encoding="utf-8")

    assert sync_ledger.main(["--check"]) == 1

    shown = capsys.readouterr().out
    assert "-def end()" in shown
    assert "is not current: change the asyncio one and run `make sync-ledger`" in shown
    assert kept.read_text(encoding="utf-8") == by_hand


def test_a_missing_file_is_not_current(client: Path) -> None:
    assert sync_ledger.main(["--check"]) == 1
    assert not client.joinpath("sync_ledger.py").exists()
