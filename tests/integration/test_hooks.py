"""Hooks around real recoveries: when they run, what they are told, what their failure means.

The order is that of recovery.md 3; where orchestrator leaves a cluster blocked or waits for ever
(known-gaps.md 3.9, 3.11, 3.18) this does not.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.execution.coordinator import RecoveryRefusedError
from services.sandbox.binaries import Mysqld
from services.sandbox.topology import TopologySpec
from services.store.clusters import ClusterRecord
from services.store.store import Store
from tests.integration.test_coordinator import Node
from tests.integration.test_resumption import Scene
from tests.leader_process import CLUSTER, Order
from tests.recovery_world import FakeMandate, Shared, World, login_of, state_of
from tests.servers import wait_until, wait_until_async

_LOOK = """
import os, sys
import pymysql
host, port, user, password, out, event = sys.argv[1:]
connection = pymysql.connect(host=host, port=int(port), user=user, password=password, ssl_disabled=True,
                             cursorclass=pymysql.cursors.DictCursor)
cursor = connection.cursor()
cursor.execute("SELECT @@global.read_only AS ro")
read_only = cursor.fetchone()["ro"]
cursor.execute("SHOW REPLICA STATUS")
receives = (cursor.fetchone() or {}).get("Replica_IO_Running")
with open(out, "a") as file:
    known = os.environ["ORC_FAILED_PORT"], os.environ.get("ORC_SUCCESSOR_PORT")
    print(event, *known, read_only, receives, file=file)
