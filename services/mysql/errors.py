"""What can go wrong between us and one server.

MySQLError
├── ConnectError      no usable connection; ``outcome`` says in which way
├── LostError         the connection broke or was not answered in time: outcome of the statement unknown
└── StatementError    the server refused the statement; ``errno`` is its number
"""

from __future__ import annotations

from services.mysql.privileges import wanted_by
from services.topology.instance import CheckOutcome
from services.topology.keys import InstanceKey

__all__ = ["ConnectError", "LostError", "MySQLError", "StatementError", "connect_outcome", "mend_for"]

_DENIED = frozenset({1044, 1045, 1130, 1251, 1698, 1862, 3118, 3159})
"""Login refused: access denied, host not allowed, plugin, expired or locked account, TLS required."""

_MENDS = {
    1040: "all connections of the server are in use: raise max_connections or free some",
    1044: "grant the account the privileges that the README lists",
    1045: "check MySQLTopologyUser and MySQLTopologyPassword, and the account's host part",
    1095: "grant the account CONNECTION_ADMIN (MariaDB: CONNECTION ADMIN)",
    1129: "the server has blocked this host after failed handshakes: run FLUSH HOSTS there",
    1130: "create the account for this host, or for '%'",
    1142: "grant the account the privileges that the README lists",
    1227: "grant the account the privileges that the README lists",
    1698: "the account authenticates by socket only: give it a password",
    3118: "the account is locked: ALTER USER ... ACCOUNT UNLOCK",
    3159: "the server demands TLS: set MySQLTopologyUseMutualTLS or MySQLTopologyUseMixedTLS",
}


_NEEDS_PRIVILEGE = 1227


def mend_for(errno: int, text: str = "") -> str:
    """What an operator can do about a server's error; empty where nothing general is known."""
    privilege = wanted_by(text) if errno == _NEEDS_PRIVILEGE else ""
    if privilege:
        return f"GRANT {privilege} ON *.* TO the account of MySQLTopologyUser"
    return _MENDS.get(errno, "")


def connect_outcome(errno: int) -> CheckOutcome:
    """How an error packet received instead of a greeting or an OK is classified."""
    return CheckOutcome.DENIED if errno in _DENIED else CheckOutcome.REJECTED


class MySQLError(Exception):
    """Base. The text names the instance, what was tried and, where known, the mend; no secrets."""

    def __init__(self, key: InstanceKey, text: str, errno: int = 0) -> None:
        mend = mend_for(errno, text)
        self.reason = text + (f" ({mend})" if mend else "")
        """Text and mend without the instance's name."""
        super().__init__(f"{key}: {self.reason}")
        self.key = key
        self.text = text
        self.errno = errno


class ConnectError(MySQLError):
    """There is no usable connection."""

    def __init__(self, key: InstanceKey, outcome: CheckOutcome, text: str, errno: int = 0) -> None:
        super().__init__(key, text, errno)
        self.outcome = outcome


class LostError(MySQLError):
    """The connection broke, or the answer did not come in time. The statement may have run."""

    def __init__(self, key: InstanceKey, text: str, *, timed_out: bool) -> None:
        super().__init__(key, text)
        self.timed_out = timed_out

    @property
    def outcome(self) -> CheckOutcome:
        return CheckOutcome.STALLED if self.timed_out else CheckOutcome.LOST


class StatementError(MySQLError):
    """The server answered with an error packet: nothing of this statement took effect."""
