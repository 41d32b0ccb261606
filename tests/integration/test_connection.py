"""Every kind of bad server: shown as what it is, within its time-out, and at nobody else's expense."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from typing import Any

import pytest

from services.mysql.classification import ClassifyingQueries
from services.mysql.connection import Connection, Login, TlsFiles
from services.mysql.errors import ConnectError, LostError, MySQLError, StatementError
from services.mysql.poll import PartialPollError, PolledServer
from services.mysql.questions import Question, Topic
from services.mysql.watcher import Watcher, WatchPolicy
from services.sandbox.binaries import Mysqld
from services.sandbox.ports import free_port
from services.topology.instance import CheckOutcome, Observation
from services.topology.keys import InstanceKey
from tests.conftest import MakeTopology
from tests.proxies import Proxy, bad_server
from tests.servers import Stage, StandaloneServer, connect, wait_until, wait_until_async

QUICK = WatchPolicy(poll=0.2, heartbeat=0.2, connect_timeout=0.5, read_timeout=0.8)
_GREETING = b"\xff\xff\xff\x00\x0a" + b"9.7.0-a-server-with-very-much-to-say "
"""A greeting that announces 16 MB."""


@pytest.fixture(scope="module")
def server(mysqld: Mysqld) -> Iterator[StandaloneServer]:
    stage = Stage(mysqld)
    yield stage.server()
    stage.clear()


@pytest.fixture
def login(server: StandaloneServer) -> Login:
    return Login(server.user, server.password)


@dataclass
class Watched:
    """A watcher and what it reported, with when."""

    watcher: Watcher
    seen: list[tuple[float, Observation]] = field(default_factory=list)

    @property
    def outcomes(self) -> list[CheckOutcome]:
        return [observation.outcome for _, observation in self.seen]

    async def first(self, *outcomes: CheckOutcome, timeout: float = 5.0) -> Observation:
        def found() -> Observation | None:
            return next((one for _, one in self.seen if one.outcome in outcomes), None)

        return await wait_until_async(found, timeout, lambda: f"{outcomes}; seen: {self.seen}")


class Watching:
    """Watchers in this event loop, stopped at the end of the test."""

    def __init__(self) -> None:
        self.all: list[Watched] = []

    def watch(self, key: InstanceKey, login: Login, policy: WatchPolicy = QUICK) -> Watched:
        seen: list[tuple[float, Observation]] = []
        watcher = Watcher(key, login, policy, lambda one: seen.append((time.monotonic(), one)))
        watched = Watched(watcher, seen)
        self.all.append(watched)
        watcher.start()
        return watched


@pytest.fixture
async def watching() -> AsyncIterator[Watching]:
    watching = Watching()
    yield watching
    for watched in watching.all:
        await watched.watcher.stop()


async def _refusal(key: InstanceKey, login: Login, timeout: float = 0.5) -> ConnectError:
    """How a connection fails, within its time-out."""
    began = time.monotonic()
    with pytest.raises(ConnectError) as failed:
        await Connection.open(key, login, timeout=timeout)
    assert time.monotonic() - began < timeout + 0.4, "beyond its time-out"
    assert str(failed.value).startswith(f"{key}: ")
    return failed.value


# One connection


async def _say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def _speak_http_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
    await writer.drain()
    await asyncio.Event().wait()


async def _stop_in_the_greeting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_GREETING[:12])
    await writer.drain()
    await asyncio.Event().wait()


async def _close_in_the_greeting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_GREETING[:12])
    await writer.drain()
    writer.close()


async def _close_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def _dribble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        for byte in _GREETING:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.2)


BAD = {
    "says nothing": (_say_nothing, CheckOutcome.SILENT, "accepted the connection and said nothing for"),
    "speaks HTTP at once": (_speak_http_at_once, CheckOutcome.NOT_MYSQL, "it speaks HTTP"),
    "stops in the greeting": (_stop_in_the_greeting, CheckOutcome.STALLED, "no handshake within"),
    "closes in the greeting": (_close_in_the_greeting, CheckOutcome.LOST, "Lost connection"),
    "closes at once": (_close_at_once, CheckOutcome.LOST, "closed the connection without a greeting"),
    "dribbles": (_dribble, CheckOutcome.STALLED, "no handshake within"),
}


@pytest.mark.parametrize("kind", BAD)
async def test_a_bad_server_is_called_what_it_is_in_time(kind: str, login: Login) -> None:
    serve, outcome, text = BAD[kind]
    async with bad_server(serve) as key:
        error = await _refusal(key, login)
    assert error.outcome is outcome
    assert text in str(error)


async def test_a_name_that_does_not_resolve(login: Login) -> None:
    error = await _refusal(InstanceKey("no-such-host.invalid", 3306), login)
    assert error.outcome is CheckOutcome.UNRESOLVED
    assert "'no-such-host.invalid'" in str(error)


@pytest.mark.parametrize("name", ["x" * 300, "a..b", "\udcff"])
async def test_a_name_that_no_host_has(name: str, login: Login) -> None:
    assert (await _refusal(InstanceKey(name, 3306), login)).outcome is CheckOutcome.UNRESOLVED


async def test_a_port_at_which_nobody_listens(login: Login) -> None:
    error = await _refusal(InstanceKey("127.0.0.1", free_port()), login)
    assert error.outcome is CheckOutcome.REFUSED
    assert "nothing listens there" in str(error)


async def test_a_paused_server_is_silent(stage: Stage) -> None:
    server = stage.server()
    server.pause()
    error = await _refusal(server.key, Login(server.user, server.password))
    assert error.outcome is CheckOutcome.SILENT


async def test_wrong_credentials(server: StandaloneServer) -> None:
    error = await _refusal(server.key, Login(server.user, "hunter2"), timeout=2)
    assert (error.outcome, error.errno) == (CheckOutcome.DENIED, 1045)
    assert "check MySQLTopologyUser and MySQLTopologyPassword" in str(error)
    assert "hunter2" not in str(error)


async def test_a_locked_account(server: StandaloneServer) -> None:
    server.execute("CREATE USER IF NOT EXISTS shut@'%' IDENTIFIED BY 'x' ACCOUNT LOCK")
    error = await _refusal(server.key, Login("shut", "x"), timeout=2)
    assert (error.outcome, error.errno) == (CheckOutcome.DENIED, 3118)
    assert "ACCOUNT UNLOCK" in str(error)


async def test_a_full_server_is_alive(server: StandaloneServer) -> None:
    server.execute("CREATE USER IF NOT EXISTS plain@'%' IDENTIFIED BY 'x'")
    with server.root() as keeper, keeper.cursor() as cursor, contextlib.ExitStack() as others:
        cursor.execute("SET GLOBAL max_connections = 1")
        others.callback(cursor.execute, "SET GLOBAL max_connections = DEFAULT")

        def is_full() -> Any:
            try:
                others.enter_context(connect(server, server.account))
            except Exception as error:  # PyMySQL's
                return error
            return None

        wait_until(is_full)
        error = await _refusal(server.key, Login("plain", "x"), timeout=2)
    assert (error.outcome, error.errno) == (CheckOutcome.REJECTED, 1040)
    assert error.outcome.is_answer
    assert "raise max_connections" in str(error)


async def test_a_user_with_too_many_sessions_is_rejected_by_a_living_server(
    server: StandaloneServer,
) -> None:
    server.execute("CREATE USER IF NOT EXISTS one@'%' IDENTIFIED BY 'x' WITH MAX_USER_CONNECTIONS 1")
    first = await Connection.open(server.key, Login("one", "x"), timeout=2)
    error = await _refusal(server.key, Login("one", "x"), timeout=2)
    await first.close()
    assert error.outcome is CheckOutcome.REJECTED
    assert "max_user_connections" in str(error)


async def test_garbage_is_an_error_of_ours_whatever_it_is(login: Login) -> None:
    """Greetings with sound headers and nonsense in them: no other exception, and not beyond the time-out."""
    for seed in range(60):
        noise = random.Random(seed)
        body = bytes([0x0A]) + noise.randbytes(noise.choice([0, 3, 40, 90]))
        packet = len(body).to_bytes(3, "little") + b"\x00" + body

        async def speak(
            reader: asyncio.StreamReader,
            writer: asyncio.StreamWriter,
            packet: bytes = packet,
            noise: random.Random = noise,
        ) -> None:
            writer.write(packet + noise.randbytes(30))
            await writer.drain()
            await reader.read(10)
            writer.close()

        async with bad_server(speak) as key:
            await _refusal(key, login)


async def test_garbage_in_a_reply_is_an_error_of_ours(server: StandaloneServer, login: Login) -> None:
    for seed in range(60):
        noise = random.Random(seed)

        async def spoil(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter, noise: random.Random = noise
        ) -> None:
            there, back = await asyncio.open_connection(server.host, server.port)
            asking = False

            async def replies() -> None:
                while data := bytearray(await there.read(65536)):
                    if asking and len(data) > 12:
                        for _ in range(3):
                            data[noise.randrange(5, len(data))] = noise.randrange(256)
                    writer.write(bytes(data))
                writer.close()

            passing = asyncio.ensure_future(replies())
            try:
                while data := await reader.read(65536):
                    asking = asking or b"@@version" in data
                    back.write(data)
            finally:
                passing.cancel()
                back.transport.abort()

        async with bad_server(spoil) as key:
            connection = await Connection.open(key, login, timeout=2)
            sql = "SELECT @@version AS v, 1 AS a; SHOW GLOBAL VARIABLES LIKE 'r%'"
            with contextlib.suppress(MySQLError):
                await connection.query(sql, timeout=0.3)
            connection.abort()


# One operation


async def test_an_operation_ends_at_its_time_out_and_closes_the_connection(
    server: StandaloneServer, login: Login
) -> None:
    connection = await Connection.open(server.key, login, timeout=2)
    began = time.monotonic()
    with pytest.raises(LostError, match=r"no answer within 0\.2 s") as lost:
        await connection.query("SELECT SLEEP(20)", timeout=0.2)
    assert time.monotonic() - began < 0.6
    assert lost.value.timed_out
    assert lost.value.outcome is CheckOutcome.STALLED
    assert connection.closed
    with pytest.raises(LostError):
        await connection.query("SELECT 1", timeout=1)


@pytest.mark.parametrize(("cuts", "outcome"), [(False, CheckOutcome.STALLED), (True, CheckOutcome.LOST)])
async def test_a_server_that_stops_in_the_middle_of_a_reply(
    server: StandaloneServer, login: Login, cuts: bool, outcome: CheckOutcome
) -> None:
    async with Proxy(server.key) as proxy:
        polled = await PolledServer.connect(proxy.key, login, timeout=2)
        assert (await polled.poll(timeout=2)).server_uuid
        proxy.end_replies(after=100, cuts=cuts)
        began = time.monotonic()
        with pytest.raises(LostError) as lost:
            await polled.poll(timeout=0.5)
        assert time.monotonic() - began < 0.9
        assert lost.value.outcome is outcome


async def test_a_server_that_dribbles_its_reply(server: StandaloneServer, login: Login) -> None:
    async with Proxy(server.key) as proxy:
        polled = await PolledServer.connect(proxy.key, login, timeout=2)
        proxy.dribble(0.05)
        began = time.monotonic()
        with pytest.raises(LostError) as lost:
            await polled.poll(timeout=0.5)
        assert time.monotonic() - began < 0.9
        assert lost.value.timed_out


async def test_an_error_packet_leaves_the_connection_usable(server: StandaloneServer, login: Login) -> None:
    connection = await Connection.open(server.key, login, timeout=2)
    with pytest.raises(StatementError) as refused:
        await connection.query("SELECT 1; SELECT nonsense; SELECT 3", timeout=2)
    assert refused.value.errno == 1054
    assert await connection.query("SELECT 1 AS a; SELECT 2 AS b", timeout=2) == [[{"a": 1}], [{"b": 2}]]
    await connection.close()


async def test_a_session_that_the_server_ended_is_lost(server: StandaloneServer, login: Login) -> None:
    connection = await Connection.open(server.key, login, timeout=2)
    server.execute(f"KILL {connection.thread_id}")
    with pytest.raises(LostError) as lost:
        await connection.query("SELECT 1", timeout=2)
    assert not lost.value.timed_out


async def test_connections_are_kept_no_longer_than_their_lifetime(
    server: StandaloneServer, login: Login
) -> None:
    seen: list[Observation] = []
    queries = ClassifyingQueries(data_center="SELECT 'east'")
    policy = WatchPolicy(poll=0.1, lifetime=0.3, queries=queries)
    watcher = Watcher(server.key, login, policy, seen.append)
    kept: set[tuple[int, int]] = set()

    def several() -> bool:
        of_polls, of_queries = watcher._server, watcher._classifier._connection
        if of_polls is not None and of_queries is not None:
            kept.add((of_polls.connection.thread_id, of_queries.thread_id))
        return all(len({pair[which] for pair in kept}) >= 3 for which in (0, 1))

    watcher.start()
    try:
        await wait_until_async(several)
        polls = len(seen)
    finally:
        await watcher.stop()
    assert {one.outcome for one in seen} == {CheckOutcome.OK}
    assert polls > len(kept), "nor thrown away before"


# TLS


async def test_an_account_that_demands_tls_gets_it_and_a_wrong_password_is_told_as_such(
    server: StandaloneServer,
) -> None:
    """Such an account is refused with 1045, as if the password were wrong."""
    server.execute("CREATE USER secure@'%' IDENTIFIED BY 'x' REQUIRE SSL")
    try:
        error = await _refusal(server.key, Login("secure", "x"), timeout=5)
        assert (error.outcome, error.errno) == (CheckOutcome.DENIED, 1045)
        mixed = Login("secure", "x", tls=TlsFiles(verify=False))
        connection = await Connection.open(server.key, mixed, timeout=5)
        ((row,),) = await connection.query("SHOW SESSION STATUS LIKE 'Ssl_cipher'", timeout=5)
        assert row["Value"]
        await connection.close()
        for files in (TlsFiles(verify=False), TlsFiles(ca="/no/such/file.pem")):
            wrong = Login("secure", "y", tls=files)
            error = await _refusal(server.key, wrong, timeout=5)
            assert (error.outcome, error.errno) == (CheckOutcome.DENIED, 1045)
    finally:
        server.execute("DROP USER secure@'%'")


@pytest.mark.parametrize("always", [True, False])
async def test_tls_is_spoken_always_or_where_the_server_demands_it(
    server: StandaloneServer, login: Login, always: bool
) -> None:
    tls = Login(login.user, login.password, tls=TlsFiles(verify=False), tls_always=always)

    async def cipher() -> str:
        connection = await Connection.open(server.key, tls, timeout=5)
        rows = await connection.query("SHOW SESSION STATUS LIKE 'Ssl_cipher'", timeout=2)
        await connection.close()
        return str(rows[0][0]["Value"])

    assert bool(await cipher()) is always
    server.execute("SET GLOBAL require_secure_transport = ON")
    try:
        assert await cipher()
        if not always:
            error = await _refusal(server.key, login, timeout=2)
            assert (error.outcome, error.errno) == (CheckOutcome.DENIED, 3159)
            assert "MySQLTopologyUseMixedTLS" in str(error)
    finally:
        server.execute("SET GLOBAL require_secure_transport = OFF")


async def test_an_unknown_certificate_is_no_connection(server: StandaloneServer, login: Login) -> None:
    other = server.data_directory / "client-cert.pem"  # not the authority that signed the server's
    tls = Login(login.user, login.password, tls=TlsFiles(ca=str(other)), tls_always=True)
    error = await _refusal(server.key, tls, timeout=5)
    assert not error.outcome.is_answer
    assert "certificate" in str(error).lower()


# Polls


@pytest.mark.parametrize(
    ("grants", "missing", "basics"),
    [
        ("PROCESS, REPLICATION SLAVE", ("SHOW REPLICA STATUS", "REPLICATION CLIENT"), True),
        ("PROCESS, REPLICATION CLIENT", ("SHOW REPLICAS", "REPLICATION SLAVE"), True),
        ("REPLICATION SLAVE", ("SHOW REPLICA STATUS", "SHOW BINARY LOG STATUS"), True),
    ],
)
async def test_a_missing_privilege_is_named(
    server: StandaloneServer, watching: Watching, grants: str, missing: tuple[str, ...], basics: bool
) -> None:
    server.execute(
        "DROP USER IF EXISTS poor@'%'",
        "CREATE USER poor@'%' IDENTIFIED BY 'x'",
        f"GRANT {grants} ON *.* TO poor@'%'",
    )
    polled = await PolledServer.connect(server.key, Login("poor", "x"), timeout=2)
    with pytest.raises(PartialPollError) as partial:
        await polled.poll(timeout=2)
    await polled.connection.close()
    assert all(name in str(partial.value) for name in missing)
    assert "privilege" in str(partial.value)
    assert partial.value.basics_read is basics
    watched = watching.watch(server.key, Login("poor", "x"))
    observation = await watched.first(CheckOutcome.FAILED)
    assert observation.partial_success
    assert observation.instance is None
    assert missing[0] in observation.error


async def test_a_poll_is_one_round_trip(server: StandaloneServer, login: Login) -> None:
    polled = await PolledServer.connect(server.key, login, timeout=2)
    before = server.status("Bytes_received")
    assert before
    sent: list[str] = []
    query = polled.connection.query

    async def counted(sql: str, *, timeout: float) -> Any:
        sent.append(sql)
        return await query(sql, timeout=timeout)

    polled.connection.query = counted  # type: ignore[method-assign]
    instance = await polled.poll(timeout=2)
    await polled.connection.close()
    assert len(sent) == 1
    assert (instance.key, instance.server_uuid) == (server.key, server.variable("server_uuid"))
    assert instance.gtid_mode == "ON"


# Watchers


async def test_bad_servers_delay_nobody(server: StandaloneServer, login: Login, watching: Watching) -> None:
    """All of them at once, in one event loop with a good one that is polled each 0.2 s."""
    good = watching.watch(server.key, login)
    await good.first(CheckOutcome.OK)
    wanted: list[tuple[str, Watched, CheckOutcome]] = []
    async with AsyncExitStack() as stack:
        http = stack.enter_context(_http_server())
        for kind, (serve, outcome, _) in BAD.items():
            key = await stack.enter_async_context(bad_server(serve))
            wanted.append((kind, watching.watch(key, login), outcome))
        proxy = await stack.enter_async_context(Proxy(server.key))
        proxy.dribble(0.2)
        others = {
            "waits for an HTTP request": (http, login, CheckOutcome.NOT_MYSQL),
            "dribbles as a proxy": (proxy.key, login, CheckOutcome.STALLED),
            "refuses": (InstanceKey("127.0.0.1", free_port()), login, CheckOutcome.REFUSED),
            "has no address": (InstanceKey("no-such-host.invalid", 3306), login, CheckOutcome.UNRESOLVED),
            "denies": (server.key, Login(server.user, "wrong"), CheckOutcome.DENIED),
        }
        for kind, (key, its_login, outcome) in others.items():
            wanted.append((kind, watching.watch(key, its_login), outcome))
        began = time.monotonic()
        for kind, watched, outcome in wanted:
            seen = await watched.first(*CheckOutcome, timeout=3)
            assert seen.outcome is outcome, f"one that {kind}: {seen}"
            assert watched.seen[0][0] - began < 1.5, f"one that {kind} took too long to be seen through"
        until = time.monotonic() + 1.5
        await wait_until_async(lambda: time.monotonic() > until, 5)
        times = [at for at, _ in good.seen if at > began]
        for kind, watched, outcome in wanted:
            assert set(watched.outcomes) == {outcome}, f"one that {kind}: {watched.outcomes}"
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert set(good.outcomes) == {CheckOutcome.OK}
    assert len(times) >= 4
    assert max(gaps) < 1.2, "its polls were late"


class _Handler(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def _http_server() -> Iterator[InstanceKey]:
    """Python's own: it waits for a request."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as http:
        http.daemon_threads = True
        http.block_on_close = False
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield InstanceKey("127.0.0.1", http.server_address[1])
        finally:
            http.shutdown()
            thread.join(5)


