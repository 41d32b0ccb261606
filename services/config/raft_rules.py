"""The rules about raft: who the members are, and that nobody else can be one."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from services.config.kinds import shown
from services.topology.keys import InstanceKey

if TYPE_CHECKING:
    from services.config.settings import Settings

__all__ = [
    "RAFT_RULES",
    "SECRET_CHARACTERS_MIN",
    "is_loopback",
    "raft_members",
    "raft_remarks",
    "raft_self",
]

SECRET_CHARACTERS_MIN = 16
_TLS_KEYS = ("RaftSSLCertFile", "RaftSSLPrivateKeyFile", "RaftSSLCAFile")


def raft_self(s: Settings) -> InstanceKey:
    """The address at which the other members reach this one, which is its name too."""
    return InstanceKey.parse(s.RaftAdvertise or s.RaftBind, s.DefaultRaftPort)


def raft_members(s: Settings) -> tuple[InstanceKey, ...]:
    """All members; without RaftNodes this node alone."""
    members = tuple(InstanceKey.parse(entry, s.DefaultRaftPort) for entry in s.RaftNodes)
    return members or (raft_self(s),)


def is_loopback(host: str) -> bool:
    """Whether nobody on another host can be behind this name or number."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _directory(s: Settings) -> str | None:
    if s.RaftEnabled and not s.RaftDataDir:
        return "RaftDataDir: is empty, while RaftEnabled is true; give the path of a directory"
    return None


def _address(s: Settings) -> str | None:
    if s.RaftEnabled and not s.RaftBind:
        return 'RaftBind: is empty, while RaftEnabled is true; give this node\'s address as "host:port"'
    return None


def _twice(s: Settings) -> str | None:
    if not s.RaftEnabled or not s.RaftBind:
        return None
    members = raft_members(s)
    double = next((str(key) for key in members if members.count(key) > 1), None)
    if double is None:
        return None
    return f"RaftNodes: names {shown(double)} twice (a missing port is {s.DefaultRaftPort}); name each once"


def _not_one_of_them(s: Settings) -> str | None:
    if not s.RaftEnabled or not s.RaftBind or raft_self(s) in raft_members(s):
        return None
    return (
        f"RaftNodes: does not name this node, {shown(str(raft_self(s)))} (RaftAdvertise, or RaftBind); add "
        "it, written alike on every node, or set RaftAdvertise to the entry that means this node"
    )


def _unprotected(s: Settings) -> str | None:
    if not s.RaftEnabled or not s.RaftBind or s.RaftSecret or any(getattr(s, name) for name in _TLS_KEYS):
        return None
    bind = InstanceKey.parse(s.RaftBind, s.DefaultRaftPort)
    open_to = [str(key) for key in (bind, *raft_members(s)) if not is_loopback(key.hostname)]
    if not open_to:
        return None
    return (
        f"RaftSecret: is empty, and {shown(open_to[0])} is not of the loopback: whoever reaches it could "
        'decide who leads; give all members the same secret (as "${VARIABLE}", or in a file that only the '
        "service reads), or the RaftSSL… files"
    )


def _short_secret(s: Settings) -> str | None:
    if s.RaftEnabled and s.RaftSecret and len(s.RaftSecret.reveal()) < SECRET_CHARACTERS_MIN:
        return f"RaftSecret: can be guessed; give at least {SECRET_CHARACTERS_MIN} characters"
    return None


def _half_of_tls(s: Settings) -> str | None:
    missing = [name for name in _TLS_KEYS if not getattr(s, name)]
    if not s.RaftEnabled or len(missing) in (0, len(_TLS_KEYS)):
        return None
    (given, *_) = (name for name in _TLS_KEYS if getattr(s, name))
    return f"{missing[0]}: is empty, while {given} is set; TLS between members needs all three files"


_OWN = ("RaftEnabled", "RaftBind", "RaftAdvertise", "RaftNodes", "DefaultRaftPort")

RAFT_RULES: tuple[tuple[tuple[str, ...], Callable[[Settings], str | None]], ...] = (
    (("RaftDataDir", "RaftEnabled"), _directory),
    (("RaftBind", "RaftEnabled"), _address),
    (_OWN, _twice),
    (_OWN, _not_one_of_them),
    ((*_OWN, "RaftSecret", *_TLS_KEYS), _unprotected),
    (("RaftSecret", "RaftEnabled"), _short_secret),
    ((*_TLS_KEYS, "RaftEnabled"), _half_of_tls),
)
"""Keys, and what is wrong with them; see ``rules``."""


def raft_remarks(s: Settings) -> Iterator[tuple[str, str]]:
    if not s.RaftEnabled or not s.RaftBind:
        return
    number = len(raft_members(s))
    if number % 2 == 0:
        yield (
            "RaftNodes",
            (
                f"names {number} members, which survive the loss of no more than {number - 1} would; "
                "name 3 or 5"
            ),
        )
    if number > 1 and not s.RaftSecret:
        yield (
            "RaftSecret",
            "is empty: a node that does not lead refuses changes, for it cannot sign what it would pass on",
        )
    if number > 7:
        yield "RaftNodes", f"names {number} members, each of which has to be asked; 3 or 5 are enough"
