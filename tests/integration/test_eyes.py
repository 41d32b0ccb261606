"""The eyes of raft members on a real server: what one look finds, and what the acting one makes of all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from services.analysis import AnalysisPolicy, ReplicationAnalysis, Saw, analyze
from services.config import Settings, settings_for_demo
from services.execution.eyes import Eyes, answer_with, look
from services.execution.gates import ClusterView
from services.mysql.connection import Login
from services.sandbox.binaries import Mysqld
from services.sandbox.ports import free_port
from services.topology.instance import CheckOutcome, Instance, ThreadState
from services.topology.keys import InstanceKey
from services.topology.tree import TreePolicy, derive
from tests.proxies import Proxy
from tests.servers import Stage, StandaloneServer, wait_until_async

LOOK_SECONDS, ASK_SECONDS = 0.3, 0.5
SLACK = 0.4  # of a busy machine


@pytest.fixture(scope="module")
def server(mysqld: Mysqld) -> Iterator[StandaloneServer]:
    stage = Stage(mysqld)
    yield stage.server()
    stage.clear()


@pytest.fixture
def login(server: StandaloneServer) -> Login:
    return Login(server.user, server.password)


def nobody() -> InstanceKey:
    """An address at which nobody listens."""
    return InstanceKey("127.0.0.1", free_port())


# One look


async def test_a_server_that_answers_is_alive_whatever_it_says(
    server: StandaloneServer, login: Login
) -> None:
    assert (await look(server.key, [], login)).saw is Saw.ALIVE
    denied = await look(server.key, [], Login(server.user, "not the password"))
    assert (denied.outcome, denied.saw) == (CheckOutcome.DENIED, Saw.ALIVE)


async def test_who_reaches_a_replica_and_not_the_master_sees_it_dead(
    server: StandaloneServer, login: Login
) -> None:
    sight = await look(nobody(), [nobody(), server.key], login)
    assert (sight.outcome, sight.reached, sight.dialled) == (CheckOutcome.REFUSED, 1, 2)
    assert sight.saw is Saw.DEAD


async def test_who_reaches_nobody_is_blind(login: Login) -> None:
    assert (await look(nobody(), [nobody(), nobody()], login)).saw is Saw.BLIND


async def test_a_server_that_hangs_is_known_in_time(server: StandaloneServer, login: Login) -> None:
    server.pause()
    try:
        began = time.monotonic()
        sight = await look(server.key, [], login)
        assert time.monotonic() - began < LOOK_SECONDS + SLACK
    finally:
        server.resume()
    assert sight.outcome.is_unanswered
    assert sight.saw is Saw.DEAD


@pytest.mark.parametrize("question", [b"", b"[]", b"{}", b'{"ask": "look"}', b'{"ask": "something newer"}'])
async def test_a_question_that_is_none_is_not_answered(login: Login, question: bytes) -> None:
    with pytest.raises((ValueError, KeyError)):
        await answer_with(login, question)


# All of them


class Setup:
    """This node is a, its way to the master is a proxy; b and c have ways of their own."""

    def __init__(self, server: StandaloneServer, proxy: Proxy, login: Login, folder: Path) -> None:
        self.folder = folder
        self.master, self.replica, self.login = proxy.key, InstanceKey("127.0.0.1", 1), login
        self.ways: dict[str, InstanceKey | None] = {"b": server.key, "c": server.key}
        self.told: list[tuple[str, ...]] = []
        self.asked = 0
        self.wanted = True
        self.eyes = Eyes(
            frozenset("abc"), "a", self._ask, self._settings, lambda _, facts: self.told.append(facts)
        )

    def _settings(self) -> Settings:
        overrides = {
            "MySQLTopologyUser": self.login.user,
            "MySQLTopologyPassword": self.login.password,
            "RaftQuorumOfEyes": self.wanted,
        }
        return settings_for_demo(self.folder / "none.db", overrides=overrides).settings

    async def _ask(self, question: bytes, seconds: float, heard: Callable[[str, bytes], bool]) -> None:
        """Over raft it is ``RaftNode.ask``; b and c look where they are told to."""
        self.asked += 1
        there = f'"{self.master.hostname}", {self.master.port}'.encode()
        enough = asyncio.Event()

        async def answer(member: str, way: InstanceKey | None) -> None:
            if way is None:
                await asyncio.sleep(seconds)  # it says nothing in time
                return
            own = question.replace(there, f'"{way.hostname}", {way.port}'.encode())
            if heard(member, await answer_with(self.login, own)):
                enough.set()

        answers = asyncio.gather(*(answer(*each) for each in self.ways.items()))
        first = [asyncio.ensure_future(enough.wait()), answers]
        await asyncio.wait(first, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for each in first:
            each.cancel()
        await asyncio.gather(*first, return_exceptions=True)

    def view(self, outcome: CheckOutcome = CheckOutcome.REFUSED) -> ClusterView:
        """The master in trouble, seen from a, and no replica, so that nobody is blind."""
        now = time.monotonic()
        master = Instance(key=self.master, last_check_outcome=outcome, checked_at=now - 0.1, seen_at=now - 1)
        replica = Instance(
            key=self.replica,
            master_key=self.master,
            using_oracle_gtid=True,
            receiver_state=ThreadState.OTHER,
            last_io_errno=2003,
            last_check_outcome=CheckOutcome.OK,
            checked_at=now,
            seen_at=now,
        )
        topology = derive([master, replica], (), TreePolicy(), now)
        cluster = topology.cluster_of(self.master)
        assert cluster is not None
        disputed = {self.master: self.told[-1]} if self.told and self.told[-1] else {}
        found = analyze(topology, AnalysisPolicy(), now, disputed=disputed)
        view = ClusterView(cluster=cluster, instances=topology.instances_of(cluster), findings=found)
        return replace(view, instances=(topology.instances[self.master],))

    def finding(self, view: ClusterView) -> ReplicationAnalysis:
        return next(one for one in view.findings if one.analyzed_instance_key == self.master)


@pytest.fixture
async def setup(server: StandaloneServer, login: Login, tmp_path: Path) -> AsyncIterator[Setup]:
    async with Proxy(server.key) as proxy:
        proxy.cut()
        setup = Setup(server, proxy, login, tmp_path)
        yield setup
        await setup.eyes.stop()


async def test_a_master_that_only_this_one_misses_is_disputed_until_the_others_miss_it_too(
    setup: Setup,
) -> None:
    agreement = await setup.eyes.agree(setup.view(), setup.master)
    assert not agreement.is_dead
    (facts,) = setup.told
    assert [fact.split()[:3] for fact in facts] == [
        ["a", "says", "dead"],
        ["b", "says", "alive"],
        ["c", "says", "alive"],
    ]
    view = setup.view()
    assert setup.finding(view).analysis == "DisputedMaster"
    assert setup.eyes.why_not(setup.master)
    before = setup.asked
    setup.eyes.reconsider(view, setup.finding(view))
    await asyncio.sleep(0)
    assert setup.asked == before, "not before a second has passed"
    setup.ways["b"] = nobody()

    def settled() -> bool:
        setup.eyes.reconsider(setup.view(), setup.finding(view))
        return setup.told[-1] == ()

    await wait_until_async(settled, 5, "it is asked again, and b sees it dead by now")
    assert not setup.eyes.why_not(setup.master)
    agreed_before = setup.asked
    assert (await setup.eyes.agree(setup.view(), setup.master)).is_dead
    assert setup.asked == agreed_before, "that was a moment ago"


async def test_it_is_asked_again_after_one_two_and_four_seconds(setup: Setup) -> None:
    await setup.eyes.agree(setup.view(), setup.master)
    for expected in (1.0, 2.0, 4.0):
        dispute = setup.eyes._disputes[setup.master]
        assert dispute.pause == expected
        dispute.not_before = 0.0
        setup.eyes.reconsider(setup.view(), setup.finding(setup.view()))
        await wait_until_async(lambda dispute=dispute: setup.eyes._disputes[setup.master] is not dispute, 5)


async def test_members_are_asked_as_soon_as_the_master_is_in_doubt_and_once(setup: Setup) -> None:
    setup.ways = {"b": nobody(), "c": None}
    for _ in range(3):
        setup.eyes.expect(setup.view())
    await wait_until_async(lambda: setup.asked == 1, 2)
    agreement = await setup.eyes.agree(setup.view(), setup.master)
    assert agreement.is_dead
    assert setup.asked == 1
    assert "c did not answer" in agreement.facts
    setup.eyes.expect(setup.view(CheckOutcome.OK))
    setup.eyes.expect(setup.view())
    await wait_until_async(lambda: setup.asked == 2, 2, "it has answered meanwhile: another doubt")


async def test_who_does_not_answer_holds_nothing_up_beyond_half_a_second(setup: Setup) -> None:
    setup.ways = {"b": None, "c": None}
    began = time.monotonic()
    agreement = await setup.eyes.agree(setup.view(), setup.master)
    assert time.monotonic() - began < ASK_SECONDS + SLACK
    assert not agreement.is_dead
    assert agreement.facts[1:] == ("b did not answer", "c did not answer")


async def test_without_the_key_nobody_is_asked_and_a_dispute_ends(setup: Setup) -> None:
    await setup.eyes.agree(setup.view(), setup.master)
    setup.wanted = False
    view = setup.view()
    assert setup.finding(view).analysis == "DisputedMaster"
    setup.eyes.reconsider(view, setup.finding(view))
    assert setup.told[-1] == ()
    assert not setup.eyes.speak_on(setup.finding(setup.view()))
    asked = setup.asked
    setup.eyes.expect(setup.view())
    assert setup.asked == asked
