"""Looking up host names, and finding out whether two endpoints are one server. Every wait has a bound."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import structlog

from services.mysql.connection import Connection, Login
from services.mysql.errors import MySQLError
from services.topology.instance import Instance
from services.topology.keys import InstanceKey
from services.topology.names import NamePolicy, own_name

__all__ = ["OwnName", "is_same_server", "looked_up"]

_log = structlog.get_logger(__name__)

_LOOKUPS = ThreadPoolExecutor(max_workers=16, thread_name_prefix="names")
_COMPARED_AGAIN_SECONDS = 600.0
_UPTIME_SECONDS = 2
_WHO = (
    "SELECT CONCAT_WS(' ', @@global.hostname, @@global.port, @@global.server_id, @@global.datadir, "
    "@@global.pid_file, @@global.socket) AS who; SHOW GLOBAL STATUS LIKE 'Uptime'"
)
"""MariaDB has no uuid. What a server says of where it runs, and since when, tells clones apart."""


async def looked_up(host: str, method: str, *, timeout: float) -> str | None:
    """The canonical name (``cname``) or the address (``ip``: IPv4, else IPv6) of a host.

    None if there is none, or no answer within ``timeout`` seconds.
    """
    work: Callable[[str], str | None] = {"cname": _canonical, "ip": _address}[method]
    future = asyncio.get_running_loop().run_in_executor(_LOOKUPS, partial(work, host))
    done, _ = await asyncio.wait({future}, timeout=timeout)
    if not done:
        future.add_done_callback(lambda late: late.cancelled() or late.exception())
        return None
    try:
        return future.result()
    except (OSError, UnicodeError):
        return None


def _canonical(host: str) -> str | None:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_CANONNAME)
    return next((name.rstrip(".") for _, _, _, name, _ in found if name), None)


def _address(host: str) -> str | None:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    by_family = {family: str(address[0]) for family, _, _, _, address in reversed(found)}
    return by_family.get(socket.AF_INET) or by_family.get(socket.AF_INET6)


async def is_same_server(
    one: InstanceKey, other: InstanceKey, login: Login, *, timeout: float
) -> bool | None:
    """Whether both endpoints lead to one running server; None if one of them could not be asked."""
    try:
        first, second = await asyncio.gather(_who(one, login, timeout), _who(other, login, timeout))
    except (MySQLError, ValueError, IndexError, KeyError):
        return None
    return first[0] == second[0] and abs(first[1] - second[1]) <= _UPTIME_SECONDS


async def _who(key: InstanceKey, login: Login, timeout: float) -> tuple[str, int]:
    connection = await Connection.open(key, login, timeout=timeout)
    try:
        who, uptime = await connection.query(_WHO, timeout=timeout)
        return str(who[0]["who"]), int(uptime[0]["Value"])
    finally:
        with contextlib.suppress(MySQLError):
            await connection.close()


class OwnName:
    """What one server calls itself, if that leads to it. Dials only if that is new, or not found out."""

    def __init__(self, key: InstanceKey, login: Login, policy: NamePolicy, *, timeout: float) -> None:
        self._key = key
        self._login = login
        self._policy = policy
        self._timeout = timeout
        self._candidate: InstanceKey | None = None
        self._is_own: bool | None = None
        self._compared_at = float("-inf")

    async def of(self, instance: Instance) -> InstanceKey | None:
        """``instance`` as it was just read at the key."""
        candidate = own_name(self._key, instance.reported_hostname, instance.reported_host, self._policy)
        if candidate is None:
            return None
        is_old = time.monotonic() - self._compared_at > _COMPARED_AGAIN_SECONDS
        if candidate != self._candidate or (self._is_own is not True and is_old):
            self._candidate, self._compared_at = candidate, time.monotonic()
            self._is_own = await is_same_server(self._key, candidate, self._login, timeout=self._timeout)
            if not self._is_own:
                why = "answers nobody" if self._is_own is None else "leads to another server"
                _log.warning(
                    "a server keeps the name under which it was found",
                    instance=str(self._key),
                    own_name=str(candidate),
                    reason=f"its own {why}",
                )
        return candidate if self._is_own else None
