"""Recoveries on real servers: a topology that is put back between tests, and a recovery to run on it.

The journal is in memory and lets a test do something at the moment of one of its entries.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import pymysql

from services.execution.dead_master import DeadMasterRecovery, Outcome
from services.execution.environment import Environment, Sessions, Timing
from services.mysql.connection import Login
from services.mysql.dialect import modern_columns
from services.mysql.poll import PolledServer
from services.planning.candidates import PromotionPolicy
from services.planning.plan import StepKind
from services.sandbox.binaries import Mysqld
from services.sandbox.server import MySQLServer
from services.sandbox.topology import MySQLTopology, TopologySpec
from services.topology.gtid import GtidSet
from services.topology.instance import CheckOutcome, Instance, Observation
from services.topology.keys import InstanceKey
from services.topology.merging import merge
from services.topology.records import JournalEntry, JournalPhase
from tests.servers import short_directory, wait_until

__all__ = ["FakeMandate", "MemoryJournal", "Shared", "World", "login_of", "side_by_side"]

Hook = Callable[[], Awaitable[None]]
TIMING = Timing(no_progress=1.0)
"""An applier that stands still is given up after a second: no test waits for the ten of the default."""

_SOURCE_SETTINGS = "rpl\\_semi\\_sync\\_%"
_CLEAN = (
    "SET SESSION sql_log_bin = 0",
    "SET GLOBAL super_read_only = 0",
    "SET GLOBAL read_only = 0",
    "SET GLOBAL general_log = OFF",
    "STOP REPLICA",
    "RESET REPLICA ALL",
    "DROP DATABASE IF EXISTS app",
)


class FakeMandate:
    """The right to act, for as long as the test says."""

    def __init__(self, term: int = 7, seconds: float = 30.0) -> None:
        self.setup = "test"
        self.term = term
        self.seconds = seconds

    def superseded(self, where: InstanceKey) -> None:
        return

    def remaining_seconds(self) -> float:
        return self.seconds


class MemoryJournal:
    """Keeps what is written; runs a test's hook before the entry that it waits for is written."""

    def __init__(self) -> None:
        self.entries: list[JournalEntry] = []
        self.said: list[str] = []
        self._hooks: dict[tuple[str, str], Hook] = {}

    def at(self, kind: StepKind, phase: JournalPhase, hook: Hook) -> None:
        """Run ``hook``, once, when an entry of this kind and phase is about to be written."""
        self._hooks[(kind.value, phase.value)] = hook

    async def write(self, entries: Sequence[JournalEntry]) -> None:
        for entry in entries:
            hook = self._hooks.pop((entry.kind, entry.phase.value), None)
            if hook is not None:
                await hook()
        self.entries += entries

    async def say(self, message: str) -> None:
        self.said.append(message)

    def order(self, kind: StepKind, phase: JournalPhase) -> int:
        """The place of the first entry of this kind and phase."""
        return next(
            place
            for place, entry in enumerate(self.entries)
            if (entry.kind, entry.phase) == (kind.value, phase)
        )

    def kinds(self) -> list[str]:
        return [entry.kind for entry in self.entries]


def login_of(topology: MySQLTopology) -> Login:
    account = topology.accounts.orchestray
    return Login(account.user, account.password)


def side_by_side(work: Callable[[MySQLServer], Any], servers: Iterable[MySQLServer]) -> list[Any]:
    with ThreadPoolExecutor(max_workers=8) as pool:
        return list(pool.map(work, servers))


class Shared:
    """One topology for the tests of a module, put back before each; a new one if that cannot be done."""

    def __init__(self, mysqld: Mysqld, spec: TopologySpec) -> None:
        self._mysqld = mysqld
        self._spec = spec
        self._topology: MySQLTopology | None = None

    def topology(self) -> MySQLTopology:
        """As new: everything runs, replicates and has the same few transactions."""
        if self._topology is not None:
            try:
                _put_back(self._topology)
            except Exception as error:  # whatever the last test did to it
                print(f"the topology could not be put back, making a new one: {error!r}")
                self.stop()
        if self._topology is None:
            made = MySQLTopology(self._mysqld, short_directory(), self._spec, die_with_parent=True)
            self._topology = made.start()
        return self._topology

    def stop(self) -> None:
        if self._topology is not None:
            self._topology.stop()
            self._topology = None


def _put_back(topology: MySQLTopology) -> None:
    for server in topology.servers:
        if server.is_running:
            server.resume()
    side_by_side(lambda server: None if server.is_running else server.start(), topology.servers)
    side_by_side(lambda server: _clean(server, is_master=server is topology.master), topology.servers)
    side_by_side(lambda server: server.execute("RESET BINARY LOGS AND GTIDS"), topology.servers)
    for replica, source in topology.links():
        topology._replicate(replica, source)
    topology._await_replication()


