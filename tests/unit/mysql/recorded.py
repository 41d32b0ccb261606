"""Result sets of a poll by flavour and version, each fact in them different from its default.

``RECORDED`` tells which were taken from a real server (and then shortened); the names of columns and
variables of the others are those of the reference and of the manuals: such servers cannot be had here.
"""

from __future__ import annotations

import re
from typing import Any

from services.mysql.dialect import dialect_for
from services.mysql.questions import Topic, questions

__all__ = ["RECORDED", "SERVERS", "answers_of"]

SERVERS = {
    "MySQL 5.7": ("5.7.44-log", "MySQL Community Server (GPL)"),
    "MySQL 8.0.11": ("8.0.11", "MySQL Community Server - GPL"),
    "MySQL 8.0.40": ("8.0.40", "MySQL Community Server - GPL"),
    "Percona 8.0.39": ("8.0.39-30", "Percona Server (GPL), Release 30, Revision 41ebc5d9"),
    "MySQL 8.4": ("8.4.3", "MySQL Community Server - GPL"),
    "MySQL 9.7": ("9.7.4-2", "(Debian)"),
    "MariaDB 10.4": ("10.4.34-MariaDB-log", "MariaDB Server"),
    "MariaDB 10.11": ("10.11.18-MariaDB-0+deb12u1-log", "Debian 12"),
    "MariaDB 11.4": ("11.4.4-MariaDB-log", "MariaDB Server"),
}
RECORDED = frozenset({"MySQL 9.7", "MariaDB 10.11"})
"""What a real server of this version said; the others are put together from the reference."""

UUID, SOURCE_UUID, OTHER_UUID = (f"{n}1111111-0000-0000-0000-000000000001" for n in (1, 2, 3))

_STATUS: dict[str, Any] = {
    "Source_Host": "127.0.0.3", "Source_User": "repl", "Source_Port": 3308, "Connect_Retry": 60,
    "Source_Log_File": "binlog.000003", "Read_Source_Log_Pos": 200, "Relay_Log_File": "relay-west.000004",
    "Relay_Log_Pos": 44, "Relay_Source_Log_File": "binlog.000002", "Replica_IO_Running": "Connecting",
    "Replica_SQL_Running": "Yes", "Replicate_Do_DB": "app", "Replicate_Ignore_DB": "",
    "Replicate_Do_Table": "", "Replicate_Ignore_Table": "", "Replicate_Wild_Do_Table": "",
    "Replicate_Wild_Ignore_Table": "", "Exec_Source_Log_Pos": 100, "Source_SSL_Allowed": "Yes",
    "Source_SSL_CA_File": "/ca.pem", "Source_SSL_CA_Path": "/cas", "Source_SSL_Cert": "/cert.pem",
    "Source_SSL_Cipher": "AES", "Source_SSL_Key": "/key.pem", "Seconds_Behind_Source": 7,
    "Source_SSL_Verify_Server_Cert": "Yes", "Last_IO_Errno": 2003, "Last_IO_Error": "error connecting",
    "Last_SQL_Errno": 1062, "Last_SQL_Error": "duplicate entry", "Source_Server_Id": 5, "SQL_Delay": 60,
    "Source_SSL_Crl": "/crl.pem", "Source_SSL_Crlpath": "/crls",
}  # fmt: skip
_MYSQL = {
    "Source_UUID": SOURCE_UUID, "Retrieved_Gtid_Set": f"{SOURCE_UUID}:1-9,\n{OTHER_UUID}:1",
    "Auto_Position": 1, "Channel_Name": "west", "Source_TLS_Version": "TLSv1.3",
}  # fmt: skip
_MYSQL_8 = {"Source_public_key_path": "/public.pem", "Get_Source_public_key": 1}
_MARIADB = {"Using_Gtid": "Slave_Pos", "Gtid_IO_Pos": "0-5-9", "Replicate_Do_Domain_Ids": ""}


def _old(row: dict[str, Any]) -> dict[str, Any]:
    """Under the names of before 8.0.22, and of MariaDB."""
    names = {"Get_Source_public_key": "Get_master_public_key"}
    return {
        names.get(name, re.sub("Replica_", "Slave_", name.replace("Source", "Master"))): value
        for name, value in row.items()
    }


def _rows(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"Variable_name": name, "Value": value} for name, value in values.items()]


