"""``runledger definition``."""

from __future__ import annotations

import argparse
import sys

from runledger.cli.failures import DONE, CommandError
from runledger.cli.json_text import print_json
from runledger.cli.option_names import naming_options
from runledger.cli.place import Place, open_place
from runledger.cli.plain_text import print_columns
from runledger.cli.times import describe_duration, describe_instant
from runledger.client import SyncLedger
from runledger.core import JobDefinition
from runledger.core.printable import printable

_PAGE = 1_000
_COLUMNS = ("type", "enabled", "paused", "attempts", "timeout", "priority", "version", "catalog")
_DISABLED = (
    "A disabled type takes no new jobs (job.definition_not_found_or_disabled); the jobs that it has are still run."
)
_PAUSED = (
    "The jobs of a paused type wait, and none is claimed; those that run go on. `runledger definition resume TYPE` "
    "ends the pause."
)
_OPTION_OF = {
    "job_type": "TYPE",
    "max_attempts": "--max-attempts",
    "default_timeout": "--timeout",
    "default_priority": "--priority",
}


def run(arguments: argparse.Namespace) -> int:
    """List definitions, show one, change one, pause and resume a type."""
    if arguments.action == "list":
        return _list(arguments)
    with open_place(arguments) as place:
        with place.connect() as ledger, naming_options(_OPTION_OF):
            definition = _ACTIONS[arguments.action](ledger, arguments)
        if definition is None:
            raise _no_such_type(arguments.job_type, place)
    if arguments.json:
        print_json(_document(definition))
    else:
        _print(definition)
    return DONE


def _list(arguments: argparse.Namespace) -> int:
    with open_place(arguments) as place, place.connect() as ledger, naming_options({"job_type_contains": "TEXT"}):
        definitions = _read_all(ledger, arguments.filter)
    if arguments.json:
        print_json({"definitions": [_document(definition) for definition in definitions]})
    else:
        _print_all(definitions)
    return DONE


def _read_all(ledger: SyncLedger, contained: str | None) -> list[JobDefinition]:
    definitions: list[JobDefinition] = []
    while page := ledger.list_job_definitions(job_type_contains=contained, limit=_PAGE, offset=len(definitions)):
        definitions += page
    return definitions


def _show(ledger: SyncLedger, arguments: argparse.Namespace) -> JobDefinition | None:
    return ledger.get_job_definition(arguments.job_type)


def _set(ledger: SyncLedger, arguments: argparse.Namespace) -> JobDefinition | None:
    definition = ledger.update_job_definition(
        arguments.job_type,
        max_attempts=arguments.max_attempts,
        default_timeout=arguments.timeout,
        default_priority=arguments.priority,
        is_enabled=arguments.is_enabled,
    )
    changes = (arguments.max_attempts, arguments.timeout, arguments.priority)
    if definition is not None and definition.catalog_scope is not None and any(one is not None for one in changes):
        print(_taken_back(definition.catalog_scope), file=sys.stderr)
    return definition


def _taken_back(catalog_scope: str) -> str:
    return (
        f"runledger: warning: the type belongs to the catalog {printable(catalog_scope)}, whose next sync, also at the "
        "start of a worker, takes attempts, timeout and priority back to what it declares; change them there"
    )


def _pause(ledger: SyncLedger, arguments: argparse.Namespace) -> JobDefinition | None:
    return ledger.pause_job_type(arguments.job_type)


def _resume(ledger: SyncLedger, arguments: argparse.Namespace) -> JobDefinition | None:
    return ledger.resume_job_type(arguments.job_type)


_ACTIONS = {"show": _show, "set": _set, "pause": _pause, "resume": _resume}


def _no_such_type(job_type: str, place: Place) -> CommandError:
    return CommandError(
        f"there is no definition of type {printable(job_type)} in schema {place.schema} at "
        f"{place.database.description}; `runledger definition list` lists those that there are. A worker inserts the "
        "definitions of its types when it starts"
    )


def _print_all(definitions: list[JobDefinition]) -> None:
    rows = [
        (
            printable(definition.job_type),
            "yes" if definition.is_enabled else "no",
            "yes" if definition.paused_at is not None else "no",
            str(definition.max_attempts),
            describe_duration(definition.default_timeout),
            str(definition.default_priority),
            str(definition.version),
            "-" if definition.catalog_scope is None else printable(definition.catalog_scope),
        )
        for definition in definitions
    ]
    print_columns([_COLUMNS, *rows] if rows else [("none",)])
    if not all(definition.is_enabled for definition in definitions):
        print(f"\n{_DISABLED}")
    if any(definition.paused_at is not None for definition in definitions):
        print(f"\n{_PAUSED}")


def _print(definition: JobDefinition) -> None:
    print(f"Job type {printable(definition.job_type)}\n")
    print_columns(
        [
            ("enabled:", "yes" if definition.is_enabled else "no"),
            ("paused:", "no" if definition.paused_at is None else f"since {describe_instant(definition.paused_at)}"),
            ("attempts:", str(definition.max_attempts)),
            ("timeout:", describe_duration(definition.default_timeout)),
            ("priority:", str(definition.default_priority)),
            ("version:", str(definition.version)),
            ("catalog:", "none" if definition.catalog_scope is None else printable(definition.catalog_scope)),
        ]
    )
    if not definition.is_enabled:
        print(f"\n{_DISABLED}")
    if definition.paused_at is not None:
        print(f"\n{_PAUSED}")


def _document(definition: JobDefinition) -> dict[str, object]:
    return {
        "job_type": definition.job_type,
        "version": definition.version,
        "max_attempts": definition.max_attempts,
        "default_timeout_seconds": definition.default_timeout_seconds,
        "default_priority": definition.default_priority,
        "is_enabled": definition.is_enabled,
        "paused_at": None if definition.paused_at is None else describe_instant(definition.paused_at),
        "catalog_scope": definition.catalog_scope,
    }
