"""Three roles with the rights that `runledger grants` prints: what each can do, and what it cannot."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from runledger import JobCatalog, JobContext, JobFailure, JobRegistry, JobsConfig, Ledger, Supervisor
from runledger.core import Admin, InvalidArgumentError, JobDefinition, JobStatus, LeaseIdentity
from runledger.postgres import (
    DEFAULT_SCHEMA,
    Database,
    Operation,
    QueryError,
    jobs,
    migrate_after_idempotency_cutover,
    run_sync,
    schedules,
)
from runledger.postgres.privileges import TABLE_PRIVILEGES, Duty, grant_statements, quote_role
from runledger.postgres.sql_files import SqlFile
from runledger.testing import EphemeralDatabase
from tests.observer import Observer
from tools.sql_lock.lock import sql_files

MINUTE = timedelta(minutes=1)
LEASE = LeaseIdentity(job_id=UUID(int=1), run_number=1, attempt=1, worker_id="w")

# Which statements the code of a duty sends. What stands in neither is the migrator's, who owns the tables.
CHECKING = {
    "migrations/find_history",
    "migrations/list_applied",
    "migrations/list_recorded_versions",
    "migrations/list_unvalidated_checks",
    "migrations/count_legacy_keyed_rows",
}
# To end a gate, or to append steps, is to release others as jobs.
ADVANCING = {
    "definitions/list_disabled_definitions",
    "workflows/end_workflow_steps",
    "workflows/find_workflow_run_mutation",
    "workflows/find_workflow_run_of_job",
    "workflows/get_workflow_run",
    "workflows/insert_workflow_steps",
    "workflows/list_workflow_steps",
    "workflows/lock_workflow_runs",
    "workflows/read_workflow_steps_by_key",
    "workflows/record_workflow_append",
}
STATEMENTS: dict[Duty, set[str]] = {
    Duty.WORKER: CHECKING
    | ADVANCING
    | {
        "workflows/cancel_workflow_run",
        "workflows/check_append_lease",
        "workflows/lock_workflow_job",
        "workflows/lock_workflow_run_jobs",
        "workflows/read_prerequisites",
        "workflows/try_lock_workflow_runs",
        "workflows/update_workflow_step_payload",
        "connection/send_notices",
        "admin/edit_job_payload",
        "connection/restore_lock_timeout",
        "connection/set_local_lock_timeout",
        "definitions/insert_missing_definitions",
        "jobs/cancel_job",
        "jobs/claim_jobs",
        "jobs/complete_jobs",
        "jobs/defer_reaping",
        "jobs/fail_jobs",
        "jobs/heartbeat_job",
        "jobs/list_due_job_ids",
        "jobs/list_expired_leases",
        "jobs/list_worker_leases",
        "jobs/lock_job",
        "jobs/lock_job_in_scope",
        "jobs/read_attempt_outcomes",
        "jobs/read_canceled_leases",
        "jobs/read_held_leases",
        "jobs/reap_jobs",
        "jobs/release_unstarted_job_claim",
        "jobs/renew_leases",
        "jobs/requeue_job",
        "jobs/return_claims",
        "jobs/update_job_payload_uuid_array_field",
        "jobs/update_job_progress",
        "schedules/claim_due_schedules",
        "schedules/defer_schedules",
        "schedules/fire_schedules",
        "schedules/list_unended_jobs",
        "schedules/read_next_fire",
        "logs/insert_job_logs",
        "runtime_configs/get_job_runtime_config",
        "workers/list_workers",
        "workers/register_worker",
        "workers/remove_dead_workers",
        "workers/remove_worker",
    },
    Duty.PRODUCER: CHECKING
    | ADVANCING
    | {
        "workflows/find_workflow_run_by_idempotency_key",
        "workflows/insert_keyed_workflow_run",
        "workflows/list_enqueued_workflow_steps",
        "workflows/list_waiting_workflow_runs",
        "workflows/list_workflow_runs",
        "workflows/list_workflow_step_dependencies",
        "admin/count_jobs",
        "admin/count_recent_attempts",
        "admin/find_newest_event_cursor",
        "admin/get_job_metrics",
        "admin/read_events_after",
        "admin/get_job_summaries",
        "admin/list_dead_letters",
        "admin/list_given_up_jobs",
        "admin/list_jobs",
        "admin/list_live_jobs",
        "definitions/get_definition",
        "definitions/list_definitions",
        "connection/send_notices",
        "connection/restore_lock_timeout",
        "connection/set_local_lock_timeout",
        "jobs/enqueue_jobs",
        "jobs/enqueue_keyed_jobs",
        "jobs/find_job_by_idempotency_key",
        "jobs/get_dead_letter",
        "jobs/get_job",
        "jobs/get_job_payload_by_idempotency_key",
        "jobs/get_latest_job_payload_for_run",
        "jobs/list_job_attempts",
        "jobs/list_job_events",
        "schedules/get_schedule",
        "schedules/list_schedules",
        "logs/list_job_logs",
        "runtime_configs/get_job_runtime_config",
        "runtime_configs/list_job_runtime_configs",
        "workers/list_workers",
    },
}
OF_THE_MIGRATOR = {
    "definitions/insert_catalog_definitions",
    "definitions/list_catalog_definitions",
    "definitions/update_catalog_definitions",
    "definitions/list_types_in_active_schedules",
    "definitions/lock_definitions",
    "admin/pause_job_type",
    "admin/resume_job_type",
    "definitions/update_definition",
    "definitions/upsert_definitions",
    "migrations/check_session",
    "migrations/lock_migrations",
    "migrations/record_migration",
    "migrations/schema_exists",
    "schedules/activate_schedule",
    "schedules/delete_absent_schedules",
    "schedules/delete_schedule",
    "schedules/insert_schedules",
    "schedules/lock_schedules",
    "schedules/pause_absent_schedules",
    "schedules/pause_schedule",
    "schedules/set_schedule_next_fire",
    "schedules/update_schedule",
    "schedules/update_schedules",
    "runtime_configs/delete_job_runtime_config",
    "runtime_configs/insert_job_runtime_config_if_missing",
    "runtime_configs/upsert_job_runtime_config",
}


class Roles:
    """One role for each duty, with rights from `grant_statements` and nothing else.

    Attributes:
        names: The role of each duty; none is a plain identifier.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._admin = psycopg.connect(url, autocommit=True)
        # Roles belong to the whole server, which tests share.
        self.names = {duty: f'{self._admin.info.dbname} {duty.value}"; --' for duty in Duty}

    def create(self) -> None:
        for name in self.names.values():
            self._admin.execute(SQL("CREATE ROLE {}").format(Identifier(name)))
        self.grant(Duty.MIGRATOR)
        with psycopg.connect(self.url_of(Duty.MIGRATOR)) as migrator:
            run_sync(migrator, migrate_after_idempotency_cutover())
        self.grant(Duty.WORKER, by=Duty.MIGRATOR)
        self.grant(Duty.PRODUCER, by=Duty.MIGRATOR)

    def grant(self, duty: Duty, *, by: Duty | None = None) -> None:
        with psycopg.connect(self._url if by is None else self.url_of(by)) as connection:
            for statement in grant_statements(duty, self.names[duty], schema=DEFAULT_SCHEMA):
                connection.execute(statement.encode())

    def url_of(self, duty: Duty) -> str:
        role = self.names[duty].replace("\\", "\\\\").replace(" ", "\\ ")
        return make_conninfo(self._url, options=f"-c role={role}")

    def drop(self) -> None:
        for name in self.names.values():
            self._admin.execute(SQL("DROP OWNED BY {} CASCADE").format(Identifier(name)))
            self._admin.execute(SQL("DROP ROLE {}").format(Identifier(name)))
        self._admin.close()


