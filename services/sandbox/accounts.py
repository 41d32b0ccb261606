"""The accounts of a sandbox; what orchestray's own is allowed to do is ``Flavour.grants``."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = ["SCHEMA", "Account", "Accounts", "account_statements"]

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


def account_statements(accounts: Accounts, grants: Iterable[str]) -> list[str]:
    """SQL that creates them on one server, orchestray's with ``grants``.

    Outside its binary log: no transaction, so no GTID of its own.
    """
    return [
        "SET SESSION sql_log_bin = 0",
        *_create(accounts.orchestray, grants, "*.*"),
        *_create(accounts.replication, _REPLICATION_GRANTS, "*.*"),
        *_create(accounts.application, _APPLICATION_GRANTS, f"{SCHEMA}.*"),
    ]


def _create(account: Account, privileges: Iterable[str], scope: str) -> list[str]:
    return [
        f"CREATE USER '{account.user}'@'%' IDENTIFIED BY '{account.password}'",
        f"GRANT {', '.join(privileges)} ON {scope} TO '{account.user}'@'%'",
    ]
