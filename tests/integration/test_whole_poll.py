"""What a poll reads of real servers, and how much of it at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from api.wire import instance_to_wire
from services.mysql import poll as polling
from services.mysql.connection import Login
from services.mysql.errors import StatementError
from services.mysql.poll import DiscoveryPolicy, PolledServer
from services.mysql.questions import Question, Topic
from services.sandbox.binaries import find_mysqld
from services.sandbox.ports import free_port
from services.topology.channel import ThreadState
from services.topology.instance import Instance
from services.topology.keys import InstanceKey
from tests.conftest import MakeTopology
from tests.servers import Stage, StandaloneServer, wait_until, wait_until_async
from tests.unit.mysql.recorded import answers_of

EAST, WEST = InstanceKey("127.0.0.2", 3307), InstanceKey("127.0.0.3", 3308)
MYSQL, MARIADB = "mysql_server", "mariadb_server"
CHANNELS = {
    MYSQL: (
        "CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.2', SOURCE_PORT=3307, SOURCE_USER='repl', "
        "SOURCE_AUTO_POSITION=1, SOURCE_DELAY=60 FOR CHANNEL 'east'",
        "CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.3', SOURCE_PORT=3308, SOURCE_USER='other', "
        "SOURCE_PASSWORD='x', SOURCE_AUTO_POSITION=1, SOURCE_SSL=1, SOURCE_SSL_CA='/ca.pem', "
        "SOURCE_SSL_VERIFY_SERVER_CERT=1, SOURCE_TLS_VERSION='TLSv1.3', GET_SOURCE_PUBLIC_KEY=1, "
        "SOURCE_TLS_CIPHERSUITES='TLS_AES_128_GCM_SHA256' FOR CHANNEL 'west'",
        "CHANGE REPLICATION FILTER REPLICATE_DO_DB=(app) FOR CHANNEL 'west'",
    ),
    MARIADB: (
        "CHANGE MASTER 'east' TO MASTER_HOST='127.0.0.2', MASTER_PORT=3307, MASTER_USER='repl', "
        "MASTER_USE_GTID=slave_pos, MASTER_DELAY=60",
        "CHANGE MASTER 'west' TO MASTER_HOST='127.0.0.3', MASTER_PORT=3308, MASTER_USER='other', "
        "MASTER_USE_GTID=slave_pos, MASTER_SSL=1, MASTER_SSL_CA='/ca.pem', MASTER_SSL_VERIFY_SERVER_CERT=1",
        "SET GLOBAL west.replicate_do_db='app'",
    ),
}
RESET = {
    MYSQL: ("RESET REPLICA ALL FOR CHANNEL 'east'", "RESET REPLICA ALL FOR CHANNEL 'west'"),
    MARIADB: ("SET GLOBAL west.replicate_do_db=''", "RESET SLAVE 'east' ALL", "RESET SLAVE 'west' ALL"),
}


@asynccontextmanager
async def polled(
    server: StandaloneServer, policy: DiscoveryPolicy | None = None
) -> AsyncIterator[PolledServer]:
    login = Login(server.user, server.password)
    found = await PolledServer.connect(server.key, login, timeout=5, policy=policy or DiscoveryPolicy())
    try:
        yield found
    finally:
        await found.connection.close()


async def read(server: StandaloneServer, policy: DiscoveryPolicy | None = None) -> Instance:
    async with polled(server, policy) as found:
        return await found.poll(timeout=5)


@pytest.fixture(params=[MYSQL, MARIADB])
def with_channels(request: pytest.FixtureRequest) -> Iterator[tuple[str, StandaloneServer]]:
    server: StandaloneServer = request.getfixturevalue(request.param)
    try:
        server.execute(*CHANNELS[request.param])
        yield request.param, server
    finally:
        server.execute(*RESET[request.param])


async def test_every_channel_is_read_and_the_last_is_that_of_the_single_fields(
    with_channels: tuple[str, StandaloneServer],
) -> None:
    flavour, server = with_channels
    seen = await read(server)
    east, west = seen.channels
    assert (east.name, east.master_key, east.user, east.sql_delay_seconds) == ("east", EAST, "repl", 60)
    assert (west.name, west.master_key, west.user, west.sql_delay_seconds) == ("west", WEST, "other", 0)
    assert (east.has_replication_filters, west.has_replication_filters) == (False, True)
    assert (west.receiver_state, west.applier_state) == (ThreadState.STOPPED, ThreadState.STOPPED)
    assert (seen.master_key, seen.channel_name, seen.replication_user) == (WEST, "west", "other")
    assert (seen.has_replication_filters, seen.is_replica) == (True, True)
    assert (seen.using_oracle_gtid, seen.using_mariadb_gtid) == (flavour == MYSQL, flavour == MARIADB)
    shown = instance_to_wire(seen)
    assert (shown["MasterKey"]["Port"], shown["SQLDelay"], shown["HasReplicationFilters"]) == (3308, 0, True)
    assert [
        (
            one["ChannelName"],
            one["MasterKey"]["Port"],
            one["SQLDelay"],
            one["HasReplicationFilters"],
            one["AllowTLS"],
        )
        for one in shown["ReplicationChannels"]
    ] == [("east", 3307, 60, False, east.allow_tls), ("west", 3308, 0, True, True)]


async def test_the_tls_settings_of_a_channel(with_channels: tuple[str, StandaloneServer]) -> None:
    flavour, server = with_channels
    seen = await read(server)
    tls = seen.replication_tls
    assert (seen.allow_tls, tls.ca_file, tls.verify_server_certificate) == (True, "/ca.pem", True)
    assert seen.replication_get_source_public_key is (True if flavour == MYSQL else None)
    expected = ("TLSv1.3", "TLS_AES_128_GCM_SHA256") if flavour == MYSQL else ("", "")
    assert (tls.tls_version, tls.tls_ciphersuites) == expected
    assert seen.replication_credentials_available is (flavour == MYSQL), "MariaDB keeps them in a file"
    shown = instance_to_wire(seen)
    assert (shown["AllowTLS"], shown["ReplicationSSLCAFile"]) == (True, "/ca.pem")
    assert shown["ReplicationSSLVerifyServerCert"] == {"Bool": True, "Valid": True}
    assert (shown["ReplicationTLSVersion"], shown["ReplicationTLSCiphersuites"]) == expected


async def test_a_delayed_replica_on_an_encrypted_channel_while_it_replicates(
    make_topology: MakeTopology,
) -> None:
    topology = make_topology(replicas=1)
    master, (replica,) = topology.master, topology.replicas
    replica.execute(
        "STOP REPLICA",
        "CHANGE REPLICATION SOURCE TO SOURCE_DELAY = 600, SOURCE_SSL = 1, GET_SOURCE_PUBLIC_KEY = 0",
        "CHANGE REPLICATION FILTER REPLICATE_IGNORE_TABLE = (app.ignored)",
        "START REPLICA",
    )
    master.execute("CREATE TABLE app.t (id INT PRIMARY KEY)")
    login = Login(topology.accounts.orchestray.user, topology.accounts.orchestray.password)
    server = await PolledServer.connect(replica.key, login, timeout=5)
    try:

        async def late() -> Instance | None:
            seen = await server.poll(timeout=5)
            return seen if seen.seconds_behind_master and seen.retrieved_gtid_set else None

        seen = await wait_until_async(late, 20)
    finally:
        await server.connection.close()
    assert (seen.receiver_state, seen.applier_state) == (ThreadState.RUNNING, ThreadState.RUNNING)
    assert (seen.sql_delay_seconds, seen.allow_tls, seen.has_replication_filters) == (600, True, True)
    assert seen.read_coordinates > seen.exec_coordinates, "it has it, and waits"
    shown = instance_to_wire(seen)
    assert (shown["SQLDelay"], shown["AllowTLS"], shown["HasReplicationFilters"]) == (600, True, True)
    assert shown["ReplicationLagSeconds"] == {"Int64": seen.seconds_behind_master, "Valid": True}


@pytest.mark.parametrize(("fixture", "recorded"), [(MYSQL, "MySQL 9.7"), (MARIADB, "MariaDB 10.11")])
async def test_the_recorded_columns_are_those_of_real_servers(
    request: pytest.FixtureRequest, fixture: str, recorded: str
) -> None:
    server: StandaloneServer = request.getfixturevalue(fixture)
    server.execute(*CHANNELS[fixture])
    try:
        async with polled(server) as found:
            await found.poll(timeout=5)
            for topic, rows in answers_of(recorded).items():
                real = found._answers.get(topic)
                if real and topic is not Topic.GRANTS:
                    assert set(rows[0]) <= set(real[0]), topic
            assert {Topic.VARIABLES, Topic.CHANNELS, Topic.SETTINGS} <= set(found._answers)
    finally:
        server.execute(*RESET[fixture])


def counted(server: PolledServer) -> list[str]:
    sent: list[str] = []
    query = server.connection.query

    async def counting(sql: str, *, timeout: float) -> Any:
        sent.append(sql)
        return await query(sql, timeout=timeout)

    server.connection.query = counting  # type: ignore[method-assign]
    return sent


@pytest.mark.parametrize("fixture", [MYSQL, MARIADB])
async def test_what_changes_rarely_is_asked_once_a_minute_in_the_same_round_trip(
    request: pytest.FixtureRequest, fixture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with polled(request.getfixturevalue(fixture)) as server:
        sent = counted(server)
        first = await server.poll(timeout=5)
        second = await server.poll(timeout=5)
        monkeypatch.setattr(polling, "RARE_SECONDS", 0.0)
        await server.poll(timeout=5)
    assert len(sent) == 3
    assert ["SHOW GRANTS" in each for each in sent] == [True, False, True]
    assert ["version_comment" in each for each in sent] == [True, False, True]
    assert all("read_only" in each for each in sent)
    assert replace(second, uptime_seconds=first.uptime_seconds) == first, "what was not asked again is known"


@pytest.mark.parametrize("fixture", [MYSQL, MARIADB])
async def test_what_is_refused_beside_the_vital_stays_as_it_was_and_is_told(
    request: pytest.FixtureRequest, fixture: str
) -> None:
    """known-gaps.md 5.6: an error in a secondary read is no reason to take a healthy server for unseen."""
    async with polled(request.getfixturevalue(fixture)) as server:
        before = await server.poll(timeout=5)
        good = server._asked
        server._asked = tuple(
            Question(each.topic, "SELECT @@global.no_such_variable") if each.topic is Topic.STATUS else each
            for each in good
        )
        seen = await server.poll(timeout=5)
        assert seen == before
        assert "no_such_variable" in server.complaint
        sent = counted(server)
        await server.poll(timeout=5)
        assert len(sent) == 1, "what is refused is left out until the rest is asked again"
        assert "no_such_variable" in server.complaint
        server._asked = tuple(
            Question(each.topic, each.statement, is_vital=True) if each.topic is Topic.STATUS else each
            for each in good
        )
        server._refusals.clear()
        assert (await server.poll(timeout=5)).server_id == before.server_id
        assert server.complaint == ""


async def test_replicas_by_registration_by_process_list_and_without_those_of_an_ignored_user(
    make_topology: MakeTopology,
) -> None:
    topology = make_topology(replicas=1)
    replica, user = topology.replicas[0].key, topology.accounts.replication.user
    login = Login(topology.accounts.orchestray.user, topology.accounts.orchestray.password)

    async def found(policy: DiscoveryPolicy) -> tuple[InstanceKey, ...]:
        server = await PolledServer.connect(topology.master.key, login, timeout=5, policy=policy)
        try:
            return (await server.poll(timeout=5)).replicas
        finally:
            await server.connection.close()

    assert await found(DiscoveryPolicy()) == (replica,)
    assert await found(DiscoveryPolicy(registered_first=True)) == (replica,)
    ignoring = DiscoveryPolicy(ignored_users=(f"^{user}$",))
    assert await found(ignoring) == (replica,), "SHOW REPLICAS tells no users, unless it is told to"


# Group Replication


def _member(stage: Stage, group: str, ports: tuple[int, int], number: int) -> StandaloneServer:
    return stage.server(
        {
            "performance-schema": "ON",
            "plugin-load-add": "group_replication.so",
            "group-replication-group-name": group,
            "group-replication-local-address": f"127.0.0.1:{ports[number]}",
            "group-replication-group-seeds": ",".join(f"127.0.0.1:{port}" for port in ports),
            "group-replication-start-on-boot": "OFF",
            "group-replication-recovery-get-public-key": "ON",
        }
    )


async def test_whose_group_may_not_be_read_says_so_and_who_is_in_none_does_not(stage: Stage) -> None:
    port = free_port()
    member = _member(stage, "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", (port, port), 0)
    for server, told in ((member, True), (stage.server({"performance-schema": "ON"}), False)):
        server.execute(
            "CREATE USER poor@'%' IDENTIFIED BY 'x'",
            "GRANT PROCESS, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO poor@'%'",
        )
        found = await PolledServer.connect(server.key, Login("poor", "x"), timeout=5)
        try:
            await found.poll(timeout=5)
        finally:
            await found.connection.close()
        assert Topic.GROUP in found._refusals
        assert ("MEMBER_ID" in found.complaint) is told, found.complaint


@pytest.mark.long
async def test_members_of_a_group_with_a_single_primary(stage: Stage) -> None:
    assert find_mysqld()
    group, ports = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", (free_port(), free_port())
    members = [_member(stage, group, ports, number) for number in (0, 1)]
    for member in members:
        member.execute(
            "SET SESSION sql_log_bin = 0",
            "CREATE USER recovery@'%' IDENTIFIED BY 'x'",
            "GRANT REPLICATION SLAVE, BACKUP_ADMIN, CONNECTION_ADMIN ON *.* TO recovery@'%'",
            "SET SESSION sql_log_bin = 1",
            "RESET BINARY LOGS AND GTIDS",
            "CHANGE REPLICATION SOURCE TO SOURCE_USER='recovery', SOURCE_PASSWORD='x' "
            "FOR CHANNEL 'group_replication_recovery'",
        )
    first, second = members
    first.execute(
        "SET GLOBAL group_replication_bootstrap_group = ON",
        "START GROUP_REPLICATION",
        "SET GLOBAL group_replication_bootstrap_group = OFF",
    )
    second.execute("START GROUP_REPLICATION")
    online = "SELECT 1 FROM performance_schema.replication_group_members WHERE MEMBER_STATE = 'ONLINE'"
    wait_until(lambda: len(second.query(online)) == 2, 60)
    primary, secondary = await read(first), await read(second)
    assert (primary.replication_group_name, primary.replication_group_is_single_primary) == (group, True)
    assert (primary.replication_group_member_state, primary.replication_group_member_role) == (
        "ONLINE",
        "PRIMARY",
    )
    assert secondary.replication_group_member_role == "SECONDARY"
    assert primary.replication_group_primary_key == secondary.replication_group_primary_key == first.key
    assert (primary.replication_group_members, secondary.replication_group_members) == (
        (second.key,),
        (first.key,),
    )
    shown = instance_to_wire(secondary)
    assert (shown["ReplicationGroupName"], shown["ReplicationGroupMemberRole"]) == (group, "SECONDARY")
    assert shown["ReplicationGroupMemberState"] == "ONLINE"
    assert shown["ReplicationGroupPrimaryInstanceKey"] == instance_to_wire(primary)["Key"]
    assert primary.master_key.hostname == secondary.master_key.hostname == "", (
        "no channel of theirs is a source"
    )
    assert {channel.name for channel in secondary.channels} <= {
        "group_replication_recovery",
        "group_replication_applier",
    }


async def test_a_vital_statement_that_is_refused_fails_the_poll(mysql_server: StandaloneServer) -> None:
    async with polled(mysql_server) as server:
        await server.poll(timeout=5)
        server._asked = tuple(
            Question(each.topic, "SELECT no_such_column", is_vital=True)
            if each.topic is Topic.CHANNELS
            else each
            for each in server._asked
        )
        with pytest.raises(polling.PartialPollError) as failed:
            await server.poll(timeout=5)
        assert failed.value.basics_read
        with pytest.raises(StatementError):
            await server.connection.query("SELECT no_such_column", timeout=5)
