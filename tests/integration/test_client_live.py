"""Reading commands of ``orchestray -c`` on a live node with MySQL servers; MariaDB: test_mariadb_node."""

from __future__ import annotations

import re

from api.cli.client_commands import COMMANDS
from services.sandbox.server import MySQLServer
from tests.live_client import REFUSED_COMMANDS, printed_by_readers, wrong_of_readers, wrong_of_refused
from tests.live_routes import asked, bare, client
from tests.node import Watched
from tests.servers import wait_until

_WITHOUT_RAFT = ("raft-leader", "raft-health", "raft-leader-hostname", "raft-elect-leader")
_ELSEWHERE = {  # what changes something: test_routes_recovery_live, and the tests of registrations
    "forget", "forget-cluster", "recover", "ack-cluster-recoveries", "ack-all-recoveries",
    "disable-global-recoveries", "enable-global-recoveries", "register-candidate", "locate-gtid-errant",
    "snapshot-topologies", "topology-tags", "tags", "tag-value", "tag", "untag", "untag-all", "tagged",
    "submit-pool-instances",
    "which-heuristic-cluster-pool-instances", "begin-downtime", "end-downtime", "begin-maintenance",
    "end-maintenance", "register-hostname-unresolve", "deregister-hostname-unresolve",
}  # fmt: skip


def test_every_reading_command_prints_what_the_servers_are(live: Watched) -> None:
    assert wrong_of_readers(live) == []


def test_what_is_not_done_is_refused_with_a_text(live: Watched) -> None:
    assert wrong_of_refused(live) == []


def test_raft_commands_without_raft(live: Watched) -> None:
    for command in _WITHOUT_RAFT:
        status, said, complaint = asked(live, command, "-H", "nobody")
        assert (status, said) == (1, [])
        assert "not running with raft setup" in complaint


def test_help_lists_every_command_and_each_is_tested(live: Watched) -> None:
    status, lines, _ = client(live, "help")
    assert status == 0
    names = [name for line in lines if line.startswith('"') for name in re.findall(r'"([^"]+)"', line)]
    assert names[:3] == ["help", "which-api", "api"]
    assert sorted(names[3:]) == sorted(COMMANDS)
    tested = {words[0] for words, _ in printed_by_readers(live)}
    assert set(COMMANDS) <= tested | set(REFUSED_COMMANDS) | set(_WITHOUT_RAFT) | _ELSEWHERE


def test_errant_transactions_are_located(live: Watched) -> None:
    """In the leaf's binary logs, in two of them; made good at the end by empty transactions on the master."""
    leaf, master = live.topology.below[0], live.topology.master
    assert asked(live, "locate-gtid-errant", "-i", str(leaf.key))[0] == 1
    uuid = leaf.variable("server_uuid")
    leaf.execute("SET GLOBAL super_read_only = 0")
    leaf.execute("CREATE DATABASE errant")
    leaf.execute("FLUSH BINARY LOGS")
    leaf.execute("DROP DATABASE errant")
    leaf.execute("SET GLOBAL super_read_only = 1")
    try:
        wait_until(lambda: errant(live, leaf) == [f"{uuid}:1-2"], 30, lambda: errant(live, leaf))
        files = [str(row["Log_name"]) for row in leaf.query("SHOW BINARY LOGS")][-2:]
        assert asked(live, "locate-gtid-errant", "-i", str(leaf.key)) == (0, files, "")
        assert "GTID:errant" in "\n".join(asked(live, "topology", "-i", str(leaf.key))[1])
        assert asked(live, "api", "-P", "problems")[1] != ["[]"]
    finally:
        for number in (1, 2):
            master.execute(
                f"SET GTID_NEXT = '{uuid}:{number}'", "BEGIN", "COMMIT", "SET GTID_NEXT = 'AUTOMATIC'"
            )
    wait_until(lambda: errant(live, leaf) == [""], 30, lambda: errant(live, leaf))


def test_a_snapshot_of_topologies_is_kept_in_the_audit(live: Watched) -> None:
    master = live.topology.master
    status, took, _ = asked(live, "snapshot-topologies")
    assert (status, len(took)) == (0, 1)
    assert took[0].endswith("ms")
    (newest, *_) = bare(live, f"audit/instance/{master.host}/{master.port}", "[Audit]")
    assert newest["AuditType"] == "snapshot-topologies"
    lines = newest["Message"].split("\n")[1:]
    assert [line.split("[")[0].split()[-1] for line in lines] == [
        line.split("[")[0].split()[-1] for line in asked(live, "topology", "-a", str(master.key))[1]
    ]


def errant(watched: Watched, server: MySQLServer) -> list[str]:
    return asked(watched, "which-gtid-errant", "-i", str(server.key))[1]
