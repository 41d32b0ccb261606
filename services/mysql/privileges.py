"""What orchestray's account must be allowed to do, and what of that an account is not. Pure.

A missing privilege is to be known before the emergency in which it is needed. ``SHOW GRANTS`` of one's own
account tells what a session may, by the roles that are active in it too (seen on MySQL 9.7, MariaDB 10.11).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from services.topology.versions import Version

__all__ = ["MARIADB_PRIVILEGES", "MYSQL_PRIVILEGES", "SHOW_GRANTS", "Privilege", "lacking", "wanted_by"]

SHOW_GRANTS = "SHOW GRANTS"


@dataclass(frozen=True, slots=True)
class Privilege:
    """Needed ``ON *.*``. ``in_super``: SUPER includes it."""

    name: str
    use: str
    in_super: bool = False


MYSQL_PRIVILEGES: tuple[Privilege, ...] = (
    # To see:
    Privilege("PROCESS", "other users' sessions: who reads the binary log, who would have to be ended"),
    Privilege("REPLICATION CLIENT", "SHOW REPLICA STATUS, SHOW BINARY LOG STATUS"),
    Privilege("REPLICATION SLAVE", "SHOW REPLICAS, which gives replicas with their ports"),
    # To act:
    Privilege("REPLICATION_SLAVE_ADMIN", "STOP REPLICA, START REPLICA, CHANGE REPLICATION SOURCE TO", True),
    Privilege("RELOAD", "RESET REPLICA ALL, on the server that becomes master"),
    Privilege("SYSTEM_VARIABLES_ADMIN", "SET GLOBAL read_only, rpl_semi_sync_…, replica_net_timeout", True),
    Privilege("CONNECTION_ADMIN", "KILL sessions of others; log in when max_connections is reached", True),
)
"""Of MySQL 8.4 or newer."""

MARIADB_PRIVILEGES: tuple[Privilege, ...] = (
    # To see:
    Privilege("PROCESS", "other users' sessions: who reads the binary log, who would have to be ended"),
    Privilege("BINLOG MONITOR", "SHOW MASTER STATUS", True),
    Privilege("SLAVE MONITOR", "SHOW SLAVE STATUS", True),
    # To see and to act:
    Privilege("REPLICATION MASTER ADMIN", "SHOW SLAVE HOSTS; SET GLOBAL rpl_semi_sync_master_…"),
    # To act:
    Privilege(
        "REPLICATION SLAVE ADMIN",
        "STOP SLAVE, START SLAVE, CHANGE MASTER TO; SET GLOBAL rpl_semi_sync_slave_…, slave_net_timeout",
        True,
    ),
    Privilege("RELOAD", "RESET SLAVE ALL, on the server that becomes master"),
    Privilege("READ_ONLY ADMIN", "SET GLOBAL read_only"),
    Privilege("CONNECTION ADMIN", "KILL sessions of others; log in when max_connections is reached", True),
)
"""Of MariaDB 10.5 or newer."""
# Both: reading and setting variables of its own session, GET_LOCK, IS_USED_LOCK and KILL of its own sessions
# need no privilege. Nothing here is superfluous: tests/integration/test_sandbox_grants.py takes each away.

_GLOBAL = re.compile(r"^GRANT (.+) ON \*\.\* TO ", re.DOTALL)
_ACCOUNT = re.compile(r""" TO ([`'"][^`'"]*[`'"]@[`'"][^`'"]*[`'"])""")
_ROLE = re.compile(r"^GRANT [`'\"]")
_REFUSAL = re.compile(r"\(at least one of\) the (.+?) privilege\(s\)")
_SUPER_INCLUDES_ALL_BEFORE = (10, 11)


def lacking(version_text: str, grants: Iterable[Mapping[str, Any]]) -> str:
    """What an account lacks, and the mend: "RELOAD: GRANT RELOAD ON *.* TO `o`@`%`"; "": nothing, or unknown.

    ``grants`` are the rows of ``SHOW GRANTS``; without any, and of a server too old to be acted upon, nothing
    is known. MariaDB shows the hash of the password there: nothing of the text but the account is passed on.
    """
    needed = _needed(version_text)
    texts = [str(value) for row in grants for value in row.values()]
    account = next((match[1] for text in texts if (match := _ACCOUNT.search(text))), "")
    if not needed or not account:
        return ""
    granted = {
        name.strip().upper()
        for text in texts
        if (found := _GLOBAL.match(text))
        for name in found[1].split(",")
    }
    if "ALL PRIVILEGES" in granted:
        return ""
    numbers = Version.parse(version_text).numbers
    all_in_super = "mariadb" in version_text.lower() and numbers < _SUPER_INCLUDES_ALL_BEFORE
    missing = ", ".join(
        each.name
        for each in needed
        if each.name not in granted and not ("SUPER" in granted and (each.in_super or all_in_super))
    )
    if not missing:
        return ""
    inactive = " (or make the role default that grants it)" if any(map(_ROLE.match, texts)) else ""
    return f"{missing}: GRANT {missing} ON *.* TO {account}{inactive}"


def wanted_by(refusal: str) -> str:
    """The privilege that a server's error 1227 asks for; "" if its text names none.

    The text is for people: what is decided rests on the number.
    """
    match = _REFUSAL.search(refusal)
    if match is None:
        return ""
    names = re.split(r", | or ", match[1])
    ours = {each.name for each in (*MYSQL_PRIVILEGES, *MARIADB_PRIVILEGES)}
    return next((name for name in names if name in ours), names[0])


def _needed(version_text: str) -> tuple[Privilege, ...]:
    numbers = Version.parse(version_text).numbers
    if "mariadb" in version_text.lower():
        return MARIADB_PRIVILEGES if numbers >= (10, 5) else ()
    return MYSQL_PRIVILEGES if numbers >= (8, 4) else ()
