"""The statements of each flavour and version: the one place where they are spelled.

A dialect is chosen once per connection from the server's version. Result columns come back under the
names of MySQL 8.4+ (``Source_…``, ``Replica_…``) whatever the server calls them: see ``modern_columns``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from services.topology.versions import Version

__all__ = ["DIALECTS", "Dialect", "dialect_for", "modern_columns"]


@dataclass(frozen=True, slots=True)
class Dialect:
    """Words of one range of versions of one flavour.

    ``proven`` tells whether orchestray's tests run it against a real server; the others are spoken to as
    their manuals say.
    """

    name: str
    mariadb: bool
    since: tuple[int, ...]
    replica: str  # REPLICA or SLAVE
    change_source: str
    source_option: str  # prefix of the options of CHANGE: SOURCE_ or MASTER_
    binary_log_status: str
    registered_replicas: str
    variables: Mapping[str, str]  # our name -> expression; what may change while a server runs
    settings: Mapping[str, str]  # the same; what changes rarely, or only with a restart
    oracle_gtid: bool
    super_read_only: bool
    proven: bool = False
    executed: str = "@@global.gtid_executed"
    """What the server has executed, as an expression that gives one text."""
    unbound_by_read_only: str = ""
    """Gives the accounts that may write on a read-only server; empty where ``super_read_only`` binds all."""
    guard: str = "DO"
    """Words before an expression whose error stops the statements behind it. MariaDB's DO ignores errors."""
    channel: str | None = None
    """The channel that statements about replication name; None: none. See ``of_channel``."""

    def of_channel(self, name: str) -> Dialect:
        """The dialect whose statements about replication speak of one channel of several.

        Without a name, MySQL starts and stops all channels, and CHANGE is refused or makes another one;
        MariaDB takes the one that has no name. Raises ValueError for a name that could end its literal.
        """
        if any(character in name for character in "'\\\0\n"):
            raise ValueError(f"the replication channel {name!r} has a name that cannot be quoted")
        return replace(self, channel=name)

    def _about(self, verb: str, what: str = "") -> str:
        """``verb`` for the channel. MySQL has its name at the end, MariaDB, since 5.5, behind the verb."""
        if self.channel is None:
            return f"{verb}{what}"
        name = f"'{self.channel}'"
        return f"{verb} {name}{what}" if self.mariadb else f"{verb}{what} FOR CHANNEL {name}"

    @property
    def replica_status(self) -> str:
        """Without a channel MariaDB shows only the connection that has no name; with one it is among all,
        because asking for one that is not there any more is an error.
        """
        return f"SHOW {self.replica} STATUS" if self.channel is None else self.channels

    @property
    def channels(self) -> str:
        """The status of all channels; MariaDB calls them connections."""
        many = "REPLICAS" if self.replica == "REPLICA" else "SLAVES"
        return f"SHOW ALL {many} STATUS" if self.mariadb else f"SHOW {self.replica} STATUS"

    @property
    def group_members(self) -> str:
        """Members of the server's replication group, as it sees them; "" where there are none with roles."""
        if self.mariadb or self.since < _ROLES_OF_MEMBERS:
            return ""
        return (
            "SELECT MEMBER_ID AS id, MEMBER_HOST AS host, MEMBER_PORT AS port, MEMBER_STATE AS state, "
            "MEMBER_ROLE AS role FROM performance_schema.replication_group_members "
            "WHERE CHANNEL_NAME = 'group_replication_applier'"
        )

    @property
    def kept_sources(self) -> str:
        """What a server keeps of its channels in a table; "" where it has none.

        Whether there is an account, and the ciphersuites of TLS 1.3, which the status does not show.
        """
        if self.mariadb:
            return ""
        suites = "Tls_ciphersuites" if self.since >= (8, 0, 23) else "NULL"
        return (
            "SELECT Channel_name AS Channel_Name, User_name > '' AS has_account, "
            f"{suites} AS Source_TLS_Ciphersuites FROM mysql.slave_master_info"
        )

    @property
    def net_timeout(self) -> str:
        """The variable that bounds a receiver's connect and its waiting for its source, read at connect."""
        return "replica_net_timeout" if not self.mariadb and self.since >= (8, 4) else "slave_net_timeout"

    @property
    def stop_receiver(self) -> str:
        return self._about(f"STOP {self.replica}", " IO_THREAD")

    @property
    def start_receiver(self) -> str:
        return self._about(f"START {self.replica}", " IO_THREAD")

    @property
    def start_applier(self) -> str:
        return self._about(f"START {self.replica}", " SQL_THREAD")

    @property
    def stop_applier(self) -> str:
        return self._about(f"STOP {self.replica}", " SQL_THREAD")

    @property
    def start_replica(self) -> str:
        return self._about(f"START {self.replica}")

    @property
    def stop_replica(self) -> str:
        return self._about(f"STOP {self.replica}")

    @property
    def reset_replica_all(self) -> str:
        return self._about(f"RESET {self.replica}", " ALL")

    def change_source_to(self, host_literal: str, port: int, *, auto_position: bool = True) -> str:
        """Point to another source by GTID. Credentials and TLS settings of the channel stay.

        Without ``auto_position``, for a channel that replicates by GTID already, MySQL wants only the
        receiver stopped and keeps the relay log. MariaDB wants both stopped, and always throws it away.
        """
        option = self.source_option
        place = f"{option}HOST={host_literal}, {option}PORT={port:d}"
        by_gtid = f"{option}USE_GTID=slave_pos" if self.mariadb else f"{option}AUTO_POSITION=1"
        return self._change(place + (f", {by_gtid}" if auto_position else ""))

    def change_position_to(self, host_literal: str, port: int, file_literal: str, position: int) -> str:
        """Point to a place in another source's binary log, without GTID."""
        option = self.source_option
        return self._change(
            f"{option}HOST={host_literal}, {option}PORT={port:d}, "
            f"{option}LOG_FILE={file_literal}, {option}LOG_POS={position:d}"
        )

    def _change(self, options: str) -> str:
        verb, _, to = self.change_source.rpartition(" ")
        return self._about(verb, f" {to} {options}")

    def relay_log_events(self, file_literal: str, position: int, *, skip: int, limit: int) -> str:
        """What a relay log holds from a position on."""
        place = f"EVENTS IN {file_literal} FROM {position:d} LIMIT {skip:d}, {limit:d}"
        return self._about("SHOW RELAYLOG", f" {place}")

    def dump_threads(self, *, performance_schema: bool) -> str:
        """Clients that read the binary log: ``Host``, which is ``address:port`` of their end, and ``User``.

        MariaDB gives all sessions, with their ``Command``: reading ``information_schema.processlist`` needs a
        temporary table of Aria there, and has been seen to crash a 10.11.18.
        """
        if self.mariadb:
            return "SHOW PROCESSLIST"
        table = (
            "performance_schema.processlist"
            if performance_schema and self.since >= _PROCESSLIST_TABLE
            else "information_schema.processlist"
        )
        return f"SELECT HOST AS Host, USER AS User FROM {table} WHERE COMMAND LIKE 'Binlog Dump%'"


