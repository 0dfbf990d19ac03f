"""Rules that every SQL file keeps: one statement, one document, one user, no dependence on search_path."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

import runledger.postgres
from runledger.postgres import migrate_after_idempotency_cutover, run_sync
from runledger.postgres.sql_files import SqlFile
from runledger.testing import EphemeralDatabase
from tools.sql_lock.lock import SQL_ROOT, describe_all, sql_files

FILES = sql_files()
EVERY_FILE = pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.area}/{file.name}")


def source_of(file: SqlFile) -> str:
    return SQL_ROOT.joinpath(file.area, f"{file.name}.sql").read_text(encoding="utf-8")


def files_named_in_modules() -> Iterator[SqlFile]:
    for path in Path(runledger.postgres.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "SqlFile":
                area, name = (ast.literal_eval(argument) for argument in node.args)
                yield SqlFile(area, name)


def test_every_file_is_used_by_exactly_one_module_and_every_use_has_its_file() -> None:
    assert Counter(files_named_in_modules()) == Counter(FILES)


def test_every_sql_file_lies_in_an_area() -> None:
    assert {SqlFile(path.parent.name, path.stem) for path in SQL_ROOT.rglob("*.sql")} == set(FILES)


@EVERY_FILE
def test_a_file_begins_with_a_comment(file: SqlFile) -> None:
    assert re.match(r"-- \S", source_of(file))


@EVERY_FILE
def test_a_file_is_one_statement_that_takes_one_document_as_its_first_step(file: SqlFile) -> None:
    text = file.text("any")

    assert text.startswith("WITH input AS (SELECT $1::jsonb AS doc)")
    assert re.findall(r"\$\d+", text) == ["$1"]
    assert ";" not in text


@EVERY_FILE
def test_a_file_holds_no_placeholder_of_a_driver_and_leaves_none_of_its_own(file: SqlFile) -> None:
    text = file.text("any")

    # Adapters of other drivers double every per cent sign and swap $1; a ready-made %s would come out wrong.
    assert "%s" not in text
    assert "{" not in text


@EVERY_FILE
def test_a_statement_about_jobs_that_reads_the_clock_takes_now_from_its_document(file: SqlFile) -> None:
    text = file.text("any")
    reads_clock = re.search(r"\b(?:statement_timestamp|clock_timestamp|transaction_timestamp|now)\(\)", text)

    if file.area == "jobs" and reads_clock is not None:
        assert "doc ->> 'now'" in text


def test_statements_and_migrations_name_the_schema_of_all_they_use(runledger_database: EphemeralDatabase) -> None:
    with psycopg.connect(runledger_database.url) as connection:
        # Neither the default schema nor a search path can help: what is not named with its schema is not found.
        connection.execute("DROP SCHEMA runledger CASCADE")
        connection.execute("SET search_path = ''")
        run_sync(connection, migrate_after_idempotency_cutover(), schema="Other schema")

        assert set(describe_all(connection, "Other schema")) == {f"{file.area}/{file.name}" for file in FILES}
        schemas = connection.execute("""
            SELECT DISTINCT nspname FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace
             WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')""").fetchall()
        assert schemas == [("Other schema",)]
