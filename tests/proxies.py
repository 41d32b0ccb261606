"""A TCP proxy that misbehaves as it is told, on a port of its own in this event loop."""

from __future__ import annotations

import asyncio
import contextlib

from services.topology.keys import InstanceKey

__all__ = ["Proxy"]


class Proxy:
    """Passes bytes between clients and ``target``. ``async with Proxy(key) as proxy: proxy.key``.

    ``hold()`` keeps what clients send until ``let_go()``. ``reply_bytes`` ends the flow from the server:
    after so many bytes of a connection nothing more comes (``cuts``: the connection is closed instead).
    """

    def __init__(self, target: InstanceKey, *, reply_bytes: int | None = None, cuts: bool = False) -> None:
        self.reply_bytes = reply_bytes
        self.cuts = cuts
        self._target = target
        self._open = asyncio.Event()
        self._open.set()
        self._halted = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.wait_for(self._server.wait_closed(), 5)

    @property
    def key(self) -> InstanceKey:
        assert self._server is not None
        return InstanceKey("127.0.0.1", self._server.sockets[0].getsockname()[1])

    def hold(self) -> None:
        self._open.clear()

    def let_go(self) -> None:
        self._open.set()

    @property
    def halted(self) -> asyncio.Event:
        """Set once a reply was stopped in its middle."""
        return self._halted

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        there, back = await asyncio.open_connection(self._target.hostname, self._target.port)
        self._writers.add(back)
        for work in (self._requests(reader, back), self._replies(there, writer)):
            task = asyncio.ensure_future(work)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        writer.close()

    async def _replies(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if self.reply_bytes is not None and passed + len(data) > self.reply_bytes:
                    writer.write(data[: self.reply_bytes - passed])
                    await writer.drain()
                    self._halted.set()
                    if self.cuts:
                        break
                    await asyncio.Event().wait()
                passed += len(data)
                writer.write(data)
                await writer.drain()
        writer.close()
