"""A network between a client and PostgreSQL that can fail in chosen ways."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator
from enum import Enum

from psycopg.conninfo import conninfo_to_dict, make_conninfo

_CHUNK = 65_536

# BackendKeyData, and ReadyForQuery right after it: tag, length, process id, secret.
_KEY_DATA = re.compile(rb"K(\x00\x00\x00.)(....)(.{4,256}?)(Z\x00\x00\x00\x05)", re.DOTALL)


class Loss(Enum):
    """How a connection breaks at a request."""

    ANSWER = "the server does it, the client never hears of it"
    REQUEST = "the server sees the connection end instead"
    CLIENT = "only the client sees the end; the server waits for a request"


class _Link:
    """One client's connection and ours to the server."""

    def __init__(self) -> None:
        self.flows = asyncio.Event()
        self.flows.set()
        self.loses_next_answer = False
        self.is_greeted = False


class Wire:
    """Passes bytes on between clients and the server until it is told to misbehave.

    Attributes:
        url: Where clients connect to.
        has_lost_answer: Set when an answer was lost.
        is_pooler: Tell clients another process id than the server's, as poolers do, which make one up for each client.
    """

    def __init__(self, server_url: str) -> None:
        """Not for callers: use `wire_to`."""
        self._server_url = server_url
        self._streams: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._held_count = 0
        self._has_held = asyncio.Event()
        self._links: set[_Link] = set()
        self._loses_next_answer = False
        self._breaks: list[tuple[bytes, Loss]] = []
        self.has_lost_answer = asyncio.Event()
        self.url = ""
        self.is_pooler = False
        self._is_refusing = False
        self._refused_count = 0
        self._has_refused = asyncio.Event()

    def cut(self) -> None:
        """End every connection, as a restarting router does."""
        for stream in self._streams:
            stream.transport.abort()

    def refuse(self) -> None:
        """End every connection, and every new one until `accept`, as a server that is not there."""
        self._is_refusing = True
        self.cut()

    def accept(self) -> None:
        """Let clients in again."""
        self._is_refusing = False

    async def until_refused(self, count: int) -> None:
        """Wait until so many connections were refused."""
        async with asyncio.timeout(20):
            while self._refused_count < count:
                self._has_refused.clear()
                await self._has_refused.wait()

    def freeze(self) -> None:
        """Let nothing pass any more, and tell nobody."""
        self._flows.clear()
        self._held_count = 0

    async def until_held(self, count: int) -> None:
        """Wait until so many requests and answers were held back since the freeze."""
        async with asyncio.timeout(20):
            while self._held_count < count:
                self._has_held.clear()
                await self._has_held.wait()

    def thaw(self) -> None:
        """Let everything pass again, also what was held back."""
        self._flows.set()

    def strand(self) -> None:
        """Let nothing pass any more on the connections of the moment, and tell nobody; new ones are not affected."""
        for link in self._links:
            link.flows.clear()

    def lose_next_answer(self) -> None:
        """Throw away the next answer of the server, together with its connection: what it did stays done."""
        self._loses_next_answer = True
        self.has_lost_answer.clear()

    def break_at(self, text: bytes, loss: Loss) -> None:
        """Break the connection of the next client that sends a text; called again, also that of the one after it."""
        self._breaks.append((text, loss))

    @property
    def breaks_to_come(self) -> int:
        """How many of them have not happened."""
        return len(self._breaks)

    async def listen(self) -> asyncio.Server:
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        self.url = make_conninfo(self._server_url, host="127.0.0.1", port=port, sslmode="disable", gssencmode="disable")
        return server

    async def close(self) -> None:
        self.thaw()
        for link in self._links:
            link.flows.set()
        self.cut()
        if self._pumps:
            await asyncio.wait(self._pumps)
        for stream in self._streams:
            with contextlib.suppress(OSError):
                await stream.wait_closed()

    async def _connect(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        if self._is_refusing:
            to_client.transport.abort()
            self._refused_count += 1
            self._has_refused.set()
            return
        self._streams.add(to_client)
        try:
            from_server, to_server = await _open_connection(self._server_url)
        except OSError:  # the server is away
            to_client.transport.abort()
            return
        self._streams.add(to_server)
        link = _Link()
        self._links.add(link)
        for pump in (
            self._pump(from_client, to_server, link, is_answer=False, other=to_client),
            self._pump(from_server, to_client, link, is_answer=True, other=to_server),
        ):
            task = asyncio.create_task(pump)
            self._pumps.add(task)
            task.add_done_callback(self._pumps.discard)

    async def _pump(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        link: _Link,
        *,
        is_answer: bool,
        other: asyncio.StreamWriter,
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(_CHUNK):
                if not self._flows.is_set():
                    self._held_count += 1
                    self._has_held.set()
                await self._flows.wait()
                await link.flows.wait()
                if is_answer and (self._loses_next_answer or link.loses_next_answer):
                    self._loses_next_answer = link.loses_next_answer = False
                    self.has_lost_answer.set()
                    break
                loss = None if is_answer else self._loss_at(data)
                if loss is Loss.CLIENT:
                    other.transport.abort()
                    return
                if loss is Loss.REQUEST:
                    break
                if loss is Loss.ANSWER:
                    link.loses_next_answer = True
                    self.has_lost_answer.clear()
                if is_answer and self.is_pooler and not link.is_greeted:
                    # Once: later on, bytes that look like it are values in rows.
                    data, changed = _KEY_DATA.subn(_of_pooler, data)
                    link.is_greeted = changed > 0
                sink.write(data)
                await sink.drain()
        self._links.discard(link)
        link.flows.set()  # the other direction ends, too
        sink.transport.abort()
        other.transport.abort()

    def _loss_at(self, data: bytes) -> Loss | None:
        if not self._breaks or self._breaks[0][0] not in data:
            return None
        return self._breaks.pop(0)[1]


@contextlib.asynccontextmanager
async def wire_to(server_url: str) -> AsyncGenerator[Wire]:
    """Listen on a port of this machine for clients of the server."""
    wire = Wire(server_url)
    server = await wire.listen()
    try:
        yield wire
    finally:
        server.close()
        await wire.close()
        await server.wait_closed()


def _of_pooler(key_data: re.Match[bytes]) -> bytes:
    process_id = int.from_bytes(key_data[2], "big") ^ 0x4000_0000
    return b"K" + key_data[1] + process_id.to_bytes(4, "big") + key_data[3] + key_data[4]


async def _open_connection(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parameters = conninfo_to_dict(url)
    host, port = str(parameters.get("host") or "localhost"), int(parameters.get("port") or 5432)
    if host.startswith("/"):
        return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
    return await asyncio.open_connection(host, port)
