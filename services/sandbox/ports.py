"""A free TCP port on loopback."""

from __future__ import annotations

import random
import socket
from pathlib import Path

from services.sandbox.errors import SandboxError

__all__ = ["LOOPBACK", "free_port", "is_free"]

LOOPBACK = "127.0.0.1"

_FIRST, _LAST = 15000, 65535
_TRIES = 500
_DEFAULT_EPHEMERAL = (32768, 60999)
_RANDOM = random.SystemRandom()


def free_port() -> int:
    """A port that nobody listens on, outside the range the kernel hands to outgoing connections.

    From that range it could be taken while its server is down, and the server could not come back. A
    listener may still take it before the caller does: whoever loses asks again.
    """
    low, high = _ephemeral()
    for _ in range(_TRIES):
        port = _RANDOM.randint(_FIRST, _LAST)
        if not low <= port <= high and is_free(port):
            return port
    raise SandboxError(f"no free port on {LOOPBACK} within {_FIRST}..{_LAST} after {_TRIES} tries")


def is_free(port: int) -> bool:
    """True if a socket can be bound to it, as a server would."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def _ephemeral() -> tuple[int, int]:
    try:
        low, high = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    except OSError:
        return _DEFAULT_EPHEMERAL
    if int(low) <= _FIRST and int(high) >= _LAST - 1000:
        return _DEFAULT_EPHEMERAL  # the range is everything: there is no better choice
    return int(low), int(high)
