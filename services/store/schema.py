"""The tables, one schema for SQLite and for MySQL or MariaDB.

What that asks for, and a test checks:

- keys and indexes are over VARCHARs of a bound length, at most 3072 bytes together in utf8mb4;
- texts compare by their bytes in both (SQLite does by nature; the collation says it elsewhere);
- "at most one" is a unique column that is NULL when it does not count, since every database
  allows any number of NULLs there;
- every table has a primary key, and none a foreign key: a group of MySQL servers of which each takes writes
  refuses tables that cascade. Who deletes a row deletes what belongs to it.

Times are texts as in ``times``. Lists are JSON. A change here is a new file in
``migrations/versions`` and a new SCHEMA_VERSION; a test compares the tables that the migrations
make with these.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.mysql import MEDIUMTEXT

__all__ = [
    "ATTRIBUTES",
    "AUDIT_LOG",
    "BLOCKED_RECOVERIES",
    "CLUSTERS",
    "DEPOSED_MASTERS",
    "DOWNTIMES",
    "FAILURE_DETECTIONS",
    "HOSTNAME_UNRESOLVES",
    "INSTANCE_TAGS",
    "KNOWN_INSTANCES",
    "LEASE",
    "LONGEST_NAME",
    "LONGEST_TEXT",
    "LONGEST_WORD",
    "MAINTENANCES",
    "METADATA",
    "NODES",
    "POOL_MEMBERS",
    "PROMOTION_RULES",
    "RAFT_NUMBERS",
    "RAFT_STATE",
    "RECOVERIES",
    "RECOVERY_JOURNAL",
    "RECOVERY_STEPS",
    "SCHEMA_VERSION",
    "SETTINGS",
    "SHARED_SECRETS",
    "VERSION_TABLE",
]

SCHEMA_VERSION = "0005"
"""The newest migration; compared as a number with what a file says of itself."""
VERSION_TABLE = "orchestray_schema"

METADATA = MetaData()

_BYTEWISE: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
}
_MARIADB = {key.replace("mysql", "mariadb"): value for key, value in _BYTEWISE.items()}
_OPTIONS = {**_BYTEWISE, **_MARIADB}
# an id is never given twice, not even after a purge: people write them down
_NUMBERED = {**_OPTIONS, "sqlite_autoincrement": True}

_Id = BigInteger().with_variant(Integer, "sqlite")
_LongText = Text().with_variant(MEDIUMTEXT(), "mysql", "mariadb")
_Host = String(255)
_Time = String(20)
_ClusterId = String(64)
_ClusterName = String(270)
_Alias = String(255)
_Uid = String(96)
_Word = String(64)

LONGEST_NAME = 255
LONGEST_WORD = 128
LONGEST_TEXT = 10_000
"""Characters that callers may give of a host, owner or value; of a tag's or pool's name; of a reason.

