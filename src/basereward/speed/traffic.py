"""Clients of a server as bare sockets, so that they take little of the machine that they share with it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple, TypeVar

T = TypeVar("T")
PATH = "/v1/score"
_PATIENCE = 600.0


class TimedReply(NamedTuple):
    """A status, 0 if the connection was lost; the body; and seconds since the request was begun."""

    status: int
    body: bytes
    seconds: float


class Connection:
    """A connection that is kept from one request to the next.

    Args:
        host: of the server.
        port: of the server.
    """

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._open: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, body: bytes) -> TimedReply:
        """Send a body and return the answer."""
        start = time.perf_counter()
        try:
            await self.send(body)
            status, answer = await asyncio.wait_for(self._read(), _PATIENCE)
        except (OSError, EOFError, TimeoutError):
            self.close()
            return TimedReply(0, b"", time.perf_counter() - start)
        return TimedReply(status, answer, time.perf_counter() - start)

    async def knock(self, size: int) -> TimedReply:
        """Announce a body of ``size`` bytes, send none of it, and return the answer."""
        start = time.perf_counter()
        try:
            await self.send(b"", size)
            status, answer = await asyncio.wait_for(self._read(), _PATIENCE)
        except (OSError, EOFError, TimeoutError):
            status, answer = 0, b""
        self.close()
        return TimedReply(status, answer, time.perf_counter() - start)

    async def send(self, body: bytes, size: int | None = None) -> None:
        """Send a request and wait for no answer."""
        if self._open is None:
            self._open = await asyncio.open_connection(*self._address)
        _, writer = self._open
        size = len(body) if size is None else size
        head = f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {size}"
        writer.write(head.encode() + b"\r\n\r\n" + body)
        await writer.drain()

    async def _read(self) -> tuple[int, bytes]:
        assert self._open is not None
        reader, _ = self._open
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        [size] = [int(line.partition(":")[2]) for line in head.split("\r\n") if line.startswith("content-length:")]
        body = await reader.readexactly(size)
        if "\r\nconnection: close" in head:
            self.close()
        return int(head.split()[1]), body

    def close(self) -> None:
        """Leave, whatever the server is doing."""
        if self._open:
            self._open[1].close()
            self._open = None


def ask_all(host: str, port: int, bodies: Sequence[bytes], concurrency: int) -> list[TimedReply]:
    """Send bodies over ``concurrency`` connections and return the answers in the order of the bodies."""
    return asyncio.run(_each(host, port, bodies, concurrency, Connection.ask))


def knock_all(host: str, port: int, sizes: Sequence[int], concurrency: int) -> list[TimedReply]:
    """Announce bodies of these sizes, send nothing of them, and return the answers."""
    return asyncio.run(_each(host, port, sizes, concurrency, Connection.knock))


async def _each(
    host: str, port: int, things: Iterable[T], concurrency: int, ask: Callable[[Connection, T], Awaitable[TimedReply]]
) -> list[TimedReply]:
    left = iter(enumerate(things))
    found: dict[int, TimedReply] = {}

    async def work(waiting: Iterator[tuple[int, T]]) -> None:
        connection = Connection(host, port)
        for place, thing in waiting:
            found[place] = await ask(connection, thing)
        connection.close()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(concurrency):
            tasks.create_task(work(left))
    return [found[place] for place in range(len(found))]


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    """Return whether a condition comes true within some seconds."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not await asyncio.to_thread(condition):
                await asyncio.sleep(0.01)
            return True
    return False
