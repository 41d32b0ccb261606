"""Who can replicate from whom: the rules in their order, each with the server that it is about."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.topology.instance import Instance
from services.topology.keys import InstanceKey
from services.topology.replicating import ReplicationPolicy, why_not_replicate, why_not_replicate_by_gtid
from tests.unit.api.memory_node import R1, M, master, replica

POLICY = ReplicationPolicy()
SOURCE = master(M, server_id=1)
REPLICA = replica(R1, M, server_id=2)


def why(policy: ReplicationPolicy = POLICY, source: dict[str, object] | None = None, **facts: object) -> str:
    return why_not_replicate(
        replace(REPLICA, **facts),  # type: ignore[arg-type]
        replace(SOURCE, **(source or {})),  # type: ignore[arg-type]
        policy,
    )


def test_nothing_is_in_the_way() -> None:
    assert why() == ""
    assert why(version="9.1.0") == ""
    assert why(log_replica_updates_enabled=False, binlog_format="STATEMENT") == ""
    assert why(source={"binlog_format": "STATEMENT"}) == ""
    assert why(source={"sql_delay_seconds": 20}) == ""


@pytest.mark.parametrize(
    ("source", "facts", "said"),
    [
        ({}, {"key": M}, "cannot replicate from itself"),
        ({"log_bin_enabled": False}, {}, "does not have binary logs enabled"),
        ({"version": "9.0.1"}, {}, "has version 8.4.6, which is lower than 9.0.1"),
        ({"version": "10.11.6"}, {"version": "10.9.1"}, "has version 10.9.1, which is lower than 10.11.6"),
        ({}, {"binlog_format": "MIXED"}, "cannot replicate from ROW binlog format"),
        ({}, {"server_id": 1}, "identical server id"),
        ({}, {"server_uuid": SOURCE.server_uuid}, "identical server UUID"),
        ({"sql_delay_seconds": 21}, {"sql_delay_seconds": 20}, "has higher SQL_Delay"),
    ],
)
def test_what_forbids_it(source: dict[str, object], facts: dict[str, object], said: str) -> None:
    assert said in why(source=source, **facts)


def test_a_source_that_replicates_must_log_what_it_applies() -> None:
    middle = replace(replica(M, InstanceKey("top.example.com", 3306)), log_replica_updates_enabled=False)
    assert "log_slave_updates" in why_not_replicate(REPLICA, middle, POLICY)
    assert why(source={"log_replica_updates_enabled": False}) == ""


def test_what_settings_decide() -> None:
    filtered = {"has_replication_filters": True}
    assert why(source=filtered) == ""
    strict = ReplicationPolicy(verify_filters=True)
    assert "has replication filters" in why(strict, filtered)
    assert why(strict, filtered, has_replication_filters=True) == ""
    assert why(ReplicationPolicy(lower_version_allowed=True), {"version": "9.0.1"}) == ""


A, B = "3e11fa47-71ca-11e1-9e33-c80aa9429562", "4e11fa47-71ca-11e1-9e33-c80aa9429562"


@pytest.mark.parametrize(
    ("replicas", "sources", "said"),
    [
        ({"executed_gtid_set": f"{A}:1-9"}, {"gtid_purged": f"{A}:1-5"}, ""),
        ({"executed_gtid_set": f"{A}:1-3"}, {"gtid_purged": f"{A}:1-5"}, f"not found on {R1}: {A}:4-5"),
        ({"executed_gtid_set": f"{A}:1-3"}, {"gtid_purged": f"{B}:1"}, f"{B}:1"),
        ({"using_oracle_gtid": False}, {}, "not GTID compatible"),
        ({}, {"gtid_mode": "OFF"}, "not GTID compatible"),
        ({"using_oracle_gtid": False, "using_mariadb_gtid": True}, {"version": "10.11.6-MariaDB"}, ""),
        ({"using_oracle_gtid": False, "using_mariadb_gtid": True}, {}, "not GTID compatible"),
        ({"executed_gtid_set": "nonsense"}, {"gtid_purged": f"{A}:1"}, "cannot be compared"),
    ],
)
def test_by_gtid(replicas: dict[str, object], sources: dict[str, object], said: str) -> None:
    def having(instance: Instance, facts: dict[str, object]) -> Instance:
        return replace(instance, **facts)  # type: ignore[arg-type]

    found = why_not_replicate_by_gtid(having(REPLICA, replicas), having(SOURCE, sources))
    assert said in found
    assert bool(found) == bool(said)
