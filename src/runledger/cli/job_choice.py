"""Which job a command is about: named by its id, or by its type and idempotency key."""

from __future__ import annotations

import argparse

from runledger.cli.failures import CommandError
from runledger.cli.option_names import naming_options
from runledger.cli.place import Place
from runledger.client import SyncLedger
from runledger.core import Admin, Global, JobRecord, Organization, Scope
from runledger.core.printable import printable

_OPTION_OF = {"job_type": "--type", "idempotency_key": "--key"}


def find_chosen_job(ledger: SyncLedger, arguments: argparse.Namespace) -> JobRecord | None:
    """Return the job, or ``None`` when there is none.

    Raises:
        BadInputError: Type or key can be that of no job.
    """
    if arguments.job_id is not None:
        return ledger.get_job(arguments.job_id, scope=Admin())
    scope = Global() if arguments.organization_id is None else Organization(arguments.organization_id)
    with naming_options(_OPTION_OF):
        return ledger.get_job_by_idempotency_key(arguments.job_type, arguments.idempotency_key, scope=scope)


def chosen_scope(arguments: argparse.Namespace) -> Scope:
    """Return whose rows a list is about: those of one organization, of none, or all."""
    if arguments.organization_id is not None:
        return Organization(arguments.organization_id)
    return Global() if arguments.no_organization else Admin()


def no_such_job(arguments: argparse.Namespace, place: Place) -> CommandError:
    """Return the error of a job that is not there; it does not repeat the key."""
    where = f"in schema {place.schema} at {place.database.description}"
    if arguments.job_id is not None:
        return CommandError(f"there is no job {arguments.job_id} {where}; check the id, --schema and the database")
    owner = "no organization" if arguments.organization_id is None else f"organization {arguments.organization_id}"
    return CommandError(
        f"there is no job of type {printable(arguments.job_type)} and {owner} with this key {where}; "
        "check --type, --key, --organization, --schema and the database"
    )
