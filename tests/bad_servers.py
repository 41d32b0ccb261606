"""Endpoints at which no server answers: closed, unreachable, or hung."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress

from services.sandbox.ports import free_port
from services.topology.keys import InstanceKey

__all__ = ["Blackhole", "Hung", "closed_port"]

_LOOPBACK = "127.0.0.1"
_FILLING = 4


def closed_port() -> InstanceKey:
    """Nobody listens there."""
    return InstanceKey(_LOOPBACK, free_port())


class Blackhole:
    """A socket whose backlog is full: the kernel drops what asks to connect, as a firewall would."""

    def __init__(self) -> None:
        self._listener = socket.socket()
        self._listener.bind((_LOOPBACK, 0))
        self._listener.listen(0)
        self.key = InstanceKey(_LOOPBACK, self._listener.getsockname()[1])
        self._fillers = [socket.socket() for _ in range(_FILLING)]
        for filler in self._fillers:
            filler.setblocking(False)
            with suppress(BlockingIOError):
                filler.connect((_LOOPBACK, self.key.port))

    def close(self) -> None:
        for one in (*self._fillers, self._listener):
            one.close()


class Hung:
    """Accepts and never says a word; ``dialled`` are the times, of the monotonic clock, at which it was."""

    def __init__(self) -> None:
        self.dialled: list[float] = []
        self._listener = socket.socket()
        self._listener.bind((_LOOPBACK, 0))
        self._listener.listen(64)
        self.key = InstanceKey(_LOOPBACK, self._listener.getsockname()[1])
        self._held: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.dialled.append(time.monotonic())
                self._held.append(connection)

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for one in (*self._held, self._listener):
            one.close()
