"""The accounts of a sandbox, and what orchestray's own account must be allowed to do on any server."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = ["GRANTS", "SCHEMA", "Account", "Accounts", "account_statements"]

GRANTS: tuple[str, ...] = (
    # To see:
    "PROCESS",  # other users' sessions: who reads the binary log, who would have to be ended
    "REPLICATION CLIENT",  # SHOW REPLICA STATUS, SHOW BINARY LOG STATUS
    "REPLICATION SLAVE",  # SHOW REPLICAS, which gives replicas with their ports
    # To act:
    "REPLICATION_SLAVE_ADMIN",  # STOP REPLICA, START REPLICA, CHANGE REPLICATION SOURCE TO
    "RELOAD",  # RESET REPLICA ALL, on the server that becomes master
    "SYSTEM_VARIABLES_ADMIN",  # SET GLOBAL read_only, super_read_only, rpl_semi_sync_…, replica_net_timeout
    "CONNECTION_ADMIN",  # KILL sessions of other users; log in when max_connections is reached
)
"""What orchestray needs ON *.* of MySQL 8.4 or newer, and nothing that it does not need: each is proven to be
needed by ``tests/integration/test_sandbox.py``. Reading and setting variables of its own session, GET_LOCK,
IS_USED_LOCK and KILL of its own sessions need no privilege."""

SCHEMA = "app"
"""The schema in which the application account may do everything."""

_APPLICATION_GRANTS = ("ALL PRIVILEGES",)
_REPLICATION_GRANTS = ("REPLICATION SLAVE",)


@dataclass(frozen=True, slots=True)
class Account:
    """A user that may log in from anywhere; the servers listen on loopback only."""

    user: str
    password: str = field(repr=False)

    @classmethod
    def named(cls, user: str) -> Account:
        """With a random password of letters, digits, ``-`` and ``_``: it needs no quoting anywhere."""
        return cls(user, secrets.token_urlsafe(18))


@dataclass(frozen=True, slots=True)
class Accounts:
    """Whom the servers of one sandbox know besides ``root``, which can use the sockets only."""

    orchestray: Account
    replication: Account
    application: Account

    @classmethod
    def random(cls) -> Accounts:
        return cls(Account.named("orchestray"), Account.named("repl"), Account.named("app"))


def account_statements(accounts: Accounts) -> list[str]:
    """SQL that creates them on one server, outside its binary log: no transaction, so no GTID of its own."""
    return [
        "SET SESSION sql_log_bin = 0",
        *_create(accounts.orchestray, GRANTS, "*.*"),
        *_create(accounts.replication, _REPLICATION_GRANTS, "*.*"),
        *_create(accounts.application, _APPLICATION_GRANTS, f"{SCHEMA}.*"),
    ]


def _create(account: Account, privileges: Iterable[str], scope: str) -> list[str]:
    return [
        f"CREATE USER '{account.user}'@'%' IDENTIFIED BY '{account.password}'",
        f"GRANT {', '.join(privileges)} ON {scope} TO '{account.user}'@'%'",
    ]
