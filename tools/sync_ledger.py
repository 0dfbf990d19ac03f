"""The blocking ledger, made from the asyncio one: ``python -m tools.sync_ledger [--check]``.

``client/sync_*.py`` are the modules of ``client`` without awaiting. They are written by this program, committed, and
checked to be current, so that each method is written once and both forms can be read. The change is one of words: a
token, or a word of a docstring, that stands in the tables below becomes another one or goes away.
"""

from __future__ import annotations

import argparse
import difflib
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path

CLIENT = Path(__file__).resolve().parents[1] / "src" / "runledger" / "client"

MODULES = (
    "ledger_part",
    "job_catalogs",
    "job_definitions",
    "job_schedules",
    "log_lines",
    "runtime_configs",
    "administration",
    "events_of_all_jobs",
    "held_jobs",
    "single_jobs",
    "workflow_run_handle",
    "workflow_runs",
    "ledger",
)
"""The modules that have a blocking form; that of ``x`` is ``sync_x``."""

_HEADER = "# Written by `make sync-ledger` from {module}.py; do not edit.\n"

_NAMES = {
    "Notifier": "SyncNotifier",
    "LedgerPart": "SyncLedgerPart",
    "JobCatalogs": "SyncJobCatalogs",
    "JobDefinitions": "SyncJobDefinitions",
    "JobSchedules": "SyncJobSchedules",
    "JobLogs": "SyncJobLogs",
    "Administration": "SyncAdministration",
    "EventsOfAllJobs": "SyncEventsOfAllJobs",
    "RuntimeConfig": "SyncRuntimeConfig",
    "RuntimeConfigs": "SyncRuntimeConfigs",
    "HeldJobs": "SyncHeldJobs",
    "SingleJobs": "SyncSingleJobs",
    "WorkflowRunHandle": "SyncWorkflowRunHandle",
    "WorkflowRuns": "SyncWorkflowRuns",
    "RunWatch": "SyncRunWatch",
    "Ledger": "SyncLedger",
    "AsyncConnection": "Connection",
    "AsyncConnectionPool": "ConnectionPool",
    "AsyncGenerator": "Generator",
    "asynccontextmanager": "contextmanager",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "open_pool": "open_sync_pool",
    "open_transaction": "open_sync_transaction",
    **{module: f"sync_{module}" for module in MODULES if module != "ledger"},
}
# What is an ordinary word in other modules.
_NAMES_OF_MODULE = {
    "ledger": {"run": "run_sync"},
    "runtime_configs": {"asyncio": "threading"},
    "events_of_all_jobs": {"pause": "sync_pause"},
}
_DROPPED = ("async", "await")
# What words alone do not make right.
_SENTENCES = {
    "for asyncio applications": "for blocking applications",
    ":class:`SyncLedger` is the same for blocking code.": ":class:`Ledger` is the same for asyncio code.",
}

# `run` and the modules are words of prose too.
_TEXT_NAMES = {name: blocking for name, blocking in _NAMES.items() if not name.islower()}
_IN_TEXT = re.compile(
    "|".join(
        [
            *map(re.escape, _SENTENCES),
            rf"\b(?:{'|'.join(_TEXT_NAMES)})\b",
            rf"\b(?:{'|'.join(_DROPPED)}) +",
        ]
    )
)
_TEXTS = _SENTENCES | _TEXT_NAMES
# It permits a parameter that asyncio code should not have; blocking code may.
_ASYNC_EXCEPTION = re.compile(r"# noqa: ASYNC\d+\b")


def blocking_source(module: str, source: str) -> str:
    """Return the blocking form of a module, formatted.

    Args:
        module: The name of the module.
        source: Its text.
    """
    names = _NAMES | _NAMES_OF_MODULE.get(module, {})
    return _formatted(_HEADER.format(module=module) + _replaced(source, names))


def blocking_path(module: str) -> Path:
    """Return where the blocking form of a module is."""
    return CLIENT / f"sync_{module}.py"


def compare(committed: str, current: str) -> list[str]:
    """Return the lines of the difference; none when the texts are equal."""
    return list(difflib.unified_diff(committed.splitlines(), current.splitlines(), "committed", "made", lineterm=""))


def main(arguments: Sequence[str]) -> int:
    """Write the modules, or compare them and show the differences; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.sync_ledger", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when a module is not current")
    is_check = parser.parse_args(arguments).check
    differences: list[str] = []
    for module in MODULES:
        path = blocking_path(module)
        current = blocking_source(module, (CLIENT / f"{module}.py").read_text(encoding="utf-8"))
        if is_check:
            differences += compare(path.read_text(encoding="utf-8") if path.exists() else "", current)
        else:
            path.write_text(current, encoding="utf-8")
    if differences:
        print("\n".join(differences))
        print("The blocking ledger is not current: change the asyncio one and run `make sync-ledger`.")
        return 1
    return 0


def _replaced(source: str, names: Mapping[str, str]) -> str:
    line_starts = [0, *accumulate(map(len, source.splitlines(keepends=True)))]
    pieces: list[str] = []
    kept_from = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        replacement = _blocking(token, names)
        if replacement == token.string:
            continue
        (row, column), (end_row, end_column) = token.start, token.end
        pieces += [source[kept_from : line_starts[row - 1] + column], replacement]
        kept_from = line_starts[end_row - 1] + end_column
        if token.string in _DROPPED:
            kept_from += 1  # the space after it
    return "".join([*pieces, source[kept_from:]])


def _blocking(token: tokenize.TokenInfo, names: Mapping[str, str]) -> str:
    if token.type == tokenize.NAME:
        return "" if token.string in _DROPPED else names.get(token.string, token.string)
    if token.type == tokenize.STRING:
        return _IN_TEXT.sub(lambda found: _TEXTS.get(found[0], ""), token.string)
    if token.type == tokenize.COMMENT and _ASYNC_EXCEPTION.match(token.string):
        return ""
    return token.string


def _formatted(source: str) -> str:
    for command in (("check", "--select", "I", "--fix"), ("format",)):
        ruff = [sys.executable, "-m", "ruff", *command, "--quiet", "--stdin-filename", str(CLIENT / "made.py"), "-"]
        source = subprocess.run(ruff, input=source, stdout=subprocess.PIPE, check=True, text=True).stdout
    return source


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
