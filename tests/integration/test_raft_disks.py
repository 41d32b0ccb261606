"""Three whole raft nodes that speak over TLS, each with its state on small disks of its own (tmpfs): another
authority's certificate, and disks that are full.

The tests go on from what the one before left.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from services.raft.config import TlsFiles
from services.sandbox.binaries import Mysqld
from services.sandbox.topology import TopologySpec
from tests.certificates import Authority
from tests.node import Node
from tests.raft_nodes import RaftNodes
from tests.servers import Stage, short_directory, wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

_DISK = "size=24m"


def _tls(files: TlsFiles) -> dict[str, object]:
    return {
        "RaftSSLCertFile": str(files.certificate),
        "RaftSSLPrivateKeyFile": str(files.key),
        "RaftSSLCAFile": str(files.authority),
    }


class Disks:
    """``raft`` and ``store`` of each node."""

    def __init__(self, folder: Path, endings: ExitStack) -> None:
        self._folder = folder
        for number in range(3):
            for what in ("raft", "store"):
                self._mount(self.of(number, what), endings)

    def of(self, number: int, what: str) -> Path:
        return self._folder / f"{what}-{number}"

    @staticmethod
    def _mount(place: Path, endings: ExitStack) -> None:
        place.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", _DISK, "none", str(place)],
            check=False, capture_output=True, text=True, timeout=10,
        )  # fmt: skip
        if done.returncode != 0:
            pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
        endings.callback(subprocess.run, ["umount", "-l", str(place)], check=True, timeout=10)

    @contextmanager
    def full(self, number: int, what: str) -> Iterator[None]:
        """Not a byte is left."""
        filler = self.of(number, what) / "filler"
        try:
            with filler.open("wb", buffering=0) as file:
                size = 1024 * 1024
                while size:
                    try:
                        file.write(os.urandom(size))
                    except OSError as error:
                        assert error.errno == errno.ENOSPC
                        size //= 2
            yield
        finally:
            filler.unlink()


@pytest.fixture(scope="module")
def endings() -> Iterator[ExitStack]:
    with ExitStack() as endings:
        yield endings


@pytest.fixture(scope="module")
def folder(endings: ExitStack) -> Path:
    folder = short_directory()
    endings.callback(shutil.rmtree, folder, ignore_errors=True)
    return folder


@pytest.fixture(scope="module")
def authority(folder: Path) -> Authority:
    return Authority(folder / "authority")


@pytest.fixture(scope="module")
def disks(folder: Path, endings: ExitStack) -> Disks:
    if os.geteuid() != 0:
        pytest.skip("small disks are mounted as root only")
    return Disks(folder, endings)


@pytest.fixture(scope="module")
def setup(mysqld: Mysqld, folder: Path, disks: Disks, authority: Authority, endings: ExitStack) -> RaftNodes:
    stage = Stage(mysqld)
    endings.callback(stage.clear)
    files = authority.files("127.0.0.1")

    def own(number: int) -> Mapping[str, object]:
        return {
            **_tls(files),
            "RaftSecret": None,
            "RaftDataDir": str(disks.of(number, "raft")),
            "SQLite3DataFile": str(disks.of(number, "store") / "orchestray.db"),
            "NodeDirectory": str(folder / str(number) / "node"),
        }

    topology = stage.topology(TopologySpec(replicas=2))
    setup = RaftNodes(folder, topology, endings, own=own)
    setup.start()
    return setup


def _well(setup: RaftNodes) -> None:
    for node in setup.nodes:
        wait_until(lambda node=node: node.get("health")[0] == 200, 30, lambda node=node: node.get("health"))
        wait_until(lambda node=node: node.answers("raft-health") == "healthy", 30, setup.story)


def _rule_everywhere(setup: RaftNodes, rule: str) -> None:
    key = str(setup.topology.replicas[1].key)

    def has(node: Node) -> bool:
        known = node.instances().get(key)
        return bool(known) and known["PromotionRule"] == rule

    for node in setup.nodes:
        wait_until(lambda node=node: has(node), 20, setup.story)


def test_nodes_agree_over_tls(setup: RaftNodes) -> None:
    _well(setup)
    setup.leader().api(f"register-candidate/127.0.0.1/{setup.topology.replicas[1].port}/prefer")
    _rule_everywhere(setup, "prefer")


def test_a_certificate_of_another_authority_is_not_let_in(setup: RaftNodes, folder: Path) -> None:
    leader = setup.leader()
    node = setup.others(leader)[0]
    assert node.stop() == 0
    right = {name: node.settings[name] for name in _tls(TlsFiles(Path(), Path(), Path()))}
    wrong = Authority(folder / "wrong")
    node.configure(**_tls(wrong.files("127.0.0.1")))
    node.start()
    said = wait_until(lambda: _complaint(node, "raft-health", "certificate is not accepted"), 20, setup.story)
    assert str(wrong.file) in said
    assert "RaftSSLCAFile" in said or "signed by the authority" in said
    assert setup.acting is leader, "the others go on, undisturbed"
    assert len(node.api("all-instances")) == 3
    assert node.stop() == 0
    node.configure(**right)
    node.start()
    _well(setup)


def _complaint(node: Node, path: str, text: str) -> str | None:
    status, reply = node.get(path)
    return reply["Message"] if status == 500 and text in str(reply) else None


@pytest.mark.parametrize(("what", "told"), [("raft", "is full"), ("store", "no room for the store")])
def test_who_leads_with_a_full_disk_steps_down_says_so_and_is_well_when_there_is_room(
    setup: RaftNodes, disks: Disks, what: str, told: str
) -> None:
    """Of the raft log; of the backend. Meanwhile the others decide, and nothing of that is left out."""
    _well(setup)
    full, replica = setup.leader(), setup.topology.replicas[1]
    others = setup.others(full)
    change = _changes(full, replica.port)
    with disks.full(setup.nodes.index(full), what):
        wait_until(lambda: change() and any(node.leads for node in others), 30, setup.story)
        wait_until(lambda: not full.leads, 10, setup.story)
        said = wait_until(lambda: _complaint(full, "health", told), 20, lambda: full.get("health"))
        assert str(disks.of(setup.nodes.index(full), what)) in said
        acting = next(node for node in others if node.leads)
        rule = "prefer_not" if what == "raft" else "neutral"
        acting.api(f"register-candidate/127.0.0.1/{replica.port}/{rule}")
        assert len(full.api("all-instances")) == 3, "it watches, and serves reads"
        assert not full.leads
    _well(setup)
    _rule_everywhere(setup, rule)


def _changes(node: Node, port: int) -> Callable[[], bool]:
    """Something to write, as long as it leads; never the same, so that the file has to grow."""

    def change() -> bool:
        reply: Any = node.get(f"register-candidate/127.0.0.1/{port}/must_not")
        return reply is not None

    return change


def test_a_master_that_dies_while_the_disk_of_who_leads_is_full_is_recovered_once(
    setup: RaftNodes, disks: Disks
) -> None:
    """By whoever leads at its end: the disk may be full in the middle of it."""
    _well(setup)
    topology = setup.topology
    full = setup.leader()
    for node in setup.nodes:
        node.wait_settled(topology.master, topology.replicas)
    with disks.full(setup.nodes.index(full), "raft"):
        topology.master.kill()
        promoted = wait_until(
            lambda: next((one for one in topology.replicas if one.variable("read_only") == "0"), None),
            30,
            setup.story,
        )
        (replica,) = [one for one in topology.replicas if one is not promoted]
        setup.leader(30).wait_settled(promoted, [replica])
    _well(setup)
    for node in setup.nodes:
        successful = wait_until(
            lambda node=node: [one for one in node.answers("audit-recovery") or [] if one["IsSuccessful"]], 20
        )
        assert len(successful) == 1
    assert [one for one in topology.replicas if one.variable("read_only") == "0"] == [promoted]
