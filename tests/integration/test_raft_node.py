"""Three raft members, each a process on loopback: killed, stopped, cut off, with disks that fail."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sqlite3
import statistics
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.raft.config import Address, RaftConfig
from services.raft.errors import RaftConfigurationError
from services.sandbox.ports import free_port
from services.topology.keys import InstanceKey
from tests.proxies import Proxy
from tests.raft_members import SECRET, Member, Setup
from tests.servers import wait_until_async

pytestmark = pytest.mark.alone  # elections have their times


@pytest.fixture
async def setup(tmp_path: Path) -> AsyncIterator[Setup]:
    setup = Setup(tmp_path)
    await setup.start()
    try:
        await setup.leader()
        await setup.until(lambda states: not any(state["is_learner"] for state in states), "state")
        yield setup
    finally:
        await setup.stop()


async def test_a_killed_leader_is_replaced_and_nothing_acknowledged_is_lost(setup: Setup) -> None:
    """Median of five of at most 1.5 s from SIGKILL to another with the right to act (design, raft)."""
    took, acknowledged = [], []
    for number in range(5):
        leader = await setup.leader()
        for part in range(5):
            await leader.ask("propose", f"{number}.{part}")
            acknowledged.append(f"{number}.{part}")
        killed_at = time.monotonic()
        await leader.kill()
        await setup.leader()
        took.append(time.monotonic() - killed_at)
        await leader.start()
        await setup.until(
            lambda states: all(state["leader"] and not state["error"] for state in states), "state"
        )
    await setup.equal()
    for member in setup.members.values():
        assert [command for _, command in await member.ask("commands")] == acknowledged
    assert statistics.median(took) <= 1.5, took


async def test_all_killed_at_once_lose_nothing(setup: Setup) -> None:
    leader = await setup.leader()
    for number in range(20):
        await leader.ask("propose", str(number))
    for member in setup.members.values():
        member.signal(signal.SIGKILL)
    for member in setup.members.values():
        await member.kill()
    await setup.start()
    await setup.leader()
    await setup.equal()
    assert [command for _, command in await leader.ask("commands")] == [str(number) for number in range(20)]


async def test_a_stopped_leader_may_not_act_when_it_goes_on(setup: Setup) -> None:
    leader = await setup.leader()
    term, _, _ = await leader.ask("leadership")
    leader.signal(signal.SIGSTOP)
    successor = await setup.leader(besides=leader.name)
    newer, _, _ = await successor.ask("leadership")
    assert newer > term
    leader.signal(signal.SIGCONT)
    assert await leader.ask("leadership") is None, "its first answer: the clock went on"
    await setup.until(lambda states: all(state["leader"] == successor.name for state in states), "state")


async def test_a_leader_cut_off_stops_acting_before_another_begins(tmp_path: Path) -> None:
    """All that goes to or from A passes proxies, which then let nothing through."""
    setup = Setup(tmp_path)
    async with contextlib.AsyncExitStack() as stack:
        proxies: list[Proxy] = []

        async def between(sender: str, to: str) -> None:
            proxy = await stack.enter_async_context(Proxy(InstanceKey("127.0.0.1", setup.ports[to])))
            setup.members[sender].order["members"][to] = ["127.0.0.1", proxy.key.port]
            proxies.append(proxy)

        for sender, to in ("ab", "ac", "ba", "ca"):
            await between(sender, to)
        await setup.start()
        stack.push_async_callback(setup.stop)
        await setup.leader()
        a = setup.members["a"]
        for _ in range(20):
            if (leader := await setup.leader()) is a:
                break
            with contextlib.suppress(RuntimeError):
                await leader.ask("yield", "a")
        assert await a.ask("leadership")
        for proxy in proxies:
            proxy.cut()
        cut_off_at_most_until = 0.0
        with pytest.raises(RuntimeError, match=r"OutcomeUnknown|NotLeading"):
            await a.ask("propose", "never")
        while held := await a.ask("leadership"):
            cut_off_at_most_until = max(cut_off_at_most_until, held[1])
        successor = await setup.leader(besides="a")
        _, _, now = await successor.ask("leadership")
        assert now > cut_off_at_most_until
        await successor.ask("propose", "kept")
        for proxy in proxies:
            proxy.mend()
        await setup.equal()
        assert [command for _, command in await a.ask("commands")] == ["kept"]


async def test_a_handed_over_leadership_arrives(setup: Setup) -> None:
    leader = await setup.leader()
    successor = setup.others(leader)[0]
    await leader.ask("yield", successor.name)
    assert (await setup.leader()).name == successor.name
    await successor.ask("step_down")
    with pytest.raises(RuntimeError, match="NotLeadingError"):
        await successor.ask("propose", "x")
    await setup.leader()


async def test_a_command_that_fails_is_recorded_and_the_next_is_applied(setup: Setup) -> None:
    leader = await setup.leader()
    with pytest.raises(RuntimeError, match=r"CommandFailedError.*poison cannot be applied"):
        await leader.ask("propose", "poison")
    assert await leader.ask("propose", "good") == 1
    await setup.until(lambda states: all(state["failed_commands"] == 1 for state in states), "state")
    await setup.equal()


async def test_a_machine_that_cannot_work_now_leaves_nothing_out_and_does_not_lead(setup: Setup) -> None:
    leader = await setup.leader()
    await leader.ask("propose", "before")
    await leader.ask("hindrance", "no room")
    with pytest.raises(RuntimeError, match=r"OutcomeUnknown|NotLeading"):
        await leader.ask("propose", "meanwhile")
    assert (await leader.ask("state"))["error"] == "no room"
    assert await leader.ask("leadership") is None
    successor = await setup.leader(besides=leader.name)
    await successor.ask("propose", "after")
    for other in setup.others(successor):
        await other.ask("hindrance", "no room")
    await successor.ask("propose", "last")
    await successor.kill()
    until = time.monotonic() + 1.5  # longer than an election
    while time.monotonic() < until:
        for other in setup.others(successor):
            assert await other.ask("leadership") is None, "nobody who cannot apply leads"
    for other in setup.others(successor):
        await other.ask("hindrance", "")
    await setup.leader()
    await setup.equal()
    commands = [command for _, command in await leader.ask("commands")]
    assert commands == ["before", "meanwhile", "after", "last"]
    await successor.start()


@pytest.mark.parametrize(
    "what", ["defect", *(pytest.param(one, marks=pytest.mark.long) for one in ("memory", "os"))]
)
async def test_an_error_of_one_member_passes_nothing_over_there(setup: Setup, what: str) -> None:
    """It is no senseless command: others can apply it. The member says so, does not lead, and tries again."""
    leader = await setup.leader()
    broken = setup.others(leader)[0]
    await leader.ask("propose", "before")
    await broken.ask("broken", what)
    await leader.ask("propose", "while broken")
    await leader.ask("propose", "after")

    async def says_so() -> bool:
        return "cannot be applied here, and none after it" in (await broken.ask("state"))["error"]

    await wait_until_async(says_so, 5)
    assert (await broken.ask("state"))["failed_commands"] == 0
    await broken.ask("broken", "")
    await setup.until(lambda states: not any(one["error"] for one in states), "state")
    await setup.equal()
    commands = [command for _, command in await broken.ask("commands")]
    assert commands == ["before", "while broken", "after"]


async def test_leadership_is_not_handed_to_who_is_not_there(setup: Setup) -> None:
    leader = await setup.leader()
    held, gone = await leader.ask("leadership"), setup.others(leader)[0]
    await gone.kill()

    async def is_missed() -> bool:
        return not all(peer["connected"] for peer in await leader.ask("peers"))

    await wait_until_async(is_missed, 5)
    with pytest.raises(RuntimeError, match=f"{gone.name} is not reached and cannot lead now"):
        await leader.ask("yield", gone.name)
    assert (await leader.ask("leadership"))[0] == held[0], "it goes on in its term"
    await gone.start()


async def test_a_follower_refuses_and_names_the_leader(setup: Setup) -> None:
    leader = await setup.leader()
    with pytest.raises(RuntimeError, match=f"NotLeadingError: the raft leader is {leader.name}"):
        await setup.others(leader)[0].ask("propose", "x")


@pytest.mark.parametrize(
    "state",
    ["missing", pytest.param("empty", marks=pytest.mark.long), "corrupt", "corrupt vote", "another's"],
)
async def test_a_log_that_is_not_there_or_not_right(setup: Setup, state: str) -> None:
    """Never a vote out of it: missing or empty is a learner, which catches up; else an error and its mend."""
    leader = await setup.leader()
    for number in range(5):
        await leader.ask("propose", str(number))
    follower, other = setup.others(leader)
    await follower.kill()
    for file in follower.file.parent.glob("raft.db*"):
        if state == "missing":
            file.unlink()
        elif state == "empty":
            file.write_bytes(b"")
        elif state == "corrupt":
            file.write_bytes(b"this is no database" * 1000)
    if state == "corrupt vote":
        with contextlib.closing(sqlite3.connect(follower.file)) as connection, connection:
            connection.execute("UPDATE member SET voted_for = 'c', term = term + 7")
    if state == "another's":
        await other.kill()
        with contextlib.closing(sqlite3.connect(other.file)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        await other.start()
        for file in follower.file.parent.glob("raft.db*"):
            file.unlink()
        follower.file.write_bytes(other.file.read_bytes())
    await follower.start()
    if state not in ("missing", "empty"):
        said = {
            "corrupt": "corrupt",
            "corrupt vote": "checksum of its term",
            "another's": "belongs to the raft",
        }
        await setup.until(lambda states: any(said[state] in one["error"] for one in states), "state")
        error = (await follower.ask("state"))["error"]
        assert str(follower.file) in error
        assert "move the file" in error
        for file in follower.file.parent.glob("raft.db*"):
            file.unlink()  # the mend; it goes on by itself
    await setup.until(
        lambda states: not any(one["is_learner"] or one["error"] for one in states), "state", seconds=15
    )
    await setup.equal()
    await (await setup.leader()).kill()
    await setup.leader()  # the vote of who lost its disk is needed, and there


async def test_a_full_disk_stops_the_member_and_freeing_space_mends_it(setup: Setup) -> None:
    leader = await setup.leader()
    await leader.ask("propose", "before")
    await leader.ask("file_limit", _size_of_journal(leader.file))
    with pytest.raises(RuntimeError, match="OutcomeUnknownError"):
        await leader.ask("propose", "x" * 100_000)
    state = await leader.ask("state")
    assert str(leader.file) in state["error"]
    assert await leader.ask("leadership") is None
    successor = await setup.leader(besides=leader.name)
    await successor.ask("propose", "after")
    await leader.ask("file_limit", None)
    await setup.until(lambda states: not any(one["error"] for one in states), "state")
    await setup.equal()


def _size_of_journal(file: Path) -> int:
    return file.with_name(f"{file.name}-wal").stat().st_size


async def test_a_second_process_on_one_log_takes_no_part(setup: Setup, tmp_path: Path) -> None:
    first = setup.members["a"]
    order = {**first.order, "bind": ["127.0.0.1", free_port()]}
    second = Member("second", order, tmp_path)
    await second.start()
    try:
        deadline = time.monotonic() + 5
        while "another process" not in (await second.ask("state"))["error"]:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
    finally:
        await second.kill()


async def test_a_wrong_secret_is_not_let_in(setup: Setup) -> None:
    leader = await setup.leader()
    follower = setup.others(leader)[0]
    await follower.kill()
    follower.order["secret"] = "another secret, long enough too"
    await follower.start()
    deadline = time.monotonic() + 8
    while not all("another secret" in peer["error"] for peer in await follower.ask("peers")):
        assert time.monotonic() < deadline, await follower.ask("peers")
        await asyncio.sleep(0.05)
    assert not any(peer["heard"] for peer in await follower.ask("peers"))
    assert (await setup.leader()).name == leader.name, "it disturbs nobody"
    assert "another secret" in leader.log()
    assert SECRET not in leader.log()


async def test_who_is_far_behind_gets_a_snapshot_in_parts(tmp_path: Path) -> None:
    """4 MB of state, more than one frame may have; heartbeats go on meanwhile: the leader stays."""
    setup = Setup(tmp_path, snapshot_every=20, keep_entries=2)
    await setup.start()
    try:
        leader = await setup.leader()
        await setup.until(lambda states: not any(state["is_learner"] for state in states), "state")
        late = setup.others(leader)[0]
        await late.kill()
        for number in range(45):
            await leader.ask("propose", f"{number}" + "x" * 100_000)
        await late.start()
        await setup.until(lambda states: len({state["applied_index"] for state in states}) == 1, "state")
        assert await late.ask("restored") >= 40
        assert (await setup.leader()).name == leader.name
    finally:
        await setup.stop()


def test_without_a_secret_or_tls_nothing_beyond_loopback(tmp_path: Path) -> None:
    members = {"a": Address("a.example", 1), "b": Address("b.example", 1)}
    with pytest.raises(RaftConfigurationError, match="without TLS files or a secret"):
        RaftConfig(node_id="a", members=members, bind=Address("0.0.0.0", 1), file=tmp_path / "raft.db")
