"""The store and its election on three synchronous database servers: one writer behind HAProxy, or all write.

Seats in the election are processes of their own, each beside a server: of them one acts, whatever becomes of
the servers. Galera, and Group Replication with one primary and with several.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, select, update

from services.config import Secret
from services.election.clock import boottime
from services.election.election import LeaseElection
from services.election.lease import TAKE_AFTER, Lease
from services.election.row import read, replace
from services.sandbox.server import Rows
from services.store.backend import MySQLBackend
from services.store.errors import ClusterBusyError, StaleTermError, StoreUnavailableError
from services.store.schema import SETTINGS
from services.store.store import Store
from services.topology.records import Recovery
from tests.clusters import SIZE
from tests.galera import Galera
from tests.seats import Seats
from tests.servers import StandaloneServer, wait_until, wait_until_async
from tests.synchronous import SETUPS, Setup, absent, started_setup
from tests.unit.election.seat_process import Act
from tests.unit.store.samples import entry, recovery

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]

LENGTH, RENEW = 3.0, 1.0
SETTLED_SECONDS = 60  # until the servers have agreed on who is left, and a seat has the lease
_numbers = count(1)


@pytest.fixture(scope="module", params=SETUPS)
def started(request: pytest.FixtureRequest) -> Iterator[Setup]:
    with started_setup(request.param) as setup:
        yield setup


@pytest.fixture
def setup(started: Setup) -> Setup:
    """With all members, and a lease that nobody holds."""
    started.make_whole()
    writer = started.cluster.servers[started.writer_of(0)]
    if _tables(writer):
        writer.execute("DELETE FROM orchestray.lease")
        for server in started.cluster.servers:
            wait_until(lambda server=server: not server.query("SELECT 1 FROM orchestray.lease"), 20)
    return started


def _tables(server: StandaloneServer) -> Rows:
    schema = "SELECT 1 FROM information_schema.tables WHERE table_schema = 'orchestray'"
    return server.query(f"{schema} AND table_name = 'lease'")


@pytest.fixture
async def stores(setup: Setup) -> AsyncIterator[list[Store]]:
    """One for each server, or for each node behind the proxy."""
    opened = [await Store.open(setup.backend(number)) for number in range(SIZE)]
    yield opened
    for store in opened:
        await store.close()


@pytest.fixture
def seats(setup: Setup, tmp_path: Path) -> Iterator[Seats]:
    seats = Seats(setup.backend(0), tmp_path, length=LENGTH, renew=RENEW)
    proxy = setup.proxy
    seats.describe = lambda: "\n".join((setup.cluster.error_logs(), proxy.said() if proxy else ""))
    yield seats
    seats.end_all()


def seated(setup: Setup, seats: Seats) -> list[int]:
    """Pids of the seats, that of number n on server n."""
    return [seats.start(str(number), backend=setup.backend(number)).pid for number in range(SIZE)]


def acting(seats: Seats) -> Act:
    asked_at = boottime()
    return seats.await_act(lambda act: act.at > asked_at, SETTLED_SECONDS)


def next_after(seats: Seats, act: Act) -> Act:
    """The first act of another term."""
    return seats.await_act(lambda other: other.term > act.term, SETTLED_SECONDS)


# the store


async def test_nodes_that_come_at_once_to_an_empty_cluster_all_find_a_store(setup: Setup) -> None:
    """Migrations too run on several servers at once."""
    name = f"at_once_{next(_numbers)}"
    opened = await asyncio.gather(
        *(Store.open(dataclasses.replace(setup.backend(number), database=name)) for number in range(SIZE))
    )
    for number, store in enumerate(opened):
        row = {"name": f"of {number}", "value": ""}
        await store.database.write(lambda c, row=row: c.execute(insert(SETTINGS).values(row)))  # type: ignore[misc]
    statement = select(SETTINGS.c.name).order_by(SETTINGS.c.name)
    for store in opened:

        async def all_are_there(store: Store = store) -> bool:
            names = await store.database.read(lambda c: list(c.execute(statement).scalars()))
            return names == [f"of {number}" for number in range(SIZE)]

        await wait_until_async(all_are_there, 10)
        await store.close()


async def test_what_several_write_at_once_is_neither_lost_nor_an_error(stores: list[Store]) -> None:
    """Each attempt that collides with another server's is refused there, and run again."""
    name, times = f"counter {next(_numbers)}", 15
    value = select(SETTINGS.c.value).where(SETTINGS.c.name == name)
    attempts = 0

    def count_up(connection: Connection) -> None:
        nonlocal attempts
        attempts += 1
        found = connection.execute(value).scalar()
        if found is None:
            connection.execute(insert(SETTINGS).values(name=name, value="1"))
        else:
            connection.execute(
                update(SETTINGS).where(SETTINGS.c.name == name).values(value=str(int(found) + 1))
            )

    async def write(store: Store) -> None:
        for _ in range(times):
            await store.database.write(count_up)

    await asyncio.gather(*(write(store) for store in stores))

    async def is_complete() -> bool:
        return await stores[0].database.read(lambda c: c.execute(value).scalar()) == str(SIZE * times)

    await wait_until_async(is_complete, 10, f"{attempts} attempts")


