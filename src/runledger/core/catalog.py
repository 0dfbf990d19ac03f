"""What the code of an application declares: the job types that it owns, and when their jobs are made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from typing import Protocol

from runledger.core.errors import InvalidArgumentError
from runledger.core.item_checks import check_distinct_names
from runledger.core.jobs.records import JobDefinition
from runledger.core.schedules.schedule import ScheduleRequest, check_catalog_scope


class CatalogSyncMode(StrEnum):
    """What becomes of the job types and schedules of a catalog that it does not declare any more."""

    ADDITIVE = "additive"
    """Nothing. Right for processes of different versions that run side by side."""

    EXACT = "exact"
    """The types are disabled and the schedules paused, until the catalog declares them again. Another catalog may take
    the types meanwhile; those that an operator has disabled belong to nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogDeclaration:
    """All that a catalog declares, as it is written to the database.

    Attributes:
        scope: The name of the catalog, which owns what it declares.
        definitions: Its job types, each once.
        schedules: Its schedules, each name once, of its job types.

    Raises:
        InvalidArgumentError: ``job_definition.empty_job_type_list``: there is no type, which is more likely a module
            that was not imported than a wish to disable everything. ``job_definition.not_declared``: a schedule is of
            another type. Or the scope is blank, or something comes twice.
    """

    scope: str
    definitions: tuple[JobDefinition, ...]
    schedules: tuple[ScheduleRequest, ...] = ()

    def __post_init__(self) -> None:
        check_catalog_scope(self.scope)
        if not self.definitions:
            raise InvalidArgumentError(
                "definitions",
                "is empty",
                "declare job types, and import the modules that do, before the catalog is synced",
                code="job_definition.empty_job_type_list",
            )
        job_types = [definition.job_type for definition in self.definitions]
        check_distinct_names("definitions", job_types, "declare each job type once")
        check_distinct_names("schedules", [schedule.name for schedule in self.schedules], "declare each schedule once")
        for schedule in self.schedules:
            if schedule.job_type not in job_types:
                raise type_not_declared(f"schedule {schedule.name!r}", schedule.job_type, job_types)


class DeclaresCatalog(Protocol):
    """What has a declaration, such as a :class:`~runledger.runtime.JobCatalog`."""

    def declaration(self) -> CatalogDeclaration:
        """Return all that it declares."""
        ...


def type_not_declared(field: str, job_type: str, declared: Iterable[str]) -> InvalidArgumentError:
    """Return the error of a job type that a catalog does not have, with those whose names are similar.

    Args:
        field: The name of the argument that holds it.
        job_type: The type.
        declared: The types that the catalog declares.
    """
    similar = get_close_matches(job_type, sorted(declared), n=3)
    remedy = f"did you mean {' or '.join(map(repr, similar))}?" if similar else "declare it, or correct the name"
    problem = f"names the job type {job_type!r}, which the catalog does not declare"
    return InvalidArgumentError(field, problem, remedy, code="job_definition.not_declared")