_ROLES_OF_MEMBERS = (8, 0, 2)
_PROCESSLIST_TABLE = (8, 0, 23)  # there since 8.0.22; reading it stops no other session
_COMMON = {
    "server_id": "@@global.server_id",
    "read_only": "@@global.read_only",
    "binlog_format": "@@global.binlog_format",
}
_ORACLE = {
    **_COMMON,
    "super_read_only": "@@global.super_read_only",
    "gtid_mode": "@@global.gtid_mode",
    "gtid_executed": "@@global.gtid_executed",
    "gtid_purged": "@@global.gtid_purged",
}
_MARIADB = {
    **_COMMON,
    "gtid_binlog_state": "@@global.gtid_binlog_state",
    "gtid_slave_pos": "@@global.gtid_slave_pos",
}
_SETTINGS = {
    "hostname": "@@global.hostname",
    "report_host": "@@global.report_host",
    "version": "@@global.version",
    "version_comment": "@@global.version_comment",
    "log_bin": "@@global.log_bin",
    "binlog_row_image": "@@global.binlog_row_image",
}
_ORACLE_SETTINGS = {**_SETTINGS, "server_uuid": "@@global.server_uuid"}
_MARIADB_EXECUTED = "CONCAT_WS(',', @@global.gtid_binlog_state, @@global.gtid_slave_pos)"
_MARIADB_UNBOUND = (  # SUPER up to 10.10; 10.11 split the other from it
    "SELECT DISTINCT GRANTEE AS account, CURRENT_USER() AS ours FROM information_schema.USER_PRIVILEGES "
    "WHERE PRIVILEGE_TYPE IN ('SUPER', 'READ_ONLY ADMIN') ORDER BY GRANTEE"
)
_OLD_UPDATES = {"log_replica_updates": "@@global.log_slave_updates"}
_NEW_UPDATES = {"log_replica_updates": "@@global.log_replica_updates"}


