"""Addresses as the configuration writes them."""

from __future__ import annotations

import re

from services.config.errors import UnfitValueError
from services.topology.keys import InstanceKey, InvalidInstanceKeyError

__all__ = [
    "check_advertised_url",
    "check_endpoint",
    "check_listen_address",
    "check_url_path",
    "check_url_prefix",
    "parse_listen_address",
]

_HOST = re.compile(r"[A-Za-z0-9._:%-]*")
_PORT = re.compile(r"[0-9]{1,5}")
_PATH = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@/%-]*")


def parse_listen_address(text: str) -> tuple[str, int]:
    """Read ``:3000``, ``host:port`` or ``[v6]:port``; gives (host, port).

    The host is ``""`` where none is written, which means all interfaces, and has no brackets.
    Raises UnfitValueError (a ValueError) on anything else, and if the port is not within 1..65535.
    """
    host, colon, port = text.rpartition(":")
    if not colon:
        raise UnfitValueError('has no port; write ":3000", "host:3000" or "[::1]:3000"')
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise UnfitValueError('has an IPv6 address without brackets; write it as "[::1]:3000"')
    if not _HOST.fullmatch(host):
        raise UnfitValueError('has an impossible host name; write ":3000", "host:3000" or "[::1]:3000"')
    if not _PORT.fullmatch(port) or not 1 <= int(port) <= 65535:
        raise UnfitValueError("has a port that is not a number within 1..65535")
    return host, int(port)


def check_listen_address(text: str) -> None:
    """Accept what parse_listen_address reads; else raise UnfitValueError."""
    parse_listen_address(text)


def check_endpoint(text: str) -> None:
    """Accept ``host``, ``host:port`` and ``[v6]:port``; else raise UnfitValueError."""
    try:
        key = InstanceKey.parse(text)
    except InvalidInstanceKeyError:
        key = None
    if key is None or not _HOST.fullmatch(key.hostname):
        raise UnfitValueError('does not name a server; write "host:port", with a port within 1..65535')


def check_advertised_url(text: str) -> None:
    """Accept ``http(s)://host:port`` with nothing behind it; else raise UnfitValueError."""
    scheme, separator, address = text.partition("://")
    mend = 'write "http://host:port" or "https://host:port"'
    if not separator or scheme.lower() not in ("http", "https"):
        raise UnfitValueError(f"has no scheme http or https; {mend}")
    if "@" in address:
        raise UnfitValueError(f"holds a user or password; {mend}")
    if any(mark in address for mark in "/?#"):
        raise UnfitValueError(f"has something behind the port; {mend}")
    host, _ = parse_listen_address(address)
    if not host:
        raise UnfitValueError(f"has no host; {mend}")


def check_url_prefix(text: str) -> None:
    """Accept a path of a URL, with or without slashes around it; else raise UnfitValueError."""
    if not _PATH.fullmatch(text):
        raise UnfitValueError('is no path of a URL; write it as "/prefix"')


def check_url_path(text: str) -> None:
    """Accept an absolute path of a URL; else raise UnfitValueError."""
    if not text.startswith("/") or not _PATH.fullmatch(text):
        raise UnfitValueError('is no absolute path of a URL; write it as "/path"')
