"""`Ledger` and `SyncLedger` are the same but for awaiting: one is made from the other."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from typing import Any

import pytest

from runledger.client import Ledger, SyncLedger
from tools.sync_ledger import CLIENT, MODULES, blocking_path, blocking_source, compare

WITHOUT_CONNECTION = {"connect", "close", "transaction", "runtime_config", "tail_events", "workflow_run"}
NOT_AWAITED = {"transaction", "runtime_config", "tail_events", "workflow_run"}


def methods_of(ledger: type) -> dict[str, Callable[..., Any]]:
    """Return the public methods, with those of the parts."""
    return {
        name: inspect.unwrap(getattr(member, "__func__", member))
        for name, member in inspect.getmembers(ledger)
        if not name.startswith("_")
    }


@pytest.mark.parametrize("module", MODULES)
def test_the_blocking_ledger_is_made_from_the_asyncio_one(module: str) -> None:
    current = blocking_source(module, (CLIENT / f"{module}.py").read_text(encoding="utf-8"))
    difference = compare(blocking_path(module).read_text(encoding="utf-8"), current)

    assert not difference, "change the asyncio ledger and run `make sync-ledger`:\n" + "\n".join(difference)


def test_no_other_module_looks_as_if_it_were_made() -> None:
    assert {path.name for path in CLIENT.glob("sync_*.py")} == {blocking_path(module).name for module in MODULES}


def test_both_have_the_same_methods() -> None:
    assert set(methods_of(Ledger)) == set(methods_of(SyncLedger))


@pytest.mark.parametrize("name", sorted(set(methods_of(Ledger)) - NOT_AWAITED))
def test_only_the_methods_of_one_are_awaited(name: str) -> None:
    assert inspect.iscoroutinefunction(methods_of(Ledger)[name])
    assert not inspect.iscoroutinefunction(methods_of(SyncLedger)[name])


@pytest.mark.parametrize("ledger", [Ledger, SyncLedger])
def test_every_operation_accepts_the_callers_connection(ledger: type) -> None:
    for name, method in methods_of(ledger).items():
        if name in WITHOUT_CONNECTION:
            continue
        parameter = inspect.signature(method).parameters["connection"]
        assert parameter.kind is inspect.Parameter.KEYWORD_ONLY, name
        assert parameter.default is None, name


@pytest.mark.parametrize("ledger", [Ledger, SyncLedger])
def test_annotations_can_be_resolved(ledger: type) -> None:
    """Tools that read them at run time, such as documentation, must not fail."""
    for method in methods_of(ledger).values():
        assert typing.get_type_hints(method)


def test_nothing_of_asyncio_is_left_in_the_blocking_ledger() -> None:
    texts = [
        inspect.getdoc(SyncLedger) or "",
        *(inspect.getdoc(method) or "" for method in methods_of(SyncLedger).values()),
    ]
    signatures = [str(inspect.signature(method)) for method in methods_of(SyncLedger).values()]

    # The one place that is meant: where the other ledger is.
    assert texts[0].count(":class:`Ledger` is the same for asyncio code.") == 1
    assert "await" not in "".join(texts)
    assert "Async" not in "".join([*texts, *signatures])
