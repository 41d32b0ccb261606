"""Applied once, whatever comes between; a whole state in place of another; whose store it is."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from services.agreement.applying import leave_raft
from services.agreement.commands import encode
from services.agreement.machine import StoreMachine
from services.agreement.operations import OPERATIONS
from services.agreement.tables import dump
from services.raft.errors import MachineUnavailableError
from services.sandbox.ports import free_port
from services.store.errors import StoreRefusedError, StoreUnavailableError
from services.store.instances import KnownInstance
from services.store.recoveries import RecoveryFilter
from services.store.store import Store
from services.topology.records import AuditEntry
from services.topology.registrations import Downtime
from tests.servers import wait_until_async
from tests.unit.agreement.members import alone, start, three
from tests.unit.store.samples import MASTER, OTHER, REPLICA, T0, recovery

LATER = "2026-11-22T21:00:00Z"
A_YEAR_LATER = "2027-11-22T21:00:00Z"
DOWNTIME = Downtime(key=REPLICA, owner="me", reason="why", begins_at=T0, ends_at=A_YEAR_LATER)


def _command(name: str, *arguments: Any, **named: Any) -> bytes:
    return encode(OPERATIONS[name], *arguments, **named)


def _note(message: str) -> bytes:
    return _command("audit.add", AuditEntry(at=T0, type="t", message=message))


async def _notes(store: Store) -> list[tuple[int, str]]:
    return [(entry.id, entry.message) for entry in await store.audit.page()]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(tmp_path / "store.db")
    yield store
    await store.close()


async def _machine(store: Store, member: str = "a", *, is_new: bool = False) -> StoreMachine:
    machine = StoreMachine(store.database, member)
    await machine.begin(is_new=is_new)
    return machine


async def test_what_was_applied_is_not_applied_again(store: Store) -> None:
    """A process that dies between the effect and raft's knowing of it is given the entry again."""
    machine = await _machine(store)
    await machine.apply(1, _note("one"))
    await machine.apply(2, _note("two"))
    again = StoreMachine(store.database, "a")
    assert await again.begin(is_new=False) == 2
    await again.apply(2, _note("two"))
    assert await _notes(store) == [(2, "two"), (1, "one")]


async def test_what_is_refused_or_makes_no_sense_is_applied_too(store: Store) -> None:
    machine = await _machine(store)
    outcome = await machine.apply(7, _command("journal.add_step", "none", "x", at=T0))
    assert isinstance(outcome.error, StoreRefusedError)
    assert await machine.begin(is_new=False) == 7
    outcome = await machine.apply(
        8, _command("recoveries.acknowledge", RecoveryFilter(), owner="", comment="", at=T0)
    )
    assert isinstance(outcome.error, ValueError)
    outcome = await machine.apply(9, _command("registrations.end_downtime", MASTER))
    assert outcome.result() is False
    assert await machine.begin(is_new=False) == 9


async def test_a_store_that_fails_leaves_nothing_out(store: Store, tmp_path: Path) -> None:
    """Another process holds the file: the entry stays where it is, and is applied when that has ended."""
    machine = await _machine(store)
    with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(MachineUnavailableError, match="held by another process"):
            await machine.apply(1, _note("one"))
        holder.execute("ROLLBACK")
    assert await machine.begin(is_new=False) == 0
    assert (await machine.apply(1, _note("one"))).error is None
    assert await _notes(store) == [(1, "one")]


