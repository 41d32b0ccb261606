"""The Leader dies at any point of a recovery: the next term completes or voids it, and nothing is lost.

Every case ends as it must: exactly one server is writable, every reachable replica replicates from it, every
acknowledged transaction is there, and no recovery is left open.
"""

from __future__ import annotations

import asyncio
import json
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from services.sandbox.binaries import Mysqld
from services.sandbox.server import MySQLServer
from services.sandbox.topology import TopologySpec
from services.store.clusters import ClusterRecord
from services.store.recoveries import RecoveryFilter
from services.store.store import Store
from services.store.times import utc_now
from services.topology.keys import NO_KEY
from services.topology.records import DeposedMaster, Recovery
from tests.leader_process import CLUSTER, Order
from tests.recovery_world import Shared, World, follows, login_of
from tests.servers import wait_until

ROWS = set(range(1, 11))
_WRITES = 9
"""Of a recovery without incident: before each of its six stages, the identity, the last outcomes, the end."""


@pytest.fixture(scope="module")
def shared(mysqld: Mysqld) -> Iterator[Shared]:
    shared = Shared(mysqld, TopologySpec(semi_sync="lossless", replicas=2))
    yield shared
    shared.stop()


@dataclass
class Scene:
    """A master that died with rows that exist in relay logs only, and a store for the processes."""

    world: World
    order: Order
    folder: Path

    def start(self, **changes: Any) -> subprocess.Popen[str]:
        order = replace(self.order, **changes)
        file = self.folder / f"order-{order.node_id}-{len(list(self.folder.iterdir()))}"
        file.write_bytes(pickle.dumps(order))
        command = [sys.executable, "-m", "tests.leader_process", str(file)]
        return subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )

    def run(self, **changes: Any) -> tuple[int, dict[str, Any]]:
        """A whole life of a Leader: its exit code, and what it reported."""
        with self.start(**changes) as process:
            try:
                out, err = process.communicate(timeout=60)
            finally:
                process.kill()
        lines = out.splitlines()
        assert lines or process.returncode != 0, err
        report = json.loads(lines[-1]) if lines else {}
        assert process.returncode in (0, -signal.SIGKILL), err
        return process.returncode, report

    def store(self) -> tuple[tuple[Recovery, ...], tuple[DeposedMaster, ...], list[str]]:
        """The recoveries, the newest first, the deposed masters, and all that was said."""

        async def read() -> tuple[tuple[Recovery, ...], tuple[DeposedMaster, ...], list[str]]:
            store = await Store.open(self.order.database, read_only=True)
            recoveries = await store.recoveries.page(RecoveryFilter(), now=utc_now())
            deposed = await store.clusters.deposed_masters()
            steps = [step for one in recoveries for step in await store.journal.steps(one.uid)]
            await store.close()
            return recoveries, deposed, [step.message for step in steps]

        return asyncio.run(read())

    def assert_sound(self) -> MySQLServer:
        recoveries, deposed, _ = self.store()
        assert all(not recovery.is_running for recovery in recoveries)
        promotions = [recovery for recovery in recoveries if recovery.is_successful]
        assert len(promotions) == 1, "one recovery promoted, the others were voided"
        assert promotions[0].lost_replicas == ()
        assert all(one.successor_key == NO_KEY for one in recoveries if not one.is_successful)
        promoted = self.world.server(promotions[0].successor_key)
        assert self.world.writable() == [promoted]
        promoted.execute("INSERT INTO app.t VALUES (4711)")  # acknowledged by a replica: semi-sync is on
        rows = {*ROWS, 4711}
        for server in self.world.replicas:
            if server is not promoted:
                wait_until(lambda server=server: follows(server, promoted), describe=f"{server} follows")
            wait_until(lambda server=server: self.world.rows(server) == rows, 10, f"rows of {server}")
        (old,) = deposed
        assert (old.key, old.recovery_uid) == (self.order.failed, promotions[0].uid)
        assert old.executed_gtid_set == self.world.seen[self.order.failed].executed_gtid_set
        return promoted


@pytest.fixture
def scene(shared: Shared, tmp_path: Path) -> Scene:
    world = World(shared.topology())
    world.create_table()
    world.stop_appliers()
    world.write(*ROWS)
    asyncio.run(world.look())
    world.master.kill()
    order = Order(
        database=tmp_path / "orchestray.db",
        login=login_of(world.topology),
        failed=world.master.key,
        seen=tuple(world.seen.values()),
    )

    async def identify() -> None:
        store = await Store.open(order.database)
        await store.clusters.create(ClusterRecord(id=CLUSTER, master_key=order.failed))
        await store.close()

    asyncio.run(identify())
    return Scene(world, order, tmp_path)


def _dies_and_is_replaced(scene: Scene, ends_at: str, when: str) -> dict[str, Any]:
    code, _ = scene.run(ends_at=ends_at, when=when)
    assert code == -signal.SIGKILL, f"it never came to {ends_at}"
    _, report = scene.run()
    assert report["error"] == ""
    assert report["open_recoveries"] == 0
    assert report["term"] == 2
    promoted = scene.assert_sound()
    assert report["master"] == str(promoted.key)
    return report