def _old(
    name: str, *, mariadb: bool, since: tuple[int, ...], replica: str = "SLAVE", proven: bool = False
) -> Dialect:
    return Dialect(
        name=name,
        mariadb=mariadb,
        since=since,
        replica=replica,
        change_source="CHANGE MASTER TO",
        source_option="MASTER_",
        binary_log_status="SHOW MASTER STATUS",
        registered_replicas="SHOW SLAVE HOSTS",
        variables=_MARIADB if mariadb else _ORACLE,
        settings={**(_SETTINGS if mariadb else _ORACLE_SETTINGS), **_OLD_UPDATES},
        oracle_gtid=not mariadb,
        super_read_only=not mariadb,
        proven=proven,
        executed=_MARIADB_EXECUTED if mariadb else "@@global.gtid_executed",
        unbound_by_read_only=_MARIADB_UNBOUND if mariadb else "",
        guard="SET @orchestray_guard =" if mariadb else "DO",
    )


DIALECTS: tuple[Dialect, ...] = (
    Dialect(
        name="MySQL 8.4",
        mariadb=False,
        since=(8, 4),
        replica="REPLICA",
        change_source="CHANGE REPLICATION SOURCE TO",
        source_option="SOURCE_",
        binary_log_status="SHOW BINARY LOG STATUS",
        registered_replicas="SHOW REPLICAS",
        variables=_ORACLE,
        settings={**_ORACLE_SETTINGS, **_NEW_UPDATES},
        oracle_gtid=True,
        super_read_only=True,
        proven=True,
    ),
    Dialect(
        # 8.0.23 has all the new words but the two that came with 8.2.
        name="MySQL 8.0.23",
        mariadb=False,
        since=(8, 0, 23),
        replica="REPLICA",
        change_source="CHANGE REPLICATION SOURCE TO",
        source_option="SOURCE_",
        binary_log_status="SHOW MASTER STATUS",
        registered_replicas="SHOW REPLICAS",
        variables=_ORACLE,
        settings={**_ORACLE_SETTINGS, **_OLD_UPDATES},
        oracle_gtid=True,
        super_read_only=True,
    ),
    _old("MySQL 8.0", mariadb=False, since=_ROLES_OF_MEMBERS),
    _old("MySQL 5.7", mariadb=False, since=(5, 7)),
    _old("MariaDB 11.0", mariadb=True, since=(11,), replica="REPLICA"),
    _old("MariaDB 10.11", mariadb=True, since=(10, 11), replica="REPLICA", proven=True),
    _old("MariaDB 10.5", mariadb=True, since=(10, 5), replica="REPLICA"),
    _old("MariaDB 10.4", mariadb=True, since=(10, 4)),
)
"""Newest first within a flavour: the first whose ``since`` is not above the server's version is its own."""


def dialect_for(version_text: str) -> Dialect:
    """The dialect of a server. An older or unreadable version gets the oldest of its flavour."""
    mariadb = "mariadb" in version_text.lower()
    numbers = Version.parse(version_text).numbers
    ours = [dialect for dialect in DIALECTS if dialect.mariadb == mariadb]
    return next((dialect for dialect in ours if dialect.since <= numbers), ours[-1])


def modern_columns(row: Mapping[str, Any]) -> dict[str, Any]:
    """A status row with the column names of MySQL 8.4+."""
    return {_modern(name): value for name, value in row.items()}


@cache
def _modern(name: str) -> str:
    for old, new in (
        ("Master_", "Source_"),
        ("_Master", "_Source"),
        ("Slave_", "Replica_"),
        ("Get_master_", "Get_Source_"),
    ):
        name = name.replace(old, new)
    return name