def _clean(server: MySQLServer, *, is_master: bool) -> None:
    for statement in _end_others(server):
        with suppress(pymysql.MySQLError):  # it may have ended by itself
            server.execute(statement)
    server.execute(*_CLEAN)
    plugins = {row["Name"] for row in server.query("SHOW PLUGINS")}
    if "semisync_source.so" in (server.options.get("plugin-load-add") or ""):
        if "rpl_semi_sync_source" not in plugins:
            server.execute("INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'")
        server.execute(
            "SET GLOBAL rpl_semi_sync_source_timeout = 18446744073709551615",
            "SET GLOBAL rpl_semi_sync_source_wait_point = AFTER_SYNC",
            "SET GLOBAL rpl_semi_sync_source_wait_for_replica_count = 1",
            "SET GLOBAL rpl_semi_sync_source_wait_no_replica = ON",
            "SET GLOBAL rpl_semi_sync_source_enabled = OFF",
            f"SET GLOBAL rpl_semi_sync_source_enabled = {'ON' if is_master else 'OFF'}",
            "SET GLOBAL rpl_semi_sync_replica_enabled = ON",
        )


def _end_others(server: MySQLServer) -> list[str]:
    """Statements that end every session but our own: dump threads would still count as semi-sync clients."""
    rows = server.query(
        "SELECT ID AS id FROM information_schema.processlist WHERE ID <> CONNECTION_ID() "
        "AND USER NOT IN ('system user', 'event_scheduler')"
    )
    return [f"KILL {row['id']}" for row in rows]


