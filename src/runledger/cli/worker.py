"""``runledger worker``."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import logging

from runledger.cli.failures import DONE, FAILED, BadInputError, CommandError
from runledger.cli.log_lines import logging_to_standard_error
from runledger.cli.place import Place, open_place
from runledger.cli.registry_path import load_registry
from runledger.core.errors import ConfigError, InvalidArgumentError, PayloadMismatchError
from runledger.postgres.compatibility import ensure_schema_serves
from runledger.runtime import JobCatalog, JobRegistry, JobsConfig, SettlementReport, Supervisor

_logger = logging.getLogger("runledger.cli")

_FIELD_OF_OPTION = {
    "worker_id": "worker_id",
    "concurrency": "max_global_concurrency",
    "type_concurrency": "max_concurrency_by_type",
    "batch_size": "claim_batch_size",
    "poll_interval": "poll_interval",
    "lease_ttl": "lease_ttl",
    "schedule_poll_interval": "schedule_poll_interval",
    "reaper_interval": "reaper_interval",
    "shutdown_timeout": "shutdown_timeout",
}


def run(arguments: argparse.Namespace) -> int:
    """Run a worker, a scheduler and a reaper until a signal."""
    with logging_to_standard_error(level=arguments.log_level, style=arguments.log_format):
        config = _config(arguments)
        registry = load_registry(arguments.registry)
        with open_place(arguments) as place:
            _check(place, registry, path=arguments.registry)
            _logger.info(
                "worker.starting",
                extra={
                    "worker_id": config.worker_id,
                    "job_types": registry.registered_types(),
                    "slots": config.max_global_concurrency,
                    "database": place.database.description,
                    "schema": place.schema,
                },
            )
            report = asyncio.run(_supervise(place, registry, config, runs_scheduler=arguments.runs_scheduler))
    return FAILED if report.errors else DONE


def _config(arguments: argparse.Namespace) -> JobsConfig:
    given = {field: getattr(arguments, option) for option, field in _FIELD_OF_OPTION.items()}
    if arguments.type_concurrency is not None:
        given["max_concurrency_by_type"] = dict(arguments.type_concurrency)
    try:
        return dataclasses.replace(
            JobsConfig.from_env(), **{field: value for field, value in given.items() if value is not None}
        )
    except ConfigError as error:
        raise BadInputError(str(error)) from None


def _check(place: Place, registry: JobRegistry, *, path: str) -> None:
    """Look for what would keep a worker from its start, while a problem can still be explained before any log.

    Nothing is written: what the worker itself inserts or syncs it also logs.
    """
    if isinstance(registry, JobCatalog):
        try:
            registry.declaration()
        except (InvalidArgumentError, PayloadMismatchError) as error:
            raise BadInputError(f"catalog {path}: {error}") from None
    with place.database.own_sync_connection() as connection:
        connection.run(ensure_schema_serves())


async def _supervise(
    place: Place, registry: JobRegistry, config: JobsConfig, *, runs_scheduler: bool
) -> SettlementReport:
    supervisor = Supervisor(place.database, registry, config, runs_scheduler=runs_scheduler)
    try:
        return await supervisor.run_until_shutdown()
    except ConfigError as error:
        raise CommandError(f"{error} ({error.code})") from None