def test_a_leader_that_lives_needs_the_writes_that_these_tests_count(scene: Scene) -> None:
    code, report = scene.run(ends_at=f"write:{_WRITES + 1}")
    assert (code, report["error"]) == (0, "")
    scene.assert_sound()
    _, idle = scene.run()  # a second life finds nothing to do
    assert idle["master"] == report["master"]
    assert idle["said"] == []


@pytest.mark.parametrize(
    ("ends_at", "when"),
    [
        pytest.param("write:1", "before", id="registered, nothing done", marks=pytest.mark.long),
        pytest.param("write:1", "after", id="before the freeze", marks=pytest.mark.long),
        pytest.param("statement:STOP REPLICA IO_THREAD", "after", id="in the freeze"),
        pytest.param(
            "statement:START REPLICA SQL_THREAD", "after", id="while it drains", marks=pytest.mark.long
        ),
        pytest.param(
            "statement:SET GLOBAL read_only", "before", id="before the opening", marks=pytest.mark.long
        ),
        pytest.param("statement:SET GLOBAL read_only", "after", id="opened, and nobody knows"),
        pytest.param("statement:CHANGE REPLICATION SOURCE", "after", id="in a re-pointing"),
    ],
)
def test_whatever_the_leader_dies_at_the_next_completes_or_voids_it(
    scene: Scene, ends_at: str, when: str
) -> None:
    _dies_and_is_replaced(scene, ends_at, when)


@pytest.mark.long
@pytest.mark.timeout(180)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", range(1, _WRITES + 1))
def test_before_and_after_every_write(scene: Scene, number: int, when: str) -> None:
    if (number, when) == (_WRITES, "after"):  # it had ended: there is nothing to take up
        code, _ = scene.run(ends_at=f"write:{number}", when=when)
        assert code == -signal.SIGKILL
        scene.assert_sound()
        return
    _dies_and_is_replaced(scene, f"write:{number}", when)


@pytest.mark.long
@pytest.mark.timeout(180)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    "statement",
    [
        "STOP REPLICA IO_THREAD",
        "START REPLICA SQL_THREAD",
        "SET GLOBAL rpl_semi_sync_source",
        "SET GLOBAL read_only",
        "CHANGE REPLICATION SOURCE",
        "START REPLICA",
        "RESET REPLICA ALL",
    ],
)
def test_before_and_after_every_kind_of_statement(scene: Scene, statement: str, when: str) -> None:
    _dies_and_is_replaced(scene, f"statement:{statement}", when)


@pytest.mark.long
def test_a_leader_that_dies_twice_is_survived_too(scene: Scene) -> None:
    """The second dies while it puts back what the first left; the third finishes."""
    code, _ = scene.run(ends_at="statement:SET GLOBAL read_only", when="before")
    assert code == -signal.SIGKILL
    code, _ = scene.run(ends_at="statement:START REPLICA IO_THREAD", when="after")
    assert code == -signal.SIGKILL
    _, report = scene.run()
    assert (report["error"], report["term"]) == ("", 3)
    scene.assert_sound()


def test_what_was_lost_is_still_said_to_be_lost(scene: Scene) -> None:
    """A replica that could not be reached is not forgotten because the Leader died after the opening."""
    world = scene.world
    gone = world.replicas[-1]
    master = world.seen[scene.order.failed]  # without lossless semi-sync nobody waits for who is gone
    others = [one for one in scene.order.seen if one is not master]
    seen = (replace(master, semi_sync_unbroken=False), *others)
    gone.kill()
    code, _ = scene.run(seen=seen, ends_at="statement:SET GLOBAL read_only", when="after")
    assert code == -signal.SIGKILL
    _, report = scene.run(seen=seen)
    assert report["error"] == ""
    (recovery,), _, said = scene.store()
    assert recovery.lost_replicas == (gone.key,)
    assert any(f"{gone.key} is lost" in line for line in said)


def test_a_leader_that_was_stopped_finds_another_at_work_and_does_nothing(scene: Scene) -> None:
    """SIGSTOP between the last check and the opening; the lease runs out, another node completes, SIGCONT."""
    with scene.start(
        node_id="paused", ends_at="statement:SET GLOBAL read_only", when="before", ending=signal.SIGSTOP
    ) as paused:
        try:
            status = Path(f"/proc/{paused.pid}/status")
            wait_until(lambda: "T (stopped)" in status.read_text(), 20, "it comes to the opening and stops")
            _, report = scene.run(node_id="other")
            assert (report["error"], report["term"]) == ("", 2)
            promoted = scene.assert_sound()
            paused.send_signal(signal.SIGCONT)
            out, err = paused.communicate(timeout=30)
        finally:
            paused.kill()
    assert paused.returncode in (0, 1), err
    if out:
        assert json.loads(out.splitlines()[-1])["master"] == str(promoted.key)
    assert scene.world.writable() == [promoted]
    recoveries, _, _ = scene.store()
    assert len([one for one in recoveries if one.is_successful]) == 1
    _journal_is_of_one_term_after_another(scene)


def _journal_is_of_one_term_after_another(scene: Scene) -> None:
    async def terms() -> list[list[int]]:
        store = await Store.open(scene.order.database, read_only=True)
        recoveries = await store.recoveries.page(RecoveryFilter(), now=utc_now())
        found = [await store.journal.entries(one.uid) for one in recoveries]
        await store.close()
        return [[entry.term for entry in entries] for entries in found]

    for of_one in asyncio.run(terms()):
        assert of_one == sorted(of_one), "an earlier term wrote after a later one"