def _semi_sync(source: str, replica: str, *, counts: bool) -> tuple[list[Any], list[Any]]:
    variables = {
        f"rpl_semi_sync_{source}_enabled": "ON",
        f"rpl_semi_sync_{source}_timeout": "10000",
        f"rpl_semi_sync_{source}_wait_point": "AFTER_SYNC",
        f"rpl_semi_sync_{source}_wait_no_{replica}": "OFF",
        f"rpl_semi_sync_{replica}_enabled": "ON",
    }
    if counts:
        variables[f"rpl_semi_sync_{source}_wait_for_{replica}_count"] = "2"
    status = {
        f"Rpl_semi_sync_{source}_status": "ON",
        f"Rpl_semi_sync_{source}_clients": "3",
        f"Rpl_semi_sync_{source}_no_tx": "4",
        f"Rpl_semi_sync_{replica}_status": "ON",
        "Uptime": "12",
    }
    return _rows(variables), _rows(status)


def answers_of(server: str) -> dict[Topic, list[dict[str, Any]]]:
    """The rows of each statement that is sent to such a server; a statement that is not sent has none."""
    version, comment = SERVERS[server]
    dialect = dialect_for(version)
    numbers = dialect.since
    mariadb, new_names = dialect.mariadb, not dialect.mariadb and numbers >= (8, 0, 23)
    status = {**_STATUS, **(_MARIADB if mariadb else _MYSQL)}
    if not mariadb and numbers >= (8, 0, 2):
        status |= _MYSQL_8
    first = {**status, "Source_Host": "127.0.0.2", "Channel_Name": "east"}
    if mariadb:
        first = {"Connection_name": "east", **{k: v for k, v in first.items() if k != "Channel_Name"}}
        status = {"Connection_name": "", **status}
    variables, states = _semi_sync(
        *(("source", "replica") if new_names else ("master", "slave")), counts=not mariadb
    )
    if not mariadb and numbers >= (8, 0, 2):
        variables += _rows(
            {"group_replication_group_name": OTHER_UUID, "group_replication_single_primary_mode": "ON"}
        )
    rows: dict[Topic, list[dict[str, Any]]] = {
        Topic.VARIABLES: [
            {
                "server_id": 7, "read_only": 1, "super_read_only": 1, "binlog_format": "ROW",
                "gtid_mode": "ON", "gtid_executed": f"{SOURCE_UUID}:1-9,\n{OTHER_UUID}:1",
                "gtid_purged": f"{SOURCE_UUID}:1-2", "gtid_binlog_state": "0-5-9", "gtid_slave_pos": "0-5-9",
            }
        ],
        Topic.CHANNELS: [first, status] if new_names else [_old(first), _old(status)],
        Topic.LOG: [{"File": "binlog.000001", "Position": 158, "Binlog_Do_DB": "", "Binlog_Ignore_DB": ""}],
        Topic.PLUGINS: variables,
        Topic.STATUS: states,
        Topic.REGISTERED: [{"Server_Id": 9, "Host": "replica1", "Port": 3306}],
        Topic.DUMPS: [
            {"Host": "10.0.0.9:40000", "User": "repl", "Command": "Binlog Dump"},
            {"Host": "10.0.0.1:40001", "User": "app", "Command": "Query"},
        ][: 2 if mariadb else 1],
        Topic.GROUP: [
            {"id": OTHER_UUID, "host": "other", "port": 3306, "state": "ONLINE", "role": "PRIMARY"},
            {"id": UUID, "host": "this", "port": 3306, "state": "ONLINE", "role": "SECONDARY"},
        ],
        Topic.SETTINGS: [
            {
                "hostname": "db7", "report_host": "db7.example", "version": version,
                "version_comment": comment, "log_bin": 1, "binlog_row_image": "FULL", "server_uuid": UUID,
                "log_replica_updates": 1,
            }
        ],
        Topic.GRANTS: [{"Grants for o@%": "GRANT PROCESS ON *.* TO `o`@`%`"}],
        Topic.SOURCES: [
            {
                "Channel_Name": "west", "has_account": 1,
                "Source_TLS_Ciphersuites": "TLS_AES_128_GCM_SHA256" if new_names else None,
            }
        ],
    }  # fmt: skip
    asked = {each.topic for each in questions(dialect, performance_schema=True)}
    for topic, names in ((Topic.VARIABLES, dialect.variables), (Topic.SETTINGS, dialect.settings)):
        rows[topic] = [{name: rows[topic][0][name] for name in names}]
    return {topic: found for topic, found in rows.items() if topic in asked}
