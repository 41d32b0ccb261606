"""What must be so when there is no fault any more, and what an administrator does about servers meanwhile.

orchestray promotes and fences; servers that were lost are put back by a person. So here: one that is
read-only and not where it belongs is re-pointed, or made anew if it has transactions that the master does not
have. A promoted server that was restarted before anybody noticed comes up read-only, as its configuration
says, and is opened. Nothing else is done by hand, and all that was is in the report.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pymysql

from services.sandbox.errors import SandboxError
from services.sandbox.server import MySQLServer
from tests.chaos.history import Healing, Reading
from tests.chaos.registrar import Registrar, reading
from tests.chaos.world import ChaosNode, World
from tests.node import key_of

__all__ = ["heal"]

HEAL_SECONDS = 240.0
_LOOK_SECONDS = 0.5
_LEFT_TO_ORCHESTRAY_SECONDS = 12.0
_OPENED_BY_HAND_SECONDS = 25.0


def heal(world: World, registrar: Registrar) -> Healing:
    """Wait until all is well. The faults have ended."""
    return _Healing(world, registrar).run()


class _Healing:
    def __init__(self, world: World, registrar: Registrar) -> None:
        self._world, self._registrar = world, registrar
        self._since: dict[str, float] = {}  # when something began to be wrong

    def run(self) -> Healing:
        began = time.monotonic()
        self._registrar.pause()
        try:
            while (complaint := self._complaint()) and time.monotonic() < began + HEAL_SECONDS:
                time.sleep(_LOOK_SECONDS)
        finally:
            self._registrar.resume()
        return Healing(time.time(), time.monotonic() - began, complaint)

    def _complaint(self) -> str:
        """The first thing that is not as it should be; empty if there is none."""
        return next(self._complaints(), "")

    def _complaints(self) -> Iterator[str]:
        world = self._world
        for node in world.nodes:
            if not node.runs:  # its supervisor starts it again
                world.note_by_hand(f"{node.name}, which had ended by itself, was started again")
                node.start_again()
        leading = [node.name for node in world.nodes if node.leads]
        if len(leading) != 1:
            yield f"{leading or 'nobody'} leads"
        writable = world.writable()
        if len(writable) != 1:
            if not writable:
                self._open_by_hand()
            yield f"writable: {[str(server.key) for server in writable]}"
        self._since.pop("closed", None)
        master = writable[0]
        yield from [
            said for server in world.servers if server is not master and (said := self._lost(server, master))
        ]
        yield from self._views(master)
        before = sum(map(len, list(world.client.acknowledged.values())))
        time.sleep(0.5)
        if sum(map(len, list(world.client.acknowledged.values()))) == before:
            yield "no write is acknowledged"
        yield from self._readings()

    # servers

    def _lost(self, server: MySQLServer, master: MySQLServer) -> str:
        """Why it is not a replica of the master; after a while that is mended."""
        name = str(server.key)
        try:
            channel = _channel(server)
        except (pymysql.Error, OSError) as error:
            return f"{name}: {error}"
        found = _source(channel)
        runs = channel and channel["Replica_IO_Running"] == channel["Replica_SQL_Running"] == "Yes"
        if found == str(master.key) and runs:
            self._since.pop(name, None)
            return ""
        said = f"{name} replicates from {found} ({_threads(channel)})"
        if self._lasts(name, _LEFT_TO_ORCHESTRAY_SECONDS):
            self._rejoin(server, master)
        return said

    def _lasts(self, what: str, seconds: float) -> bool:
        return time.monotonic() - self._since.setdefault(what, time.monotonic()) > seconds

    def _rejoin(self, server: MySQLServer, master: MySQLServer) -> None:
        world, topology = self._world, self._world.topology
        try:
            ours, theirs = server.variable("gtid_executed"), master.variable("gtid_executed")
            query = "SELECT GTID_SUBTRACT(%s, %s) AS errant"
            errant = str(master.query(query, (ours, theirs))[0]["errant"])
            if errant:
                world.note_by_hand(f"{server.key} was made anew: it alone had {errant}")
                world.note_life(server, begins=False)
                topology.rebuild(server, master)
                world.note_life(server, begins=True)
            else:
                world.note_by_hand(f"{server.key} was re-pointed to {master.key}")
                self._repoint(server, master)
        except (pymysql.Error, OSError, SandboxError) as error:
            world.note_by_hand(f"{server.key} could not be put back: {error}")
        self._since[str(server.key)] = time.monotonic()

    def _repoint(self, server: MySQLServer, master: MySQLServer) -> None:
        topology, account = self._world.topology, self._world.topology.accounts.replication
        statements = [
            "STOP REPLICA",
            topology.flavour.change_source.format(
                host=master.host, port=master.port, user=account.user, password=account.password
            ),
            "START REPLICA",
        ]
        if self._world.history.lossless:
            statements.insert(
                1, "SET GLOBAL rpl_semi_sync_source_enabled = OFF, GLOBAL rpl_semi_sync_replica_enabled = ON"
            )
        server.execute(*statements)
        topology.configure(server, is_master=False)

    def _open_by_hand(self) -> None:
        """The server that others replicate from, if it is itself nobody's replica."""
        if not self._lasts("closed", _OPENED_BY_HAND_SECONDS):
            return
        world = self._world
        with suppress(pymysql.Error, OSError):
            channels = {server: _channel(server) for server in world.servers}
            sources = [_source(channel) for channel in channels.values()]
            masters = [one for one, channel in channels.items() if not channel and str(one.key) in sources]
            if len(masters) != 1 or not _was_restarted(world, masters[0]):
                return
            (master,) = masters
            if world.history.lossless:
                master.execute("SET GLOBAL rpl_semi_sync_source_enabled = ON")
            master.execute("SET GLOBAL super_read_only = OFF", "SET GLOBAL read_only = OFF")
            world.note_life(master, begins=True, writable=True)
            world.note_by_hand(f"{master.key}, restarted as its configuration says, was opened")

    # nodes

    def _views(self, master: MySQLServer) -> list[str]:
        with ThreadPoolExecutor(len(self._world.nodes)) as pool:
            return [
                said for said in pool.map(lambda node: self._view(node, master), self._world.nodes) if said
            ]

    def _view(self, node: ChaosNode, master: MySQLServer) -> str:
        """What this node sees differently."""
        known, name = node.instances(), str(master.key)
        if strangers := known.keys() - {str(server.key) for server in self._world.servers}:
            return f"{node.name} knows {sorted(strangers)}, which are not there"
        for server in self._world.servers:
            one = known.get(str(server.key))
            if one is None or not one["IsLastCheckValid"]:
                return f"{node.name} does not see {server.key}"
            if one["ClusterName"] != name:
                return f"{node.name} sees {server.key} in the cluster {one['ClusterName']}"
            if server is master and one["ReadOnly"]:
                return f"{node.name} sees {name} read-only"
            if server is not master and not _replicates(one, name):
                return f"{node.name} sees {server.key} under {key_of(one['MasterKey'])}"
        return ""

    def _readings(self) -> list[str]:
        """All nodes know the same, which is then kept for the checker."""
        with ThreadPoolExecutor(len(self._world.nodes)) as pool:
            found = list(pool.map(reading, self._world.nodes))
        readings = [one for one in found if one is not None]
        if len(readings) < len(found):
            return ["a node does not tell what is registered"]
        if any(one.values != readings[0].values for one in readings):
            return [f"nodes know different registrations: {_difference(readings)}"]
        self._world.history.readings += readings
        return []


