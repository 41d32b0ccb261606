"""The gateway's listening socket."""

from __future__ import annotations

import asyncio
import socket

from actors.gateway import listen


async def test_replies_do_not_wait_for_acknowledgements_of_their_heads() -> None:
    """asyncio switches Nagle's algorithm off on connections of sockets that say that they are TCP."""
    accepted: asyncio.Queue[bool] = asyncio.Queue()

    async def connected(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ours: socket.socket = writer.get_extra_info("socket")
        accepted.put_nowait(ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0)
        writer.close()

    listening = listen("127.0.0.1", 0)
    async with await asyncio.start_server(connected, sock=listening):
        _, writer = await asyncio.open_connection(*listening.getsockname())
        assert await asyncio.wait_for(accepted.get(), 10)
        writer.close()
        await writer.wait_closed()