"""
"""What a server is like at the moment of a hook: event, failed, successor, read_only, receiver."""


@pytest.fixture(scope="module")
def shared(mysqld: Mysqld) -> Iterator[Shared]:
    shared = Shared(mysqld, TopologySpec(semi_sync="lossless", replicas=2))
    yield shared
    shared.stop()


@pytest.fixture
async def world(shared: Shared) -> World:
    world = World(shared.topology())
    world.create_table()
    world.write(1)
    await world.look()
    return world


class Hooked:
    """A node with hooks that note their event, and whatever they echo, in one file."""

    def __init__(self, node: Node, folder: Path) -> None:
        self.node = node
        self.folder = folder
        self.noted = folder / "noted"

    def note(self, text: str) -> str:
        return f"echo {text} >>{self.noted}"

    def lines(self) -> list[str]:
        return self.noted.read_text().splitlines() if self.noted.exists() else []

    async def until(self, line: str) -> None:
        describe = f"{line!r} in the notes"
        await wait_until_async(lambda: line in self.lines(), 20, lambda: f"{describe}: {self.lines()}")

    def look(self, server: str, event: str) -> str:
        """A hook that looks at a server, which must not be changed yet, or must be."""
        script = self.folder / "look.py"
        script.write_text(_LOOK)
        account = self.node.world.topology.accounts.orchestray
        return f"{sys.executable} {script} {server} {account.user} '{account.password}' {self.noted} {event}"

    async def said(self) -> list[str]:
        return await self.node.said()


Make = Callable[..., Hooked]


@pytest.fixture
async def hooked(world: World, tmp_path: Path) -> AsyncIterator[Make]:
    """``hooked(lambda h: {"PreFailoverProcesses": […]})``."""
    order = Order(
        database=tmp_path / "orchestray.db",
        login=login_of(world.topology),
        failed=world.master.key,
        seen=tuple(world.seen.values()),
    )
    store = await Store.open(order.database)
    await store.clusters.create(ClusterRecord(id=CLUSTER, master_key=order.failed))
    made: list[Node] = []

    def make(hooks: Callable[[Hooked], dict[str, Any]]) -> Hooked:
        hooked = Hooked(None, tmp_path)  # type: ignore[arg-type]
        hooked.node = Node(world, order, store, FakeMandate(term=1))
        settings = tuple(hooks(hooked).items())
        hooked.node = Node(world, replace(order, settings=settings), store, FakeMandate(term=1))
        hooked.node.coordinator._gates.recoveries_enabled = True
        made.append(hooked.node)
        return hooked

    yield make
    for node in made:
        await node.coordinator.stop()
    await store.close()


def all_hooks(h: Hooked) -> dict[str, Any]:
    return {
        "OnFailureDetectionProcesses": [
            h.note("detection {failureType} {failedHost}:{failedPort} {countSlaves}")
        ],
        "PreFailoverProcesses": [
            h.note("pre {isSuccessful} {successorHost} {failureClusterAlias} {autoMasterRecovery}"),
            h.look(f"127.0.0.1 {h.node.world.replicas[0].port}", "pre"),
        ],
        "FenceProcesses": [
            h.note("fence {failedHost}:{failedPort} {successorHost}:{successorPort}"),
            h.look("{successorHost} {successorPort}", "fence"),
        ],
        "PostMasterFailoverProcesses": [h.look("{successorHost} {successorPort}", "post-master")],
        "PostFailoverProcesses": [
            h.note("post {isSuccessful} {instanceType} {lostReplicas} {successorAlias} {recoveryUID}")
        ],
        "PostUnsuccessfulFailoverProcesses": [h.note("unsuccessful")],
    }


async def test_the_hooks_of_a_failover_and_their_order(world: World, hooked: Make) -> None:
    h = hooked(all_hooks)
    world.master.kill()
    view = await h.node.view()
    named = tuple(replace(one, instance_alias=f"db{one.key.port}") for one in view.instances)
    h.node.coordinator.consider(replace(view, instances=named))
    await wait_until_async(lambda: sum(line.startswith("post") for line in h.lines()) == 2, 30)
    (recovery,) = await h.node.recoveries()
    failed, promoted = world.master.key, recovery.successor_key
    assert recovery.successor_alias == f"db{promoted.port}"
    lines = h.lines()
    assert f"detection DeadMaster {failed} 2" in lines
    lines.remove(f"detection DeadMaster {failed} 2")  # beside the others, whenever it is run
    assert lines == [
        f"pre false {{successorHost}} {failed} false",
        f"pre {failed.port} None 1 Connecting",  # nothing is stopped yet
        f"fence {failed} {promoted}",
        f"fence {failed.port} {promoted.port} 1 No",  # stopped, not open yet
        f"post-master {failed.port} {promoted.port} 0 None",  # open, and no replica any more
        f"post true master db{promoted.port} {recovery.uid}",
    ]
    await wait_until_async(lambda: _said(h, "PostFailoverProcesses 1 of 1 ended"), 10)
    said = await h.said()
    for key in ("PreFailoverProcesses 1 of 2", "FenceProcesses 2 of 2", "PostMasterFailoverProcesses 1 of 1"):
        assert any(line.startswith(f"{key} begins: ") for line in said)
        assert any(line.startswith(f"{key} ended in ") and "exit code 0" in line for line in said)
    audit = await h.node.store.audit.page(instance=failed)
    assert {entry.type for entry in audit} == {"on-failure-detection", "begin-downtime"}  # it is lost
    assert any("OnFailureDetectionProcesses 1 of 1 ended" in entry.message for entry in audit)


async def _said(h: Hooked, what: str) -> bool:
    return any(what in line for line in await h.said())


async def test_a_detection_is_told_once_however_often_it_is_retried(world: World, hooked: Make) -> None:
    """And its hook, which hangs, holds nothing up."""
    h = hooked(
        lambda h: {
            "OnFailureDetectionProcesses": [h.note("detection"), "sleep 300"],
            "PreFailoverProcesses": [h.note("pre"), f"test -e {h.folder}/go"],
            "PostFailoverProcesses": [h.note("post")],
        }
    )
    world.master.kill()
    view = await h.node.view()
    h.node.coordinator.consider(view)
    await h.until("pre")
    await wait_until_async(lambda: not h.node.coordinator.busy_clusters, 20)
    (h.folder / "go").touch()
    other = Node(world, h.node.order, h.node.store, FakeMandate(term=1))  # as after a restart
    other.coordinator._gates.recoveries_enabled = True
    other.coordinator.consider(view)
    await h.until("post")
    assert sorted(h.lines()) == ["detection", "post", "pre", "pre"]
    await other.coordinator.stop()


async def test_a_pre_failover_hook_that_fails_leaves_everything_as_it_was(world: World, hooked: Make) -> None:
    """Recovery.md 3: it aborts. Unlike there it blocks nothing: it is tried again after 1, 2, 4 … s."""
    h = hooked(
        lambda h: {
            "PreFailoverProcesses": [f"test -e {h.folder}/go", h.note("pre")],
            "FenceProcesses": [h.note("fence")],
            "PostFailoverProcesses": [h.note("post")],
            "PostUnsuccessfulFailoverProcesses": [h.note("unsuccessful")],
        }
    )
    world.master.kill()
    view = await h.node.view()
    before = world.state()
    with pytest.raises(RecoveryRefusedError, match="PreFailoverProcesses 1 of 2: exit code 1"):
        await h.node.recover(view)
    assert world.state() == before
    assert h.lines() == []
    (recovery,) = await h.node.recoveries()
    assert not recovery.is_running
    assert not recovery.is_successful
    assert recovery.blocked_until == ""
    assert await h.node.store.journal.entries(recovery.uid) == (), "nothing was begun"
    assert any(
        "PreFailoverProcesses 1 of 2 ended" in line and "exit code 1" in line for line in await h.said()
    )
    (h.folder / "go").touch()
    until = time.monotonic() + 1.1  # the pause after a first failure is a second
    await wait_until_async(lambda: time.monotonic() > until)
    h.node.coordinator.consider(await h.node.view())
    await h.until("post")
    assert h.lines() == ["pre", "fence", "post"]
    assert len(world.writable()) == 1


async def test_a_pre_failover_hook_that_hangs_is_ended_and_aborts(world: World, hooked: Make) -> None:
    h = hooked(
        lambda h: {
            "PreFailoverProcesses": [f"sleep 300 & echo $! >{h.folder}/pid; wait"],
            "HookTimeoutSeconds": 1,
        }
    )
    world.master.kill()
    view = await h.node.view()
    before = world.state()
    with pytest.raises(RecoveryRefusedError, match="took longer than 1 s"):
        await h.node.recover(view)
    assert world.state() == before
    child = Path(f"/proc/{(h.folder / 'pid').read_text().strip()}/stat")
    wait_until(lambda: not child.exists() or child.read_text().rpartition(")")[2].split()[0] in "ZX", 5)


async def test_a_master_that_is_back_after_a_long_hook_is_not_replaced(world: World, hooked: Make) -> None:
    h = hooked(
        lambda h: {
            "PreFailoverProcesses": [
                h.note("pre"),
                f"sleep 1.1; until test -e {h.folder}/go; do sleep 0.02; done",
            ]
        }
    )
    world.master.kill()
    recovering = asyncio.ensure_future(h.node.recover())
    await h.until("pre")
    await asyncio.to_thread(world.master.start)
    (h.folder / "go").touch()
    with pytest.raises(RecoveryRefusedError, match="answers again"):
        await recovering
    assert world.writable() == [world.master]


async def test_a_required_fence_that_fails_undoes_the_recovery(world: World, hooked: Make) -> None:
    h = hooked(
        lambda h: {
            "FenceProcesses": [
                h.note("fence {successorHost}"),
                "echo no power >&2; exit 7",
                h.note("not run"),
            ],
            "PostFailoverProcesses": [h.note("post")],
            "PostUnsuccessfulFailoverProcesses": [h.note("unsuccessful {isSuccessful} {successorHost}")],
        }
    )
    world.master.kill()
    view = await h.node.view()
    before = world.state()
    with pytest.raises(RecoveryRefusedError, match="FenceProcesses 2 of 3: exit code 7"):
        await h.node.recover(view)
    await h.until("unsuccessful false {successorHost}")
    assert h.lines() == ["fence 127.0.0.1", "unsuccessful false {successorHost}"]
    assert world.state() == before
    assert world.writable() == []
    (recovery,) = await h.node.recoveries()
    assert recovery.blocked_until == ""
    assert any("exit code 7; output: no power" in line for line in await h.said())


async def test_a_fence_of_best_effort_that_fails_is_noted(world: World, hooked: Make) -> None:
    h = hooked(
        lambda h: {
            "FenceProcesses": ["exit 7", h.note("second")],
            "FenceProcessesRequired": False,
            "PostFailoverProcesses": [h.note("post")],
        }
    )
    world.master.kill()
    promoted = await h.node.recover()
    await h.until("post")
    assert h.lines() == ["second", "post"]
    assert world.writable() == [world.server(promoted)]
    (recovery,) = await h.node.recoveries()
    assert recovery.is_successful
    assert recovery.all_errors == (f"{world.master.key} was not fenced: FenceProcesses 1 of 2: exit code 7",)


async def test_a_master_that_came_back_during_the_fencing_is_read_only_before_the_candidate_opens(
    world: World, hooked: Make
) -> None:
    """Rule 12: the fence said that it had worked, and had not."""
    h = hooked(
        lambda h: {"FenceProcesses": [h.note("fence"), f"until test -e {h.folder}/go; do sleep 0.02; done"]}
    )
    world.master.kill()
    recovering = asyncio.ensure_future(h.node.recover())
    await h.until("fence")
    await asyncio.to_thread(world.master.start)
    (h.folder / "go").touch()
    promoted = await recovering
    assert world.writable() == [world.server(promoted)]
    assert world.master.variable("super_read_only") == "1"


async def test_a_refusal_is_an_unsuccessful_failover_and_a_block_is_none(world: World, hooked: Make) -> None:
    h = hooked(
        lambda h: {
            "PostUnsuccessfulFailoverProcesses": [h.note("unsuccessful {failureType} {successorHost}")],
            "PreFailoverProcesses": [h.note("pre")],
        }
    )
    gone, _ = world.replicas
    world.master.kill()
    gone.kill()
    with pytest.raises(RecoveryRefusedError, match="rule 3"):
        await h.node.recover()
    await h.until("unsuccessful DeadMasterAndSomeReplicas {successorHost}")
    gone.start()
    wait_until(lambda: state_of(gone)["receives"])
    view = await h.node.view()
    await h.node.recover(view)
    before = h.lines()
    other = Node(world, h.node.order, h.node.store, FakeMandate(term=1))
    other.coordinator._gates.recoveries_enabled = True
    other.coordinator.consider(view)
    await wait_until_async(lambda: any("blocked" in line for line in other.events.said), 20)
    await wait_until_async(lambda: not other.coordinator.busy_clusters, 20)
    await other.coordinator.stop()
    assert h.lines() == before


@pytest.mark.parametrize("required", [True, False])
async def test_recover_lite_runs_no_hook_but_a_fencing_that_is_required(
    required: bool, world: World, hooked: Make
) -> None:
    h = hooked(lambda h: {**all_hooks(h), "FenceProcessesRequired": required})
    world.master.kill()
    view = await h.node.view()
    finding = next(one for one in view.findings if one.analyzed_instance_key == world.master.key)
    promoted = await h.node.coordinator.recover_now(view, finding, skip_hooks=True)
    assert world.writable() == [world.server(promoted)]
    await wait_until_async(lambda: _has_detection(h), 10)
    assert [line.split()[0] for line in h.lines()] == (["fence", "fence"] if required else [])


async def _has_detection(h: Hooked) -> bool:
    return bool(await h.node.store.detections.page(now="2026-11-23T08:00:00Z"))


async def test_hooks_that_follow_are_not_waited_for(world: World, hooked: Make) -> None:
    """The cluster is free, and the reply given, while they run."""
    h = hooked(
        lambda h: {
            "PostMasterFailoverProcesses": [f"until test -e {h.folder}/go; do sleep 0.02; done"],
            "PostFailoverProcesses": [h.note("post {successorPort}")],
        }
    )
    world.master.kill()
    promoted = await h.node.recover()
    assert not h.node.coordinator.busy_clusters
    (recovery,) = await h.node.recoveries()
    assert not recovery.is_running
    assert h.lines() == []
    (h.folder / "go").touch()
    await h.until(f"post {promoted.port}")


# The Leader dies


@pytest.fixture
def scene(shared: Shared, tmp_path: Path) -> Scene:
    world = World(shared.topology())
    world.create_table()
    world.write(*range(1, 11))
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


def noting(folder: Path) -> tuple[tuple[str, object], ...]:
    def note(text: str) -> list[str]:
        return [f"echo {text} >>{folder}/noted"]

    return (
        ("PreFailoverProcesses", note("pre")),
        ("FenceProcesses", note("fence {successorPort}")),
        ("PostMasterFailoverProcesses", note("post-master {failureType} {successorPort}")),
        ("PostFailoverProcesses", [*note("post {countReplicas} {recoveryUID}"), f"touch {folder}/done"]),
        ("PostUnsuccessfulFailoverProcesses", note("unsuccessful")),
    )


@pytest.mark.parametrize(
    ("ends_at", "when", "expected"),
    [
        pytest.param(
            "statement:SET GLOBAL read_only", "after", ["pre", "fence", "post-master", "post"], id="opened"
        ),
        pytest.param(
            "statement:SET GLOBAL read_only",
            "before",
            ["pre", "fence", "pre", "fence", "post-master", "post", "unsuccessful"],
            id="fenced, not opened: all of it once more",
        ),
        pytest.param("resolve", "after", ["pre", "fence", "post-master", "post"], id="ended, hooks not run"),
    ],
)
def test_hooks_are_run_by_the_next_term_where_the_leader_died(
    scene: Scene, ends_at: str, when: str, expected: list[str]
) -> None:
    settings = noting(scene.folder)
    code, _ = scene.run(ends_at=ends_at, when=when, settings=settings)
    assert code == -signal.SIGKILL
    _, report = scene.run(settings=settings, lives_until=scene.folder / "done")
    assert report["error"] == ""
    promoted = scene.assert_sound()
    lines = (scene.folder / "noted").read_text().splitlines()
    # The hook of the one that was voided runs beside the recovery that follows.
    assert sorted(line.split()[0] for line in lines) == sorted(expected)
    recoveries, _, said = scene.store()
    assert f"post-master DeadMaster {promoted.port}" in lines
    assert any(line == f"post 2 {one.uid}" for line in lines for one in recoveries if one.is_successful)
    assert any("PostFailoverProcesses 2 of 2 ended" in line for line in said)
    third, _ = scene.run(settings=settings)
    assert third == 0
    assert (scene.folder / "noted").read_text().splitlines() == lines, "once they have run, they have"
