"""Which facts of the reference's discovery are read from which server: the table, and that it is true.

Each result set has every fact different from its default (`recorded`), so a fact that stays at its default
was not read. Only those of MySQL 9.7 and MariaDB 10.11 are spoken by servers that can be had here.
"""

from __future__ import annotations

from dataclasses import fields

import pytest

from services.mysql.dialect import dialect_for
from services.mysql.poll import DiscoveryPolicy, instance_of
from services.mysql.questions import Topic, questions
from services.topology.instance import Instance
from services.topology.keys import InstanceKey
from tests.unit.mysql.recorded import RECORDED, SERVERS, answers_of

MARIADB = frozenset(name for name in SERVERS if name.startswith("MariaDB"))
MYSQL = frozenset(SERVERS) - MARIADB
MYSQL_8 = MYSQL - {"MySQL 5.7"}
NEW_NAMES = MYSQL_8 - {"MySQL 8.0.11"}
TOLD_OF_PRIVILEGES = {"MySQL 8.4", "MySQL 9.7", "MariaDB 10.11", "MariaDB 11.4"}
EVERYWHERE = MYSQL | MARIADB

FACTS: dict[str, tuple[str, frozenset[str] | set[str]]] = {
    # fact: section of the discovery reference, servers that it is read from
    "flavor": ("3.1", EVERYWHERE),
    "version": ("3, step 5", EVERYWHERE),
    "version_comment": ("3, step 7", EVERYWHERE),
    "reported_hostname": ("3, steps 7 and 8", EVERYWHERE),
    "reported_host": ("3, steps 7 and 8", EVERYWHERE),
    "server_id": ("3, step 7", EVERYWHERE),
    "read_only": ("3, step 7", EVERYWHERE),
    "super_read_only": ("not read by the reference", MYSQL),
    "binlog_format": ("3, step 7", EVERYWHERE),
    "log_bin_enabled": ("3, step 7", EVERYWHERE),
    "log_replica_updates_enabled": ("3, step 7", EVERYWHERE),
    "uptime_seconds": ("3, step 9", EVERYWHERE),
    "self_coordinates": ("3, step 9", EVERYWHERE),
    "channels": ("not read by the reference", EVERYWHERE),
    "channel_name": ("3, step 6", MYSQL),  # MariaDB: that without a name
    "replication_user": ("3.2", EVERYWHERE),
    "has_replication_credentials": ("3.2", EVERYWHERE),
    "receiver_state": ("3.2", EVERYWHERE),
    "applier_state": ("3.2", EVERYWHERE),
    "read_coordinates": ("3.2", EVERYWHERE),
    "exec_coordinates": ("3.2", EVERYWHERE),
    "relaylog_coordinates": ("3.2", EVERYWHERE),
    "last_io_error": ("3.2", EVERYWHERE),
    "last_io_errno": ("not read by the reference", EVERYWHERE),
    "last_sql_error": ("3.2", EVERYWHERE),
    "last_sql_errno": ("not read by the reference", EVERYWHERE),
    "sql_delay_seconds": ("3.2", EVERYWHERE),
    "using_oracle_gtid": ("3.2", MYSQL),
    "using_mariadb_gtid": ("3.2", MARIADB),
    "master_uuid": ("3.2", EVERYWHERE),
    "master_server_id": ("not read by the reference", EVERYWHERE),
    "has_replication_filters": ("3.2", EVERYWHERE),
    "master_key": ("3.2", EVERYWHERE),
    "source_host": ("3.2", EVERYWHERE),
    "seconds_behind_master": ("3.2", EVERYWHERE),
    "replication_lag_seconds": ("3, step 13", EVERYWHERE),
    "allow_tls": ("3.2", EVERYWHERE),
    "replication_tls": ("3.2", EVERYWHERE),
    "replication_get_source_public_key": ("3.2", MYSQL_8),
    "retrieved_gtid_set": ("not read by the reference", MYSQL),
    "gtid_io_pos": ("not read by the reference", MARIADB),
    "semi_sync_available": ("3.3", EVERYWHERE),
    "semi_sync_master_new_names": ("3.3", NEW_NAMES),
    "semi_sync_replica_new_names": ("3.3", NEW_NAMES),
    "semi_sync_master_enabled": ("3.3", EVERYWHERE),
    "semi_sync_replica_enabled": ("3.3", EVERYWHERE),
    "semi_sync_master_timeout_ms": ("3.3", EVERYWHERE),
    "semi_sync_master_wait_count": ("3.3", MYSQL),
    "semi_sync_master_wait_point": ("not read by the reference", EVERYWHERE),
    "semi_sync_master_wait_no_replica": ("not read by the reference", EVERYWHERE),
    "semi_sync_master_status": ("3.3", EVERYWHERE),
    "semi_sync_master_clients": ("3.3", EVERYWHERE),
    "semi_sync_master_no_tx": ("not read by the reference", EVERYWHERE),
    "semi_sync_replica_status": ("3.3", EVERYWHERE),
    "gtid_mode": ("3.4", MYSQL),
    "server_uuid": ("3.4", MYSQL),
    "executed_gtid_set": ("3.4", MYSQL),
    "gtid_purged": ("3.4", MYSQL),
    "binlog_row_image": ("3.4", EVERYWHERE),
    "replication_credentials_available": ("3.4", MYSQL),
    "gtid_binlog_state": ("not read by the reference", MARIADB),
    "gtid_slave_pos": ("not read by the reference", MARIADB),
    "replication_group_name": ("3.5", MYSQL_8),
    "replication_group_is_single_primary": ("3.5", MYSQL_8),
    "replication_group_member_state": ("3.5", MYSQL_8),
    "replication_group_member_role": ("3.5", MYSQL_8),
    "replication_group_members": ("3.5", MYSQL_8),
    "replication_group_primary_key": ("3.5", MYSQL_8),
    "replicas": ("3.6", EVERYWHERE),
    "lacking_privileges": ("not read by the reference", TOLD_OF_PRIVILEGES),
}
KEY = InstanceKey("db7", 3306)


