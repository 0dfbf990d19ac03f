"""The migrated schema as one file under version control: ``python -m tools.schema_dump [--check]``.

``docs/reference/schema.sql`` is what PostgreSQL has after all migrations, so a change of a migration shows its effect
as a difference in review, and a reader finds every table in one place. It is made by ``pg_dump`` of the embedded
PostgreSQL; a contract test compares it.
"""

from __future__ import annotations

import argparse
import difflib
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from runledger.embedded import find_binaries
from runledger.postgres import DEFAULT_SCHEMA
from runledger.testing import create_ephemeral_database

DUMP_PATH = Path(__file__).resolve().parents[1] / "docs" / "reference" / "schema.sql"

_HEADER = """\
-- The schema after all migrations. Written by `make schema-dump`; do not edit.

"""
# What differs between versions and runs of pg_dump, or says what the statement below it says.
_NOISE = re.compile(r"--.*|SET .*;|SELECT pg_catalog\.set_config.*;|\\(?:un)?restrict .*")
_BLANK_LINES = re.compile(r"\n{3,}")


def dump_schema(url: str) -> str:
    """Return the schema of a migrated database as SQL."""
    command = [find_binaries().program("pg_dump"), "--schema-only", "--no-owner", "--no-privileges"]
    result = subprocess.run(
        [*command, f"--schema={DEFAULT_SCHEMA}", f"--dbname={url}"], capture_output=True, check=True, text=True
    )
    lines = [line for line in result.stdout.splitlines() if _NOISE.fullmatch(line) is None]
    return _HEADER + _BLANK_LINES.sub("\n\n", "\n".join(lines)).strip() + "\n"


def compare(committed: str, current: str) -> list[str]:
    """Return the lines of the difference; none when the texts are equal."""
    return list(
        difflib.unified_diff(committed.splitlines(), current.splitlines(), "committed", "migrated", lineterm="")
    )


def main(arguments: Sequence[str]) -> int:
    """Write the dump, or compare it and show the difference; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.schema_dump", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when the dump is not current")
    is_check = parser.parse_args(arguments).check
    database = create_ephemeral_database("schema_dump")
    try:
        current = dump_schema(database.url)
    finally:
        database.drop()
    if not is_check:
        DUMP_PATH.parent.mkdir(parents=True, exist_ok=True)
        DUMP_PATH.write_text(current, encoding="utf-8")
        return 0
    difference = compare(DUMP_PATH.read_text(encoding="utf-8") if DUMP_PATH.exists() else "", current)
    if difference:
        print("\n".join(difference))
        print("The schema dump is not current: run `make schema-dump` and read what it changes.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
