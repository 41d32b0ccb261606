"""Members of a raft setup in this process: a seat each, with a store of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from services.agreement.store import agreed_store
from services.consensus.state import Timing
from services.election.raft_seat import RaftSeat
from services.raft.config import Address, RaftConfig
from services.sandbox.ports import free_port
from services.store.backend import Backend, SQLiteBackend
from services.store.store import Store
from tests.servers import wait_until_async

TIMING = Timing(heartbeat=0.02, election_min=0.1, election_max=0.2)


@dataclass
class Member:
    """``local`` is its own store, ``store`` the agreed one."""

    seat: RaftSeat
    local: Store
    store: Store
    changed: list[str]
    _turning: asyncio.Task[None]

    @property
    def name(self) -> str:
        return self.seat.node.config.node_id

    @property
    def acts(self) -> bool:
        return self.seat.leadership() is not None

    async def until_acting(self) -> None:
        await wait_until_async(lambda: self.acts, 10, self.seat.view)

    async def until_applied(self, index: int) -> None:
        await wait_until_async(
            lambda: self.seat.node.state().applied_index >= index, 10, self.seat.node.state
        )

    async def stop(self) -> None:
        """As if it had died. Once more does no harm."""
        if self._turning.done():
            return
        self._turning.cancel()
        await asyncio.gather(self._turning, return_exceptions=True)
        await self.seat.node.stop()
        await self.local.close()


async def _turns(seat: RaftSeat) -> None:
    while True:
        await seat.step()
        await seat.wait()


async def start(
    folder: Path,
    ports: Sequence[int],
    number: int = 0,
    backend: Backend | None = None,
    **more: int,
) -> Member:
    members = {f"127.0.0.1:{port}": Address("127.0.0.1", port) for port in ports}
    name = list(members)[number]
    folder = folder / str(number)
    local = await Store.open(backend or SQLiteBackend(folder / "store.db"))
    config = RaftConfig(
        node_id=name,
        members=members,
        bind=members[name],
        file=folder / "raft.db",
        secret="a secret of the test, long enough",
        timing=TIMING if len(ports) == 1 else Timing(),
        **more,
    )
    changed: list[str] = []

    async def prepared() -> None:
        return

    seat = RaftSeat(
        config, local.database, uri=f"http://node-{number}:3000", prepare=prepared, applied=changed.append
    )
    await seat.start()
    turning = asyncio.ensure_future(_turns(seat))
    return Member(seat, local, agreed_store(local, seat.propose), changed, turning)


@asynccontextmanager
async def alone(folder: Path, backend: Backend | None = None) -> AsyncIterator[Member]:
    """A setup of one, which acts."""
    member = await start(folder, [free_port()], backend=backend)
    try:
        await member.until_acting()
        yield member
    finally:
        await member.stop()


@asynccontextmanager
async def three(folder: Path, **more: int) -> AsyncIterator[list[Member]]:
    """The one that acts first."""
    ports = [free_port() for _ in range(3)]
    async with AsyncExitStack() as endings:
        members = []
        for number in range(3):
            members.append(await start(folder, ports, number, **more))
            endings.push_async_callback(_stopped, members, number)
        await wait_until_async(lambda: any(member.acts for member in members), 15)
        yield members


async def _stopped(members: list[Member], number: int) -> None:
    await members[number].stop()
