"""``runledger grants``."""

from __future__ import annotations

import argparse

from runledger.cli.failures import DONE, BadInputError
from runledger.cli.place import chosen_schema
from runledger.core.errors import InvalidArgumentError
from runledger.postgres.privileges import Duty, grant_statements


def run(arguments: argparse.Namespace) -> int:
    """Print the statements that give roles the rights of their duties."""
    schema, schema_source = chosen_schema(arguments)
    roles = {duty: getattr(arguments, duty) for duty in Duty}
    if all(role is None for role in roles.values()):
        raise BadInputError("no role is given; use --migrator, --worker or --producer with the name of a role")
    parts: list[list[str]] = []
    for duty, role in roles.items():
        if role is None:
            continue
        try:
            parts.append(
                [f"-- {_REMARKS[duty]}", *(f"{text};" for text in grant_statements(duty, role, schema=schema))]
            )
        except InvalidArgumentError as error:
            source = schema_source if error.field == "schema" else f"--{duty}"
            raise BadInputError(f"{source}: {error.problem}; {error.remedy}") from None
    print("\n\n".join("\n".join(part) for part in parts))
    return DONE


_REMARKS = {
    Duty.MIGRATOR: "Migrator: before the first migration, as a superuser or the owner of the database.",
    Duty.WORKER: "Worker: after each migration, as the migrator.",
    Duty.PRODUCER: "Producer: after each migration, as the migrator.",
}
