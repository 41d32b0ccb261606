"""What differs between MySQL and MariaDB for a sandbox: settings, words of replication, privileges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from services.mysql.privileges import MARIADB_PRIVILEGES, MYSQL_PRIVILEGES

__all__ = ["FLAVOURS", "MARIADB", "MYSQL", "Flavour"]

_LONGEST_SEMI_SYNC_TIMEOUT = 2**64 - 1  # milliseconds; the servers accept it and wait (seen on 9.7 and 10.11)


@dataclass(frozen=True, slots=True)
class Flavour:
    """Both kinds of semi-sync are lossless: AFTER_SYNC, one acknowledgement awaited without end.

    ``change_source`` has places for ``host``, ``port``, ``user`` and ``password``.
    """

    name: str
    title: str
    minimum_version: tuple[int, int]
    settings: Mapping[str, str | None]  # of every my.cnf
    semi_sync: Mapping[str, str | None]
    semi_sync_source: str  # the setting that is ON on the master alone
    semi_sync_clients: str
    read_only: str  # the setting of replicas
    change_source: str
    start_replica: str
    net_timeout: str  # the setting of replicas: seconds without a word from the source
    executed: str  # a global variable
    grants: tuple[str, ...]


_SMALL: dict[str, str | None] = {
    "relay-log": "relay",
    "skip-name-resolve": "ON",  # also keeps root@localhost to the socket
    "performance-schema": "OFF",
    "innodb-buffer-pool-size": "8M",
    "innodb-flush-method": "fsync",
}

MYSQL = Flavour(
    name="mysql",
    title="MySQL",
    minimum_version=(8, 4),  # the first with all the words used here
    settings={
        "gtid-mode": "ON",
        "enforce-gtid-consistency": "ON",
        "secure-file-priv": "NULL",
        # without what replication does not need: 210 MB of memory each, and up in 0.6 s
        **_SMALL,
        "mysqlx": "OFF",
        "innodb-log-buffer-size": "256K",
    },
    semi_sync={
        "plugin-load-add": "semisync_source.so;semisync_replica.so",
        "rpl-semi-sync-replica-enabled": "ON",
        "rpl-semi-sync-source-wait-point": "AFTER_SYNC",
        "rpl-semi-sync-source-wait-for-replica-count": "1",
        "rpl-semi-sync-source-timeout": str(_LONGEST_SEMI_SYNC_TIMEOUT),
    },
    semi_sync_source="rpl-semi-sync-source-enabled",
    semi_sync_clients="Rpl_semi_sync_source_clients",
    read_only="super-read-only",
    change_source=(
        "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '{host}', SOURCE_PORT = {port}, SOURCE_AUTO_POSITION = 1,"
        " SOURCE_USER = '{user}', SOURCE_PASSWORD = '{password}',"
        " GET_SOURCE_PUBLIC_KEY = 1, SOURCE_CONNECT_RETRY = 1, SOURCE_RETRY_COUNT = 86400"
    ),
    start_replica="START REPLICA",
    net_timeout="replica-net-timeout",
    executed="gtid_executed",
    grants=tuple(each.name for each in MYSQL_PRIVILEGES),
)

MARIADB = Flavour(
    name="mariadb",
    title="MariaDB",
    minimum_version=(10, 6),  # the oldest that is maintained; its privileges came with 10.5
    settings={
        "log-bin": "binlog",
        "log-slave-updates": "ON",
        "gtid-strict-mode": "ON",
        "binlog-format": "ROW",
        # 70 MB of memory each
        **_SMALL,
        "innodb-log-file-size": "8M",
        "innodb-use-native-aio": "OFF",
        "key-buffer-size": "1M",
        "aria-pagecache-buffer-size": "1M",
    },
    semi_sync={
        "rpl-semi-sync-slave-enabled": "ON",
        "rpl-semi-sync-master-wait-point": "AFTER_SYNC",
        "rpl-semi-sync-master-timeout": str(_LONGEST_SEMI_SYNC_TIMEOUT),
    },
    semi_sync_source="rpl-semi-sync-master-enabled",
    semi_sync_clients="Rpl_semi_sync_master_clients",
    read_only="read-only",
    change_source=(
        "CHANGE MASTER TO MASTER_HOST = '{host}', MASTER_PORT = {port}, MASTER_USE_GTID = slave_pos,"
        " MASTER_USER = '{user}', MASTER_PASSWORD = '{password}', MASTER_CONNECT_RETRY = 1"
    ),
    start_replica="START SLAVE",
    net_timeout="slave-net-timeout",
    executed="gtid_current_pos",
    grants=tuple(each.name for each in MARIADB_PRIVILEGES),
)

FLAVOURS: Mapping[str, Flavour] = {flavour.name: flavour for flavour in (MYSQL, MARIADB)}
