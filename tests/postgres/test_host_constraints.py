"""Foreign keys and checks that an application adds to the tables: their names decide how a refusal is shown."""

from __future__ import annotations

import traceback
from uuid import UUID

import psycopg
import pytest

from runledger.core import EnqueueRequest
from runledger.postgres import QueryError, QueryErrorCategory, jobs, migrate_after_idempotency_cutover
from tests.postgres.job_queue import JOB_TYPE, JobQueue

KNOWN = UUID("0198c0de-0000-7000-8000-0000000000aa")
UNKNOWN = UUID("0198c0de-0000-7000-8000-0000000000bb")


def add_organizations(queue: JobQueue, *, constraint: str) -> None:
    queue.sql("CREATE TABLE public.organizations (id uuid PRIMARY KEY)")
    queue.sql("INSERT INTO public.organizations VALUES (%s)", KNOWN)
    queue.sql(
        f"ALTER TABLE job_queue ADD CONSTRAINT {constraint}"
        " FOREIGN KEY (organization_id) REFERENCES public.organizations (id)"
    )


def refusal_of(queue: JobQueue, request: EnqueueRequest) -> QueryError:
    with pytest.raises(QueryError) as caught:
        queue.run(jobs.enqueue_job(request))
    assert queue.sql("SELECT count(*) FROM job_queue") == queue.sql("SELECT count(*) FROM job_events") == [(0,)]
    return caught.value


def test_the_foreign_key_to_organizations_has_a_code_of_its_own(queue: JobQueue) -> None:
    add_organizations(queue, constraint="fk_job_queue_organization")

    error = refusal_of(queue, EnqueueRequest(JOB_TYPE, None, organization_id=UNKNOWN))

    assert (error.category, error.code) == (QueryErrorCategory.VALIDATION, "job.organization_not_found")
    assert error.constraint == "fk_job_queue_organization"
    assert str(UNKNOWN) not in "".join(traceback.format_exception(error))
    assert queue.enqueue(organization_id=KNOWN)


def test_a_foreign_key_of_another_name_is_classified_by_its_sqlstate_and_named(queue: JobQueue) -> None:
    """ERR-001."""
    add_organizations(queue, constraint="fk_of_the_host")

    error = refusal_of(queue, EnqueueRequest(JOB_TYPE, None, organization_id=UNKNOWN))

    assert (error.code, error.constraint) == ("db.related_resource_missing", "fk_of_the_host")


def test_a_check_of_the_host_is_classified_by_its_sqlstate_and_named(queue: JobQueue) -> None:
    queue.sql("ALTER TABLE job_queue ADD CONSTRAINT chk_of_the_host CHECK (priority < 1000)")

    error = refusal_of(queue, EnqueueRequest(JOB_TYPE, None, priority=1000))

    assert (error.code, error.constraint) == ("db.business_rule_violation", "chk_of_the_host")


def test_an_organization_with_jobs_cannot_be_deleted_and_the_whole_life_works(queue: JobQueue) -> None:
    add_organizations(queue, constraint="fk_job_queue_organization")
    queue.enqueue(organization_id=KNOWN)
    claimed = queue.claim_one()
    queue.run(jobs.complete_job(jobs.JobSuccess(lease=claimed.lease)))

    with pytest.raises(psycopg.errors.ForeignKeyViolation, match="fk_job_queue_organization"):
        queue.sql("DELETE FROM public.organizations")


def test_what_a_host_added_does_not_disturb_migrations(queue: JobQueue) -> None:
    add_organizations(queue, constraint="fk_job_queue_organization")

    assert queue.run(migrate_after_idempotency_cutover()) == []
