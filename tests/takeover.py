"""How long until the next node acts, with a lease.

    python -m tests.takeover SETUP [--rounds N] [--seats]

starts the store (one file, one server, a pair of servers, or three synchronous ones) and three nodes on
loopback. Each round kills (SIGKILL) every process of the acting node; on a synchronous store as many rounds
more kill the database server that it writes to as well. Counted is the time from the kill until another node
answers 200 to ``/api/leader-check``. With ``--seats`` (synchronous stores) a node is its seat in the election
alone, a process, and what counts is when another may act: for a machine that three nodes keep busy.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from services.election.clock import boottime
from services.sandbox.binaries import find_mariadbd, find_mysqld
from tests.clusters import SIZE
from tests.documented_haproxy import HAProxy
from tests.node import START_SECONDS, Node
from tests.pairs import Pair
from tests.seats import Seats
from tests.servers import Stage, short_directory, wait_until
from tests.synchronous import SETUPS, Setup, opened_setup, why_none

__all__ = ["acting", "nodes_on", "take_over"]

LENGTH, RENEW = 3.0, 1.0  # as nodes have them
PATIENCE_SECONDS = 90
_LOOK_SECONDS = 0.02


@dataclass(frozen=True)
class Shared:
    """One store for all nodes: the ``settings`` by which they reach it."""

    settings: Mapping[str, object]

    def make_whole(self) -> None:
        """Nothing of it was taken away."""


@contextmanager
def opened_shared(name: str) -> Iterator[Shared]:
    """It runs within the block. ``name`` is one of SHARED."""
    folder = short_directory()
    with ExitStack() as endings:
        endings.callback(shutil.rmtree, folder, ignore_errors=True)
        if name == "sqlite":
            yield Shared({"BackendDB": "sqlite", "SQLite3DataFile": str(folder / "orchestray.db")})
            return
        stage = Stage(find_mariadbd() if name == "mariadb-pair" else find_mysqld())
        endings.callback(stage.clear)
        if name == "mysql":
            server = stage.server()
            yield Shared(_mysql_settings(server.port, server.user, server.password))
            return
        pair = Pair(stage)
        proxy = HAProxy(folder, "orchestray-db", "bind :3306", pair.documented)
        endings.callback(proxy.stop)
        yield Shared(_mysql_settings(proxy.port, pair.account, pair.password))


SHARED = ("mariadb-pair", "mysql", "sqlite")


def _mysql_settings(port: int, user: str, password: str) -> dict[str, object]:
    return {
        "BackendDB": "mysql",
        "MySQLOrchestratorHost": "127.0.0.1",
        "MySQLOrchestratorPort": port,
        "MySQLOrchestratorDatabase": "orchestray",
        "MySQLOrchestratorUser": user,
        "MySQLOrchestratorPassword": password,
    }


def settings_of(setup: Setup | Shared, number: int) -> Mapping[str, object]:
    if isinstance(setup, Shared):
        return setup.settings
    backend = setup.backend(number)
    return {
        "BackendDB": "mysql",
        "MySQLOrchestratorHost": backend.host,
        "MySQLOrchestratorPort": backend.port,
        "MySQLOrchestratorDatabase": backend.database,
        "MySQLOrchestratorUser": backend.user,
        "MySQLOrchestratorPassword": backend.password.reveal(),
        "MySQLOrchestratorRejectReadOnly": backend.rejects_read_only,
    }


@contextmanager
def nodes_on(
    setup: Setup | Shared, settings: Sequence[Mapping[str, object]] = ({}, {}, {})
) -> Iterator[list[Node]]:
    """Three, number n beside server n, each with settings of its own besides; the first starts first."""
    with ExitStack() as endings:
        nodes = []
        for number in range(SIZE):
            folder = short_directory()
            endings.callback(shutil.rmtree, folder, ignore_errors=True)
            node = Node(folder, {**settings_of(setup, number), **settings[number]})
            node.configure(NodeDirectory=str(folder / "node"))
            endings.callback(node.destroy)
            nodes.append(node)
        for number, node in enumerate(nodes):
            node.start()
            if number == 0:
                wait_until(lambda: nodes[0].leads, START_SECONDS, lambda: nodes[0].said)
        yield nodes


def acting(nodes: Sequence[Node]) -> Node:
    """The one that acts, awaited."""
    return wait_until(
        lambda: next((node for node in nodes if node.leads), None),
        PATIENCE_SECONDS,
        lambda: "\n".join(node.said[-2000:] for node in nodes),
    )


def take_over(
    setup: Setup | Shared,
    nodes: Sequence[Node],
    *,
    with_database: bool,
    also: Callable[[], None] = lambda: None,
) -> tuple[Node, Node, float]:
    """Kill the one that acts, then ``also`` something. Itself, who acts next, and the seconds in between."""
    lost = acting(nodes)
    others = [node for node in nodes if node is not lost]
    leads: dict[str, float] = {}
    found = threading.Event()

    def look(node: Node) -> None:
        while not found.is_set():
            if node.leads:
                leads.setdefault(node.url, time.monotonic())
                found.set()
            time.sleep(_LOOK_SECONDS)

    if with_database:
        assert isinstance(setup, Setup)
        setup.cluster.servers[setup.writer_of(nodes.index(lost))].signal_kill()
    began = time.monotonic()
    lost.marked.kill_all()
    also()
    looking = [threading.Thread(target=look, args=(node,)) for node in others]
    for thread in looking:
        thread.start()
    in_time = found.wait(PATIENCE_SECONDS)
    found.set()
    for thread in looking:
        thread.join()
    assert in_time, "\n".join(node.said[-3000:] for node in others)
    url, at = min(leads.items(), key=lambda item: item[1])
    return lost, next(node for node in others if node.url == url), at - began


Round = Callable[[bool], float]


@contextmanager
def rounds_of_nodes(setup: Setup | Shared) -> Iterator[Round]:
    """Each kills the acting node, with its database or without, and brings back what it killed."""
    with nodes_on(setup) as nodes:

        def play(with_database: bool) -> float:
            lost, _, seconds = take_over(setup, nodes, with_database=with_database)
            setup.make_whole()
            lost.destroy()
            lost.start()
            return seconds

        yield play


@contextmanager
def rounds_of_seats(setup: Setup) -> Iterator[Round]:
    folder = short_directory()
    seats = Seats(setup.backend(0), folder, length=LENGTH, renew=RENEW)
    with ExitStack() as endings:
        endings.callback(shutil.rmtree, folder, ignore_errors=True)
        endings.callback(seats.end_all)
        for number in range(SIZE):
            seats.start(str(number), backend=setup.backend(number))

        def play(with_database: bool) -> float:
            asked_at = boottime()
            holder = seats.await_act(lambda act: act.at > asked_at, PATIENCE_SECONDS)
            number = int(holder.node)
            database = setup.cluster.servers[setup.writer_of(number)]
            if with_database:
                database.signal_kill()
            os.kill(holder.pid, signal.SIGKILL)
            began = boottime()
            taken = seats.await_act(lambda act: act.term > holder.term, PATIENCE_SECONDS)
            setup.make_whole()
            seats.start(holder.node, backend=setup.backend(number))
            return taken.at - began

        yield play


def measured(play: Round, *, with_database: bool, rounds: int) -> dict[str, object]:
    took = []
    for _ in range(rounds):
        took.append(play(with_database))
        print(f"{took[-1]:.2f} s", file=sys.stderr, flush=True)
    return {
        "with_database": with_database,
        "median_seconds": round(statistics.median(took), 1),
        "longest_seconds": round(max(took), 1),
        "rounds": rounds,
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.takeover",
        description=(__doc__ or "").strip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("setup", choices=sorted((*SETUPS, *SHARED)))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seats", action="store_true", help="the election alone")
    options = parser.parse_args()
    if options.setup in SHARED:
        if options.seats:
            parser.error("--seats is for synchronous stores")
        with opened_shared(options.setup) as shared, rounds_of_nodes(shared) as play:
            figures = measured(play, with_database=False, rounds=options.rounds)
            print(json.dumps({"setup": options.setup, "seats": False, **figures}), flush=True)
        return 0
    why = why_none(options.setup)
    if why:
        print(why, file=sys.stderr)
        return 1
    rounds_of = rounds_of_seats if options.seats else rounds_of_nodes
    with opened_setup(options.setup) as setup, rounds_of(setup) as play:
        for with_database in (False, True):
            figures = measured(play, with_database=with_database, rounds=options.rounds)
            print(json.dumps({"setup": options.setup, "seats": options.seats, **figures}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