@pytest.fixture
def roles(runledger_database: EphemeralDatabase) -> Iterator[Roles]:
    with psycopg.connect(runledger_database.url) as connection:
        connection.execute("DROP SCHEMA runledger CASCADE")
    three = Roles(runledger_database.url)
    three.create()
    yield three
    three.drop()


async def test_a_whole_life_under_the_printed_rights(roles: Roles, runledger_database: EphemeralDatabase) -> None:
    """Produce, schedule, work, fail, dead-letter, reap, read."""
    registry = JobRegistry()
    is_hanging = asyncio.Event()

    @registry.job("good")
    async def good(_context: JobContext, payload: int) -> int:
        return payload + 1

    @registry.job("bad", max_attempts=1)
    async def bad(_context: JobContext, _payload: None) -> None:
        raise JobFailure.terminal("app.broken", "broken")

    @registry.job("hanging", max_attempts=1)
    async def hanging(_context: JobContext, _payload: None) -> None:
        is_hanging.set()
        await asyncio.Event().wait()

    @registry.job("timed")
    async def timed(_context: JobContext, _payload: dict[str, object]) -> None: ...

    observer = await Observer.connect(runledger_database.url)
    config = JobsConfig(
        poll_interval=timedelta(milliseconds=5),
        reaper_interval=timedelta(milliseconds=10),
        schedule_poll_interval=timedelta(milliseconds=10),
        shutdown_timeout=timedelta(0),
    )
    worker = Supervisor(Database(roles.url_of(Duty.WORKER)), registry, config)
    async with await Ledger.connect(roles.url_of(Duty.PRODUCER)) as producer:
        await worker.start()
        ids = [await producer.enqueue(job_type, payload) for job_type, payload in (("good", 1), ("bad", None))]
        ids.append(await producer.enqueue("hanging"))
        await is_hanging.wait()
        async with await Ledger.connect(roles.url_of(Duty.MIGRATOR)) as migrator:
            await migrator.upsert_schedule("often", "timed", "* * * * * *")
            await observer.until(
                "(SELECT count(*) >= 1 FROM runledger.job_queue WHERE job_type = 'timed' AND status = 'SUCCEEDED')"
            )
            await migrator.pause_schedule("often")
        assert [schedule.name for schedule in await producer.list_schedules()] == ["often"]
        await observer.execute(
            "UPDATE runledger.job_queue SET lease_expires_at = now() - interval '1 hour' WHERE job_type = 'hanging'"
        )
        await observer.until(
            "(SELECT count(*) = 3 FROM runledger.job_queue WHERE finished_at IS NOT NULL AND job_type <> 'timed')"
        )
        await worker.stop()

        records = [await producer.get_job(job_id) for job_id in ids]
        assert [record.status for record in records if record is not None] == [
            JobStatus.SUCCEEDED,
            JobStatus.DEAD_LETTERED,
            JobStatus.DEAD_LETTERED,
        ]
        assert [event.event_type.value for event in await producer.list_job_events(ids[0])][-1] == "SUCCEEDED"
        assert [attempt.error_code for attempt in await producer.list_job_attempts(ids[2])] == ["job.lease_expired"]
        assert await producer.get_dead_letter(ids[1]) is not None
        assert await producer.check_schema() == []
    await observer.close()


