"""What ``orchestray -c`` prints of a live topology in which all is well, of any flavour."""

from __future__ import annotations

from collections.abc import Iterator

from api.cli.client_commands import COMMANDS
from services.sandbox.server import MySQLServer
from tests.live_routes import asked, by_key
from tests.node import Watched

__all__ = ["REFUSED_COMMANDS", "printed_by_readers", "wrong_of_readers", "wrong_of_refused"]

Printed = tuple[tuple[str, ...], list[str]]

REFUSED_COMMANDS = {
    "relocate": "-i {leaf} -d {master}", "relocate-replicas": "-i {leaf} -d {master}",
    "match": "-i {leaf} -d {master}", "match-up": "-i {leaf}", "match-up-replicas": "-i {leaf}",
    "move-below": "-i {leaf} -d {master}", "move-equivalent": "-i {leaf} -d {master}",
    "move-gtid": "-i {leaf} -d {master}", "move-replicas-gtid": "-i {leaf} -d {master}",
    "move-up": "-i {leaf}", "move-up-replicas": "-i {leaf}", "repoint": "-i {leaf} -d {master}",
    "repoint-replicas": "-i {leaf}", "make-co-master": "-i {leaf}", "take-master": "-i {leaf}",
    "take-siblings": "-i {leaf}", "stop-replica": "-i {leaf}", "stop-replica-nice": "-i {leaf}",
    "start-replica": "-i {leaf}", "restart-replica": "-i {leaf}", "reset-replica": "-i {leaf}",
    "change-master-credentials": "-i {leaf}", "detach-replica": "-i {leaf}", "reattach-replica": "-i {leaf}",
    "detach-replica-master-host": "-i {leaf}", "reattach-replica-master-host": "-i {leaf}",
    "skip-query": "-i {leaf}", "gtid-errant-reset-master": "-i {leaf}",
    "gtid-errant-inject-empty": "-i {leaf}", "enable-semi-sync-master": "-i {leaf}",
    "disable-semi-sync-master": "-i {leaf}", "enable-semi-sync-replica": "-i {leaf}",
    "disable-semi-sync-replica": "-i {leaf}", "set-read-only": "-i {leaf}", "set-writeable": "-i {leaf}",
    "flush-binary-logs": "-i {leaf}", "purge-binary-logs": "-i {leaf} -n binlog.000001",
    "delay-replication": "-i {leaf} -S 10", "graceful-master-takeover": "-i {leaf}",
    "graceful-master-takeover-auto": "-a {master} -d {leaf}", "force-master-failover": "-i {leaf}",
    "force-master-takeover": "-i {leaf} -d {leaf}", "submit-masters-to-kv-stores": "",
    "last-pseudo-gtid": "-i {leaf}",
}  # fmt: skip
"""Those of which the server says why it does not do them."""


_STOPS = (("STOP", "IO"), ("STOP", "SQL"))
_STARTS = (("START", "SQL"), ("START", "IO"))


def printed_by_readers(watched: Watched) -> Iterator[Printed]:
    """Words of each reading command, and the lines that it prints."""
    topology = watched.topology
    master, leaf = str(topology.master.key), str(topology.servers[-1].key)
    replicas, everybody = by_key(topology.replicas), by_key(topology.servers)
    above = str(topology.replicas[-1].key) if topology.below else master
    yield ("which-api",), [f"{watched.node.url}/api"]
    yield ("api", "-P", "lb-check"), ['"OK"']
    yield ("discover", "-i", leaf), [leaf]
    yield ("async-discover", "-i", leaf), [":null"]
    yield ("clusters",), [master]
    yield ("clusters-alias",), [f"{master},{master}"]
    yield ("search", "-i", leaf), [leaf]
    yield ("search", "-i", "nothing like it"), []
    for command in ("instance", "which-instance", "is-replicating"):
        yield (command, "-i", leaf), [leaf]
    yield ("is-replicating", "-i", master), []
    yield ("is-replication-stopped", "-i", leaf), []
    yield ("which-master", "-i", leaf), [above]
    yield ("which-master", "-i", master), [":0"]
    yield ("which-replicas", "-i", master), replicas
    yield ("which-slaves", "-i", master), replicas
    yield ("which-broken-replicas", "-i", master), []
    for hint in (("-i", leaf), ("-a", master), ("-alias", leaf)):
        yield ("which-cluster", *hint), [master]
        yield ("which-cluster-alias", *hint), [master]
        yield ("which-cluster-master", *hint), [master]
        yield ("which-cluster-instances", *hint), everybody
    for command in ("which-cluster-osc-replicas", "which-cluster-osc-running-replicas"):
        yield (command, "-i", leaf), _control_replicas(watched)
    yield ("all-clusters-masters",), [master]
    yield ("all-instances",), everybody
    yield ("downtimed",), []
    yield ("downtimed", "-a", master), []
    yield ("dominant-dc",), [""]
    yield ("replication-analysis",), _analysis(watched)
    yield ("which-gtid-errant", "-i", leaf), [""]
    yield ("can-replicate-from", "-i", leaf, "-d", master), [master]
    yield ("can-replicate-from-gtid", "-i", leaf, "-d", master), [master]
    statements = [f'"{word} REPLICA {thread}_THREAD;"' for word, thread in _STOPS] + ['"do 1;"']
    statements += [f'"{word} REPLICA {thread}_THREAD;"' for word, thread in _STARTS]
    yield ("restart-replica-statements", "-i", leaf, "-q", "do 1"), [f"[ {', '.join(statements)} ]"]
    yield ("check-global-recoveries",), ["enabled"]
    for command in ("topology", "topology-tabulated"):
        for hint in (("-a", master), ("-i", leaf)):
            lines = str(watched.node.api(f"{command}/{master}")).splitlines()
            assert len(lines) == len(everybody)
            yield (command, *hint), lines


def _control_replicas(watched: Watched) -> list[str]:
    """Two of the first level, most replicas first; and two below each."""
    topology = watched.topology

    def rank(server: MySQLServer) -> tuple[bool, object]:
        return not (topology.below and server is topology.replicas[-1]), server.key

    first = sorted(topology.replicas, key=rank)[:2]
    return [str(server.key) for server in (*first, *topology.below)]


def _analysis(watched: Watched) -> list[str]:
    found = []
    for entry in watched.node.api("replication-analysis"):
        key, code = entry["AnalyzedInstanceKey"], entry["Analysis"]
        said = entry["StructureAnalysis"][0] if code == "NoProblem" else code
        cluster = entry["ClusterDetails"]["ClusterName"]
        found.append(f"{key['Hostname']}:{key['Port']} (cluster {cluster}): {said}")
    return found


def wrong_of_readers(watched: Watched) -> list[str]:
    """A line for each command that prints something else, or does not end with 0."""
    wrong = []
    for words, lines in printed_by_readers(watched):
        done = asked(watched, *words)
        if done != (0, lines, ""):
            wrong.append(f"{words}: wanted {lines}, got {done}")
    return wrong


def wrong_of_refused(watched: Watched) -> list[str]:
    """A line for each command that is not refused with a text, on stderr, with status 1."""
    assert set(REFUSED_COMMANDS) <= set(COMMANDS)
    names = {"leaf": watched.topology.servers[-1].key, "master": watched.topology.master.key}
    wrong = []
    for command, options in REFUSED_COMMANDS.items():
        status, said, complaint = asked(watched, command, *options.format(**names).split())
        if (status, said) != (1, []) or " not " not in complaint or complaint.count("\n") != 1:
            wrong.append(f"{command}: {status} {said} {complaint!r}")
    return wrong