@dataclass
class World:
    """A topology, what was last seen of it, and what a recovery of its master did."""

    topology: MySQLTopology
    timing: Timing = TIMING
    seen: dict[InstanceKey, Instance] = field(default_factory=dict)
    journal: MemoryJournal = field(default_factory=MemoryJournal)
    mandate: FakeMandate = field(default_factory=FakeMandate)
    deposed: list[tuple[InstanceKey, InstanceKey]] = field(default_factory=list)

    @property
    def master(self) -> MySQLServer:
        return self.topology.master

    @property
    def replicas(self) -> tuple[MySQLServer, ...]:
        return self.topology.replicas

    def server(self, key: InstanceKey) -> MySQLServer:
        return self.topology.server(key)

    # what clients do

    def create_table(self) -> None:
        self.master.execute("CREATE TABLE app.t (id INT PRIMARY KEY)")
        wait_until(lambda: all(self.has_table(server) for server in self.topology.servers))

    @staticmethod
    def has_table(server: MySQLServer) -> bool:
        known = "SELECT 1 FROM information_schema.tables WHERE table_schema = 'app' AND table_name = 't'"
        return bool(server.query(known))

    def write(self, *rows: int) -> None:
        """Returns when the master has acknowledged all."""
        self.master.execute(*(f"INSERT INTO app.t VALUES ({row})" for row in rows))

    @staticmethod
    def rows(server: MySQLServer) -> set[int]:
        return {row["id"] for row in server.query("SELECT id FROM app.t")}

    def stop_appliers(self, *servers: MySQLServer) -> None:
        side_by_side(lambda server: server.execute("STOP REPLICA SQL_THREAD"), servers or self.replicas)

    def only_receives(self, chosen: MySQLServer) -> None:
        """From now on the master's transactions reach one replica only."""
        others = [server for server in self.replicas if server is not chosen]
        side_by_side(lambda server: server.execute("STOP REPLICA IO_THREAD"), others)

    # what orchestray sees

    async def look(self) -> None:
        """Poll every server that runs; what is not reached stays as it was last seen."""
        for server in self.topology.servers:
            if server.is_running:
                self.seen[server.key] = await self.poll(server)

    async def poll(self, server: MySQLServer) -> Instance:
        polled = await PolledServer.connect(server.key, login_of(self.topology), timeout=2)
        try:
            instance = await polled.poll(timeout=2)
        finally:
            await polled.connection.close()
        observation = Observation(key=server.key, outcome=CheckOutcome.OK, instance=instance)
        known = self.seen.get(server.key)
        return merge(known, observation, now=100.0, utc="2026-11-23T08:00:00Z")

    def register(self, server: MySQLServer, **registrations: Any) -> None:
        self.seen[server.key] = replace(self.seen[server.key], **registrations)

    # what orchestray does

    def environment(self, mandate: FakeMandate | None = None) -> Environment:
        mandate = mandate or self.mandate
        login = login_of(self.topology)

        async def depose(failed: InstanceKey, promoted: InstanceKey) -> None:
            self.deposed.append((failed, promoted))

        return Environment(
            recovery_uid="1:test",
            mandate=mandate,
            sessions=Sessions(login, mandate, self.timing),
            login=login,
            journal=self.journal,
            utc_now=lambda: "2026-11-23T08:00:00Z",
            depose=depose,
            timing=self.timing,
        )

    async def recover(
        self, policy: PromotionPolicy | None = None, *, forced: bool = False, patience_seconds: float = 60
    ) -> Outcome:
        """Recover the master as it was last seen, with the replicas as they were last seen."""
        failed = self.seen[self.master.key]
        replicas = [one for one in self.seen.values() if one.master_key == self.master.key]
        env = self.environment()
        try:
            work = DeadMasterRecovery(env, "c", self.master.key)
            running = work.run(failed, replicas, policy or PromotionPolicy(), forced=forced)
            return await asyncio.wait_for(running, patience_seconds)
        finally:
            await env.sessions.close()

    async def resume(self, mandate: FakeMandate) -> Outcome:
        """Take up what the journal tells, as a later term does."""
        env = self.environment(mandate)
        try:
            work = DeadMasterRecovery(env, "c", self.master.key)
            return await asyncio.wait_for(work.resume(list(self.journal.entries)), 60)
        finally:
            await env.sessions.close()

    # how things are

    def state(self, *servers: MySQLServer) -> dict[str, dict[str, object]]:
        """All that a recovery might change, of the servers given or of all that run, by name."""
        chosen = servers or tuple(server for server in self.topology.servers if server.is_running)
        return {server.name: state_of(server) for server in chosen}

    def writable(self) -> list[MySQLServer]:
        return [
            server
            for server in self.topology.servers
            if server.is_running and server.variable("read_only") == "0"
        ]

    def assert_sound(
        self,
        outcome: Outcome,
        *,
        rows: Iterable[int] = (),
        lost: Iterable[MySQLServer] = (),
        patience_seconds: float = 10,
    ) -> MySQLServer:
        """One server is writable, all others that are not lost replicate from it, nothing is missing."""
        lost_keys = {server.key for server in lost}
        assert set(outcome.lost) == lost_keys, outcome
        assert outcome.succeeded, outcome
        promoted = self.server(outcome.successor)
        assert self.writable() == [promoted]
        assert promoted.query("SHOW REPLICA STATUS") == []
        left = lost_keys | {promoted.key}
        others = [server for server in self.replicas if server.key not in left]
        for server in others:
            wait_until(lambda server=server: follows(server, promoted), describe=f"{server} follows")
        if rows:
            promoted.execute("INSERT INTO app.t VALUES (4711)")  # it accepts writes, semi-sync included
            expected = {*rows, 4711}
            assert self.rows(promoted) == expected
            for server in others:
                wait_until(
                    lambda server=server: self.rows(server) == expected, patience_seconds, f"rows of {server}"
                )
        return promoted


def state_of(server: MySQLServer) -> dict[str, object]:
    channel = modern_columns((server.query("SHOW REPLICA STATUS") or [{}])[0])
    variables = server.query(f"SHOW GLOBAL VARIABLES LIKE '{_SOURCE_SETTINGS}'")
    return {
        "read_only": server.variable("read_only"),
        "super_read_only": server.query("SHOW GLOBAL VARIABLES LIKE 'super_read_only'"),
        "source": (channel.get("Source_Host"), channel.get("Source_Port"), channel.get("Auto_Position")),
        "by_gtid": channel.get("Using_Gtid"),  # MariaDB
        "receives": channel.get("Replica_IO_Running") in ("Yes", "Connecting", "Preparing"),
        "applies": channel.get("Replica_SQL_Running"),
        **{row["Variable_name"]: row["Value"] for row in variables},
    }


def follows(server: MySQLServer, source: MySQLServer) -> bool:
    channels = [modern_columns(row) for row in server.query("SHOW REPLICA STATUS")]
    return [(c["Source_Port"], c["Replica_IO_Running"], c["Replica_SQL_Running"]) for c in channels] == [
        (source.port, "Yes", "Yes")
    ]


def has_all(server: MySQLServer, executed: str) -> bool:
    return GtidSet.parse(server.variable("gtid_executed")) >= GtidSet.parse(executed)


def is_reachable(server: MySQLServer) -> bool:
    try:
        server.query("SELECT 1", timeout_seconds=1)
    except (pymysql.MySQLError, OSError):
        return False
    return True
