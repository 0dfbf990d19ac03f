"""Write or check the SQL lock: ``python -m tools.sql_lock [--check]``."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Sequence

import psycopg

from runledger.testing import create_ephemeral_database
from tools.sql_lock.lock import LOCK_PATH, UndescribableError, describe_all, read_lock, render


def main(arguments: Sequence[str]) -> int:
    """Write the lock, or compare it and show the difference; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.sql_lock", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when the lock is not current")
    is_check = parser.parse_args(arguments).check
    database = create_ephemeral_database("sql_lock")
    try:
        with psycopg.connect(database.url) as connection:
            current = render(describe_all(connection))
    except UndescribableError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        database.drop()
    if not is_check:
        LOCK_PATH.write_text(current, encoding="utf-8")
        return 0
    committed = render(read_lock())
    if committed == current:
        return 0
    difference = difflib.unified_diff(
        committed.splitlines(), current.splitlines(), "committed lock", "SQL files", lineterm=""
    )
    print("\n".join(difference))
    print("The SQL lock is not current: run `make sql-lock` and read what it changes for the callers.")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
