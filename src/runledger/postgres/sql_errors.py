"""Database errors as Runledger shows them: a stable code, a safe text, and the rest for trusted eyes only.

PostgreSQL prints keys and values in its messages and details. A :class:`QueryError` therefore leaves the driver
without ``__cause__`` and ``__context__``: whatever prints it, with or without traceback, shows the client message. The
original is in ``error.source`` for code that asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from runledger.core.errors import RunledgerError

COMMIT_UNCONFIRMED = "db.transaction_commit_unconfirmed"
"""Code of a commit whose answer was lost."""

LEASE_LOST = "job.lease_owner_mismatch"
"""Code of every failed fence: whoever asks does not hold the lease."""

LOCK_NOT_AVAILABLE = "55P03"
"""SQLSTATE of a wait for a lock that took longer than ``lock_timeout``."""

NOT_MIGRATED = "schema.not_migrated"
"""Code of a statement that did not find its table or its schema."""

OTHER_VERSION = "schema.incompatible"
"""Code of tables that are not those of this version of the code."""

_TABLE_MISSING = frozenset({"42P01", "3F000"})
# A column, a type, a function or operator, or a unique index that the statement names and the database does not have.
_TABLES_DIFFER = frozenset({"42703", "42704", "42883", "42P10"})


class QueryErrorCategory(StrEnum):
    """Broad kinds of database errors; branch on the code where one case matters."""

    CONFLICT = "Conflict"
    VALIDATION = "Validation"
    FORBIDDEN = "Forbidden"
    INTERNAL = "Internal"


class DatabaseConnectionError(RunledgerError, ConnectionError):
    """PostgreSQL cannot be reached, or the connection was lost.

    What was sent may or may not have been committed; operations that can tell say so in their own errors.

    Attributes:
        reason: Why a connection could not be opened, as far as known; safe to show.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "db.connection_failed",
        reason: str | None = None,
        source: Exception | None = None,
    ) -> None:
        super().__init__(message, code=code)
        self.reason = reason
        self._source = source

    @property
    def source(self) -> Exception | None:
        """The driver's exception, for trusted logs."""
        return self._source


class QueryError(RunledgerError):
    """A statement failed, or the database refused what was asked.

    ``str(error)`` is the client message. ``repr(error)`` adds category, code, SQLSTATE and constraint, and whether a
    source exists. Neither shows the internal message.

    Attributes:
        category: The broad kind.
        client_message: Text that may be shown to anybody.
        sqlstate: PostgreSQL's error code, where the error came from a statement.
        constraint: Name of the violated constraint, where there is one.
    """

    def __init__(
        self,
        *,
        category: QueryErrorCategory,
        code: str,
        client_message: str,
        internal_message: str,
        sqlstate: str | None = None,
        constraint: str | None = None,
        source: Exception | None = None,
    ) -> None:
        super().__init__(client_message, code=code)
        self.category = category
        self.client_message = client_message
        self.sqlstate = sqlstate
        self.constraint = constraint
        self._internal_message = internal_message
        self._source = source

    @property
    def internal_message(self) -> str:
        """Operation and raw database message. May hold values; for trusted logs only."""
        return self._internal_message

    @property
    def source(self) -> Exception | None:
        """The driver's exception. May hold values; for trusted code only."""
        return self._source

    def reclassified(self, classifier: ConstraintClassifier) -> QueryError:
        """Return this error as an application's classifier shows it; the error itself where it knows nothing of it."""
        shown = None if self.constraint is None else classifier(self.constraint)
        if shown is None:
            return self
        return QueryError(
            category=shown.category,
            code=shown.code,
            client_message=shown.client_message,
            internal_message=self._internal_message,
            sqlstate=self.sqlstate,
            constraint=self.constraint,
            source=self._source,
        )

    def __repr__(self) -> str:
        """Show what is safe, and only whether there is a source."""
        return (
            f"QueryError(category={self.category.value}, code={self.code!r}, client_message={self.client_message!r}, "
            f"sqlstate={self.sqlstate!r}, constraint={self.constraint!r}, has_source={self._source is not None})"
        )


@dataclass(frozen=True, slots=True)
class ErrorClass:
    """How an error is shown: category, code and client message.

    An application gives its own to constraints that it added to Runledger's tables::

        own = {"fk_job_queue_shop": ErrorClass(QueryErrorCategory.VALIDATION, "shop.unknown", "there is no such shop")}
        ledger = await Ledger.connect(url, classifier=own.get)

    Attributes:
        category: The broad kind.
        code: Stable text to branch on.
        client_message: Text that may be shown to anybody.
    """

    category: QueryErrorCategory
    code: str
    client_message: str


ConstraintClassifier = Callable[[str], ErrorClass | None]
"""An application's own map from constraint names; what it knows takes precedence over Runledger's."""

_CONFLICT, _VALIDATION = QueryErrorCategory.CONFLICT, QueryErrorCategory.VALIDATION
_FORBIDDEN, _INTERNAL = QueryErrorCategory.FORBIDDEN, QueryErrorCategory.INTERNAL

_JOB_ENQUEUED = ErrorClass(_CONFLICT, "job.already_enqueued", "a job with this idempotency key is enqueued already")
_WORKFLOW_ENQUEUED = ErrorClass(
    _CONFLICT, "workflow.already_enqueued", "a workflow with this idempotency key is enqueued already"
)
_DEFINITION = ErrorClass(_VALIDATION, "job.definition_not_found", "the job type has no definition")

