"""``orchestray serve``: what it says, and that it leaves nothing behind, however it ends."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.sandbox.binaries import Mysqld
from services.sandbox.ports import free_port
from tests.integration.conftest import MakeNode
from tests.node import Node
from tests.servers import short_directory, wait_until

GONE_SECONDS = 10
RAY_DEATH_SECONDS = 5


def assert_nothing_left(node: Node, seconds: float = GONE_SECONDS) -> None:
    wait_until(lambda: not node.marked.processes(), seconds, node.marked.processes)
    with socket.create_server(("127.0.0.1", node.port)):
        pass  # the port is free again


def lease_of(node: Node) -> tuple[str, int]:
    with sqlite3.connect(node.database) as connection:
        return connection.execute("SELECT node_id, term FROM lease").fetchone()


def work_folders() -> set[Path]:
    return set(Path("/tmp").glob("orchestray-*/run.lock"))


@pytest.mark.alone
class TestEnding:
    """Each ends a node of its own, without servers."""

    def test_ctrl_c_is_sent_to_the_whole_group(self, make_node: MakeNode) -> None:
        """A terminal sends it to all processes of the foreground; the node still ends in good order."""
        node = make_node().start()
        wait_until(lambda: node.leads, 10)
        os.killpg(os.getpgid(node.pid), signal.SIGINT)
        assert node.wait_exit(GONE_SECONDS) == 0, node.said
        assert_nothing_left(node)
        assert "Traceback" not in node.said
        assert lease_of(node) == ("", 1)

    def test_sigterm_while_it_starts(self, make_node: MakeNode) -> None:
        node = make_node().launch()
        wait_until(lambda: any("gcs_server" in title for title in node.marked.processes().values()), 30)
        node.signal(signal.SIGTERM)
        assert node.wait_exit(GONE_SECONDS) == 0, node.said
        assert_nothing_left(node)
        assert "Traceback" not in node.said

    @pytest.mark.parametrize(
        "victim",
        [
            "gcs_server",
            pytest.param("raylet", marks=pytest.mark.long),
            pytest.param("ray start", marks=pytest.mark.long),
        ],
    )
    def test_ray_dies(self, make_node: MakeNode, victim: str) -> None:
        node = make_node().start()
        process = node.head_process() if victim == "ray start" else node.ray_process(victim)
        began = time.monotonic()
        assert process.signal(signal.SIGKILL)
        assert node.wait_exit(RAY_DEATH_SECONDS) == 1
        assert_nothing_left(node, RAY_DEATH_SECONDS - (time.monotonic() - began))
        assert "orchestray: Ray ended by itself" in node.said

    @pytest.mark.long
    def test_it_is_killed_itself_and_started_again(self, make_node: MakeNode) -> None:
        """Nobody is there to clear away, and all goes; the next run removes the folder that stayed."""
        node = make_node().start()
        wait_until(lambda: node.leads, 10)
        folders = work_folders()
        node.signal(signal.SIGKILL)
        node.wait_exit(5)
        # At once: what is left of the old run holds the port and the node's locks for a moment.
        node.start()
        assert len(work_folders() & folders) == len(folders) - 1
        wait_until(lambda: node.leads, 10)
        assert lease_of(node)[1] == 2
        assert len(node.actors("leader")) == 1
        node.signal(signal.SIGKILL)
        node.wait_exit(5)
        assert_nothing_left(node)


def fails(node: Node, seconds: float) -> str:
    """Start it and see that it ends in good order; what it said."""
    node.launch()
    assert node.wait_exit(seconds) == 1
    assert_nothing_left(node, 2)
    assert "Traceback" not in node.said
    return node.said


class TestThatCannotStart:
    def test_the_configuration_is_wrong(self, make_node: MakeNode) -> None:
        said = fails(make_node({"InstancePollSeconds": "5", "DiscoverySeed": ["db:1"]}), 5)
        assert 'InstancePollSeconds: "5" is a string; give a whole number' in said
        assert "DiscoverySeed: is not a known key; did you mean DiscoverySeeds?" in said

    def test_unknown_keys_are_errors_with_strict_config(self, make_node: MakeNode) -> None:
        assert "MyOwnKey" in fails(make_node({"MyOwnKey": 1}, "--strict-config"), 5)

    def test_there_is_no_configuration_file(self, make_node: MakeNode) -> None:
        node = make_node()
        node.config.unlink()
        assert str(node.config) in fails(node, 5)

    @pytest.mark.parametrize(
        ("settings", "named"),
        [
            ({"UseSSL": True}, "UseSSL"),
            ({"AuthenticationMethod": "token"}, "AuthenticationMethod"),
        ],
    )
    def test_what_is_not_supported_is_refused(
        self, make_node: MakeNode, settings: dict[str, object], named: str
    ) -> None:
        """Doing something else instead, such as plain HTTP with passwords in it, would be worse."""
        said = fails(make_node(settings), 5)
        assert re.search(rf"orchestray: {named}: .*not supported|orchestray: {named}: .* as yet", said), said

    def test_the_mysql_backend_is_not_all_told(self, make_node: MakeNode) -> None:
        assert "BackendDB: is" in fails(make_node({"BackendDB": "mysql"}), 5)
        said = fails(make_node({"BackendDB": "mysql", "MySQLOrchestratorHost": "db"}), 5)
        assert "MySQLOrchestratorDatabase: is empty" in said

    @pytest.mark.long
    def test_the_mysql_backend_is_not_there(self, make_node: MakeNode) -> None:
        backend = {"MySQLOrchestratorHost": "127.0.0.1", "MySQLOrchestratorPort": free_port()}
        account = {"MySQLOrchestratorDatabase": "orc", "MySQLOrchestratorUser": "orc"}
        node = make_node({"BackendDB": "mysql", **backend, **account})
        node.configure(NodeDirectory=str(node.folder / "node"))
        said = fails(node, 30)
        assert f"127.0.0.1:{backend['MySQLOrchestratorPort']}/orc is not reached" in said

    def test_the_port_is_taken(self, make_node: MakeNode) -> None:
        node = make_node()
        with socket.create_server(("127.0.0.1", node.port)):
            node.launch()
            assert node.wait_exit(10) == 1
        assert f"ListenAddress: cannot listen on 127.0.0.1:{node.port}: Address already in use" in node.said

    def test_the_directory_cannot_be_made(self, make_node: MakeNode) -> None:
        node = make_node()
        file = node.folder / "file"
        file.write_text("")
        node.configure(SQLite3DataFile=str(file / "orchestray.db"))
        said = fails(node, 5)
        assert str(file) in said
        assert "SQLite3DataFile" in said

    @pytest.mark.parametrize(
        "kind",
        [pytest.param(k, marks=pytest.mark.long) for k in ("corrupt", "directory", "of another program")],
    )
    def test_the_store_cannot_be_used(self, make_node: MakeNode, kind: str) -> None:
        node = make_node()
        if kind == "corrupt":
            node.database.write_bytes(b"SQLite format 3\0" + b"garbage" * 1000)
        elif kind == "directory":
            node.database.mkdir()
        else:
            with sqlite3.connect(node.database) as connection:
                connection.execute("CREATE TABLE invoices (id INTEGER)")
        said = fails(node, 30)
        assert f"{node.database} " in said
        assert {"corrupt": "damaged", "directory": "is a directory", "of another program": "invoices"}[
            kind
        ] in said


SECRETS = ("s3cret-of-mysql", "s3cret-of-http")


@pytest.fixture(scope="class")
def plain() -> Iterator[Node]:
    """Watches what is not there, and its API refuses changes."""
    folder = short_directory()
    mysql, http = SECRETS
    node = Node(
        folder,
        {
            "MySQLTopologyUser": "orc",
            "MySQLTopologyPassword": mysql,
            "AuthenticationMethod": "basic",
            "HTTPAuthUser": "admin",
            "HTTPAuthPassword": "${ORC_HTTP}",
            "ReadOnly": True,
            "DiscoverySeeds": ["127.0.0.1:1", "no-such-host.invalid:3306"],
            "InstancePollSeconds": 1,
            "RecoverMasterClusterFilters": ["alpha"],
            "MyOwnKey": 1,
        },
        environment={"ORC_HTTP": http},
    )
    node.http_password = http
    try:
        yield node.start()
    finally:
        node.destroy()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.alone
class TestRunning:
    """Of one node, which the last test ends."""

    def test_says_where_it_is_and_what_it_sees(self, plain: Node) -> None:
        plain.wait_said(r"check +127.0.0.1:1: connection refused: nothing listens there")
        plain.wait_said(r"check +no-such-host.invalid:3306: the name 'no-such-host.invalid' does not resolve")
        said = plain.said.splitlines()
        assert said[0] == f"configuration: {plain.config}: MyOwnKey: is not a known key and is ignored; " + (
            "remove it or correct its name"
        )
        assert said[1] == f"starting on {plain.url}, state in {plain.folder}"
        assert said[2] == f"serving {plain.url}  (Ctrl-C stops everything)"
        assert len(said) <= 8
        assert any("MyOwnKey" in warning for warning in plain.api("health")["Warnings"])

    def test_no_password_is_told(self, plain: Node) -> None:
        """Not in command lines, output and logs; not for others in files."""
        titles = plain.marked.processes().values()
        runs = {run.parent for run in work_folders() if any(f"{run.parent}/" in title for title in titles)}
        logs = [path for run in runs for path in run.rglob("*") if path.is_file()]
        assert len([path for path in logs if path.name.startswith("worker-")]) >= 10  # of the actors
        texts = {str(path): path.read_text(errors="replace") for path in logs}
        texts |= {"output": plain.said, "command lines": "\n".join(titles)}
        for name, text in texts.items():
            assert not [secret for secret in SECRETS if secret in text], name
        holders = [path for path in plain.folder.rglob("*") if path.is_file() and self._tells(path)]
        assert plain.config in holders
        assert all(path.stat().st_mode & 0o077 == 0 for path in holders)

    def _tells(self, path: Path) -> bool:
        return any(secret in path.read_text(errors="replace") for secret in SECRETS)

    def test_a_second_one_on_the_same_state_is_refused(self, plain: Node, make_node: MakeNode) -> None:
        """It says so; the first is not disturbed."""
        token = plain.node_file("ray-token").read_text()
        second = make_node()
        second.configure(SQLite3DataFile=str(plain.database), NodeDirectory=str(plain.node_file(".")))
        said = fails(second, 10)
        assert f"runs already on {plain.node_file('.')} (process {plain.pid})" in said
        assert plain.node_file("ray-token").read_text() == token
        wait_until(lambda: plain.leads, 10)

    def test_reload_by_sighup(self, plain: Node) -> None:
        """All or nothing, told in its output, and whatever the rules of access to the API."""

        def filters() -> list[str]:
            found = plain.answers("automated-recovery-filters", 5) or {}
            return found.get("RecoverMasterClusterFilters", [])

        assert filters() == ["alpha"]
        assert plain.get("reload-configuration")[0] == 500  # ReadOnly
        plain.configure(RecoverMasterClusterFilters=["beta"], ListenAddress="127.0.0.1:1")
        plain.signal(signal.SIGHUP)
        plain.wait_said(r"configuration reloaded; not before a restart: ListenAddress\n", 30)
        assert filters() == ["beta"]
        plain.wait_said(r"reload .*changed: RecoverMasterClusterFilters; not before a restart: ListenAddress")

        plain.configure(RecoverMasterClusterFilters=["gamma"], InstancePollSeconds="often")
        plain.signal(signal.SIGHUP)
        plain.wait_said(r'not reloaded, nothing has changed: .*InstancePollSeconds: "often" is a string', 30)
        assert filters() == ["beta"]

        # Actors that are restarted now go on with what is in force, on the port that it has.
        for kind in ("gateway", "topology", "leader"):
            plain.actor(kind).signal(signal.SIGKILL)
        wait_until(lambda: plain.leads and plain.answers("health") and filters() == ["beta"], 30)

        plain.configure(RecoverMasterClusterFilters=["gamma"], InstancePollSeconds=1)
        plain.signal(signal.SIGHUP)
        wait_until(lambda: filters() == ["gamma"], 30, lambda: plain.said)

    def test_sigterm(self, plain: Node) -> None:
        folders = work_folders()
        began = time.monotonic()
        plain.signal(signal.SIGTERM)
        assert plain.wait_exit(GONE_SECONDS) == 0, plain.said
        assert_nothing_left(plain, GONE_SECONDS - (time.monotonic() - began))
        assert len(folders - work_folders()) >= 1
        assert "stopping" in plain.said.splitlines()
        assert "Traceback" not in plain.said
        # The lease was given back: another node need not wait until it runs out.
        assert lease_of(plain)[0] == ""


def test_the_sandbox_fails_over(make_node: MakeNode) -> None:
    """The line that it prints to kill the master is typed, and the failover is seen in its output."""
    node = make_node(None, "--sandbox").start()
    pid = int(node.wait_said(r"kill the master:  kill -9 (\d+)\n")[1])
    master = re.search(rf"(127\.0\.0\.1:\d+) +pid {pid} +master", node.said)
    assert master is not None, node.said
    servers = re.findall(r"(127\.0\.0\.1:\d+) +pid \d+ ", node.said)
    assert len(servers) == 4
    wait_until(
        lambda: len(seen := node.instances()) == 4 and all(one["IsLastCheckValid"] for one in seen.values()),
        40,
        lambda: node.said,
    )
    os.kill(pid, signal.SIGKILL)
    key = re.escape(master[1])
    promoted = node.wait_said(rf"recovery +promoted (127\.0\.0\.1:\d+) in place of {key}")[1]
    assert f"DeadMaster: {master[1]}" in node.said
    assert promoted in set(servers) - {master[1]}
    lines = node.said.splitlines()
    assert len(lines) < 60, "few lines: it is read by a person"
    assert all(len(line) < 400 for line in lines)
    began = time.monotonic()
    assert node.stop() == 0
    assert_nothing_left(node, GONE_SECONDS - (time.monotonic() - began))  # no mysqld either


@pytest.mark.long
def test_the_sandbox_of_mariadb_is_found(make_node: MakeNode, mariadbd: Mysqld) -> None:
    options = ("--sandbox", "mariadb", "--replicas", "1", "--intermediate", "--no-semi-sync")
    node = make_node(None, *options).start()
    node.wait_said(r"sandbox: 3 MariaDB servers, asynchronous replication with GTID\n")
    servers = re.findall(r"(127\.0\.0\.1:\d+) +pid \d+ +(?:master|replica of (\S+))", node.said)
    master, middle, leaf = (server for server, _ in servers)
    assert [source for _, source in servers] == ["", master, middle]
    wait_until(
        lambda: len(seen := node.instances()) == 3 and all(one["IsLastCheckValid"] for one in seen.values()),
        40,
        lambda: node.said,
    )
    assert node.instances()[leaf]["MasterKey"]["Port"] == int(middle.partition(":")[2])
    assert "the account lacks" not in node.said
    assert node.stop() == 0
    assert_nothing_left(node)


def test_the_sandbox_is_told_to_stop_while_it_starts(make_node: MakeNode) -> None:
    node = make_node(None, "--sandbox").launch()
    wait_until(lambda: any("mysqld" in title for title in node.marked.processes().values()), 30)
    node.signal(signal.SIGTERM)
    assert node.wait_exit(GONE_SECONDS) == 0, node.said
    assert_nothing_left(node)


def test_the_sandbox_dies_with_a_killed_service(make_node: MakeNode) -> None:
    node = make_node(None, "--sandbox").launch()
    wait_until(lambda: any("gcs_server" in title for title in node.marked.processes().values()), 60)
    assert any("mysqld" in title for title in node.marked.processes().values())
    node.signal(signal.SIGKILL)
    node.wait_exit(5)
    assert_nothing_left(node)
