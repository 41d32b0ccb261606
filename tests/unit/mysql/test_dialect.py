"""Which words are spoken to which server."""

from __future__ import annotations

import pytest

from services.mysql.dialect import DIALECTS, dialect_for, modern_columns
from services.mysql.poll import poll_statements


@pytest.mark.parametrize(
    ("version", "name"),
    [
        ("9.7.0", "MySQL 8.4"),
        ("8.4.0", "MySQL 8.4"),
        ("8.4.3-Percona-log", "MySQL 8.4"),
        ("10.0.1", "MySQL 8.4"),
        ("8.0.40", "MySQL 8.0.23"),
        ("8.0.23", "MySQL 8.0.23"),
        ("8.3.0", "MySQL 8.0.23"),
        ("8.0.22", "MySQL 8.0"),
        ("8.0.9", "MySQL 8.0"),  # compared as numbers
        ("8.0.1", "MySQL 5.7"),
        ("5.7.44-log", "MySQL 5.7"),
        ("5.5.8", "MySQL 5.7"),
        ("", "MySQL 5.7"),
        ("nonsense", "MySQL 5.7"),
        ("12.0.1-MariaDB", "MariaDB 11.0"),
        ("11.4.2-MariaDB", "MariaDB 11.0"),
        ("10.11.6-MariaDB-0+deb12u1-log", "MariaDB 10.11"),
        ("10.6.18-MariaDB", "MariaDB 10.5"),
        ("10.4.33-MariaDB", "MariaDB 10.4"),
        ("5.5.5-10.1.0-MARIADB", "MariaDB 10.4"),
    ],
)
def test_a_server_is_spoken_to_in_its_own_words(version: str, name: str) -> None:
    assert dialect_for(version).name == name


def test_only_what_is_tested_against_real_servers_is_called_proven() -> None:
    assert [dialect.name for dialect in DIALECTS if dialect.proven] == ["MySQL 8.4", "MariaDB 10.11"]


def test_the_words_of_new_and_old_servers() -> None:
    new, middle, old, maria = (dialect_for(v) for v in ("9.7.0", "8.0.36", "5.7.40", "10.11.6-MariaDB"))
    assert [d.binary_log_status for d in (new, middle, old)] == [
        "SHOW BINARY LOG STATUS", "SHOW MASTER STATUS", "SHOW MASTER STATUS",
    ]  # fmt: skip
    assert [d.replica_status for d in (new, middle, old, maria)] == [
        "SHOW REPLICA STATUS", "SHOW REPLICA STATUS", "SHOW SLAVE STATUS", "SHOW REPLICA STATUS",
    ]  # fmt: skip
    assert (new.stop_receiver, old.stop_receiver) == ("STOP REPLICA IO_THREAD", "STOP SLAVE IO_THREAD")
    assert (new.start_applier, new.stop_applier) == ("START REPLICA SQL_THREAD", "STOP REPLICA SQL_THREAD")
    assert (new.registered_replicas, old.registered_replicas) == ("SHOW REPLICAS", "SHOW SLAVE HOSTS")


def test_the_ways_to_point_to_another_source() -> None:
    new, old = dialect_for("9.7.0"), dialect_for("5.7.40")
    assert (
        new.change_source_to("'db1'", 3306)
        == "CHANGE REPLICATION SOURCE TO SOURCE_HOST='db1', SOURCE_PORT=3306, SOURCE_AUTO_POSITION=1"
    )
    assert old.change_source_to("'db1'", 3306, auto_position=False) == (
        "CHANGE MASTER TO MASTER_HOST='db1', MASTER_PORT=3306"
    )
    maria = dialect_for("10.11.6-MariaDB")
    assert maria.change_source_to("'db1'", 3306) == (
        "CHANGE MASTER TO MASTER_HOST='db1', MASTER_PORT=3306, MASTER_USE_GTID=slave_pos"
    )


def test_a_channel_is_named_where_each_flavour_wants_it() -> None:
    new, old, maria = (dialect_for(v).of_channel("east") for v in ("9.7.0", "5.7.40", "10.11.6-MariaDB"))
    assert [d.stop_receiver for d in (new, old, maria)] == [
        "STOP REPLICA IO_THREAD FOR CHANNEL 'east'",
        "STOP SLAVE IO_THREAD FOR CHANNEL 'east'",
        "STOP REPLICA 'east' IO_THREAD",
    ]
    assert [d.reset_replica_all for d in (new, maria)] == [
        "RESET REPLICA ALL FOR CHANNEL 'east'", "RESET REPLICA 'east' ALL",
    ]  # fmt: skip
    assert new.change_source_to("'db1'", 3306, auto_position=False) == (
        "CHANGE REPLICATION SOURCE TO SOURCE_HOST='db1', SOURCE_PORT=3306 FOR CHANNEL 'east'"
    )
    assert maria.change_source_to("'db1'", 3306, auto_position=False) == (
        "CHANGE MASTER 'east' TO MASTER_HOST='db1', MASTER_PORT=3306"
    )
    assert new.relay_log_events("'relay.1'", 4, skip=0, limit=9) == (
        "SHOW RELAYLOG EVENTS IN 'relay.1' FROM 4 LIMIT 0, 9 FOR CHANNEL 'east'"
    )
    assert (new.replica_status, maria.replica_status) == ("SHOW REPLICA STATUS", "SHOW ALL REPLICAS STATUS")
    assert new.of_channel("").start_replica == "START REPLICA FOR CHANNEL ''"


@pytest.mark.parametrize("name", ["it's", "back\\slash", "line\nbreak", "nul\0"])
def test_a_name_that_could_end_its_literal_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be quoted"):
        dialect_for("9.7.0").of_channel(name)


def test_no_statement_of_a_poll_changes_anything() -> None:
    for dialect in DIALECTS:
        for statement in poll_statements(dialect, performance_schema=True):
            assert statement.split()[0] in ("SELECT", "SHOW"), statement
            assert ";" not in statement


def test_variables_that_a_flavour_lacks_are_not_asked_for() -> None:
    maria = poll_statements(dialect_for("10.11.6-MariaDB"), performance_schema=False)[0]
    assert "super_read_only" not in maria
    assert "gtid_executed" not in maria
    assert "@@global.gtid_binlog_state" in maria
    assert "@@global.gtid_slave_pos" in maria
    assert "super_read_only" in poll_statements(dialect_for("9.7.0"), performance_schema=False)[0]


def test_dump_threads_are_read_from_where_it_is_cheap() -> None:
    new = dialect_for("9.7.0")
    assert "performance_schema.processlist" in new.dump_threads(performance_schema=True)
    assert "information_schema.processlist" in new.dump_threads(performance_schema=False)
    assert "performance_schema.processlist" in dialect_for("8.0.36").dump_threads(performance_schema=True)
    assert "information_schema.processlist" in dialect_for("8.0.21").dump_threads(performance_schema=True)
    maria = dialect_for("10.11.6-MariaDB").dump_threads(performance_schema=True)
    assert maria == "SHOW PROCESSLIST", "its information_schema.processlist has been seen to crash it"


def test_columns_come_under_their_new_names() -> None:
    old = {
        "Master_Host": "m",
        "Slave_IO_Running": "Yes",
        "Seconds_Behind_Master": 3,
        "Relay_Master_Log_File": "f",
        "Slave_SQL_Running_State": "",
    }
    assert list(modern_columns(old)) == [
        "Source_Host",
        "Replica_IO_Running",
        "Seconds_Behind_Source",
        "Relay_Source_Log_File",
        "Replica_SQL_Running_State",
    ]
