"""What may happen to workers, connections and the server, at random but as the seed says."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable

import psycopg

from tests.outages.process import OutageWorker, outage_worker
from tests.outages.quietness import check_quiet
from tests.outages.server import OutageServer
from tests.wire import Loss, Wire

LEASE_TTL = 3.0
SLOTS = 16

_LONGEST_SILENCE = 2 * LEASE_TTL
_PAUSE_SECONDS = (0.2, 3.0)
_END_SESSIONS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
_LOST_ANSWERS = (b"WORKER_PRESTART", b'"output":', b"COMMIT", b"lease_ttl_ms")


class Place:
    """A place for a worker behind its own wire. When its process ends, another one takes the place.

    Attributes:
        wire: Its network.
        worker: The process of the moment.
    """

    def __init__(self, number: int, wire: Wire, stack: contextlib.AsyncExitStack) -> None:
        """Not for callers: use `start`."""
        self.wire = wire
        self.worker: OutageWorker
        self._number = number
        self._stack = stack
        self._generation = 0
        self._faults = 0

    async def start(self) -> None:
        """Start a process, under a name that no other had."""
        self._generation += 1
        self._faults = 1
        name = f"worker-{self._number}-{self._generation}"
        self.worker = await self._stack.enter_async_context(
            outage_worker(self.wire.url, name, slots=SLOTS, lease_ttl=LEASE_TTL, pool_size=SLOTS)
        )

    def is_hit(self) -> None:
        """A fault comes that the process will notice, and may speak of."""
        # It may notice both the beginning and the end.
        self._faults += 2

    async def kill(self) -> None:
        """Kill the process, and start another one."""
        self.worker.signal(signal.SIGKILL)
        await self.worker.until_ended()
        await self._restart()

    async def stop(self) -> None:
        """Stop the process as a service manager does, and start another one."""
        await self.worker.stop()
        await self._restart()

    def check_quiet(self) -> None:
        """Assert that the process did not flood its log."""
        check_quiet(self.worker, outages=self._faults, slots=SLOTS)

    async def _restart(self) -> None:
        self.check_quiet()
        await self.start()


class Faults:
    """Brings one fault after the other.

    Args:
        server: The server behind all wires.
        places: Where the workers are.
        seed: The same seed brings the same faults in the same order.

    Attributes:
        counts: How often what was brought.
    """

    def __init__(self, server: OutageServer, places: list[Place], *, seed: int) -> None:
        self._server = server
        self._places = places
        self._random = random.Random(seed)  # noqa: S311 (chooses faults, guards nothing)
        self._kinds: list[Callable[[], Awaitable[None]]] = [
            self._kill_worker,
            self._stop_worker,
            self._pause_worker,
            self._restart_server,
            self._end_sessions,
            self._cut_network,
            self._silence_network,
            self._strand_connections,
            self._lose_answers,
        ]
        self.counts: Counter[str] = Counter()

    async def bring(self) -> None:
        """Bring one, and wait a little."""
        fault = self._random.choice(self._kinds)
        self.counts[fault.__name__.strip("_")] += 1
        await fault()
        await asyncio.sleep(self._random.uniform(*_PAUSE_SECONDS))

    def _place(self) -> Place:
        place = self._random.choice(self._places)
        place.is_hit()
        return place

    async def _kill_worker(self) -> None:
        await self._place().kill()

    async def _stop_worker(self) -> None:
        await self._place().stop()

    async def _pause_worker(self) -> None:
        worker = self._place().worker
        worker.signal(signal.SIGSTOP)
        await self._silence()
        worker.signal(signal.SIGCONT)

    async def _restart_server(self) -> None:
        for place in self._places:
            place.is_hit()
        await asyncio.to_thread(self._server.stop_immediately)
        await self._silence()
        await asyncio.to_thread(self._server.start)

    async def _end_sessions(self) -> None:
        for place in self._places:
            place.is_hit()
        async with await psycopg.AsyncConnection.connect(self._server.url, autocommit=True) as connection:
            await connection.execute(_END_SESSIONS)

    async def _cut_network(self) -> None:
        self._place().wire.cut()

    async def _silence_network(self) -> None:
        wire = self._place().wire
        wire.freeze()
        await self._silence()
        wire.thaw()

    async def _strand_connections(self) -> None:
        wire = self._place().wire
        wire.strand()
        await self._silence()
        wire.cut()  # as the kernel does at both ends, when its patience is over

    async def _lose_answers(self) -> None:
        wire = self._place().wire
        for text in self._random.sample(_LOST_ANSWERS, k=2):
            wire.break_at(text, Loss.ANSWER)

    async def _silence(self) -> None:
        await asyncio.sleep(self._random.uniform(0.1, _LONGEST_SILENCE))