async def test_an_older_term_writes_nothing_on_any_server(stores: list[Store]) -> None:
    """Also where the server has not heard of the newer term yet."""
    old, new = stores[1], stores[2]
    held: Lease | None = None
    for term in range(1, 11):
        lease = Lease("a", term, term, 3000)
        assert await new.database.write(lambda c, e=held, n=lease: replace(c, e, n))  # type: ignore[misc]
        held = lease
        with pytest.raises(StaleTermError, match=f"term {term} was elected"):
            await old.recoveries.register(recovery(f"{next(_numbers)}:a", term=term - 1))


async def test_of_servers_that_register_at_once_one_has_the_cluster(stores: list[Store]) -> None:
    for _ in range(5):
        about = entry(cluster_id=f"cluster {next(_numbers)}")
        answers = await asyncio.gather(
            *(store.recoveries.register(recovery(f"{next(_numbers)}:a", about=about)) for store in stores),
            return_exceptions=True,
        )
        registered = [answer for answer in answers if isinstance(answer, Recovery)]
        refused = [answer for answer in answers if isinstance(answer, ClusterBusyError)]
        assert (len(registered), len(refused)) == (1, SIZE - 1), answers
        assert {one.running.uid for one in refused} == {registered[0].uid}


# the election


async def test_an_attempt_that_collides_is_lost_and_no_error(stores: list[Store]) -> None:
    for _ in range(5):
        seats = [LeaseElection(store.database, str(number)) for number, store in enumerate(stores)]
        terms: set[int] = set()
        for _ in range(3):  # who lost looks again
            await asyncio.gather(*(seat.step() for seat in seats))
            terms |= {held.term for seat in seats if (held := seat.leadership()) is not None}
        assert [seat.last_error for seat in seats] == [""] * SIZE
        holders = [seat for seat in seats if seat.leadership() is not None]
        assert len(holders) == 1
        assert len(terms) == 1
        await holders[0].release()

        async def is_free() -> bool:
            found = [await store.database.read(read) for store in stores]
            return all(one is not None and not one.node_id for one in found)

        await wait_until_async(is_free, 10)


def test_the_next_acts_when_the_acting_one_is_killed(setup: Setup, seats: Seats) -> None:
    pids = seated(setup, seats)
    for _ in range(2):
        holder = acting(seats)
        os.kill(holder.pid, signal.SIGKILL)
        taken = next_after(seats, holder)
        assert taken.node != holder.node
        assert taken.at > seats.lasts_until(holder.term), "not before the deadline of the killed one"
    assert len({act.pid for act in seats.assert_one_at_a_time()} & set(pids)) == SIZE


