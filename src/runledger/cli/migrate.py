"""``runledger migrate``."""

from __future__ import annotations

import argparse

from runledger.cli.failures import DONE, BadInputError
from runledger.cli.place import chosen_schema, open_place
from runledger.core.errors import InvalidArgumentError
from runledger.postgres import MIGRATOR, Migration

_ALL = ""


def run(arguments: argparse.Namespace) -> int:
    """Create or upgrade the tables and say what was applied, or print the statements that would do it."""
    if arguments.sql is not None:
        _print_sql(arguments)
        return DONE
    with open_place(arguments) as place:
        with place.connect() as ledger:
            applied = set(ledger.migrate())
        if not applied:
            print("up to date")
        for migration in MIGRATOR.migrations:
            if migration.version in applied:
                print(f"applied {migration.version} {migration.description}")
    return DONE


def _print_sql(arguments: argparse.Namespace) -> None:
    schema, schema_source = chosen_schema(arguments)
    wanted = _chosen_migrations(arguments.sql)
    try:
        parts = [_script(migration, schema) for migration in wanted]
        if arguments.sql == _ALL:
            remark = "Once, before the first migration. Leave out the schema where the role may not create it."
            parts = [_part(remark, MIGRATOR.preparation(schema)), *parts, _validation(schema)]
    except InvalidArgumentError as error:
        raise BadInputError(f"{schema_source}: {error.problem}; {error.remedy}") from None
    print("\n\n".join(parts))


def _chosen_migrations(version: str) -> list[Migration]:
    if version == _ALL:
        return list(MIGRATOR.migrations)
    chosen = [migration for migration in MIGRATOR.migrations if str(migration.version) == version]
    if not chosen:
        versions = ", ".join(map(str, MIGRATOR.versions))
        raise BadInputError(f"--sql: there is no such migration; leave the version out, or give one of {versions}")
    return chosen


def _script(migration: Migration, schema: str) -> str:
    remark = f"Migration {migration.version} {migration.description}. All of it in one transaction; the end records it."
    return _part(remark, migration.script(schema))


def _validation(schema: str) -> str:
    return "\n".join(
        [
            "-- Afterwards, when `runledger check` finds no rows in the way. They read the tables, and hold up",
            "-- neither readers nor writers unless they run in the transaction of the migrations:",
            *(f"--   {check.text(schema)};" for check in MIGRATOR.checks),
        ]
    )


def _part(remark: str, statements: list[str]) -> str:
    return "\n\n".join([f"-- {remark}", *(f"{statement};" for statement in statements)])