def read_from(server: str) -> Instance:
    return instance_of(KEY, answers_of(server))


@pytest.mark.parametrize("server", SERVERS)
def test_what_is_read_from_each_server(server: str) -> None:
    instance, blank = read_from(server), Instance(key=KEY)
    read = {
        each.name for each in fields(Instance) if getattr(instance, each.name) != getattr(blank, each.name)
    }
    assert read == {name for name, (_, servers) in FACTS.items() if server in servers}


def test_the_recorded_servers_are_those_whose_dialects_are_proven() -> None:
    proven = {name for name, (version, _) in SERVERS.items() if dialect_for(version).proven}
    assert proven == RECORDED | {"MySQL 8.4"}  # which shares the words of 9.7


@pytest.mark.parametrize("server", SERVERS)
def test_of_several_channels_the_last_counts_and_of_mariadbs_that_without_a_name(server: str) -> None:
    instance = read_from(server)
    assert [channel.master_key.hostname for channel in instance.channels] == ["127.0.0.2", "127.0.0.3"]
    assert instance.master_key == InstanceKey("127.0.0.3", 3308)
    assert [channel.name for channel in instance.channels] == (
        ["east", ""] if server in MARIADB else ["east", "west"]
    )


@pytest.mark.parametrize("server", SERVERS)
def test_the_tls_settings_of_a_channel(server: str) -> None:
    instance = read_from(server)
    tls = instance.replication_tls
    assert tls == instance.channels[-1].tls
    assert (tls.ca_file, tls.ca_path, tls.certificate, tls.private_key) == (
        "/ca.pem", "/cas", "/cert.pem", "/key.pem",
    )  # fmt: skip
    assert (tls.crl_file, tls.crl_path, tls.cipher) == ("/crl.pem", "/crls", "AES")
    assert tls.verify_server_certificate is True
    assert tls.tls_version == ("" if server in MARIADB else "TLSv1.3")
    assert tls.source_public_key_path == ("/public.pem" if server in MYSQL_8 else "")
    assert tls.tls_ciphersuites == ("TLS_AES_128_GCM_SHA256" if server in NEW_NAMES else "")


@pytest.mark.parametrize("server", SERVERS)
def test_what_changes_rarely_is_asked_rarely(server: str) -> None:
    asked = questions(dialect_for(SERVERS[server][0]), performance_schema=True)
    rare = " ".join(each.statement for each in asked if each.is_rare)
    often = " ".join(each.statement for each in asked if not each.is_rare)
    for word in ("version_comment", "hostname", "SHOW GRANTS"):
        assert word in rare
        assert word not in often
    for word in ("read_only", "STATUS", "gtid"):
        assert word in often


def test_credentials_that_the_configuration_gives_are_available() -> None:
    policy = DiscoveryPolicy(has_credentials=True)
    assert instance_of(KEY, answers_of("MariaDB 10.11"), policy).replication_credentials_available


def test_replicas_of_an_ignored_user_are_left_out() -> None:
    answers = answers_of("MySQL 9.7")
    assert instance_of(KEY, answers).replicas == (InstanceKey("replica1", 3306),)
    answers[Topic.REGISTERED][0]["User"] = answers[Topic.DUMPS][0]["User"] = "cdc"
    policy = DiscoveryPolicy(ignored_users=("^cdc$",))
    assert instance_of(KEY, answers, policy).replicas == ()


@pytest.mark.parametrize("server", SERVERS)
def test_a_group_with_several_primaries_is_not_told_of(server: str) -> None:
    answers = answers_of(server)
    for row in answers[Topic.PLUGINS]:
        if row["Variable_name"] == "group_replication_single_primary_mode":
            row["Value"] = "OFF"
    assert instance_of(KEY, answers).replication_group_name == ""


def test_a_member_names_its_group_itself_and_the_others() -> None:
    instance = read_from("MySQL 8.4")
    assert instance.replication_group_primary_key == InstanceKey("other", 3306)
    assert instance.replication_group_members == (InstanceKey("other", 3306),)
    assert (instance.replication_group_member_role, instance.is_group_member) == ("SECONDARY", True)