def test_the_next_acts_when_the_acting_one_is_killed_with_its_database(setup: Setup, seats: Seats) -> None:
    seated(setup, seats)
    holder = acting(seats)
    lost = setup.cluster.servers[setup.writer_of(int(holder.node))]
    os.kill(holder.pid, signal.SIGKILL)
    lost.kill()
    taken = next_after(seats, holder)
    assert taken.node != holder.node
    assert taken.at > seats.lasts_until(holder.term)
    setup.cluster.rejoin(lost)
    acting(seats)
    seats.assert_one_at_a_time()


def test_nobody_acts_on_a_minority(setup: Setup, seats: Seats) -> None:
    """Two servers are not reached any more: the one that is left takes no writes."""
    seated(setup, seats)
    holder = acting(seats)
    left = setup.writer_of(int(holder.node))
    with setup.cluster.paused(*(number for number in range(SIZE) if number != left)):
        paused_at = boottime()
        wait_until(lambda: boottime() > paused_at + TAKE_AFTER * LENGTH + 2 * RENEW, LENGTH * 4)
        late = [act for act in seats.acts() if act.at > paused_at + LENGTH]
        assert late == [], "a renewal that was sent before the pause lasts that long"
    resumed_at = boottime()
    seats.await_act(lambda act: act.at > resumed_at, SETTLED_SECONDS)
    seats.assert_one_at_a_time()


def test_a_holder_whose_database_hangs_stops_in_time_and_one_acts_again(setup: Setup, seats: Seats) -> None:
    """When it goes on, its server has been left out by the others, and knows it or not. Where all write to
    that server, all are without a store for a while: whoever is first has it then, the holder in its old
    term too.
    """
    seated(setup, seats)
    holder = acting(seats)
    hung = setup.writer_of(int(holder.node))
    with setup.cluster.paused(hung):
        if setup.proxy is None:
            taken = next_after(seats, holder)
            assert taken.node != holder.node
            assert taken.at > seats.lasts_until(holder.term)
        else:
            ended_at = boottime() + LENGTH
            seats.await_act(lambda act: act.at > ended_at, SETTLED_SECONDS)
    resumed_at = boottime()
    seats.await_act(lambda act: act.at > resumed_at + 2 * LENGTH, SETTLED_SECONDS)
    seats.assert_one_at_a_time()


def test_a_database_that_is_cut_off_makes_its_node_step_down(setup: Setup, seats: Seats) -> None:
    """It answers, and says that it belongs to no majority."""
    cluster = setup.cluster
    if not isinstance(cluster, Galera) or setup.proxy is not None:
        pytest.skip("Galera has a switch for it; behind a proxy no node has a database of its own")
    seated(setup, seats)
    holder = acting(seats)
    number = int(holder.node)
    cluster.isolate(number, cut_off=True)
    try:
        taken = next_after(seats, holder)
        assert taken.node != holder.node
        assert taken.at > seats.lasts_until(holder.term)

        async def told() -> str:
            store = await Store.open(setup.backend(number), read_only=True)
            try:
                await store.database.read(read)
            finally:
                await store.close()
            return ""

        with pytest.raises(StoreUnavailableError, match="belongs to no majority of its cluster"):
            asyncio.run(told())
        assert cluster.members_seen_by(cluster.servers[int(taken.node)]) == SIZE - 1
    finally:
        cluster.isolate(number, cut_off=False)
    cluster.wait_whole()
    back_at = boottime()
    seats.await_act(lambda act: act.at > back_at + LENGTH, SETTLED_SECONDS)
    seats.assert_one_at_a_time()


DAY = 86_400
JUMPS = {"+2d": 2 * DAY, "-30d": -30 * DAY, "+0": 0}


