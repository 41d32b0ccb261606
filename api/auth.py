"""Who calls, and what they may do (http-api.md 2).

Every changing route is a ``GET``, which browsers send for any page that asks them to. So beside the
reference's methods, three fences stand before what changes anything (known-gaps.md 7.1, 7.2):

1. Without authentication, only callers on this very host may change things. Who reaches us through a
   proxy is not on this host.
2. Without authentication, a caller on this host must have meant us: the ``Host`` header names
   loopback or the listen address. (A page can point its own name at 127.0.0.1.)
3. A browser must say that the request comes from our own pages or from its user's keyboard.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import grp
import hmac
import ipaddress
import pwd
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import getgrouplist
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from services.config import ConfigurationError, Settings

if TYPE_CHECKING:  # it brings the store's library with it, and `serve` checks the authentication
    from services.node_view import Node

__all__ = [
    "AuthenticationMiddleware",
    "Caller",
    "authenticate",
    "authentication_warnings",
    "check_authentication",
    "why_not_change",
]

_PERMITTING_KEYS = (
    'set AuthenticationMethod to "basic", with HTTPAuthUser and HTTPAuthPassword, to allow it to others; '
    "callers on 127.0.0.1 are allowed"
)
_GROUP_LOOKUP_SECONDS = 2.0
_READONLY_USER = "readonly"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request. ``user`` is empty where the method knows none."""

    user: str = ""
    may_change: bool = True
    front: str = ""
    """The node of this setup that passed the request on, and has let its caller in."""
    front_host: str = ""


def check_authentication(settings: Settings) -> None:
    """Refuse a configuration whose access rules would not be kept. Raises ConfigurationError."""
    method = settings.AuthenticationMethod.lower()
    problems = []
    if method in ("token", "oauth"):
        problems.append(
            f'AuthenticationMethod: "{method}" is not supported yet; use "basic", "multi" or "proxy"'
        )
    if method == "multi" and not settings.HTTPAuthUser:
        problems.append('HTTPAuthUser: empty, but AuthenticationMethod is "multi"; set it')
    if settings.UseMutualTLS:
        problems.append(
            "UseMutualTLS: client certificates are not checked yet; set it to false and have a proxy do it"
        )
    if problems:
        raise ConfigurationError(problems)


def authentication_warnings(settings: Settings) -> tuple[str, ...]:
    """What works, but not as its author is likely to think."""
    if settings.AuthenticationMethod.lower() == "basic" and not settings.HTTPAuthUser:
        return ('HTTPAuthUser: empty, but AuthenticationMethod is "basic": set user and password',)
    return ()


async def authenticate(settings: Settings, headers: Mapping[str, str]) -> Caller | None:
    """The caller; None if the method rejects the request (401)."""
    method = settings.AuthenticationMethod.lower()
    if method == "basic":
        user = _basic_user(settings, headers)
        return None if user is None else Caller(user)
    if method == "multi":
        user = _basic_user(settings, headers)
        if user:
            return Caller(user)
        # As the reference: this name comes in with any password, so `multi` does not protect what can
        # be read (known-gaps.md 7.4). Whoever needs that takes `basic` or a proxy.
        given = _basic_credentials(headers)
        return Caller(_READONLY_USER, may_change=False) if given and given[0] == _READONLY_USER else None
    if method == "proxy":
        user = headers.get(settings.AuthUserHeader, "")
        return Caller(user, may_change=await _has_power(settings, user))
    # A method that a reload brought and that is not supported grants nothing.
    return Caller(may_change=method == "")


def why_not_change(
    settings: Settings,
    caller: Caller,
    headers: Mapping[str, str],
    peer: str | None,
    node_names: Sequence[str],
) -> str:
    """Why this caller may not change anything with this request; empty if it may.

    ``peer`` is the address of the other end of the connection; None for a unix socket. ``node_names``
    are host names and addresses under which this node is meant to be called.
    """
    if settings.ReadOnly:
        return "Unauthorized: ReadOnly is configured"
    if not caller.may_change:
        return "Unauthorized"
    if caller.front:  # which has looked at the rest
        return ""
    if _is_open(settings):
        if not _is_local(peer, headers):
            return f"Unauthorized: no authentication is configured; {_PERMITTING_KEYS}"
        host = _host_of(headers.get("host", ""))
        if peer is not None and host and not _is_loopback(host) and host not in node_names:
            return (
                f"Unauthorized: no authentication is configured, and the Host header {host!r} names "
                f"neither this host nor ListenAddress; call 127.0.0.1, or {_PERMITTING_KEYS}"
            )
    return _why_foreign(headers)


