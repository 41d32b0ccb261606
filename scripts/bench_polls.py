"""What watching costs; run by ``scripts/bench polls``.

Real MySQL servers in topologies of ten are polled each second. When each poll arrived is read from the
servers' own general logs, so nothing that is measured takes part in measuring. Reported: how punctual the
polls are, the processor time of the node's whole process tree per poll and per second, and the memory
(proportional set size) of its actors by kind.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from bench import Service, wait_for
from bench_processes import processor_seconds, tree

from services.sandbox.accounts import Accounts
from services.sandbox.binaries import find_mysqld
from services.sandbox.server import MySQLServer
from services.sandbox.topology import MySQLTopology, TopologySpec

_PER_TOPOLOGY = 10
_PUNCTUAL = 0.1  # of the interval
_POLL = re.compile(r"^(\S+Z)\s+\d+ Query\s+SELECT @@global\.server_id AS server_id", re.MULTILINE)


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench polls")
    parser.add_argument("--servers", type=int, default=20, help="how many are watched, in tens (20)")
    parser.add_argument("--seconds", type=int, default=60, help="for how long it is measured (60)")
    parser.add_argument("--poll-seconds", type=int, default=1, help="InstancePollSeconds (1)")
    parser.add_argument("--actors", type=int, default=64, help="ProbeActorsMax (64: an actor a server)")
    arguments = parser.parse_args()
    if arguments.servers % _PER_TOPOLOGY:
        parser.error(f"--servers {arguments.servers} is no multiple of {_PER_TOPOLOGY}")
    with ExitStack() as endings:
        folder = Path(endings.enter_context(tempfile.TemporaryDirectory(prefix="op-", dir="/tmp")))
        topologies = list(_topologies(arguments.servers // _PER_TOPOLOGY, folder, endings))
        measure(topologies, folder, arguments)


def _topologies(number: int, folder: Path, endings: ExitStack) -> Iterator[MySQLTopology]:
    mysqld, accounts = find_mysqld(), Accounts.random()
    for each in range(number):
        spec = TopologySpec(replicas=_PER_TOPOLOGY - 1)
        topology = MySQLTopology(mysqld, folder / f"t{each}", spec, die_with_parent=True)
        topology.accounts = accounts
        endings.callback(topology.stop)
        yield topology.start()


def measure(topologies: Sequence[MySQLTopology], folder: Path, arguments: argparse.Namespace) -> None:
    servers = [server for topology in topologies for server in topology.servers]
    account = topologies[0].accounts.orchestray
    service = Service(
        folder,
        {
            "InstancePollSeconds": arguments.poll_seconds,
            "ProbeActorsMax": arguments.actors,
            "MySQLTopologyUser": account.user,
            "MySQLTopologyPassword": account.password,
            "DiscoverySeeds": [str(topology.master.key) for topology in topologies],
        },
    )
    try:

        def all_are_seen() -> bool:
            known = service.get("all-instances")
            assert isinstance(known, list)
            return len(known) == len(servers) and all(one["IsLastCheckValid"] for one in known)

        wait_for(f"{len(servers)} servers", all_are_seen)
        time.sleep(5.0)  # actors that have just started are no steady state
        _general_log(servers, on=True)
        began, used = time.monotonic(), processor_seconds(service.pid)
        time.sleep(arguments.seconds)
        elapsed, used = time.monotonic() - began, processor_seconds(service.pid) - used
        memory = memory_by_kind(service.pid)
        _general_log(servers, on=False)
    finally:
        service.stop()
    report([arrivals(server) for server in servers], elapsed, used, memory, arguments)


def _general_log(servers: Sequence[MySQLServer], *, on: bool) -> None:
    for server in servers:
        server.execute(f"SET GLOBAL general_log = {int(on)}")


def arrivals(server: MySQLServer) -> list[float]:
    """When the polls came, in seconds of the server's clock."""
    text = server.general_log_file.read_text(errors="replace")
    return [datetime.fromisoformat(at.replace("Z", "+00:00")).timestamp() for at in _POLL.findall(text)]


def memory_by_kind(root: int) -> dict[str, list[float]]:
    """MiB of each process, by what it is."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for pid in tree(root):
        try:
            title = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        size = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
        kind = re.match(r"ray::(Probe|TopologyActor|LeaderActor|Gateway)", title)
        if size:
            found[kind[1] if kind else "Ray and the supervisor"].append(int(size[1]) / 1024)
    return found


def report(
    polls: Sequence[Sequence[float]],
    elapsed: float,
    used: float,
    memory: dict[str, list[float]],
    arguments: argparse.Namespace,
) -> None:
    wanted = float(arguments.poll_seconds)
    late = [after - before - wanted for times in polls for before, after in pairwise(times)]
    if not late:
        sys.exit("bench: no server was polled twice")
    off = sorted(abs(each) for each in late)
    punctual = sum(each <= _PUNCTUAL * wanted for each in off) / len(off)
    number = sum(map(len, polls))
    print(f"{len(polls)} servers, {arguments.actors} actors at most, {number} polls in {elapsed:.0f} s")
    print(f"polls within 10 % of their time   {punctual:8.2%}")
    print(
        f"off by, ms                        {1000 * statistics.median(off):8.1f} median"
        f" {1000 * off[int(len(off) * 0.99)]:8.1f} at 99 % {1000 * off[-1]:8.1f} at most"
    )
    per_poll = 1000 * used / number
    print(f"processor time, whole tree        {used / elapsed:8.1%} of a core {per_poll:8.2f} ms a poll")
    for kind, sizes in sorted(memory.items()):
        print(f"memory, {kind:<26}{statistics.median(sizes):8.1f} MiB each, {len(sizes)} processes")


if __name__ == "__main__":
    main()
