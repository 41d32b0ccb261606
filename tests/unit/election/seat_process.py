"""A seat in a process of its own, for the tests: ``python -m tests.unit.election.seat_process ...``.

Whenever it may act it writes a line to the log, as an act: the time at which it asked, on the clock that
all processes of the host share, then what it was told. ``SIGTERM`` makes it give the lease back.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from services.election.clock import boottime
from services.election.election import LeaseElection
from services.store.store import Store
from tests.backends import from_text


@dataclass(frozen=True)
class Act:
    at: float
    node: str
    pid: int
    term: int
    deadline: float


def acts_in(log: Path) -> list[Act]:
    """All complete lines, in the order in which they were acted."""
    lines = log.read_text().split("\n")[:-1] if log.exists() else []
    fields = [line.split() for line in lines]
    return sorted(
        (Act(float(at), node, int(pid), int(term), float(until)) for at, node, pid, term, until in fields),
        key=lambda act: act.at,
    )


async def main(backend: str, log: str, node: str, lock: str, length: str, renew: str) -> None:
    store = await Store.open(from_text(backend))
    election = LeaseElection(
        store.database, node, length=float(length), renew=float(renew), holds_node_lock=lock == "holds-lock"
    )
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    running = asyncio.create_task(election.run())
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    print("ready", flush=True)
    while not stop.is_set():
        asked_at = boottime()
        leadership = election.leadership()
        if leadership is not None:
            act = f"{asked_at} {node} {os.getpid()} {leadership.term} {leadership.deadline}\n"
            os.write(file, act.encode())
        await asyncio.sleep(0.005)
    running.cancel()
    await election.release()
    assert election.leadership() is None
    await store.close()
    os.close(file)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