CONSTRAINT_CLASSES: Mapping[str, ErrorClass] = {
    "uq_job_queue_type_idempotency_org": _JOB_ENQUEUED,
    "uq_job_queue_type_idempotency_global": _JOB_ENQUEUED,
    "fk_job_queue_job_type": _DEFINITION,
    "fk_job_runtime_configs_job_type": _DEFINITION,
    "fk_job_schedules_job_type": ErrorClass(
        _VALIDATION,
        "job_schedule.definition_not_found_or_disabled",
        "the job type has no definition, which a schedule needs",
    ),
    "fk_job_queue_organization": ErrorClass(
        _VALIDATION, "job.organization_not_found", "the organization of the job does not exist"
    ),
    # The code is the one of any check. What is wrong is known, though: the numbers themselves are looked at before.
    "chk_job_queue_progress_nonnegative": ErrorClass(
        _VALIDATION,
        "db.business_rule_violation",
        "with the counts reported before, more would be done than there is; "
        "report progress_done and progress_total together",
    ),
    "uq_workflow_runs_type_idempotency_org": _WORKFLOW_ENQUEUED,
    "uq_workflow_runs_type_idempotency_global": _WORKFLOW_ENQUEUED,
    "os_workflow_job_linkage_symmetry": ErrorClass(
        _VALIDATION, "workflow.linkage_symmetry_violation", "a job and its workflow step must point at each other"
    ),
    "os_workflow_job_linkage_symmetry_trigger_table": ErrorClass(
        _VALIDATION, "workflow.linkage_symmetry_trigger_table_invalid", "the linkage check is attached to another table"
    ),
}
"""Constraints that have a code of their own (jobs, errors)."""

SQLSTATE_CLASSES: Mapping[str, ErrorClass] = {
    "23505": ErrorClass(_CONFLICT, "db.unique_violation", "a row with the same unique value exists already"),
    "23503": ErrorClass(_VALIDATION, "db.related_resource_missing", "a related resource does not exist"),
    "23001": ErrorClass(_VALIDATION, "db.related_resource_still_referenced", "the resource is still in use"),
    "23514": ErrorClass(_VALIDATION, "db.business_rule_violation", "a value breaks a rule of the database"),
    "23502": ErrorClass(_VALIDATION, "db.required_field_missing", "a required field is missing"),
    "42501": ErrorClass(
        _FORBIDDEN,
        "db.permission_denied",
        "the database role may not do this; `runledger grants` prints what each role needs",
    ),
    "54000": ErrorClass(_INTERNAL, "db.query_failed", "a value is larger than PostgreSQL can store or index"),
    "25P02": ErrorClass(
        _INTERNAL,
        "db.transaction_failed",
        "a statement of this transaction failed before; roll it back (the first error is the cause)",
    ),
}

_LIMIT_EXCEEDED = "54000"


def classify(
    sqlstate: str | None, constraint: str | None, classifier: ConstraintClassifier | None = None
) -> ErrorClass:
    """Return how a database error is shown: the host's classifier first, then the constraint, then the SQLSTATE."""
    # An index for which a value is too large is named as well, but nothing conflicts with it.
    if constraint is not None and sqlstate != _LIMIT_EXCEEDED:
        own = classifier(constraint) if classifier is not None else None
        if own is not None:
            return own
        if constraint in CONSTRAINT_CLASSES:
            return CONSTRAINT_CLASSES[constraint]
    return SQLSTATE_CLASSES.get(sqlstate or "") or _unclassified(sqlstate)


def _unclassified(sqlstate: str | None) -> ErrorClass:
    # The SQLSTATE is one of a list and holds no values, and it is all that tells one of these errors from another.
    state = "" if sqlstate is None else f" (SQLSTATE {sqlstate})"
    return ErrorClass(_INTERNAL, "db.query_failed", f"the database could not run the query{state}")


def schema_class(sqlstate: str | None, place: str) -> ErrorClass | None:
    """Return how the error of a statement is shown that does not fit the tables; ``None`` for any other error.

    Args:
        sqlstate: Of an error in the text of the statement itself; a trigger may miss tables of its own.
        place: The schema and the database.
    """
    if sqlstate in _TABLE_MISSING:
        return ErrorClass(
            _INTERNAL,
            NOT_MIGRATED,
            f"{place} has no tables of Runledger, or not all of this version; migrate it with `runledger migrate` or "
            "`ledger.migrate()`, or correct its name",
        )
    if sqlstate in _TABLES_DIFFER:
        return ErrorClass(
            _INTERNAL,
            OTHER_VERSION,
            f"the tables of {place} are not those of this version; migrate them with `runledger migrate` or "
            "`ledger.migrate()`, or upgrade runledger-pg if they are newer",
        )
    return None


def refusal(category: QueryErrorCategory, code: str, client_message: str, *, internal: str | None = None) -> QueryError:
    """Return the error of an operation that the database understood and the rules refuse."""
    return QueryError(
        category=category, code=code, client_message=client_message, internal_message=internal or client_message
    )


def commit_unconfirmed(operation_name: str, *, source: Exception | None = None) -> DatabaseConnectionError:
    """Return the error of a transaction of which nobody can say whether it was committed."""
    return DatabaseConnectionError(
        f"{operation_name}: the connection to PostgreSQL was lost during the commit; it may have taken place",
        code=COMMIT_UNCONFIRMED,
        source=source,
    )


def lease_owner_mismatch(operation_name: str) -> QueryError:
    """Return the one error of every failed fence. It does not say which condition failed."""
    return refusal(
        QueryErrorCategory.FORBIDDEN,
        LEASE_LOST,
        "the worker does not currently hold the lease of this job",
        internal=f"{operation_name}: no leased row with this job, run, attempt, worker and a live expiry",
    )