SQLite would take more, MySQL would not: in raft both kinds of members have to keep the same.
"""
_Label = String(LONGEST_WORD)


def _id() -> Column[int]:
    return Column("id", _Id, primary_key=True, autoincrement=True)


def _key(primary: bool = False) -> tuple[Column[str], Column[int]]:
    return (
        Column("host", _Host, primary_key=primary, nullable=False),
        Column("port", Integer, primary_key=primary, autoincrement=False, nullable=False),
    )


KNOWN_INSTANCES = Table(
    "known_instances",
    METADATA,
    *_key(primary=True),
    Column("facts", _LongText, nullable=False),
    Column("cluster_id", _ClusterId, nullable=False),
    Column("last_seen", _Time, nullable=False),
    **_OPTIONS,
)

CLUSTERS = Table(
    "clusters",
    METADATA,
    Column("id", _ClusterId, primary_key=True),
    Column("master_host", _Host, nullable=False),
    Column("master_port", Integer, nullable=False),
    Column("alias", _Alias, nullable=False),
    Column("domain", _Alias, nullable=False),
    Column("promoted_at", _Time, nullable=False),
    **_OPTIONS,
)

DEPOSED_MASTERS = Table(
    "deposed_masters",
    METADATA,
    Column("cluster_id", _ClusterId, primary_key=True),
    *_key(primary=True),
    Column("deposed_at", _Time, nullable=False),
    Column("until", _Time, nullable=False),
    Column("term", BigInteger, nullable=False),
    Column("recovery_uid", _Uid, nullable=False),
    Column("executed_gtid_set", _LongText, nullable=False),
    Column("seen_again_at", _Time, nullable=False),
    **_OPTIONS,
)

PROMOTION_RULES = Table(
    "promotion_rules",
    METADATA,
    *_key(primary=True),
    Column("promotion_rule", _Word, nullable=False),
    Column("last_suggested", _Time, nullable=False),
    Column("expires_at", _Time, nullable=False),
    **_OPTIONS,
)

DOWNTIMES = Table(
    "downtimes",
    METADATA,
    *_key(primary=True),
    Column("owner", _Alias, nullable=False),
    Column("reason", Text, nullable=False),
    Column("begins_at", _Time, nullable=False),
    Column("ends_at", _Time, nullable=False),
    **_OPTIONS,
)

MAINTENANCES = Table(
    "maintenances",
    METADATA,
    _id(),
    *_key(),
    Column("owner", _Alias, nullable=False),
    Column("reason", Text, nullable=False),
    Column("begins_at", _Time, nullable=False),
    Column("ends_at", _Time, nullable=False),
    UniqueConstraint("host", "port", name="uq_maintenances_host"),
    **_NUMBERED,
)

HOSTNAME_UNRESOLVES = Table(
    "hostname_unresolves",
    METADATA,
    Column("host", _Host, primary_key=True),
    Column("unresolved_host", _Host, nullable=False),
    Column("registered_at", _Time, nullable=False),
    Column("expires_at", _Time, nullable=False),
    **_OPTIONS,
)

INSTANCE_TAGS = Table(
    "instance_tags",
    METADATA,
    *_key(primary=True),
    Column("name", _Label, primary_key=True),
    Column("value", _Alias, nullable=False),
    **_OPTIONS,
)

POOL_MEMBERS = Table(
    "pool_members",
    METADATA,
    Column("pool", _Label, primary_key=True),
    *_key(primary=True),
    Column("registered_at", _Time, nullable=False),
    Column("expires_at", _Time, nullable=False),
    **_OPTIONS,
)

ATTRIBUTES = Table(
    "attributes",
    METADATA,
    Column("host", _Host, primary_key=True),
    Column("name", _Label, primary_key=True),
    Column("value", Text, nullable=False),
    Column("submitted_at", _Time, nullable=False),
    **_OPTIONS,
)

SETTINGS = Table(
    "settings",
    METADATA,
    Column("name", _Word, primary_key=True),
    Column("value", Text, nullable=False),
    **_OPTIONS,
)

RECOVERIES = Table(
    "recoveries",
    METADATA,
    _id(),
    Column("uid", _Uid, nullable=False),
    Column("active_slot", _ClusterId, nullable=True),  # the cluster's id while it runs
    Column("cluster_id", _ClusterId, nullable=False),
    Column("cluster_name", _ClusterName, nullable=False),
    Column("cluster_alias", _Alias, nullable=False),
    *_key(),
    Column("analysis", _Word, nullable=False),
    Column("count_replicas", Integer, nullable=False),
    Column("replicas", _LongText, nullable=False),
    Column("type", _Word, nullable=False),
    Column("recovery_type", _Word, nullable=False),
    Column("last_detection_id", BigInteger, nullable=False),
    Column("node_hostname", _Host, nullable=False),
    Column("node_token", _Uid, nullable=False),
    Column("term", BigInteger, nullable=False),
    Column("started_at", _Time, nullable=False),
    Column("ended_at", _Time, nullable=False),
    Column("is_successful", Boolean, nullable=False),
    Column("successor_host", _Host, nullable=False),
    Column("successor_port", Integer, nullable=False),
    Column("successor_alias", _Alias, nullable=False),
    Column("lost_replicas", _LongText, nullable=False),
    Column("participants", _LongText, nullable=False),
    Column("errors", _LongText, nullable=False),
    Column("blocked_until", _Time, nullable=False),
    Column("acknowledged", Boolean, nullable=False),
    Column("acknowledged_at", _Time, nullable=False),
    Column("acknowledged_by", _Alias, nullable=False),
    Column("acknowledged_comment", Text, nullable=False),
    UniqueConstraint("uid", name="uq_recoveries_uid"),
    UniqueConstraint("active_slot", name="uq_recoveries_active_slot"),
    Index("ix_recoveries_cluster_id", "cluster_id"),
    Index("ix_recoveries_cluster_name", "cluster_name"),
    Index("ix_recoveries_cluster_alias", "cluster_alias"),
    Index("ix_recoveries_host", "host", "port"),
    **_NUMBERED,
)

RECOVERY_STEPS = Table(
    "recovery_steps",
    METADATA,
    _id(),
    Column("recovery_uid", _Uid, nullable=False),
    Column("at", _Time, nullable=False),
    Column("message", _LongText, nullable=False),
    Index("ix_recovery_steps_uid", "recovery_uid"),
    **_NUMBERED,
)

RECOVERY_JOURNAL = Table(
    "recovery_journal",
    METADATA,
    _id(),
    Column("recovery_uid", _Uid, nullable=False),
    Column("term", BigInteger, nullable=False),
    Column("step_no", Integer, nullable=False),
    Column("kind", _Word, nullable=False),
    *_key(),
    Column("phase", String(16), nullable=False),
    Column("detail", _LongText, nullable=False),
    Column("at", _Time, nullable=False),
    Index("ix_recovery_journal_uid", "recovery_uid"),
    **_NUMBERED,
)

BLOCKED_RECOVERIES = Table(
    "blocked_recoveries",
    METADATA,
    *_key(primary=True),
    Column("cluster_name", _ClusterName, nullable=False),
    Column("analysis", _Word, nullable=False),
    Column("last_blocked_at", _Time, nullable=False),
    Column("blocking_recovery_id", _Id, nullable=False, index=True),
    **_OPTIONS,
)

FAILURE_DETECTIONS = Table(
    "failure_detections",
    METADATA,
    _id(),
    Column("active_slot", String(300), nullable=True),  # "host:port:actionable" while it is active
    Column("active_until", _Time, nullable=False),
    Column("cluster_id", _ClusterId, nullable=False),
    Column("cluster_name", _ClusterName, nullable=False),
    Column("cluster_alias", _Alias, nullable=False),
    *_key(),
    Column("analysis", _Word, nullable=False),
    Column("is_actionable", Boolean, nullable=False),
    Column("count_replicas", Integer, nullable=False),
    Column("replicas", _LongText, nullable=False),
    Column("node_hostname", _Host, nullable=False),
    Column("node_token", _Uid, nullable=False),
    Column("detected_at", _Time, nullable=False),
    Column("related_recovery_id", BigInteger, nullable=False),
    UniqueConstraint("active_slot", name="uq_failure_detections_active_slot"),
    Index("ix_failure_detections_cluster_name", "cluster_name"),
    Index("ix_failure_detections_cluster_alias", "cluster_alias"),
    Index("ix_failure_detections_host", "host", "port"),
    **_NUMBERED,
)

AUDIT_LOG = Table(
    "audit_log",
    METADATA,
    _id(),
    Column("at", _Time, nullable=False),
    Column("type", _Word, nullable=False),
    *_key(),
    Column("message", _LongText, nullable=False),
    Index("ix_audit_log_host", "host", "port"),
    **_NUMBERED,
)

LEASE = Table(
    "lease",
    METADATA,
    Column("name", _Word, primary_key=True),
    Column("node_id", _Host, nullable=False),  # empty when it was released
    Column("term", BigInteger, nullable=False),
    Column("counter", BigInteger, nullable=False),
    Column("length_ms", Integer, nullable=False),
    **_OPTIONS,
)

NODES = Table(
    "nodes",
    METADATA,
    Column("node_id", _Host, primary_key=True),
    Column("host", _Host, nullable=False),
    Column("token", _Uid, nullable=False),  # of its start
    Column("uri", _Host, nullable=False),  # of its HTTP interface
    Column("version", _Word, nullable=False),
    Column("backend", _Host, nullable=False),  # as that node names it
    Column("counter", BigInteger, nullable=False),  # moves while it lives
    **_OPTIONS,
)

SHARED_SECRETS = Table(
    "shared_secrets",
    METADATA,
    Column("name", _Word, primary_key=True),
    Column("secret", _Uid, nullable=False),
    **_OPTIONS,
)

RAFT_STATE = Table(
    "raft_state",
    METADATA,
    Column("one", Integer, primary_key=True, autoincrement=False),  # 1: there is one row at most
    Column("member", _Host, nullable=False),  # whose store this is
    Column("log_id", _Word, nullable=False),  # of the log that was applied; empty if none was
    Column("applied_index", BigInteger, nullable=False),
    **_OPTIONS,
)

RAFT_NUMBERS = Table(
    "raft_numbers",
    METADATA,
    Column("name", _Word, primary_key=True),  # a table
    Column("last", BigInteger, nullable=False),  # id that was given there
    **_OPTIONS,
)
