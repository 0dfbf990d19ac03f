"""`Ledger` and `SyncLedger` are the same but for awaiting."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable
from typing import Any

import pytest

from runledger.client import Ledger, SyncLedger

RENAMED = {"__aenter__": "__enter__", "__aexit__": "__exit__"}

# AsyncGenerator[X, None] is Generator[X, None, None].
ASYNC_WORDS = re.compile(r"\bAsync(?=[A-Z])|\basync |(, None)+(?=\])")


def methods_of(ledger: type) -> dict[str, Callable[..., Any]]:
    return {
        RENAMED.get(name, name): inspect.unwrap(getattr(member, "__func__", member))
        for name, member in vars(ledger).items()
        if inspect.isfunction(getattr(member, "__func__", member))
    }


METHODS = sorted(set(methods_of(Ledger)) | set(methods_of(SyncLedger)))


def signature_of(method: Callable[..., Any]) -> str:
    """Return parameters and result as text, with the classes of psycopg by their blocking names."""
    return ASYNC_WORDS.sub("", str(inspect.signature(method)))


def text_of(method: Callable[..., Any]) -> str:
    return ASYNC_WORDS.sub("", inspect.getdoc(method) or "")


def test_both_have_the_same_methods() -> None:
    assert set(methods_of(Ledger)) == set(methods_of(SyncLedger))


@pytest.mark.parametrize("name", METHODS)
def test_a_method_takes_and_gives_the_same(name: str) -> None:
    asyncio_method, blocking_method = methods_of(Ledger)[name], methods_of(SyncLedger)[name]

    assert signature_of(asyncio_method) == signature_of(blocking_method)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_described_in_the_same_words(name: str) -> None:
    asyncio_method, blocking_method = methods_of(Ledger)[name], methods_of(SyncLedger)[name]

    assert text_of(asyncio_method) == text_of(blocking_method)


@pytest.mark.parametrize("name", [name for name in METHODS if not name.startswith("_") and name != "transaction"])
def test_only_the_methods_of_one_are_awaited(name: str) -> None:
    assert inspect.iscoroutinefunction(methods_of(Ledger)[name])
    assert not inspect.iscoroutinefunction(methods_of(SyncLedger)[name])


@pytest.mark.parametrize("ledger", [Ledger, SyncLedger])
def test_every_operation_accepts_the_callers_connection(ledger: type) -> None:
    own = {"connect", "close", "transaction"}
    for name, method in methods_of(ledger).items():
        if name.startswith("_") or name in own:
            continue
        parameter = inspect.signature(method).parameters["connection"]
        assert parameter.kind is inspect.Parameter.KEYWORD_ONLY, name
        assert parameter.default is None, name


@pytest.mark.parametrize("ledger", [Ledger, SyncLedger])
def test_annotations_can_be_resolved(ledger: type) -> None:
    """Tools that read them at run time, such as documentation, must not fail."""
    for method in methods_of(ledger).values():
        assert typing.get_type_hints(method)