async def test_a_killed_server_is_noticed_at_once_and_answers_again(stage: Stage, watching: Watching) -> None:
    server = stage.server()
    login = Login(server.user, server.password)
    watched = watching.watch(server.key, login, WatchPolicy(poll=60.0, dead_factor=1.0))
    await watched.first(CheckOutcome.OK)
    await wait_until_async(lambda: watched.watcher._server is not None)
    killed_at = time.monotonic()
    server.signal_kill()
    await watched.first(CheckOutcome.REFUSED, CheckOutcome.LOST, timeout=2)
    noticed_at = next(at for at, one in watched.seen if one.outcome is not CheckOutcome.OK)
    assert noticed_at - killed_at < 0.5, "polls are each minute: it was the event that told"
    await watched.first(CheckOutcome.REFUSED, timeout=2)
    server.kill()
    watched.watcher.redial(True)
    watched.seen.clear()
    await asyncio.to_thread(server.start)
    await watched.first(CheckOutcome.OK, timeout=3)


async def test_an_event_is_noticed_under_tls_too(stage: Stage, watching: Watching) -> None:
    server = stage.server()
    login = Login(server.user, server.password, tls=TlsFiles(verify=False), tls_always=True)
    watched = watching.watch(server.key, login, WatchPolicy(poll=60.0))
    await watched.first(CheckOutcome.OK)
    server.signal_kill()
    await watched.first(CheckOutcome.REFUSED, CheckOutcome.LOST, timeout=1)


