"""``runledger check``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field

from runledger.cli.failures import DONE, FAILED
from runledger.cli.json_text import print_json
from runledger.cli.place import Place, open_place
from runledger.postgres import MIGRATOR, SchemaCompatibilityError, SchemaProblem

# Beyond what the library says: what a person at a terminal can do.
_REMEDIES: Mapping[SchemaProblem, str] = {
    SchemaProblem.MISSING_MIGRATION_HISTORY: "run `runledger migrate`, or correct the name of the schema",
    SchemaProblem.VERSION_TOO_NEW: "run `runledger migrate`",
    SchemaProblem.VERSION_MISSING: "upgrade runledger-pg to the version that migrated the schema, or to a later one",
    SchemaProblem.VERSION_MISMATCH: "run the version of runledger-pg that applied it, or restore the schema",
    SchemaProblem.DIRTY: "repair the schema and its row in runledger_migrations by hand, or restore it",
    SchemaProblem.LEGACY_IDEMPOTENCY_SNAPSHOTS_MISSING: "repair these rows as the page `Migrate` of the documentation "
    "describes, then run `runledger migrate`, or validate the checks yourself",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Verdict:
    """What the check found.

    Attributes:
        is_compatible: Whether this version of the code can work with the tables.
        problem: The name of the case, when it cannot.
        message: What differs.
        remedy: What to do, also for what is only left to do.
        facts: Versions and counts of the case.
        statements: SQL that is left to do.
    """

    is_compatible: bool
    problem: str | None = None
    message: str
    remedy: str | None = None
    facts: dict[str, int | None] = field(default_factory=dict[str, "int | None"])
    statements: tuple[str, ...] = ()


def run(arguments: argparse.Namespace) -> int:
    """Compare the tables with this version of the code, and say what differs and what to do."""
    with open_place(arguments) as place:
        verdict = _check(place)
        if arguments.json:
            print_json(_document(place, verdict))
        else:
            print("\n".join(_lines(place, verdict)))
    return DONE if verdict.is_compatible else FAILED


def _check(place: Place) -> _Verdict:
    try:
        with place.connect() as ledger:
            unvalidated = ledger.check_schema()
    except SchemaCompatibilityError as error:
        facts = {name: getattr(error, name) for name in _FACTS if hasattr(error, name)}
        return _Verdict(
            is_compatible=False,
            problem=error.problem,
            message=error.difference,
            remedy=_REMEDIES[error.problem],
            facts=facts,
        )
    latest = MIGRATOR.versions[-1]
    if not unvalidated:
        return _Verdict(is_compatible=True, message=f"fits this version, up to migration {latest}")
    return _Verdict(
        is_compatible=True,
        message=f"fits this version, up to migration {latest}; the checks of keyed rows wait to be validated",
        remedy="run `runledger migrate`, or as the owner of the tables these statements",
        statements=tuple(f"{check.text(place.schema)};" for check in unvalidated),
    )


_FACTS = ("required_first_migration_version", "version", "latest_applied_version", "job_count", "workflow_count")


def _lines(place: Place, verdict: _Verdict) -> list[str]:
    lines = [f"schema {place.schema} at {place.database.description}: {verdict.message}"]
    if verdict.remedy is not None:
        lines.append(f"what to do: {verdict.remedy}")
    return [*lines, *(f"  {statement}" for statement in verdict.statements)]


def _document(place: Place, verdict: _Verdict) -> dict[str, object]:
    return {
        "schema": place.schema,
        "is_compatible": verdict.is_compatible,
        "problem": verdict.problem,
        "message": verdict.message,
        "remedy": verdict.remedy,
        **{name: verdict.facts.get(name) for name in _FACTS},
        "statements": list(verdict.statements),
    }
