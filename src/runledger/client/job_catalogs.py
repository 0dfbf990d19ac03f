"""The part of the ledger about catalogs, for asyncio applications."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from runledger.client.argument_checks import check_catalog
from runledger.client.ledger_part import LedgerPart
from runledger.core.catalog import CatalogDeclaration, CatalogSyncMode, DeclaresCatalog
from runledger.postgres import catalogs
from runledger.postgres.catalogs import DEFAULT_LOCK_TIMEOUT, CatalogSyncResult
from runledger.postgres.drivers.psycopg import AsyncConnection


class JobCatalogs(LedgerPart):
    """What the code of an application declares."""

    async def sync_catalog(
        self,
        catalog: DeclaresCatalog | CatalogDeclaration,
        *,
        mode: CatalogSyncMode = CatalogSyncMode.ADDITIVE,
        keeps_enabled: bool = True,
        lock_timeout: timedelta = DEFAULT_LOCK_TIMEOUT,
        connection: AsyncConnection[Any] | None = None,
    ) -> CatalogSyncResult:
        """Make job types and schedules what a catalog declares, in one transaction, and say what changed.

        It needs the rights of the role that migrates.

        Args:
            catalog: A :class:`~runledger.runtime.JobCatalog`, or what its ``declaration()`` returns.
            mode: ``EXACT`` disables the types that the catalog owns and does not declare any more, and pauses such
                schedules; ``ADDITIVE`` leaves them alone.
            keeps_enabled: Whether a type that an operator has disabled stays disabled, and a schedule that an operator
                has paused stays paused. Otherwise they become what is declared.
            lock_timeout: Bound on each wait for a lock, unless the caller's transaction has a shorter one.
            connection: The caller's open transaction.

        Raises:
            InvalidArgumentError: The catalog is empty, or a schedule of it cannot be; ``error.code`` tells, such as
                ``argument.invalid`` or ``job_schedule.invalid_timezone``.
            QueryError: Nothing was written: ``job_definition.owner_mismatch``: another catalog owns a type;
                ``job_definition.active_schedule_exists``: active schedules of others need a type that is to be
                disabled; ``job_definition.lock_timeout``; ``job_schedule.owner_mismatch``;
                ``job_schedule.name_taken``; ``job_schedule.concurrent_change``;
                ``job_schedule.definition_not_found_or_disabled``.
        """
        check_catalog(catalog)
        declaration = catalog if isinstance(catalog, CatalogDeclaration) else catalog.declaration()
        operation = catalogs.sync_catalog(
            declaration, mode=mode, keeps_enabled=keeps_enabled, lock_timeout=lock_timeout
        )
        return await self._run(operation, connection)
