"""Whose rows an operation may see.

A scope is always stated and fails closed. There is no value that means "no filter" by being absent: a
forgotten organization must not turn into access to every tenant's rows, so ``None`` is not a scope and all
access has a name.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from runledger.core.errors import InvalidArgumentError


@dataclass(frozen=True, slots=True)
class Global:
    """The rows that belong to no organization, and only those."""


@dataclass(frozen=True, slots=True)
class Organization:
    """The rows of one organization, and only those; the rows of others answer as if they did not exist.

    Raises:
        InvalidArgumentError: The id is no ``UUID``; a text that merely looks like one is refused too.
    """

    organization_id: UUID

    def __post_init__(self) -> None:
        # Checked at run time as well: None from an untyped caller would reach SQL as "no organization".
        if not isinstance(self.organization_id, UUID):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidArgumentError(
                "organization_id", f"is of type {type(self.organization_id).__name__}", "pass a uuid.UUID"
            )


@dataclass(frozen=True, slots=True)
class Admin:
    """All rows, whoever they belong to. For operators and the system, never for a request of a tenant."""


Scope = Global | Organization | Admin
"""One of the three scopes; ``match`` over it is exhaustive."""


def scope_holds(scope: Scope, organization_id: UUID | None) -> bool:
    """Return whether a row of an organization, or with ``None`` of none, is in a scope."""
    match scope:
        case Admin():
            return True
        case Global():
            return organization_id is None
        case Organization():
            return scope.organization_id == organization_id
