"""The blocking and the asyncio half of the driver do the same."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest

from runledger.postgres import Database, run, run_sync
from runledger.postgres.drivers.psycopg import async_runner, sync_runner
from runledger.postgres.drivers.psycopg.own_connection import AsyncOwnConnection, SyncOwnConnection

# What only one half needs: checks that the other imports, and awaiting a coroutine as against calling a function.
ASYNC_ONLY = {"check_open_transaction", "unknown_target"}
DIFFERENT = {"run", "_translating"}

ASYNC_WORDS = re.compile(r"\basync |\bawait |\bAsync(?=[A-Z])")

PUBLIC_METHODS = ("open", "run", "close")


def parameters(function: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


def functions_of(module: Any) -> dict[str, str]:
    tree = ast.parse(inspect.getsource(module))
    return {
        node.name.replace("run_sync", "run"): ASYNC_WORDS.sub("", ast.unparse(node))
        for node in tree.body
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }


def test_run_and_run_sync_take_the_same_arguments() -> None:
    assert parameters(run) == parameters(run_sync)
    assert inspect.iscoroutinefunction(run)
    assert not inspect.iscoroutinefunction(run_sync)


def test_every_function_of_one_runner_is_the_blocking_form_of_the_other() -> None:
    asyncio_half = functions_of(async_runner)
    blocking_half = functions_of(sync_runner)

    assert set(asyncio_half) - ASYNC_ONLY == set(blocking_half)
    for name in set(blocking_half) - DIFFERENT - {"run_on_own", "run_last"}:
        assert asyncio_half[name] == blocking_half[name]


@pytest.mark.parametrize("method", PUBLIC_METHODS)
def test_own_connections_have_the_same_methods(method: str) -> None:
    asyncio_half, blocking_half = getattr(AsyncOwnConnection, method), getattr(SyncOwnConnection, method)

    assert parameters(asyncio_half) == parameters(blocking_half)
    assert inspect.iscoroutinefunction(asyncio_half)
    assert not inspect.iscoroutinefunction(blocking_half)


def test_own_connections_have_no_other_public_methods() -> None:
    def public(half: type) -> set[str]:
        return {name for name in vars(half) if not name.startswith("_")}

    # A blocked thread is freed from outside; the asyncio form has a timeout of its own.
    assert (public(AsyncOwnConnection), public(SyncOwnConnection)) == (
        set(PUBLIC_METHODS),
        {*PUBLIC_METHODS, "abort"},
    )


def test_a_database_opens_both_kinds_of_pool_with_the_same_arguments() -> None:
    assert parameters(Database.open_pool) == parameters(Database.open_sync_pool)