def _is_open(settings: Settings) -> bool:
    """Nobody has to know anything to get in."""
    method = settings.AuthenticationMethod.lower()
    return method == "" or (method == "basic" and not (settings.HTTPAuthUser or settings.HTTPAuthPassword))


# basic, multi


def _basic_user(settings: Settings, headers: Mapping[str, str]) -> str | None:
    """The configured user if the request proves to be it. Takes the same time whatever is wrong."""
    user, password = _basic_credentials(headers) or ("", "")
    user_fits = hmac.compare_digest(_octets(user), _octets(settings.HTTPAuthUser))
    password_fits = hmac.compare_digest(_octets(password), _octets(settings.HTTPAuthPassword.reveal()))
    given = "authorization" in headers
    return settings.HTTPAuthUser if given and user_fits and password_fits else None


def _basic_credentials(headers: Mapping[str, str]) -> tuple[str, str] | None:
    scheme, _, encoded = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True).decode("utf-8", "surrogateescape")
    except (binascii.Error, ValueError):
        return None
    user, colon, password = decoded.partition(":")
    return (user, password) if colon else None


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


# proxy


async def _has_power(settings: Settings, user: str) -> bool:
    if "*" in settings.PowerAuthUsers or user in settings.PowerAuthUsers:
        return True
    if not user or not settings.PowerAuthGroups:
        return False
    try:
        # The name service may ask a directory over the network.
        groups = await asyncio.wait_for(asyncio.to_thread(_unix_groups, user), _GROUP_LOOKUP_SECONDS)
    except asyncio.TimeoutError:
        return False
    return not groups.isdisjoint(settings.PowerAuthGroups)


def _unix_groups(user: str) -> frozenset[str]:
    try:
        group_ids = getgrouplist(user, pwd.getpwnam(user).pw_gid)
    except (KeyError, OSError, ValueError):
        return frozenset()
    names = set()
    for group_id in group_ids:
        try:
            names.add(grp.getgrgid(group_id).gr_name)
        except KeyError:
            continue
    return frozenset(names)


# where a request comes from


def _is_local(peer: str | None, headers: Mapping[str, str]) -> bool:
    """The caller itself is on this host, not only the proxy that hands its request on."""
    if any(name in headers for name in ("forwarded", "x-forwarded-for", "x-real-ip")):
        return False
    return peer is None or _is_loopback(peer)


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _why_foreign(headers: Mapping[str, str]) -> str:
    """Why a browser's request may be another site's doing; empty if it is none, or our own."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return "" if site in ("same-origin", "none") else _foreign(f"Sec-Fetch-Site: {site}")
    own = {headers[name].lower() for name in ("host", "x-forwarded-host") if name in headers}
    for name in ("origin", "referer"):
        if name in headers:
            their = _authority(headers[name])
            return "" if their in own else _foreign(f"{name.title()}: {their or 'null'}")
    if headers.get("user-agent", "").startswith("Mozilla/"):
        # Over plain http to a name, browsers tell no more than this, and a page can keep the rest back.
        return _foreign("a browser's request that does not say where it comes from")
    return ""


def _foreign(what: str) -> str:
    return (
        f"Unauthorized: this request may come from another web site ({what}); "
        "use the pages of orchestray itself, or the command line"
    )


def _authority(url: str) -> str:
    try:
        return urlsplit(url).netloc.rpartition("@")[2].lower()
    except ValueError:
        return ""


def _host_of(header: str) -> str:
    """The host of a Host header, without port and brackets."""
    header = header.strip().lower()
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0]


class AuthenticationMiddleware:
    """Answers 401 to whom the method rejects, and notes the caller of the others in ``state``."""

    def __init__(self, app: ASGIApp, node: Node) -> None:
        self._app = app
        self._node = node

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or "caller" in scope.get("state", {}):
            await self._app(scope, receive, send)
            return
        caller = await authenticate(self._node.settings, Headers(scope=scope))
        if caller is None:
            rejected = PlainTextResponse(
                "Not Authorized",
                status_code=401,
                headers={"WWW-Authenticate": 'Basic realm="Authorization Required"'},
            )
            await rejected(scope, receive, send)
            return
        scope.setdefault("state", {})["caller"] = caller
        await self._app(scope, receive, send)