@pytest.mark.parametrize(
    ("duty", "operation"),
    [
        (Duty.PRODUCER, jobs.claim_jobs("w", lease_ttl=MINUTE, limit=1)),
        (Duty.PRODUCER, jobs.complete_jobs("w", [jobs.JobSuccess(lease=LEASE)])),
        (Duty.PRODUCER, jobs.return_claims("w", [LEASE], reason="MINE")),
        (Duty.PRODUCER, jobs.insert_missing_job_definitions([JobDefinition(job_type="a")])),
        (Duty.PRODUCER, schedules.fire_due_schedules(limit=1, grace=MINUTE)),
        (Duty.PRODUCER, schedules.pause_schedule("nightly", scope=Admin())),
        (Duty.PRODUCER, migrate_after_idempotency_cutover()),
        (Duty.WORKER, jobs.update_job_definition("a", is_enabled=False)),
        (Duty.WORKER, jobs.upsert_job_definitions([JobDefinition(job_type="a")])),
        (Duty.WORKER, schedules.delete_schedule("nightly", scope=Admin())),
        (Duty.WORKER, migrate_after_idempotency_cutover()),
    ],
    ids=lambda value: value.value if isinstance(value, Duty) else value.name,
)
def test_what_is_not_its_duty_is_refused(roles: Roles, duty: Duty, operation: Operation[Any]) -> None:
    with psycopg.connect(roles.url_of(duty)) as connection, pytest.raises(QueryError) as caught:
        run_sync(connection, operation)

    assert caught.value.code == "db.permission_denied"


