"""Acting (design, "Acting"): what a paused Leader, a hung server or a statement that waits cannot do."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from services.execution import dead_master
from services.execution.errors import RecoveryInterruptedError
from services.mysql.connection import Login, Row
from services.mysql.errors import LostError, StatementError
from services.mysql.session import ActingSession, MandateOverError, NewerTermError, quoted_host
from services.planning.plan import StepKind
from services.sandbox.binaries import Mysqld
from services.topology.keys import InstanceKey
from services.topology.records import JournalPhase
from tests.conftest import MakeTopology
from tests.paused_leader import STATEMENT
from tests.proxies import Proxy
from tests.recovery_world import FakeMandate, World
from tests.servers import (
    Stage,
    StandaloneServer,
    general_log,
    start_general_log,
    wait_until,
    wait_until_async,
)

_CLOSED = ("SET GLOBAL super_read_only = 1",)
_TABLE = ("CREATE DATABASE IF NOT EXISTS d", "CREATE TABLE IF NOT EXISTS d.t (id INT PRIMARY KEY)")


class Countdown(FakeMandate):
    """A mandate that ends at a moment, as real ones do."""

    def __init__(self, term: int, seconds: float) -> None:
        super().__init__(term, seconds)
        self.ends_at = time.monotonic() + seconds

    def superseded(self, where: InstanceKey) -> None:
        return

    def remaining_seconds(self) -> float:
        return self.ends_at - time.monotonic()


@pytest.fixture(scope="module")
def the_server(mysqld: Mysqld) -> Iterator[StandaloneServer]:
    stage = Stage(mysqld)
    yield stage.server()
    stage.clear()


@pytest.fixture
def server(the_server: StandaloneServer) -> Iterator[StandaloneServer]:
    """Read-only, as a candidate is, with an empty general log that runs."""
    the_server.execute(*_CLOSED)
    start_general_log(the_server)
    yield the_server
    the_server.resume()


def _login(server: StandaloneServer) -> Login:
    return Login(server.user, server.password)


async def _session(
    server: StandaloneServer, term: int = 7, seconds: float = 30.0, key: InstanceKey | None = None
) -> ActingSession:
    return await ActingSession.open(key or server.key, _login(server), Countdown(term, seconds))


@pytest.fixture
async def opened() -> AsyncIterator[list[ActingSession]]:
    """Sessions that the end of the test closes."""
    sessions: list[ActingSession] = []
    yield sessions
    for session in sessions:
        await session.close()


def _is_closed(server: StandaloneServer) -> bool:
    return (server.variable("read_only"), server.variable("super_read_only")) == ("1", "1")


# Terms


async def test_a_newer_term_ends_the_session_of_an_older_one(
    server: StandaloneServer, opened: list[ActingSession]
) -> None:
    old = await _session(server, term=7)
    opened.append(old)
    await old.act("SET GLOBAL max_connections = 70", step="1")
    new = await _session(server, term=8)
    opened.append(new)
    with pytest.raises(LostError):
        await old.act("SET GLOBAL max_connections = 71", step="2")
    with pytest.raises(NewerTermError, match="a newer term than 7"):
        await _session(server, term=7)
    await new.act("SET GLOBAL max_connections = 80", step="1")
    assert server.variable("max_connections") == "80"
    assert not general_log(server, "max_connections = 71")


async def test_a_term_may_take_its_own_place_again(
    server: StandaloneServer, opened: list[ActingSession]
) -> None:
    """A session can be lost for reasons of its own; the term goes on."""
    first = await _session(server)
    opened.append(first)
    second = await _session(server)
    opened.append(second)
    await second.act("SET GLOBAL max_connections = 72", step="1")
    assert server.variable("max_connections") == "72"


async def test_a_newer_term_ends_what_still_waits_beside_the_session_of_an_older_one(
    server: StandaloneServer, opened: list[ActingSession]
) -> None:
    old = await _session(server, term=7)
    beside = await old.beside()
    opened += [old, beside]
    waiting = asyncio.ensure_future(beside.act("DO SLEEP(30)", step="1", timeout=20))
    await wait_until_async(lambda: general_log(server, "SLEEP(30)"))
    with pytest.raises(StatementError, match="still waits there"):
        await old.beside()
    await old.act("SET GLOBAL max_connections = 81", step="2")
    opened.append(await _session(server, term=8))
    with pytest.raises(LostError):
        await asyncio.wait_for(waiting, 10)
    assert server.variable("max_connections") == "81"


async def test_a_session_beside_does_nothing_once_the_other_has_lost_its_lock(
    server: StandaloneServer, opened: list[ActingSession]
) -> None:
    session = await _session(server)
    beside = await session.beside()
    opened += [session, beside]
    await beside.act("SET GLOBAL max_connections = 82", step="1")
    await session.read("SELECT RELEASE_ALL_LOCKS() AS released")
    with pytest.raises(MandateOverError, match="guard stopped"):
        await beside.act("SET GLOBAL max_connections = 83", step="2")
    assert server.variable("max_connections") == "82"


async def test_setups_do_not_fence_each_other(server: StandaloneServer, opened: list[ActingSession]) -> None:
    ours = await _session(server, term=7)
    opened.append(ours)
    other = FakeMandate(term=99)
    other.setup = "another"
    opened.append(await ActingSession.open(server.key, _login(server), other))
    await ours.act("SET GLOBAL max_connections = 73", step="1")
    assert server.variable("max_connections") == "73"


async def test_without_the_lock_nothing_is_done(
    server: StandaloneServer, opened: list[ActingSession]
) -> None:
    """Should a term lose its lock and not its session, the guard in front of the statement stops it."""
    session = await _session(server)
    opened.append(session)
    await session.read("SELECT RELEASE_ALL_LOCKS() AS released")
    with pytest.raises(MandateOverError, match="guard stopped"):
        await session.act("SET GLOBAL max_connections = 74", step="1")
    assert server.variable("max_connections") != "74"


async def test_a_term_that_has_ended_does_not_even_connect(server: StandaloneServer) -> None:
    with pytest.raises(MandateOverError):
        await _session(server, seconds=-0.1)
    assert not general_log(server, "orchestray:")


# Deadlines


async def test_a_statement_that_arrives_after_the_deadline_is_not_executed(
    server: StandaloneServer, opened: list[ActingSession]
) -> None:
    async with Proxy(server.key) as proxy:
        session = await _session(server, seconds=0.5, key=proxy.key)
        opened.append(session)
        await session.act("SET GLOBAL max_connections = 75", step="1")
        proxy.hold()
        acting = asyncio.ensure_future(session.act("SET GLOBAL max_connections = 76", step="2", timeout=5))
        await wait_until_async(lambda: session._mandate.remaining_seconds() < -0.1)
        proxy.let_go()
        with pytest.raises(MandateOverError, match="guard stopped step 2"):
            await acting
    assert server.variable("max_connections") == "75"


async def test_an_opening_that_arrives_after_the_deadline_opens_nothing(
    server: StandaloneServer, opened: list[ActingSession]
) -> None:
    async with Proxy(server.key) as proxy:
        session = await _session(server, seconds=0.6, key=proxy.key)
        opened.append(session)
        _before_the_opening(session, proxy.hold)
        opening = asyncio.ensure_future(session.set_writable(step="3", timeout=5))
        await wait_until_async(lambda: session._mandate.remaining_seconds() < -0.1)
        proxy.let_go()
        with pytest.raises(MandateOverError):
            await opening
    assert _is_closed(server)
    assert general_log(server, "DO IF("), "it did arrive"


def _before_the_opening(session: ActingSession, hook: Callable[[], None]) -> None:
    """Run ``hook`` after the last check and before the opening statement is sent."""
    query = session._connection.query

    async def hooked(sql: str, *, timeout: float) -> list[list[Row]]:
        if "SET GLOBAL read_only" in sql:
            hook()
        return await query(sql, timeout=timeout)

    session._connection.query = hooked  # type: ignore[method-assign]


async def test_an_opening_that_waited_on_the_server_until_after_its_deadline_opens_nothing(
    server: StandaloneServer, opened: list[ActingSession]
) -> None:
    """The statement carries the deadline itself: run without its guard and too late, it changes nothing."""
    session = await _session(server, seconds=0.5)
    opened.append(session)
    await session.set_writable(step="3")
    assert not _is_closed(server)
    (statement,) = (entry.text for entry in general_log(server, "SET GLOBAL read_only = IF"))
    server.execute(*_CLOSED)
    await wait_until_async(lambda: session._mandate.remaining_seconds() < 0)
    server.execute("SET SESSION time_zone = '+00:00'", statement)
    assert _is_closed(server)


@pytest.mark.parametrize(
    "lock",
    ["FLUSH TABLES WITH READ LOCK", "LOCK INSTANCE FOR BACKUP", "START TRANSACTION WITH CONSISTENT SNAPSHOT"],
)
async def test_no_lock_of_others_holds_an_opening_up(
    server: StandaloneServer, opened: list[ActingSession], lock: str
) -> None:
    session = await _session(server)
    opened.append(session)
    with server.root() as other, other.cursor() as cursor:
        cursor.execute(lock)
        await session.set_writable(step="3", timeout=1.0)
    assert server.variable("read_only") == server.variable("super_read_only") == "0"


async def test_a_closing_that_waits_behind_a_lock_gives_up_in_time(
    server: StandaloneServer, opened: list[ActingSession]
) -> None:
    """The server's answer names the lock, within the statement's own time-out, and nothing happens later."""
    session = await _session(server)
    opened.append(session)
    await session.set_writable(step="3")
    server.execute(*_TABLE)
    with server.root() as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLES d.t WRITE")
        began = time.monotonic()
        with pytest.raises(StatementError) as refused:
            await session.set_read_only(step="4")
        assert refused.value.errno == 1205
        assert time.monotonic() - began < 1.5
    assert server.variable("super_read_only") == "0"
    await session.set_read_only(step="5")
    assert _is_closed(server)


async def test_a_statement_behind_a_metadata_lock_gives_up_in_time(
    server: StandaloneServer, opened: list[ActingSession]
) -> None:
    session = await _session(server)
    opened.append(session)
    await session.set_writable(step="3")
    server.execute(*_TABLE)
    with server.root() as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLES d.t READ")
        with pytest.raises(StatementError) as refused:
            await session.act("DROP TABLE d.t", step="4")
        assert refused.value.errno == 1205
    assert server.query("SHOW TABLES FROM d LIKE 't'")


async def test_a_server_that_hangs_with_the_opening_and_wakes_after_the_deadline_stays_closed(
    server: StandaloneServer, opened: list[ActingSession]
) -> None:
    session = await _session(server, seconds=0.8)
    opened.append(session)
    _before_the_opening(session, server.pause)
    with pytest.raises(LostError):
        await session.set_writable(step="3", timeout=0.3)
    await wait_until_async(lambda: session._mandate.remaining_seconds() < 0)
    server.resume()
    wait_until(lambda: general_log(server, "DO IF("), describe="the packet is read after all")
    wait_until(lambda: not _sessions_of(server), describe="and its session ends")
    assert _is_closed(server)
    assert not general_log(server, "SET GLOBAL read_only")


def _sessions_of(server: StandaloneServer) -> list[int]:
    rows = server.query(
        "SELECT ID AS id FROM information_schema.processlist WHERE USER = %s", (StandaloneServer.user,)
    )
    return [int(row["id"]) for row in rows]


# A paused Leader


@pytest.mark.parametrize("order", ["act", "freeze"])
def test_a_leader_that_was_stopped_and_goes_on_does_nothing(server: StandaloneServer, order: str) -> None:
    """Stopped while it holds an idle session, or between the last check and the sending of the statement."""
    given = {"port": server.port, "user": server.user, "password": server.password, "term": 7}
    command = [sys.executable, "-m", "tests.paused_leader", json.dumps(given)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as leader:
        try:
            assert leader.stdin is not None
            assert leader.stdout is not None
            word, thread_id = leader.stdout.readline().split()
            assert word == "ready"
            if order == "freeze":
                leader.stdin.write("freeze\n")
                leader.stdin.flush()
            else:
                leader.send_signal(signal.SIGSTOP)
            wait_until(lambda: int(thread_id) not in _sessions_of(server), 5, "its session ends by itself")
            leader.send_signal(signal.SIGCONT)
            said, _ = leader.communicate(None if order == "freeze" else "act\n", timeout=10)
        finally:
            leader.kill()
    assert said.startswith("LostError"), said
    assert not general_log(server, STATEMENT)
    assert server.variable("max_connections") != "77"


async def test_a_living_session_is_kept_alive(server: StandaloneServer, opened: list[ActingSession]) -> None:
    session = await _session(server)
    opened.append(session)
    await asyncio.sleep(3.2)  # three times its wait_timeout
    await session.act("SET GLOBAL max_connections = 78", step="1")
    assert server.variable("max_connections") == "78"


# What a recovery leaves in the log


_HARMLESS = re.compile(
    r"(SELECT|SHOW|DO IF|SET NAMES|SET AUTOCOMMIT|SET SESSION wait_timeout)\b",
    re.IGNORECASE,
)


async def test_every_changing_statement_says_which_term_and_step_it_belongs_to(
    make_topology: MakeTopology,
) -> None:
    world = World(make_topology(replicas=2))
    world.create_table()
    world.write(1)
    await world.look()
    world.master.kill()
    for server in world.replicas:
        start_general_log(server)
    outcome = await world.recover()
    world.assert_sound(outcome)
    changed: list[str] = []
    for server in world.replicas:
        user = world.topology.accounts.orchestray.user
        logins = {
            entry.connection_id for entry in general_log(server, f"{user}@") if entry.command == "Connect"
        }
        sent = [entry for entry in general_log(server) if entry.connection_id in logins]
        texts = [entry.text for entry in sent if entry.command == "Query"]
        changing = [text for text in texts if not _HARMLESS.match(text)]
        assert changing
        assert all(re.match(r"/\* orchestray term=7 step=\d+ \*/ ", text) for text in changing), changing
        for place, text in enumerate(texts):
            if text in changing:
                assert texts[place - 1].startswith("DO IF(SYSDATE(6) < "), "each stands behind its guard"
        changed += changing
    assert any("SET GLOBAL read_only = IF(SYSDATE(6) < " in text for text in changed)
    assert any("CHANGE REPLICATION SOURCE" in text for text in changed)


# A candidate that hangs when it is to be opened


async def test_a_candidate_that_hangs_at_its_opening_and_wakes_gets_no_rival_and_is_none(
    make_topology: MakeTopology, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_master, "_RESUME_PATIENCE_SECONDS", 0.3)
    world = World(make_topology(replicas=2))
    world.create_table()
    world.write(1)
    await world.look()
    chosen = world.replicas[0]
    world.register(chosen, promotion_rule="must")
    world.master.kill()
    before = world.state()

    async def hang() -> None:
        chosen.pause()

    world.journal.at(StepKind.OPEN, JournalPhase.INTENT, hang)
    with pytest.raises(RecoveryInterruptedError, match="is not known"):
        await world.recover()
    with pytest.raises(RecoveryInterruptedError, match="does not say whether it is"):
        await world.resume(FakeMandate(term=8))
    assert world.replicas[1].variable("read_only") == "1", "it may wake up open: there is no second one"
    chosen.resume()
    outcome = await world.resume(FakeMandate(term=9))
    assert not outcome.succeeded
    assert world.writable() == []
    assert world.state() == before
    world.journal.entries.clear()
    world.assert_sound(await world.recover(), rows=(1,))


async def test_a_candidate_that_dies_at_its_opening_counts_as_gone(
    make_topology: MakeTopology, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_master, "_RESUME_PATIENCE_SECONDS", 0.3)
    world = World(make_topology(replicas=2))
    await world.look()
    chosen = world.replicas[0]
    world.register(chosen, promotion_rule="must")
    world.master.kill()

    async def die() -> None:
        await asyncio.to_thread(chosen.kill)

    world.journal.at(StepKind.OPEN, JournalPhase.INTENT, die)
    with pytest.raises(RecoveryInterruptedError):
        await world.recover()
    outcome = await world.resume(FakeMandate(term=8))
    assert not outcome.succeeded
    assert any("is gone" in line for line in world.journal.said)
    assert world.writable() == []


@pytest.mark.parametrize("name", ["a'b", "a b", "", "a;b", "a\nb", "x" * 256])
def test_a_host_name_that_is_none_never_reaches_a_statement(name: str) -> None:
    with pytest.raises(ValueError, match="is not a host name"):
        quoted_host(name)
