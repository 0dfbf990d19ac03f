"""``runledger migrate``."""

from __future__ import annotations

import argparse

from runledger.cli.failures import DONE
from runledger.cli.place import open_place
from runledger.postgres import MIGRATOR


def run(arguments: argparse.Namespace) -> int:
    """Create or upgrade the tables, and say what was applied."""
    with open_place(arguments) as place:
        with place.connect() as ledger:
            applied = set(ledger.migrate())
        if not applied:
            print("up to date")
        for migration in MIGRATOR.migrations:
            if migration.version in applied:
                print(f"applied {migration.version} {migration.description}")
    return DONE
