# Written by `make sync-ledger` from job_schedules.py; do not edit.
"""The part of the ledger about schedules, for blocking applications."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from runledger.client.sync_ledger_part import SyncLedgerPart
from runledger.core.json_form import JsonEncodable
from runledger.core.schedules.catch_up import CatchUp
from runledger.core.schedules.schedule import Kept, Overlap, ScheduleChanges, ScheduleRecord, ScheduleRequest
from runledger.core.scope import Global, Organization, Scope
from runledger.postgres import schedules
from runledger.postgres.drivers.psycopg import Connection

_GLOBAL = Global()
_NO_PAYLOAD: dict[str, JsonEncodable] = {}  # None is a payload


class SyncJobSchedules(SyncLedgerPart):
    """When jobs are made by themselves."""

    def upsert_schedule(
        self,
        name: str,
        job_type: str,
        cron_expr: str,
        *,
        payload_template: JsonEncodable = _NO_PAYLOAD,
        timezone: str = "UTC",
        organization_id: UUID | None = None,
        max_jitter: timedelta = timedelta(),
        catch_up: CatchUp = CatchUp.LATEST,
        catch_up_limit: int = 100,
        overlap: Overlap = Overlap.ALLOW,
        is_active: bool = True,
        scope: Scope | None = None,
        connection: Connection[Any] | None = None,
    ) -> ScheduleRecord:
        """Insert a schedule, or change the one that has the name, and return it as it is stored.

        A schedule that exists keeps whether it is active, so that an operator's pause survives the next start of the
        application. When it is due next changes only with its expression or its time zone.

        Args:
            name: The name of the schedule, unique in the schema.
            job_type: A type with an enabled definition.
            cron_expr: Five fields as in Vixie cron, or six or seven: seconds first, an optional year last, Sunday is 1.
            payload_template: The payload of its jobs, which get a member ``_schedule`` with the id and name of the
                schedule and the due time; what is no object becomes the member ``payload`` of one.
            timezone: The IANA name of the zone whose local time the expression means.
            organization_id: The tenant that schedule and jobs belong to.
            max_jitter: How much later than its cron time a fire may be due; whole seconds, at most a day.
            catch_up: Which due times fire when several have passed.
            catch_up_limit: How many fire at most for :attr:`CatchUp.ALL`; 1 to 1,000.
            overlap: What happens when it is due and its last job has not ended.
            is_active: Whether a new schedule fires.
            scope: Whose schedules may be made and changed: those of ``organization_id``, or with none the global ones,
                when not given. A schedule that exists keeps its organization.
            connection: The caller's open transaction.

        Raises:
            InvalidArgumentError: An argument breaks a rule; ``error.field`` names it. So does the ``organization_id``
                of a new schedule that is outside a ``scope`` that is given (``argument.invalid``), and a time zone that
                this host does not know (``job_schedule.invalid_timezone``).
            QueryError: Nothing was written: ``job_schedule.definition_not_found_or_disabled``;
                ``job_schedule.name_taken`` by a schedule outside the scope; ``job_schedule.owner_mismatch``: a catalog
                declares it; ``job_schedule.concurrent_change``.
        """
        request = ScheduleRequest(
            name=name,
            job_type=job_type,
            cron_expr=cron_expr,
            payload_template=payload_template,
            organization_id=organization_id,
            timezone=timezone,
            max_jitter=max_jitter,
            catch_up=catch_up,
            catch_up_limit=catch_up_limit,
            overlap=overlap,
            is_active=is_active,
        )
        if scope is None:
            scope = _GLOBAL if organization_id is None else Organization(organization_id)
        return self._run(schedules.upsert_schedule(request, scope=scope), connection)

    def update_schedule(
        self,
        name: str,
        *,
        job_type: str | None = None,
        cron_expr: str | None = None,
        payload_template: JsonEncodable | Kept = Kept.KEPT,
        timezone: str | None = None,
        max_jitter: timedelta | None = None,
        catch_up: CatchUp | None = None,
        catch_up_limit: int | None = None,
        overlap: Overlap | None = None,
        scope: Scope = _GLOBAL,
        connection: Connection[Any] | None = None,
    ) -> ScheduleRecord | None:
        """Change the given settings of a schedule and return it, or ``None`` when there is none in the scope.

        What is not given stays as it is in the database, also where somebody else changes it at the same time. When it
        is due next changes only with its expression or its time zone.

        Args:
            name: The schedule.
            job_type: As for :meth:`upsert_schedule`, as are the next ones.
            cron_expr: When it is due.
            payload_template: The payload of its jobs; ``None`` is JSON null.
            timezone: The zone of the expression.
            max_jitter: How much later than its cron time a fire may be due.
            catch_up: Which due times fire when several have passed.
            catch_up_limit: How many fire at most for :attr:`CatchUp.ALL`.
            overlap: What happens when it is due and its last job has not ended.
            scope: Whose schedules may be changed, as for :meth:`get_schedule`.
            connection: The caller's open transaction.

        Raises:
            InvalidArgumentError: An argument breaks a rule; ``error.field`` names it. So does a time zone that this
                host does not know (``job_schedule.invalid_timezone``).
            QueryError: Nothing was written: ``job_schedule.definition_not_found_or_disabled``: of another job type;
                ``job_schedule.owner_mismatch``: a catalog declares the schedule.
        """
        changes = ScheduleChanges(
            job_type=job_type,
            cron_expr=cron_expr,
            payload_template=payload_template,
            timezone=timezone,
            max_jitter=max_jitter,
            catch_up=catch_up,
            catch_up_limit=catch_up_limit,
            overlap=overlap,
        )
        return self._run(schedules.update_schedule(name, changes, scope=scope), connection)

    def get_schedule(
        self, name: str, *, scope: Scope = _GLOBAL, connection: Connection[Any] | None = None
    ) -> ScheduleRecord | None:
        """Return a schedule, or ``None`` when there is none in the scope.

        Args:
            name: The schedule.
            scope: Whose schedules may be seen: ``Global()`` sees those of no organization, ``Organization(id)`` those
                of one, ``Admin()`` all.
            connection: The caller's open transaction.
        """
        return self._run(schedules.get_schedule(name, scope=scope), connection)

    def list_schedules(
        self,
        *,
        scope: Scope = _GLOBAL,
        name_contains: str | None = None,
        job_type: str | None = None,
        after_name: str | None = None,
        limit: int = 100,
        connection: Connection[Any] | None = None,
    ) -> list[ScheduleRecord]:
        """Return schedules in the order of their names.

        Args:
            scope: Whose schedules, as for :meth:`get_schedule`.
            name_contains: Only names with this text in them, in any case of letters.
            job_type: Only schedules of this job type.
            after_name: Only names after this one; the last of the page before.
            limit: The most rows to return.
            connection: The caller's open transaction.
        """
        operation = schedules.list_schedules(
            scope=scope, name_contains=name_contains, job_type=job_type, after_name=after_name, limit=limit
        )
        return self._run(operation, connection)

    def pause_schedule(
        self, name: str, *, scope: Scope = _GLOBAL, connection: Connection[Any] | None = None
    ) -> ScheduleRecord | None:
        """Stop a schedule from firing and return it, or ``None`` when there is none in the scope.

        Jobs that it has made still run.
        """
        return self._run(schedules.pause_schedule(name, scope=scope), connection)

    def activate_schedule(
        self, name: str, *, scope: Scope = _GLOBAL, connection: Connection[Any] | None = None
    ) -> ScheduleRecord | None:
        """Let a schedule fire again and return it, or ``None`` when there is none in the scope.

        What passed while it was paused does not fire: it is due at its next time.

        Raises:
            InvalidArgumentError: Its expression fires no more.
            QueryError: Nothing was written: ``job_schedule.definition_not_found_or_disabled``;
                ``job_schedule.concurrent_change``.
        """
        return self._run(schedules.activate_schedule(name, scope=scope), connection)

    def set_schedule_next_fire(
        self,
        name: str,
        next_fire_at: datetime,
        *,
        scope: Scope = _GLOBAL,
        connection: Connection[Any] | None = None,
    ) -> ScheduleRecord | None:
        """Say when a schedule is due next and return it, or ``None`` when there is none in the scope.

        It fires once for that instant, whatever its expression and its catch-up say, and goes on with the times of the
        expression after that. What lies in the past is due at once. A paused schedule stays paused.

        Args:
            name: The schedule.
            next_fire_at: An instant with a time zone.
            scope: Whose schedules may be changed.
            connection: The caller's open transaction.
        """
        return self._run(schedules.set_schedule_next_fire(name, next_fire_at, scope=scope), connection)

    def delete_schedule(self, name: str, *, scope: Scope = _GLOBAL, connection: Connection[Any] | None = None) -> bool:
        """Delete a schedule, and tell whether there was one in the scope. Jobs that it has made stay."""
        return self._run(schedules.delete_schedule(name, scope=scope), connection)