@pytest.mark.parametrize("error", [MemoryError("no memory"), OSError("no disk"), AttributeError("a defect")])
async def test_an_error_that_is_not_the_commands_is_none_of_it(
    store: Store, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """It is not recorded as what came of the command: other members may apply it."""
    machine = await _machine(store)
    with monkeypatch.context() as patched:

        async def add(*_: object) -> None:
            raise error

        patched.setattr(machine._parts["audit"], "add", add)
        with pytest.raises(type(error)):
            await machine.apply(1, _note("one"))
    assert await machine.begin(is_new=False) == 0
    assert (await machine.apply(1, _note("one"))).error is None
    assert await _notes(store) == [(1, "one")]


async def test_a_number_that_no_row_can_have_is_refused_alike(store: Store) -> None:
    machine = await _machine(store)
    outcome = await machine.apply(1, _command("founding.lead", "a", 2**70, "http://a:3000"))
    assert isinstance(outcome.error, StoreRefusedError)
    assert await machine.begin(is_new=False) == 1


async def test_a_command_of_a_newer_version_is_waited_for(store: Store) -> None:
    machine = await _machine(store)
    with pytest.raises(MachineUnavailableError, match="upgrade this node"):
        await machine.apply(1, b'{"op":"tags.put","args":{}}')
    assert await machine.begin(is_new=False) == 0


async def test_two_members_on_one_store_are_found(store: Store) -> None:
    await _machine(store, "a")
    with pytest.raises(MachineUnavailableError, match="is the one of raft member a, and this is b"):
        await _machine(store, "b")
    with pytest.raises(MachineUnavailableError, match="is the one of raft member a"):
        await StoreMachine(store.database, "b").apply(1, _note("one"))
    assert await _notes(store) == []


async def test_restoring_replaces_what_is_agreed_and_keeps_what_was_observed(tmp_path: Path) -> None:
    """A downtime that was ended while a node was away is gone there (the reference keeps it, 3.4)."""
    theirs, ours = await Store.open(tmp_path / "theirs.db"), await Store.open(tmp_path / "ours.db")
    leader, away = await _machine(theirs, "a"), await _machine(ours, "b")
    common = [
        _command("founding.found", "log", ""),
        _command("instances.discover", [MASTER, REPLICA]),
        _command("registrations.begin_downtime", DOWNTIME),
        _note("one"),
        _note("two"),
    ]
    for index, command in enumerate(common, 1):
        await leader.apply(index, command)
        await away.apply(index, command)
    await ours.instances.update_many([KnownInstance(MASTER, "seen here"), KnownInstance(OTHER, "nobody's")])
    await leader.apply(6, _command("registrations.end_downtime", REPLICA))
    await leader.apply(7, _command("instances.forget", [REPLICA]))
    await leader.apply(8, _command("instances.discover", [OTHER]))
    await leader.apply(9, _command("audit.purge", A_YEAR_LATER, days=1.0))
    await leader.apply(10, _command("founding.lead", "a", 5, "http://a:3000"))
    await away.restore(10, await leader.snapshot())
    assert await ours.registrations.downtimes(LATER) == ()
    assert [(known.key, known.facts) for known in await ours.instances.load_all()] == [
        (OTHER, ""),
        (MASTER, "seen here"),
    ]
    assert (away.led.term, away.led.uri) == (5, "http://a:3000")
    for machine in (leader, away):  # the numbers of what was purged are not given again
        await machine.apply(11, _note("three"))
    assert await _notes(ours) == await _notes(theirs) == [(3, "three")]
    assert await ours.database.read(dump) == await theirs.database.read(dump)
    assert await StoreMachine(ours.database, "b").begin(is_new=False) == 11
    await theirs.close()
    await ours.close()


async def test_a_log_begins_with_what_its_first_leader_had(tmp_path: Path) -> None:
    """A node that was alone before it became a member of a raft setup loses nothing."""
    before = await Store.open(tmp_path / "0" / "store.db")
    await before.registrations.begin_downtime(DOWNTIME)
    await before.audit.add(AuditEntry(at=T0, type="t", message="long ago"))
    await before.close()
    async with alone(tmp_path) as member:
        assert await member.store.registrations.downtimes(LATER) == (DOWNTIME,)
        await member.store.audit.add(AuditEntry(at=T0, type="t", message="now"))
        assert await _notes(member.store) == [(2, "now"), (1, "long ago")]


async def test_what_is_agreed_on_while_a_snapshot_is_taken_is_applied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with alone(tmp_path) as member:
        applier = member.seat.node._applier
        snapshot = applier._machine.snapshot
        begun, ends = asyncio.Event(), asyncio.Event()

        async def slow() -> bytes:
            begun.set()
            await ends.wait()
            return await snapshot()

        monkeypatch.setattr(applier._machine, "snapshot", slow)
        await member.seat.node.snapshot()
        await asyncio.wait_for(begun.wait(), 10)
        adding = asyncio.create_task(member.store.audit.add(AuditEntry(at=T0, type="t", message="meanwhile")))
        await wait_until_async(lambda: applier._due, 10)
        ends.set()
        await adding
        assert await _notes(member.store) == [(1, "meanwhile")]


async def test_a_process_started_again_goes_on_in_a_newer_term_only(tmp_path: Path) -> None:
    ports = [free_port()]
    first = await start(tmp_path, ports)
    await first.until_acting()
    held = first.seat.leadership()
    await first.store.audit.add(AuditEntry(at=T0, type="t", message="kept"))
    await first.stop()
    second = await start(tmp_path, ports)
    assert second.seat.leadership() is None
    await second.until_acting()
    newer = second.seat.leadership()
    assert held is not None
    assert newer is not None
    assert newer.term > held.term
    assert await _notes(second.store) == [(1, "kept")]
    await second.stop()


async def test_a_member_that_lost_its_log_and_one_that_lost_its_store(tmp_path: Path) -> None:
    """Of a setup of one: the log begins anew with what the store has; a lost store is made from the log."""
    ports = [free_port()]
    member = await start(tmp_path, ports)
    await member.until_acting()
    await member.store.audit.add(AuditEntry(at=T0, type="t", message="kept"))
    await member.stop()
    for file in (tmp_path / "0").glob("raft.db*"):
        file.unlink()
    member = await start(tmp_path, ports)
    await member.until_acting()
    await member.store.audit.add(AuditEntry(at=T0, type="t", message="after"))
    assert await _notes(member.store) == [(2, "after"), (1, "kept")]
    await member.stop()
    for file in (tmp_path / "0").glob("store.db*"):
        file.unlink()
    member = await start(tmp_path, ports)
    await member.until_acting()
    assert await _notes(member.store) == [(2, "after"), (1, "kept")]
    await member.stop()


async def test_a_store_that_was_used_without_raft_meanwhile_is_made_anew_from_the_log(tmp_path: Path) -> None:
    """What was done to it alone is not agreed on; nothing of the log is passed over because of it."""
    ports = [free_port()]
    member = await start(tmp_path, ports)
    await member.until_acting()
    await member.store.audit.add(AuditEntry(at=T0, type="t", message="agreed"))
    await member.stop()
    store = await Store.open(tmp_path / "0" / "store.db")
    await leave_raft(store.database)
    await store.audit.add(AuditEntry(at=T0, type="t", message="alone"))
    await store.close()
    member = await start(tmp_path, ports)
    await member.until_acting()
    assert await _notes(member.store) == [(1, "agreed")]
    await member.stop()


async def test_three_members_agree_and_the_next_leader_has_everything(tmp_path: Path) -> None:
    async with three(tmp_path, snapshot_every=10, keep_entries=2) as members:
        leader = next(member for member in members if member.acts)
        held = leader.seat.leadership()
        assert held is not None
        follower = next(member for member in members if member is not leader)
        with pytest.raises(StoreUnavailableError, match=rf"nothing was done: {leader.name} leads"):
            await follower.store.audit.add(AuditEntry(at=T0, type="t", message="lost"))
        late = next(member for member in members if member not in (leader, follower))
        await wait_until_async(lambda: follower.seat.leader_uri == leader.seat.leader_uri != "", 5)
        await late.stop()
        await leader.store.registrations.begin_downtime(DOWNTIME)
        await leader.store.recoveries.register(recovery(term=held.term))
        for number in range(30):
            await leader.store.journal.add_step("1:a", str(number), at=T0)
        await leader.store.registrations.end_downtime(REPLICA)
        number = members.index(late)
        ports = [int(member.name.rpartition(":")[2]) for member in members]
        members[number] = late = await start(tmp_path, ports, number, snapshot_every=10, keep_entries=2)
        at = leader.seat.node.state().applied_index
        await late.until_applied(at)
        await follower.until_applied(at)
        assert "registrations" in late.changed
        expected = await leader.local.database.read(dump)
        assert await late.local.database.read(dump) == await follower.local.database.read(dump) == expected
        await leader.stop()
        left = [member for member in members if member is not leader]
        await wait_until_async(lambda: any(member.acts for member in left), 10)
        next_one = next(member for member in left if member.acts)
        newer = next_one.seat.leadership()
        assert newer is not None
        assert newer.term > held.term
        (open_one,) = await next_one.store.journal.open_recoveries()
        assert open_one.recovery.uid == "1:a"
        with pytest.raises(StoreRefusedError, match=f"term {held.term} is over"):
            await next_one.store.recoveries.register(recovery("2:b", term=held.term))
        with pytest.raises(StoreUnavailableError):
            await leader.store.audit.add(AuditEntry(at=T0, type="t", message="too late"))
