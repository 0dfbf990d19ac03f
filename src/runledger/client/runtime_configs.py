"""The part of the ledger about runtime configs, for asyncio applications."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import timedelta
from typing import Any, Generic, TypeVar
from uuid import UUID

from runledger.client.ledger_part import LedgerPart
from runledger.core.errors import (
    ConfigError,
    InvalidArgumentError,
    PayloadMismatchError,
    RunledgerError,
    UndecodableJsonError,
)
from runledger.core.jobs.records import JobRuntimeConfig
from runledger.core.json_annotation import shape_of
from runledger.core.json_form import JsonEncodable
from runledger.core.json_shape import decode_as
from runledger.postgres import QueryError, jobs
from runledger.postgres.drivers.psycopg import AsyncConnection

_logger = logging.getLogger("runledger.runtime_config")

T = TypeVar("T")

_DEFAULT_REFRESH_INTERVAL = timedelta(seconds=30)


class RuntimeConfigs(LedgerPart):
    """Settings of job types that change while workers run: one JSON object for each type."""

    def runtime_config(
        self,
        job_type: str,
        annotation: type[T],
        *,
        default: T | None = None,
        refresh_interval: timedelta = _DEFAULT_REFRESH_INTERVAL,
    ) -> RuntimeConfig[T]:
        """Return a reader of the config of a job type, for handlers; nothing is read yet.

        Args:
            job_type: The type whose config it is.
            annotation: What to make of it: a dataclass or a ``TypedDict``, as for payloads. A plain ``dict`` is not
                checked.
            default: What to give while there is no config.
            refresh_interval: How old a value may be.

        Raises:
            InvalidArgumentError: JSON cannot be decoded to the annotation, or the interval is negative.
        """
        return RuntimeConfig(self, job_type, annotation, default=default, refresh_interval=refresh_interval)

    async def upsert_runtime_config(
        self,
        job_type: str,
        config: JsonEncodable,
        *,
        schema_version: int = 1,
        updated_by_user_id: UUID | None = None,
        connection: AsyncConnection[Any] | None = None,
    ) -> JobRuntimeConfig:
        """Store the config of a job type, or overwrite the one that it has, and return it.

        Args:
            job_type: A type that has a definition.
            config: A JSON object, or an instance of a dataclass.
            schema_version: A number of the application's own, positive.
            updated_by_user_id: The user who did it.
            connection: The caller's open transaction.

        Raises:
            InvalidArgumentError: The config is no object, or nothing that JSON and PostgreSQL can hold.
            QueryError: ``job.definition_not_found``: the type has no definition.
        """
        operation = jobs.upsert_job_runtime_config(
            job_type, config, schema_version=schema_version, updated_by_user_id=updated_by_user_id
        )
        return await self._run(operation, connection)

    async def insert_runtime_config_if_missing(
        self,
        job_type: str,
        config: JsonEncodable,
        *,
        schema_version: int = 1,
        updated_by_user_id: UUID | None = None,
        connection: AsyncConnection[Any] | None = None,
    ) -> bool:
        """Store the config of a job type that has none, and tell whether it had none.

        One that is there stays as an operator may have set it. Arguments and errors are those of
        :meth:`upsert_runtime_config`.
        """
        operation = jobs.insert_job_runtime_config_if_missing(
            job_type, config, schema_version=schema_version, updated_by_user_id=updated_by_user_id
        )
        return await self._run(operation, connection)

    async def get_runtime_config(
        self, job_type: str, *, connection: AsyncConnection[Any] | None = None
    ) -> JobRuntimeConfig | None:
        """Return the config of a job type as it is stored now, or ``None``."""
        return await self._run(jobs.get_job_runtime_config(job_type), connection)

    async def get_required_runtime_config(
        self, job_type: str, *, connection: AsyncConnection[Any] | None = None
    ) -> JobRuntimeConfig:
        """Return the config of a job type as it is stored now.

        Raises:
            QueryError: ``job.runtime_config_not_found``: the type has no config.
        """
        return await self._run(jobs.get_required_job_runtime_config(job_type), connection)

    async def list_runtime_configs(
        self,
        *,
        job_type: str | None = None,
        limit: int = 100,
        offset: int = 0,
        connection: AsyncConnection[Any] | None = None,
    ) -> list[JobRuntimeConfig]:
        """Return configs in the order of their type, or only that of one type."""
        operation = jobs.list_job_runtime_configs(job_type=job_type, limit=limit, offset=offset)
        return await self._run(operation, connection)

    async def delete_runtime_config(self, job_type: str, *, connection: AsyncConnection[Any] | None = None) -> bool:
        """Forget the config of a job type, and tell whether it had one."""
        return await self._run(jobs.delete_job_runtime_config(job_type), connection)


class RuntimeConfig(Generic[T]):
    """The config of a job type, read again when it has become old. Made by ``ledger.runtime_config(...)``.

    One for a process, shared by all handlers. While one caller reads, the others get the value before, so a refresh
    holds up one of them and costs one statement. A refresh that fails changes nothing: the value before stays in use,
    and the log tells (``runtime_config.refresh_failed``).
    """

    def __init__(
        self,
        ledger: RuntimeConfigs,
        job_type: str,
        annotation: type[T],
        *,
        default: T | None,
        refresh_interval: timedelta,
    ) -> None:
        if refresh_interval < timedelta():
            raise InvalidArgumentError("refresh_interval", "is negative", "pass how old a value may be")
        self._ledger = ledger
        self._job_type = job_type
        self._shape = shape_of(annotation, name="annotation", global_names={})
        self._default = default
        self._refresh_seconds = refresh_interval.total_seconds()
        self._lock = asyncio.Lock()
        self._values: list[T] = []  # none, or the last one
        self._is_old_at = 0.0
        self._is_failing = False

    async def get(self) -> T:
        """Return the config, decoded, not older than the interval where the database can be asked.

        Every caller gets the same object, so leave it as it is; a frozen dataclass sees to that.

        Raises:
            QueryError: ``job.runtime_config_not_found``: there is none, and no default.
            ConfigError: ``job.runtime_config_invalid``: what is stored is not what the annotation asks for, and was not
                since the start.
            RunledgerError: The first read failed.
        """
        if self._values and (time.monotonic() < self._is_old_at or self._lock.locked()):
            return self._values[0]
        async with self._lock:
            if not self._values or time.monotonic() >= self._is_old_at:
                await self._refresh()
            return self._values[0]

    async def refresh(self) -> T:
        """Read the config now, and return it; errors are those of :meth:`get`."""
        async with self._lock:
            await self._refresh()
            return self._values[0]

    async def _refresh(self) -> None:
        try:
            value = await self._read()
        except RunledgerError as error:
            if not self._values or error.code == "job.runtime_config_not_found":
                raise
            if not self._is_failing:
                _logger.warning("runtime_config.refresh_failed", extra={"job_type": self._job_type, "code": error.code})
            self._is_failing = True
        else:
            if self._is_failing:
                _logger.info("runtime_config.refresh_recovered", extra={"job_type": self._job_type})
            self._is_failing = False
            self._values = [value]
        self._is_old_at = time.monotonic() + self._refresh_seconds

    async def _read(self) -> T:
        try:
            stored = await self._ledger.get_required_runtime_config(self._job_type)
        except QueryError as error:
            if self._default is None or error.code != "job.runtime_config_not_found":
                raise
            return self._default
        try:
            return decode_as(self._shape, stored.config, field="config")
        except (PayloadMismatchError, UndecodableJsonError) as error:
            raise ConfigError(str(error), code="job.runtime_config_invalid") from None
