"""What is refused where several objects of one class are asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import UUID

import pytest

from runledger.core import InvalidArgumentError
from runledger.core.item_checks import check_distinct_names, check_items

ID = UUID(int=1)


async def ids_in_time() -> AsyncIterator[UUID]:
    yield ID


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (ID, "ids: is a single UUID; put it into a list"),
        ("ab", "ids: is of type str; pass UUIDs"),
        (None, "ids: is of type NoneType; pass UUIDs"),
        (
            ids_in_time(),
            (
                "ids: is of type async_generator; pass UUIDs; "
                "async generators are not read, collect what they give into a list"
            ),
        ),
    ],
    ids=["one", "text", "nothing", "async"],
)
def test_what_is_not_several_is_refused_before_it_is_read(given: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        check_items("ids", given, UUID, remedy="pass UUIDs")

    assert str(refused.value) == message


def test_items_are_given_as_they_come_and_a_wrong_one_is_told_by_its_place() -> None:
    def ids() -> Iterator[Any]:
        yield ID
        yield "x"

    given = check_items("ids", ids(), UUID, remedy="pass UUIDs")

    assert next(given) == ID
    with pytest.raises(InvalidArgumentError, match=r"^ids\[1\]: is of type str; pass UUIDs$"):
        next(given)


def test_a_name_that_comes_twice_is_told() -> None:
    check_distinct_names("schedules", ["a", "b"], "declare each once")
    with pytest.raises(InvalidArgumentError, match=r"^schedules: contains 'b' twice; declare each once$"):
        check_distinct_names("schedules", ["a", "b", "c", "b"], "declare each once")