def _difference(readings: list[Reading]) -> str:
    keys = {key for one in readings for key in one.values}
    apart = {key: [one.values.get(key) for one in readings] for key in keys}
    return str({key: values for key, values in apart.items() if len(set(values)) > 1})[:500]


def _replicates(one: dict[str, Any], master: str) -> bool:
    return (
        key_of(one["MasterKey"]) == master
        and bool(one["ReplicationIOThreadRuning"])
        and bool(one["ReplicationSQLThreadRuning"])
    )


def _channel(server: MySQLServer) -> dict[str, Any]:
    """Of its replication; empty without any."""
    with server.root(5.0) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW REPLICA STATUS")
        return cursor.fetchone() or {}


def _source(channel: dict[str, Any]) -> str:
    return f"{channel['Source_Host']}:{channel['Source_Port']}" if channel else "nobody"


def _threads(channel: dict[str, Any]) -> str:
    if not channel:
        return "no channel"
    said = f"{channel['Last_IO_Error']} {channel['Last_SQL_Error']}".strip()
    return f"{channel['Replica_IO_Running']}/{channel['Replica_SQL_Running']} {said}".strip()


def _was_restarted(world: World, server: MySQLServer) -> bool:
    lives = [life for life in world.history.lives if life.server == str(server.key)]
    return len(lives) > 1 and lives[-1].begins