async def test_a_hung_master_is_noticed_by_its_ping(make_topology: MakeTopology, watching: Watching) -> None:
    """Who has replicas is pinged between polls; silence is what a fresh connection meets."""
    topology = make_topology(replicas=1)
    account = topology.accounts.orchestray
    policy = WatchPolicy(poll=60.0, heartbeat=0.2, connect_timeout=0.5)
    watched = watching.watch(topology.master.key, Login(account.user, account.password), policy)
    found = await watched.first(CheckOutcome.OK)
    assert found.instance is not None
    assert found.instance.replicas == (topology.replicas[0].key,)
    watched.seen.clear()
    topology.master.pause()
    paused_at = time.monotonic()
    await watched.first(CheckOutcome.SILENT, timeout=3)
    assert time.monotonic() - paused_at < 1.5
    topology.master.resume()
    watched.watcher.look()
    watched.seen.clear()
    await watched.first(CheckOutcome.OK, timeout=3)


async def test_a_poll_that_waits_is_told_from_a_server_that_is_silent(
    server: StandaloneServer, login: Login, watching: Watching
) -> None:
    """The poll hangs and a fresh connection succeeds: the server is slow, not dead."""
    async with Proxy(server.key) as proxy:
        policy = WatchPolicy(poll=0.1, heartbeat=0.1, connect_timeout=0.5, read_timeout=0.6)
        watched = watching.watch(proxy.key, login, policy)
        await watched.first(CheckOutcome.OK)
        polled = watched.watcher._server
        assert polled is not None
        polled._asked = (Question(Topic.VARIABLES, "DO SLEEP(3)", is_vital=True),)
        watched.seen.clear()
        seen = await watched.first(*CheckOutcome)
        assert seen.outcome is CheckOutcome.STALLED, "its own time-out, and no silence before"
        await watched.first(CheckOutcome.OK)


async def test_a_watcher_that_is_stopped_leaves_nothing(server: StandaloneServer, login: Login) -> None:
    watching = Watching()
    watched = watching.watch(server.key, login)
    await watched.first(CheckOutcome.OK)
    await watched.watcher.stop()
    count = len(watched.seen)
    mine = "SELECT COUNT(*) AS n FROM information_schema.processlist WHERE USER = %s"
    await wait_until_async(lambda: server.query(mine, (server.user,))[0]["n"] == 0)
    assert len(watched.seen) == count