def test_clocks_of_the_servers_that_jump_and_differ_change_nothing(setup: Setup, seats: Seats) -> None:
    cluster = setup.cluster
    if not cluster.clocks_can_jump:
        if isinstance(cluster, Galera):
            absent("no libfaketime (on Debian: apt-get install libfaketime)")
        pytest.skip("MySQL does not start under libfaketime; the next test is about it")
    seated(setup, seats)
    holder = acting(seats)
    try:
        for number, offset in enumerate(JUMPS):
            cluster.set_clock(number, offset)
            wait_until(lambda n=number, o=offset: _is_off(cluster.servers[n], JUMPS[o]), 20)  # type: ignore[misc]
        _goes_on(seats, holder)
        os.kill(holder.pid, signal.SIGKILL)
        taken = next_after(seats, holder)
        assert taken.at > seats.lasts_until(holder.term)
        for number in range(SIZE):
            cluster.set_clock(number, "+0")
            wait_until(lambda n=number: _is_off(cluster.servers[n], 0), 20)  # type: ignore[misc]
        _goes_on(seats, taken)
        seats.assert_one_at_a_time()
    finally:
        for number in range(SIZE):
            cluster.set_clock(number, "+0")


def _is_off(server: StandaloneServer, seconds: float) -> bool:
    (row,) = server.query("SELECT UNIX_TIMESTAMP() AS now")
    return abs(float(row["now"]) - time.time() - seconds) < 600


def _goes_on(seats: Seats, holder: Act) -> None:
    """Two leases later it is still the same."""
    since = boottime()
    later = seats.await_act(lambda act: act.at > since + 2 * LENGTH, SETTLED_SECONDS)
    assert (later.term, later.pid) == (holder.term, holder.pid), "nobody noticed"


def test_what_time_a_session_has_changes_nothing(setup: Setup, seats: Seats) -> None:
    """NOW() stands still in each session of a node, at another moment and in another zone on each server."""
    cluster, user, password = setup.cluster, "timeless", "in-no-time"
    writer = cluster.servers[setup.writer_of(0)]
    writer.execute(
        f"CREATE USER IF NOT EXISTS '{user}'@'%' IDENTIFIED BY '{password}'",
        "CREATE DATABASE IF NOT EXISTS orchestray CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        f"GRANT ALL PRIVILEGES ON orchestray.* TO '{user}'@'%'",
    )
    try:
        for server, zone, days in zip(
            cluster.servers, ("+09:00", "-05:00", "+00:00"), (2, -30, 0), strict=True
        ):
            moment = int(time.time()) + days * DAY
            server.execute(
                f"SET GLOBAL time_zone = '{zone}'", f"SET GLOBAL init_connect = 'SET timestamp = {moment}'"
            )
            wait_until(lambda server=server: _knows(server, user), 20)
        for number in range(SIZE):
            backend = dataclasses.replace(setup.backend(number), user=user, password=Secret(password))
            seats.start(str(number), backend=backend)
        holder = acting(seats)
        asked = dataclasses.replace(cluster.backend(0), user=user, password=Secret(password))
        assert asyncio.run(_session_time(asked)) > time.time() + DAY, "it does what it is to do"
        _goes_on(seats, holder)
        os.kill(holder.pid, signal.SIGKILL)
        taken = next_after(seats, holder)
        assert taken.at > seats.lasts_until(holder.term)
        seats.assert_one_at_a_time()
    finally:
        for server in cluster.servers:
            server.execute("SET GLOBAL init_connect = ''", "SET GLOBAL time_zone = '+00:00'")


def _knows(server: StandaloneServer, user: str) -> bool:
    return bool(server.query("SELECT 1 FROM mysql.user WHERE user = %s", (user,)))


async def _session_time(backend: MySQLBackend) -> float:
    store = await Store.open(backend, read_only=True)
    try:
        return await store.database.read(
            lambda c: float(c.exec_driver_sql("SELECT UNIX_TIMESTAMP()").scalar_one())
        )
    finally:
        await store.close()
