"""Runtime configs on the ledger, and the reader of handlers. Each test runs for both ledgers."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import pytest

from runledger.client import Ledger, RuntimeConfig
from runledger.core import ConfigError, InvalidArgumentError
from runledger.postgres import QueryError
from tests.client.blocking import AwaitedLedger
from tests.client.conftest import TYPE
from tests.observer import Observer

ALWAYS, NEVER = timedelta(), timedelta(hours=1)


@dataclass(frozen=True)
class Smtp:
    host: str
    rate: int = 10


Read = Callable[..., Any]


@pytest.fixture
def reader(ledger: Ledger) -> Read:
    """Makes a reader whose methods are awaited, whatever the ledger."""

    async def make(annotation: Any = Smtp, **settings: Any) -> RuntimeConfig[Any]:
        made: Any = ledger.runtime_config(TYPE, annotation, **settings)
        if inspect.isawaitable(made):  # of the blocking ledger, as the fixture has it
            return cast("Any", AwaitedLedger(await made))
        return made

    return make


async def test_a_config_is_stored_read_listed_and_deleted(ledger: Ledger) -> None:
    assert await ledger.insert_runtime_config_if_missing(TYPE, {"host": "a"})
    assert not await ledger.insert_runtime_config_if_missing(TYPE, {"host": "b"})
    stored = await ledger.upsert_runtime_config(TYPE, Smtp("c"), schema_version=2)

    assert stored.config == {"host": "c", "rate": 10}
    assert await ledger.get_runtime_config(TYPE) == stored
    assert await ledger.get_required_runtime_config(TYPE) == stored
    assert await ledger.list_runtime_configs(job_type=TYPE) == [stored]
    assert await ledger.delete_runtime_config(TYPE)
    assert await ledger.get_runtime_config(TYPE) is None


async def test_a_reader_gives_what_the_annotation_names(ledger: Ledger, reader: Read) -> None:
    await ledger.upsert_runtime_config(TYPE, {"host": "a", "of a newer version": True})
    typed, plain = await reader(), await reader(dict)

    assert await typed.get() == Smtp("a")
    assert await plain.get() == {"host": "a", "of a newer version": True}


async def test_a_reader_reads_again_when_its_value_is_old(ledger: Ledger, reader: Read) -> None:
    await ledger.upsert_runtime_config(TYPE, {"host": "a"})
    always, never = await reader(refresh_interval=ALWAYS), await reader(refresh_interval=NEVER)
    assert (await always.get(), await never.get()) == (Smtp("a"), Smtp("a"))

    await ledger.upsert_runtime_config(TYPE, {"host": "b"})

    assert (await always.get(), await never.get()) == (Smtp("b"), Smtp("a"))
    assert await never.refresh() == Smtp("b")
    assert await never.get() == Smtp("b")


async def test_without_a_config_there_is_the_default_or_an_error(ledger: Ledger, reader: Read) -> None:
    """ADM-029."""
    with_default = await reader(default=Smtp("localhost"), refresh_interval=ALWAYS)
    without = await reader(refresh_interval=ALWAYS)

    assert await with_default.get() == Smtp("localhost")
    with pytest.raises(QueryError) as caught:
        await without.get()
    assert caught.value.code == "job.runtime_config_not_found"

    await ledger.upsert_runtime_config(TYPE, {"host": "a"})
    assert (await with_default.get(), await without.get()) == (Smtp("a"), Smtp("a"))
    await ledger.delete_runtime_config(TYPE)
    assert await with_default.get() == Smtp("localhost")


async def test_a_config_of_another_shape_is_refused_at_first_and_later_changes_nothing(
    ledger: Ledger, reader: Read, caplog: pytest.LogCaptureFixture
) -> None:
    await ledger.upsert_runtime_config(TYPE, {"host": "a", "rate": "many"})
    config = await reader(refresh_interval=ALWAYS)
    with pytest.raises(ConfigError, match=r"config\.rate: expected integer, found text") as caught:
        await config.get()
    assert caught.value.code == "job.runtime_config_invalid"

    await ledger.upsert_runtime_config(TYPE, {"host": "a", "rate": 1})
    assert await config.get() == Smtp("a", 1)
    await ledger.upsert_runtime_config(TYPE, {"rate": 1})
    assert [await config.get() for _ in range(3)] == [Smtp("a", 1)] * 3
    await ledger.upsert_runtime_config(TYPE, {"host": "b", "rate": 1})
    caplog.set_level("INFO", "runledger")
    assert await config.get() == Smtp("b", 1)

    events = [record.msg for record in caplog.records if record.name == "runledger.runtime_config"]
    assert events == ["runtime_config.refresh_failed", "runtime_config.refresh_recovered"]


async def test_a_config_that_python_cannot_read_is_told_as_one_of_another_shape(
    ledger: Ledger, reader: Read, observer: Observer
) -> None:
    await ledger.upsert_runtime_config(TYPE, {"host": "a"})
    config = await reader(refresh_interval=ALWAYS)
    await observer.execute(f"UPDATE runledger.job_runtime_configs SET config = '{{\"rate\": {'9' * 5_000}}}'")

    with pytest.raises(ConfigError, match="a number has too many digits") as caught:
        await config.get()

    assert caught.value.code == "job.runtime_config_invalid"


async def test_a_database_that_refuses_changes_nothing(ledger: Ledger, reader: Read, observer: Observer) -> None:
    await ledger.upsert_runtime_config(TYPE, {"host": "a"})
    config = await reader(refresh_interval=ALWAYS)
    assert await config.get() == Smtp("a")

    await observer.execute("ALTER TABLE runledger.job_runtime_configs RENAME TO hidden")

    assert await config.get() == Smtp("a")


async def test_while_one_reads_the_others_have_the_value_before(
    ledger: Ledger, reader: Read, observer: Observer
) -> None:
    await ledger.upsert_runtime_config(TYPE, {"host": "a"})
    config = await reader(refresh_interval=ALWAYS)
    await config.get()

    async with observer.locked("job_runtime_configs"):
        slow = asyncio.create_task(config.get())
        await observer.until_blocked()
        assert await config.get() == Smtp("a")
    assert await slow == Smtp("a")


async def test_what_cannot_be_read_is_refused_when_the_reader_is_made(reader: Read) -> None:
    with pytest.raises(InvalidArgumentError):
        await reader(set)
    with pytest.raises(InvalidArgumentError, match="refresh_interval"):
        await reader(refresh_interval=timedelta(seconds=-1))
