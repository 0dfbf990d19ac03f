"""The least privileges of the roles that migrate, work and produce.

The tables of one role are what its statements touch, no more: a test runs every statement of a role under exactly
these privileges, and takes each one away to see a statement fail.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from runledger.core.errors import InvalidArgumentError
from runledger.postgres.schema_name import quote_schema

_MAX_IDENTIFIER_BYTES = 63
# GRANT gives these a meaning of their own, quoted or not.
_RESERVED_ROLES = frozenset({"public", "none"})


class Duty(StrEnum):
    """What a role is for."""

    MIGRATOR = "migrator"
    """Owns the schema and everything in it: migrates, and changes what operators change."""

    WORKER = "worker"
    """Runs jobs and repairs them: claims, renews, completes, fails, gives back, reaps, cancels, requeues, logs,
    inserts missing definitions, reads runtime configs, fires schedules, and keeps the table of workers. Advances
    workflows, appends to them and cancels them."""

    PRODUCER = "producer"
    """Enqueues jobs and workflows, appends to workflows and completes their gates, and reads what became of them and
    which workers and schedules there are."""


# What the check of the schema reads.
_CHECKING: Mapping[str, str] = {
    "runledger_migration_history": "SELECT",
    "runledger_migrations": "SELECT",
}

# To end a gate, or to append steps, is to release others as jobs.
_WORKFLOWS: Mapping[str, str] = {
    "workflow_run_mutations": "SELECT, INSERT",
    "workflow_runs": "SELECT, INSERT, UPDATE",
    "workflow_step_dependencies": "SELECT, INSERT",
    "workflow_steps": "SELECT, INSERT, UPDATE",
}

TABLE_PRIVILEGES: Mapping[Duty, Mapping[str, str]] = {
    Duty.WORKER: {
        "job_attempts": "SELECT, INSERT, UPDATE, DELETE",
        "job_dead_letters": "SELECT, INSERT, UPDATE",
        "job_definitions": "SELECT, INSERT",
        "job_events": "SELECT, INSERT",
        "job_logs": "INSERT",
        "job_queue": "SELECT, INSERT, UPDATE",
        "job_schedules": "SELECT, UPDATE",
        "job_runtime_configs": "SELECT",
        "job_workers": "SELECT, INSERT, UPDATE, DELETE",
        **_CHECKING,
        **_WORKFLOWS,
    },
    Duty.PRODUCER: {
        "job_attempts": "SELECT",
        "job_dead_letters": "SELECT",
        "job_definitions": "SELECT",
        "job_events": "SELECT, INSERT",
        "job_logs": "SELECT",
        "job_queue": "SELECT, INSERT",
        "job_schedules": "SELECT",
        "job_runtime_configs": "SELECT",
        "job_workers": "SELECT",
        **_CHECKING,
        **_WORKFLOWS,
    },
}
"""Privileges on tables of the roles that own none."""


def grant_statements(duty: Duty, role: str, *, schema: str) -> list[str]:
    """Return the statements that give a role what its duty needs and nothing else.

    Args:
        duty: The duty of the role.
        role: Its name, in any spelling; it is quoted. It has to exist.
        schema: The schema of the tables.

    Raises:
        InvalidArgumentError: There cannot be such a role or schema, or the name means everybody.
    """
    quoted_schema, quoted_role = quote_schema(schema), quote_role(role)
    if duty is Duty.MIGRATOR:
        return [f"CREATE SCHEMA IF NOT EXISTS {quoted_schema} AUTHORIZATION {quoted_role}"]
    return [
        f"GRANT USAGE ON SCHEMA {quoted_schema} TO {quoted_role}",
        *(
            f"GRANT {privileges} ON {quoted_schema}.{table} TO {quoted_role}"
            for table, privileges in TABLE_PRIVILEGES[duty].items()
        ),
    ]


def quote_role(role: str) -> str:
    """Return the name of a role as a quoted SQL identifier.

    Raises:
        InvalidArgumentError: There cannot be such a role, or the name means everybody.
    """
    if not role or not role.isprintable():
        raise InvalidArgumentError("role", "is empty or holds a control character", "give the name of the role")
    if len(role.encode("utf-8", "replace")) > _MAX_IDENTIFIER_BYTES:
        # PostgreSQL would cut it, and the rights would go to another role.
        raise InvalidArgumentError("role", f"is longer than {_MAX_IDENTIFIER_BYTES} bytes", "give the name of the role")
    if role in _RESERVED_ROLES:
        raise InvalidArgumentError("role", "means no single role", "give each duty a role of its own")
    return '"' + role.replace('"', '""') + '"'
