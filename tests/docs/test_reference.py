"""The tables of the reference say what the code says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from datetime import timedelta

import pytest

from runledger import JobsConfig
from runledger.postgres.sql_errors import CONSTRAINT_CLASSES, SQLSTATE_CLASSES
from tests.docs.pages import DOCS, ROOT

_ERROR_CODE = re.compile(
    r"(argument|cli|config|core|db|embedded|job|job_definition|job_schedule|schema|testing|workflow)\.[a-z_]+"
)
_DURATION = re.compile(r"(?P<number>\d+) (?P<unit>ms|s)")


def _rows(page: str, first_cell: str) -> Iterator[list[str]]:
    """Yield the rows of a page's tables whose first cell matches, as texts without backticks."""
    for line in (DOCS / "reference" / f"{page}.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and re.fullmatch(first_cell, cells[0]):
            yield [cell.replace("`", "") for cell in cells]


def _calls() -> Iterator[tuple[ast.expr, ast.expr]]:
    """Yield what is called and with which first argument, for every call in the package."""
    for module in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args:
                yield node.func, node.args[0]


def _value(cell: str) -> bool | int | timedelta:
    if cell in {"True", "False"}:
        return cell == "True"
    duration = _DURATION.fullmatch(cell)
    if duration is None:
        return int(cell)
    number = int(duration["number"])
    return timedelta(milliseconds=number) if duration["unit"] == "ms" else timedelta(seconds=number)


_CODE_ONLY = "in code only"
_WITHOUT_NUMBER = {"worker_id", "max_concurrency_by_type"}
_SETTINGS = [row for row in _rows("configuration", rf"`JOBS_\w+`|{_CODE_ONLY}") if row[1] not in _WITHOUT_NUMBER]


def test_every_setting_is_documented() -> None:
    documented = {row[1] for row in _rows("configuration", rf"`JOBS_\w+`|{_CODE_ONLY}")}
    assert documented == set(JobsConfig.__dataclass_fields__)


@pytest.mark.parametrize(("variable", "field", "default", "minimum", "_meaning"), _SETTINGS, ids=lambda cell: cell[:30])
def test_a_setting_has_the_documented_default_and_minimum(
    variable: str, field: str, default: str, minimum: str, _meaning: str
) -> None:
    assert getattr(JobsConfig.from_env({}), field) == _value(default)
    if variable != _CODE_ONLY:
        assert getattr(JobsConfig.from_env({variable: "0"}), field) == _value(minimum)


def test_the_table_of_errors_has_every_code_and_no_other() -> None:
    texts = {
        node.value
        for module in (ROOT / "src").rglob("*.py")
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    operations = {
        argument.value
        for function, argument in _calls()
        if isinstance(function, ast.Name) and function.id == "operation" and isinstance(argument, ast.Constant)
    }
    codes = {text for text in texts - operations if _ERROR_CODE.fullmatch(text)}
    assert {row[0] for row in _rows("errors", r"`[a-z_]+\.[a-z_]+`")} == codes


def test_the_table_of_errors_has_the_category_of_classified_errors() -> None:
    documented = {row[0]: row[1] for row in _rows("errors", r"`[a-z_]+\.[a-z_]+`")}
    for shown in [*CONSTRAINT_CLASSES.values(), *SQLSTATE_CLASSES.values()]:
        assert documented[shown.code] == f"QueryError, {shown.category}"


def _is_logger(expression: ast.expr) -> bool:
    return ast.unparse(expression) in {"_logger", "self._logger"}


def test_the_table_of_log_records_has_every_event_with_its_level() -> None:
    logged = {
        (argument.value.partition(":")[0], "error, traceback" if function.attr == "exception" else function.attr)
        for function, argument in _calls()
        if isinstance(function, ast.Attribute)
        and _is_logger(function.value)
        and isinstance(argument, ast.Constant)
        and isinstance(argument.value, str)
    }
    documented = {(row[0], row[1]) for row in _rows("log-records", r"`[a-z_]+\.[a-z_]+`")}
    # Some errors attach the traceback of an exception that they did not catch themselves.
    attached = {
        "observer.failed",
        "supervisor.part_failed",
        "worker.dead_letter_hook_failed",
        "worker.handler_panicked",
        "worker.outcome_write_crashed",
    }
    assert documented == {(event, "error, traceback" if event in attached else level) for event, level in logged}


def test_every_record_about_a_worker_has_its_id() -> None:
    """By the logger of a worker, or as a field; a stall that is over is that of the event loop."""
    without = {
        event.value
        for module in (ROOT / "src").rglob("*.py")
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _is_logger(node.func.value)
        for event in node.args[:1]
        if isinstance(event, ast.Constant)
        and str(event.value).startswith(("worker.", "lease_keeper.", "listener."))
        and ast.unparse(node.func.value) != "self._logger"
        and "'worker_id'" not in ast.unparse(node)
    }
    assert without == {"lease_keeper.loop_resumed"}
