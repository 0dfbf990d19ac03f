"""Threads for plain handlers."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncGenerator, Generator

import pytest

from runledger.runtime.handler_threads import HandlerThreads


@pytest.fixture
async def threads() -> AsyncGenerator[HandlerThreads]:
    threads = HandlerThreads()
    yield threads
    threads.close()


def fail_with_stop_iteration() -> None:
    raise StopIteration("value")


async def await_end(thread: threading.Thread) -> None:
    """Wait until a thread has ended."""
    await asyncio.to_thread(thread.join, 10)
    assert not thread.is_alive()


async def test_a_call_gives_its_value(threads: HandlerThreads) -> None:
    result = await threads.submit(lambda: 7)

    assert (result.value, result.error) == (7, None)


async def test_a_call_gives_its_exception_as_a_value(threads: HandlerThreads) -> None:
    """A future refuses StopIteration."""
    result = await threads.submit(fail_with_stop_iteration)

    assert isinstance(result.error, StopIteration)


async def test_calls_run_side_by_side(threads: HandlerThreads) -> None:
    barrier = threading.Barrier(5, timeout=10)

    await asyncio.gather(*(threads.submit(barrier.wait) for _ in range(5)))


async def test_an_idle_thread_is_used_again(threads: HandlerThreads) -> None:
    first = await threads.submit(threading.current_thread)
    second = await threads.submit(threading.current_thread)

    assert first.value is second.value


async def test_many_short_calls_need_no_more_threads_than_run_at_once(threads: HandlerThreads) -> None:
    used: set[threading.Thread] = set()
    for _ in range(50):
        results = await asyncio.gather(*(threads.submit(threading.current_thread) for _ in range(3)))
        used.update(result.value for result in results)

    assert len(used) <= 3


async def test_a_thread_ends_when_it_was_idle_for_long() -> None:
    threads = HandlerThreads(idle_seconds=0.01)
    first = (await threads.submit(threading.current_thread)).value

    await await_end(first)

    assert (await threads.submit(threading.current_thread)).value is not first


@pytest.fixture
def restless_threads() -> Generator[None]:
    """Python changes from thread to thread as often as it can, so that rare interleavings happen."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("restless_threads")
async def test_no_call_is_lost_while_threads_end_of_idleness() -> None:
    """A call may be promised to a thread just as its idle time ends."""
    threads = HandlerThreads(idle_seconds=0.00005)
    for _ in range(500):
        await asyncio.wait_for(asyncio.gather(*(threads.submit(threading.get_ident) for _ in range(3))), 10)


async def test_closing_ends_idle_threads(threads: HandlerThreads) -> None:
    thread = (await threads.submit(threading.current_thread)).value

    threads.close()

    await await_end(thread)


async def test_a_busy_thread_ends_after_its_call(threads: HandlerThreads) -> None:
    may_return = threading.Event()
    begun: asyncio.Future[threading.Thread] = asyncio.get_running_loop().create_future()
    loop = asyncio.get_running_loop()

    def call() -> None:
        loop.call_soon_threadsafe(begun.set_result, threading.current_thread())
        may_return.wait(10)

    call_result = threads.submit(call)
    thread = await begun
    assert thread.daemon

    threads.close()
    may_return.set()

    await call_result
    await await_end(thread)


async def test_a_canceled_call_goes_on_and_nobody_hears_of_it(threads: HandlerThreads) -> None:
    may_return = threading.Event()
    ended = threading.Event()

    def call() -> None:
        may_return.wait(10)
        ended.set()

    future = threads.submit(call)
    future.cancel()
    may_return.set()

    assert await asyncio.to_thread(ended.wait, 10)
    assert future.cancelled()


def test_a_thread_that_outlives_the_event_loop_ends_quietly() -> None:
    """Its result has nobody to go to; an error there would be reported as an unhandled thread exception."""
    may_return = threading.Event()
    begun: list[threading.Thread] = []

    async def leave_it_behind() -> None:
        threads = HandlerThreads()
        is_begun = threading.Event()

        def call() -> None:
            begun.append(threading.current_thread())
            is_begun.set()
            may_return.wait(10)

        threads.submit(call)
        assert await asyncio.to_thread(is_begun.wait, 10)
        threads.close()

    asyncio.run(leave_it_behind())
    may_return.set()
    begun[0].join(10)

    assert not begun[0].is_alive()
