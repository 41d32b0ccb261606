"""Raft members, each a process on loopback: five of them, TLS, clocks that jump, slow disks, questions."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Authority
from tests.raft_members import SECRET, Member, Setup
from tests.servers import wait_until_async

pytestmark = pytest.mark.long

_FAKETIME = [*map(str, Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))]
_LONGER_THAN_AN_ELECTION = 2.0


@asynccontextmanager
async def members(folder: Path, **how: Any) -> AsyncIterator[Setup]:
    setup = Setup(folder, **how)
    await setup.start()
    try:
        await setup.leader()
        await setup.until(lambda states: not any(state["is_learner"] for state in states), "state")
        yield setup
    finally:
        await setup.stop()


async def _refused(member: Member, command: str) -> None:
    with pytest.raises(RuntimeError, match=r"OutcomeUnknown|NotLeading"):
        await member.ask("propose", command)


async def test_five_go_on_without_two_and_none_acts_without_three(tmp_path: Path) -> None:
    async with members(tmp_path, names="abcde") as setup:
        for number in range(2):
            leader = await setup.leader()
            await leader.ask("propose", str(number))
            await leader.kill()
        leader = await setup.leader()
        await leader.ask("propose", "2")
        third = next(one for one in setup.others(leader) if one.lives)
        await third.kill()
        until = time.monotonic() + 2 * _LONGER_THAN_AN_ELECTION
        lease = time.monotonic() + 1.0
        while time.monotonic() < until:
            for member in setup.members.values():
                if member.lives and time.monotonic() > lease:
                    assert await member.ask("leadership") is None, "two of five are no majority"
            await asyncio.sleep(0.05)
        await _refused(leader, "never")
        await third.start()
        await setup.leader()
        for member in setup.members.values():
            if not member.lives:
                await member.start()
        await setup.until(lambda states: all(state["leader"] for state in states), "state")
        await setup.equal()
        commands = [command for _, command in await leader.ask("commands")]
        assert commands[:3] == ["0", "1", "2"]


# TLS


def _tls(authorities: Mapping[str, Authority]) -> Any:
    def own(name: str) -> Mapping[str, Any]:
        files = authorities[name].files(name)
        return {"tls": [str(files.certificate), str(files.key), str(files.authority)]}

    return own


@pytest.mark.parametrize("secret", [None, SECRET])
async def test_members_agree_over_tls(tmp_path: Path, secret: str | None) -> None:
    """With a snapshot that goes in parts."""
    authority = Authority(tmp_path / "authority")
    own = _tls(dict.fromkeys("abc", authority))
    async with members(tmp_path, own=own, secret=secret, snapshot_every=20, keep_entries=2) as setup:
        leader = await setup.leader()
        late = setup.others(leader)[0]
        await late.kill()
        for number in range(25):
            await leader.ask("propose", f"{number}" + "x" * 50_000)
        await late.start()
        await setup.until(lambda states: len({state["applied_index"] for state in states}) == 1, "state")
        assert await late.ask("restored") >= 20
        assert len(await leader.ask("ask", "what?", 2.0)) == 2


async def test_a_certificate_of_another_authority_is_not_let_in_and_both_say_why(tmp_path: Path) -> None:
    right, wrong = Authority(tmp_path / "right"), Authority(tmp_path / "wrong")
    setup = Setup(tmp_path, own=_tls({"a": right, "b": right, "c": wrong}), secret=None)
    await setup.start()
    try:
        c = setup.members["c"]

        async def all_say_so() -> bool:
            of_c = {one["member"]: one["error"] for one in await c.ask("peers")}
            of_a = {one["member"]: one["error"] for one in await setup.members["a"].ask("peers")}
            said = [of_c["a"], of_c["b"], of_a["c"]]
            return all("its certificate is not accepted" in one for one in said)

        await wait_until_async(all_say_so, 10)
        errors = [one["error"] for one in await c.ask("peers")]
        assert all(str(wrong.file) in error for error in errors), errors
        assert not any(one["heard"] for one in await c.ask("peers"))
        assert not (await c.ask("state"))["leader"], "a new log needs all of them, and there are only two"
        await c.kill()
        c.order["tls"] = _tls({"c": right})("c")["tls"]
        await c.start()
        await setup.leader()
        await setup.until(lambda states: all(state["leader"] for state in states), "state")
    finally:
        await setup.stop()


# Clocks


@pytest.mark.skipif(not _FAKETIME, reason="libfaketime is not installed (apt-get install libfaketime)")
async def test_wall_clocks_that_jump_change_nothing(tmp_path: Path) -> None:
    """Of the one that leads, of those that follow, forth and back; then an election under wrong clocks."""
    clock = tmp_path / "clock"
    clock.write_text("+0")
    faked = {
        "LD_PRELOAD": _FAKETIME[0],
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    async with members(tmp_path, environment=faked) as setup:
        leader = await setup.leader()
        term = (await leader.ask("leadership"))[0]
        for number, jump in enumerate(("+1d", "-1d", "+3650d", "-3650d", "+0")):
            clock.write_text(jump)
            days = 0 if jump == "+0" else float(jump[:-1])
            for member in setup.members.values():
                off = await member.ask("wall_clock") - time.time()
                assert off == pytest.approx(days * 86400, abs=3600), "the clock is really wrong there"
            until = time.monotonic() + _LONGER_THAN_AN_ELECTION
            while time.monotonic() < until:
                for member in setup.members.values():
                    state = await member.ask("state")
                    assert (state["leader"], state["term"]) == (leader.name, term), jump
                await asyncio.sleep(0.03)
            await leader.ask("propose", str(number))
            assert (await leader.ask("leadership"))[0] == term, jump
        clock.write_text("-365d")
        await leader.kill()
        successor = await setup.leader(3)
        clock.write_text("+365d")
        await successor.ask("propose", "last")
        await leader.start()
        await setup.until(lambda states: all(state["leader"] == successor.name for state in states), "state")
        await setup.equal()


# Slow disks


async def test_a_disk_that_is_slow_loses_no_lead_and_one_of_a_follower_slows_nobody(tmp_path: Path) -> None:
    """Each write takes 0.15 s longer, before the real one with its fsync (patched: see raft_process)."""
    async with members(tmp_path) as setup:
        leader = await setup.leader()
        term = (await leader.ask("leadership"))[0]
        follower = setup.others(leader)[0]
        await follower.ask("slow", 0.15)
        began = time.monotonic()
        for number in range(10):
            await leader.ask("propose", f"follower {number}")
        assert time.monotonic() - began < 1.4, "the other follower is enough"
        await leader.ask("slow", 0.15)
        for number in range(5):
            await leader.ask("propose", f"leader {number}")
        assert (await leader.ask("leadership"))[0] == term
        await setup.equal()


async def test_a_disk_that_hangs_loses_the_lead_and_nothing_else(tmp_path: Path) -> None:
    async with members(tmp_path) as setup:
        leader = await setup.leader()
        await leader.ask("propose", "before")
        await leader.ask("slow", 4.0)
        hanging = asyncio.ensure_future(leader.ask("propose", "meanwhile"))
        successor = await _successor(setup, leader)
        held = await successor.ask("leadership")
        await successor.ask("propose", "after")
        with pytest.raises(RuntimeError, match=r"OutcomeUnknown|ProposalLost|NotLeading"):
            await hanging
        assert await leader.ask("leadership") is None
        await leader.ask("slow", 0.0)
        await setup.until(
            lambda states: all(state["leader"] == successor.name for state in states), "state", 20
        )
        await setup.equal()
        assert (await successor.ask("leadership"))[0] == held[0], "who comes back disturbs nobody"


async def _successor(setup: Setup, leader: Member) -> Member:
    """Without asking the leader, which is busy with another question."""

    async def acting() -> Member | None:
        for other in setup.others(leader):
            if await other.ask("leadership"):
                return other
        return None

    return await wait_until_async(acting, 10)


# Questions


async def test_questions_are_answered_by_those_that_are_there(tmp_path: Path) -> None:
    own = {"c": {"answers_after": 0.6}}
    async with members(tmp_path, own=lambda name: own.get(name, {})) as setup:
        for asker, answers in (("a", {"b"}), ("b", {"a"}), ("c", {"a", "b"})):
            said = dict(await setup.members[asker].ask("ask", f"by {asker}", 0.4))
            assert said == {name: f"{name} heard by {asker}" for name in answers}, "c takes its time"
        assert set(dict(await setup.members["a"].ask("ask", "?", 3.0))) == {"b", "c"}
        setup.members["b"].signal(signal.SIGSTOP)
        began = time.monotonic()
        assert dict(await setup.members["c"].ask("ask", "?", 0.5)) == {"a": "a heard ?"}
        assert time.monotonic() - began < 1.0
        setup.members["b"].signal(signal.SIGCONT)
        setup.members["a"].signal(signal.SIGCONT)
