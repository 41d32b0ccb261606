"""What nodes at rest use; run by ``scripts/bench rest``.

A raft setup of N nodes (or one node, without raft) watches a topology in which nothing happens. Measured
over a while, of each process of each node's tree, by what it is: the processor time, and the memory at the
end, resident (RSS) and proportional (PSS, in which what is shared is divided among those that share it).
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import statistics
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench import Service, wait_for
from bench_processes import tree

from services.sandbox.binaries import find_mysqld
from services.sandbox.ports import free_port
from services.sandbox.topology import MySQLTopology, TopologySpec

_TICKS = os.sysconf("SC_CLK_TCK")
_SETTLE_SECONDS = 20.0
_KIND = re.compile(r"ray::(Probe|TopologyActor|LeaderActor|Gateway)")
_TITLES = {
    "Probe": "each probe",
    "TopologyActor": "Topology",
    "LeaderActor": "Leader (with its raft member)",
    "Gateway": "gateway",
}


@dataclass(frozen=True, slots=True)
class Use:
    """Of one process. ``ticks`` of processor time since its start; memory in MiB."""

    kind: str
    ticks: int
    rss: float
    pss: float


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench rest")
    parser.add_argument("--nodes", type=int, default=3, metavar="N", help="raft members; 1: no raft (3)")
    parser.add_argument("--seconds", type=int, default=60, help="for how long it is measured (60)")
    parser.add_argument("--replicas", type=int, default=3, help="of the one topology that is watched (3)")
    parser.add_argument("--poll-seconds", type=int, default=5, help="InstancePollSeconds (5)")
    arguments = parser.parse_args()
    with ExitStack() as endings:
        folder = Path(endings.enter_context(tempfile.TemporaryDirectory(prefix="or-", dir="/tmp")))
        spec = TopologySpec(replicas=arguments.replicas)
        topology = MySQLTopology(find_mysqld(), folder / "t", spec, die_with_parent=True)
        endings.callback(topology.stop)
        topology.start()
        services = started(arguments, topology, folder, endings)
        time.sleep(_SETTLE_SECONDS)  # actors that have just started are no steady state
        measure(services, arguments)


def started(
    arguments: argparse.Namespace, topology: MySQLTopology, folder: Path, endings: ExitStack
) -> list[Service]:
    members = [f"127.0.0.1:{free_port()}" for _ in range(arguments.nodes)]
    secret, account, services = secrets.token_urlsafe(24), topology.accounts.orchestray, []
    for number, member in enumerate(members):
        own = folder / str(number)
        own.mkdir()
        settings: dict[str, object] = {
            "InstancePollSeconds": arguments.poll_seconds,
            "MySQLTopologyUser": account.user,
            "MySQLTopologyPassword": account.password,
            "DiscoverySeeds": [str(topology.master.key)],
        }
        if arguments.nodes > 1:
            settings |= {
                "RaftEnabled": True,
                "RaftDataDir": str(own / "raft"),
                "RaftBind": member,
                "RaftNodes": members,
                "RaftSecret": secret,
            }
        services.append(Service(own, settings))
        endings.callback(services[-1].stop)
    for service in services:
        wait_for("all servers", lambda service=service: sees_all(service, len(topology.servers)))
    wait_for("one that acts", lambda: any(acts(service) for service in services))
    return services


def sees_all(service: Service, number: int) -> bool:
    known = service.get("all-instances")
    assert isinstance(known, list)
    return len(known) == number and all(one["IsLastCheckValid"] for one in known)


def acts(service: Service) -> bool:
    try:
        return service.get("leader-check") == "OK"
    except OSError:
        return False


def uses(service: Service) -> dict[int, Use]:
    found = {}
    for pid in tree(service.pid):
        try:
            title = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:  # it has ended meanwhile
            continue
        kind = _KIND.match(title)
        sizes = dict(re.findall(r"^(Rss|Pss):\s+(\d+) kB", rollup, re.MULTILINE))
        if not sizes:
            continue
        found[pid] = Use(
            _TITLES[kind[1]] if kind else "Ray and the supervisor",
            int(stat[11]) + int(stat[12]),
            int(sizes["Rss"]) / 1024,
            int(sizes["Pss"]) / 1024,
        )
    return found


def measure(services: list[Service], arguments: argparse.Namespace) -> None:
    before = [uses(service) for service in services]
    began = time.monotonic()
    time.sleep(arguments.seconds)
    elapsed = time.monotonic() - began
    after = [uses(service) for service in services]
    leading = [acts(service) for service in services]
    servers, load = arguments.replicas + 1, os.getloadavg()[0]
    print(f"{len(services)} nodes, {servers} servers, {elapsed:.0f} s; load of the machine {load:.1f}")
    print(f"{'':<44}{'processes':>10}{'% of a core':>13}{'RSS, MiB':>10}{'PSS, MiB':>10}")
    for number, (old, new, acting) in enumerate(zip(before, after, leading, strict=True), 1):
        by_kind: defaultdict[str, list[tuple[float, Use]]] = defaultdict(list)
        for pid, use in new.items():
            ticks = use.ticks - old[pid].ticks if pid in old else use.ticks
            by_kind[use.kind].append((100 * ticks / _TICKS / elapsed, use))
        print(f"node {number}, which {'acts' if acting else 'follows'}")
        for kind, found in sorted(by_kind.items()):
            row(f"    {kind}", found, median=True)
        row("    in all", [one for found in by_kind.values() for one in found], median=False)


def row(name: str, found: list[tuple[float, Use]], *, median: bool) -> None:
    """Processor time in sum; memory of the median process, or in sum."""
    total = statistics.median if median else sum
    rss, pss = total([use.rss for _, use in found]), total([use.pss for _, use in found])
    print(f"{name:<44}{len(found):>10}{sum(share for share, _ in found):>13.1f}{rss:>10.1f}{pss:>10.1f}")


if __name__ == "__main__":
    main()
