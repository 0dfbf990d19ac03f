"""``runledger config``."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from runledger.cli.failures import DONE, CommandError
from runledger.cli.json_option import parse_json
from runledger.cli.json_text import NestedTooDeepError, decoded, json_lines, print_json
from runledger.cli.option_names import naming_options
from runledger.cli.place import Place, open_place
from runledger.cli.plain_text import print_columns
from runledger.cli.times import describe_instant
from runledger.client import SyncLedger
from runledger.core import JobRuntimeConfig, JsonValue, UndecodableJsonError
from runledger.core.printable import printable, printable_lines

_PAGE = 1_000
_OPTION_OF = {"job_type": "TYPE", "config": "JSON", "schema_version": "--schema-version"}
_Print = Callable[[], None]


def run(arguments: argparse.Namespace) -> int:
    """List runtime configs, show, set or delete one."""
    with open_place(arguments) as place:
        with place.connect() as ledger, naming_options(_OPTION_OF):
            done = _ACTIONS[arguments.action](ledger, arguments)
        if done is None:
            raise _no_such_config(arguments.job_type, place)
    done()
    return DONE


def _list(ledger: SyncLedger, arguments: argparse.Namespace) -> _Print:
    found: list[JobRuntimeConfig] = []
    while page := ledger.list_runtime_configs(limit=_PAGE, offset=len(found)):
        found += page
    if arguments.json:
        document = {"configs": [_document(config) for config in found]}
        return lambda: print_json(document)
    return lambda: _print_all(found)


def _show(ledger: SyncLedger, arguments: argparse.Namespace) -> _Print | None:
    config = ledger.get_runtime_config(arguments.job_type)
    return None if config is None else _printing(config, arguments)


def _set(ledger: SyncLedger, arguments: argparse.Namespace) -> _Print:
    config = parse_json(arguments.config, option="JSON", example='{"mails_per_minute": 10}', is_object=True)
    schema_version = arguments.schema_version
    if schema_version is None:
        stored = ledger.get_runtime_config(arguments.job_type)
        schema_version = 1 if stored is None else stored.schema_version
    return _printing(ledger.upsert_runtime_config(arguments.job_type, config, schema_version=schema_version), arguments)


def _delete(ledger: SyncLedger, arguments: argparse.Namespace) -> _Print | None:
    if not ledger.delete_runtime_config(arguments.job_type):
        return None
    return lambda: print(f"deleted the runtime config of {printable(arguments.job_type)}")


_ACTIONS: dict[str, Callable[[SyncLedger, argparse.Namespace], _Print | None]] = {
    "list": _list,
    "show": _show,
    "set": _set,
    "delete": _delete,
}


def _no_such_config(job_type: str, place: Place) -> CommandError:
    return CommandError(
        f"there is no runtime config of type {printable(job_type)} in schema {place.schema} at "
        f"{place.database.description}; `runledger config list` lists those that there are"
    )


def _printing(config: JobRuntimeConfig, arguments: argparse.Namespace) -> _Print:
    if arguments.json:
        document = _document(config)
        return lambda: print_json(document)
    return lambda: _print(config)


def _print_all(configs: list[JobRuntimeConfig]) -> None:
    rows = [
        (printable(config.job_type), str(config.schema_version), describe_instant(config.updated_at))
        for config in configs
    ]
    print_columns([("type", "schema version", "changed"), *rows] if rows else [("none",)])


def _print(config: JobRuntimeConfig) -> None:
    print(f"Runtime config of {printable(config.job_type)}\n")
    rows = [("schema version:", str(config.schema_version)), ("changed:", describe_instant(config.updated_at))]
    if config.updated_by_user_id is not None:
        rows.append(("changed by:", str(config.updated_by_user_id)))
    print_columns(rows)
    print()
    print("\n".join(_lines(config)))


def _lines(config: JobRuntimeConfig) -> list[str]:
    try:
        return json_lines(config.config)
    except (UndecodableJsonError, NestedTooDeepError):
        return printable_lines(config.config_json)  # a person may still see what is wrong with it


def _value(config: JobRuntimeConfig) -> JsonValue:
    return decoded(
        lambda: config.config,
        what=f"the runtime config of type {printable(config.job_type)}",
        remedy="leave --json out, or set another one with `runledger config set`",
    )


def _document(config: JobRuntimeConfig) -> dict[str, object]:
    return {
        "job_type": config.job_type,
        "schema_version": config.schema_version,
        "config": _value(config),
        "updated_by_user_id": None if config.updated_by_user_id is None else str(config.updated_by_user_id),
        "created_at": describe_instant(config.created_at),
        "updated_at": describe_instant(config.updated_at),
    }