async def test_a_worker_does_not_sync_its_catalog_but_inserts_what_is_missing_if_told_so(roles: Roles) -> None:
    """Decision 0087."""

    async def handle(_context: JobContext, _payload: None) -> None: ...

    syncing, inserting = JobCatalog("shop"), JobCatalog("shop", syncs_at_start=False)
    for catalog in (syncing, inserting):
        catalog.job("good")(handle)
        catalog.schedule("nightly", "good", "0 3 * * *")

    with pytest.raises(QueryError, check=lambda error: error.code == "db.permission_denied"):
        await Supervisor(roles.url_of(Duty.WORKER), syncing, JobsConfig()).start()
    worker = Supervisor(roles.url_of(Duty.WORKER), inserting, JobsConfig())
    await worker.start()
    await worker.stop()

    async with await Ledger.connect(roles.url_of(Duty.MIGRATOR)) as migrator:
        result = await migrator.sync_catalog(syncing)
    assert (result.inserted, result.updated, result.schedules.inserted) == ((), ("good",), ("nightly",))


def test_a_worker_cannot_drop_or_alter_what_the_migrator_owns(roles: Roles) -> None:
    with psycopg.connect(roles.url_of(Duty.WORKER), autocommit=True) as worker:
        for statement in (
            "DROP TABLE runledger.job_queue",
            "ALTER TABLE runledger.job_queue ADD COLUMN x integer",
            "CREATE TABLE runledger.x (id integer)",
            "TRUNCATE runledger.job_events",
            "UPDATE runledger.runledger_migrations SET success = false",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                worker.execute(statement.encode())


def test_every_statement_belongs_to_a_duty() -> None:
    known = STATEMENTS[Duty.WORKER] | STATEMENTS[Duty.PRODUCER] | OF_THE_MIGRATOR

    assert known == {f"{file.area}/{file.name}" for file in sql_files()}


@pytest.mark.parametrize("duty", TABLE_PRIVILEGES)
def test_the_rights_of_a_duty_are_what_its_statements_need_and_no_more(
    roles: Roles, runledger_database: EphemeralDatabase, duty: Duty
) -> None:
    with psycopg.connect(runledger_database.url) as connection:
        assert denied(connection, roles, duty) == set()
        for table, privileges in TABLE_PRIVILEGES[duty].items():
            for privilege in privileges.split(", "):
                with connection.transaction(force_rollback=True):
                    role = quote_role(roles.names[duty])
                    connection.execute(f"REVOKE {privilege} ON runledger.{table} FROM {role}".encode())
                    assert denied(connection, roles, duty), f"{privilege} on {table} is not needed"


def denied(connection: psycopg.Connection[tuple[object, ...]], roles: Roles, duty: Duty) -> set[str]:
    """Return the statements of a duty that its role may not run. EXPLAIN checks rights as running does."""
    refused: set[str] = set()
    for name in STATEMENTS[duty]:
        area, file_name = name.split("/")
        text = SqlFile(area, file_name).text(DEFAULT_SCHEMA)
        try:
            with connection.transaction(force_rollback=True):
                connection.execute(SQL("SET LOCAL ROLE {}").format(Identifier(roles.names[duty])))
                connection.execute(f"EXPLAIN (GENERIC_PLAN) {text}".encode())
        except psycopg.errors.InsufficientPrivilege:
            refused.add(name)
    return refused


@pytest.mark.parametrize("role", ["", "public", "none", "a\nb", "r" * 64, "\N{SNOWMAN}" * 22])
@pytest.mark.parametrize("duty", Duty)
def test_a_name_that_is_no_single_role_is_refused(duty: Duty, role: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        grant_statements(duty, role, schema=DEFAULT_SCHEMA)

    assert caught.value.field == "role"
