"""Where another member is now: its name is resolved again at each dial.

A name server that hangs keeps a thread for ten seconds and more, and cannot be interrupted. So each member
has a thread of its own, one question at a time: it delays no other's, and nothing else that needs a thread.
"""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor

from services.raft.config import Address
from services.raft.errors import PeerError

__all__ = ["Lookup"]

_ANSWER_SECONDS = 1.0
_ADDRESSES_MAX = 4


class Lookup:
    """``error`` is why the last question was not answered, empty if it was."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="raft-lookup")
        self._asked: asyncio.Future[tuple[str, ...]] | None = None
        self._known: tuple[str, ...] = ()
        self.error = ""

    async def numbers(self) -> tuple[str, ...]:
        """IP addresses, at most four; those of the last answer where none comes, as who is found there has to
        prove who it is anyway.

        Raises PeerError if there never was an answer.
        """
        if self._asked is None:
            self._asked = asyncio.get_running_loop().run_in_executor(self._thread, self._ask)
            self._asked.add_done_callback(lambda done: done.cancelled() or done.exception())
        asked = self._asked
        await asyncio.wait({asked}, timeout=_ANSWER_SECONDS)
        host = self._address.host
        if not asked.done():
            self.error = f"the name {host!r} was not resolved in time: check the DNS"
        else:
            self._asked = None
            try:
                self._known, self.error = asked.result(), ""
            except OSError as error:
                self.error = f"the name {host!r} does not resolve: {error.strerror or error}"
            except UnicodeError:
                self.error = f"{host!r} is not a valid host name"
        if not self._known:
            raise PeerError(self.error)
        return self._known

    def _ask(self) -> tuple[str, ...]:
        found = socket.getaddrinfo(self._address.host, self._address.port, type=socket.SOCK_STREAM)
        return tuple(dict.fromkeys(str(address[0]) for *_, address in found))[:_ADDRESSES_MAX]

    def end(self) -> None:
        """No more of it."""
        self._thread.shutdown(wait=False)
