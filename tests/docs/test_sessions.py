"""Pages whose examples are one session: their python blocks run in order, in one namespace, on a fresh database.

``DATABASE_URL`` names the database. ``await`` may stand at the top level, as in ``python -m asyncio``. A ``text``
block directly after a python block is what that block prints.
"""

from __future__ import annotations

import ast
import asyncio
import codeop
import contextlib
import inspect
import io
from itertools import pairwise
from typing import Any

import pytest

from runledger.testing import EphemeralDatabase
from tests.docs.pages import DOCS, Block, blocks_of

_PAGES = [
    "how-to/declare-jobs-and-schedules.md",
    "how-to/enqueue-in-your-transaction.md",
    "how-to/migrate.md",
    "how-to/run-jobs-on-a-schedule.md",
    "how-to/run-workers.md",
    "how-to/look-after-the-queue.md",
    "how-to/run-your-own-loop.md",
    "how-to/write-a-handler.md",
    "how-to/write-a-workflow.md",
    "reference/cron-expressions.md",
    "reference/python-api.md",
]
# By the other modules of this folder.
_TESTED_ELSEWHERE = {
    "how-to/integrate-into-a-service.md",
    "how-to/read-the-ledger.md",
    "tutorial/first-job.md",
    "tutorial/first-workflow.md",
}
# Beside the tests of their package.
_TESTED_WITH_A_PACKAGE = {"explanation/embedded-server.md", "how-to/test-your-jobs.md"}


@pytest.mark.parametrize("page", _PAGES)
def test_the_session_of_a_page_runs_and_prints_what_it_says(
    page: str, runledger_database: EphemeralDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", runledger_database.url)
    blocks = blocks_of(DOCS / page)
    expected = {block: after for block, after in pairwise(blocks) if after.language == "text"}
    namespace: dict[str, Any] = {"__name__": "__main__"}
    with asyncio.Runner() as runner:
        for block in blocks:
            if block.language == "python":
                printed = _run(block, namespace, runner)
                assert printed == (expected[block].text if block in expected else ""), block.place


@pytest.mark.parametrize("page", [page for page in _PAGES if "python -m asyncio" in (DOCS / page).read_text("utf-8")])
def test_the_examples_of_a_page_can_be_pasted_into_the_console(page: str) -> None:
    """Up to Python 3.12 it reads line by line, and takes a statement right after an indented block for a part of it.

    An empty line ends a block there. Some blocks need one inside, to look as they should; their pages say what to do.
    """
    text = " ".join((DOCS / page).read_text("utf-8").split())
    compile_command = codeop.CommandCompiler()
    compile_command.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    for block in blocks_of(DOCS / page):
        if block.language == "python":
            lines = block.text.splitlines()
            pasted = [line for line, following in pairwise([*lines, ""]) if line or not following.startswith(" ")]
            assert pasted == lines or "leave out the empty lines inside" in text, block.place
            entered: list[str] = []
            for line in [*pasted, ""]:
                entered.append(line)
                if compile_command("\n".join(entered), block.place, "single") is not None:
                    entered.clear()
            assert not entered, f"{block.place}: the last statement does not end"


@pytest.mark.parametrize("page", [page for page in _PAGES if page.startswith("how-to/")])
def test_a_page_that_awaits_at_the_top_level_names_the_console_for_it(page: str) -> None:
    sources = [block.text for block in blocks_of(DOCS / page) if block.language == "python"]
    if any(_awaits_at_the_top_level(source) for source in sources):
        assert "`python -m asyncio`" in (DOCS / page).read_text(encoding="utf-8")


def test_every_page_with_examples_is_tested() -> None:
    with_examples = {
        str(page.relative_to(DOCS))
        for page in DOCS.rglob("*.md")
        if any(block.language in {"python", "sql"} for block in blocks_of(page))
    }
    assert with_examples - set(_PAGES) == _TESTED_ELSEWHERE | _TESTED_WITH_A_PACKAGE


def _run(block: Block, namespace: dict[str, Any], runner: asyncio.Runner) -> str:
    # The empty lines give tracebacks the line numbers of the page.
    source = "\n" * (block.line - 1) + block.text
    code = compile(source, block.place, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        result = eval(code, namespace)  # noqa: S307 (our own pages)
        if inspect.iscoroutine(result):
            runner.run(result)
    return printed.getvalue()


def _awaits_at_the_top_level(source: str) -> bool:
    try:
        compile(source, "block", "exec", dont_inherit=True)
    except SyntaxError:
        return True
    return False
