"""Servers that misbehave, on ports of their own in this event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from services.topology.keys import InstanceKey

__all__ = ["Proxy", "bad_server"]

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def bad_server(serve: Serve) -> AsyncIterator[InstanceKey]:
    """A port at which ``serve`` speaks to whoever connects, until the block ends."""
    tasks: set[asyncio.Task[None]] = set()
    writers: set[asyncio.StreamWriter] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def work() -> None:
            with contextlib.suppress(OSError):
                await serve(reader, writer)

        writers.add(writer)
        task = asyncio.ensure_future(work())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield InstanceKey("127.0.0.1", server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        for writer in writers:
            writer.transport.abort()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.wait_for(server.wait_closed(), 5)


class Proxy:
    """Passes bytes between clients and ``target``. ``async with Proxy(key) as proxy: proxy.key``.

    ``hold()`` keeps what clients send until ``let_go()``. ``cut()`` lets nothing through in either direction,
    as a network that drops everything, until ``mend()``. After ``end_replies(n)`` only ``n`` more bytes come
    from the server, of all connections together; then nothing more, or the end if it ``cuts``. With
    ``dribble(s)`` one byte comes each ``s`` seconds.
    """

    def __init__(self, target: InstanceKey) -> None:
        self._target = target
        self._passes = asyncio.Event()
        self._passes.set()
        self._returns = asyncio.Event()
        self._returns.set()
        self._budget: int | None = None
        self._cuts = False
        self._pause = 0.0

    async def __aenter__(self) -> Proxy:
        self._context = bad_server(self._serve)
        self.key = await self._context.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._context.__aexit__(None, None, None)

    def hold(self) -> None:
        self._passes.clear()

    def let_go(self) -> None:
        self._passes.set()

    def cut(self) -> None:
        self._passes.clear()
        self._returns.clear()

    def mend(self) -> None:
        self._passes.set()
        self._returns.set()

    def end_replies(self, after: int, *, cuts: bool) -> None:
        self._budget, self._cuts = after, cuts

    def dribble(self, seconds: float) -> None:
        self._pause = seconds

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._target.hostname, self._target.port)
        sending = asyncio.ensure_future(self._requests(reader, back))
        try:
            await self._replies(there, writer)
        finally:
            sending.cancel()
            back.transport.abort()
            writer.close()

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._passes.wait()
                writer.write(data)
                await writer.drain()
            writer.close()

    async def _replies(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if self._budget is not None:
                data, self._budget = data[: self._budget], max(0, self._budget - len(data))
            await self._returns.wait()
            while self._pause and data:  # asked after the read: it may have been waiting when dribble() came
                writer.write(data[:1])
                await writer.drain()
                data = data[1:]
                await asyncio.sleep(self._pause)
            writer.write(data)
            await writer.drain()
            if self._budget == 0:
                if self._cuts:
                    return
                await asyncio.Event().wait()
