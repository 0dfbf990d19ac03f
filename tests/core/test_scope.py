"""Scopes are explicit and fail closed."""

from uuid import UUID

import pytest

from runledger.core.errors import InvalidArgumentError
from runledger.core.scope import Admin, Global, Organization, Scope

ACME = UUID("018fa1f8-0000-7000-8000-000000000001")
OTHER = UUID("018fa1f8-0000-7000-8000-000000000002")


@pytest.mark.parametrize("value", [None, str(ACME), ACME.int, ""])
def test_an_organization_without_a_real_id_is_refused(value: object) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        Organization(value)  # pyright: ignore[reportArgumentType]

    assert caught.value.field == "organization_id"


def test_scopes_are_equal_by_what_they_cover() -> None:
    assert Organization(ACME) == Organization(ACME)
    scopes: set[Scope] = {Global(), Global(), Admin(), Organization(ACME), Organization(OTHER)}
    assert len(scopes) == 4
