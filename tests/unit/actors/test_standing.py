"""Who acts, as a node shows it: from what its Leader told, and from its own clock each time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from actors import standing
from actors.leadership import Lead, LeaderClock
from actors.spec import Configuration, NodeSpec
from actors.standing import Standing
from services.election.clock import boot_id
from services.node_view import Acting
from services.raft.view import FOLLOWER, RaftView
from services.store.nodes import NodeRow

IT = NodeRow(
    node_id="host-2:/y:1", host="host-2", token="t2", uri="http://host-2:3000", version="9", backend="db:3306"
)
THIRD = NodeRow(node_id="host-3:/z:1", host="host-3", token="t3", uri="", version="9", backend="db:3306")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(standing, "boottime", clock)
    return clock


def node(folder: Path, **settings: object) -> tuple[Standing, NodeSpec]:
    file = folder / "orchestray.json"
    file.write_text(json.dumps({"BackendDB": "sqlite", "SQLite3DataFile": str(folder / "x.db"), **settings}))
    spec = NodeSpec.make(folder / "node", strict=False)
    spec.folder.mkdir()
    configuration = Configuration.begin(spec, (file,)).loaded
    return Standing(spec, lambda: configuration, LeaderClock()), spec


def test_it_acts_until_the_deadline_that_it_was_told(tmp_path: Path, clock: Clock) -> None:
    me, spec = node(tmp_path)
    assert not me.acts
    me.told(Lead(term=4, deadline=103.0, boot=boot_id(), holder=spec.node_id, holder_term=4))
    clock.now = 102.9
    assert me.acts
    assert me.acting() == Acting(me=spec.node_id, node=spec.node_id, term=4)
    status = me.status([])
    assert (status.is_leader, status.active_node.token) == (True, spec.token)
    clock.now = 103.0
    assert not me.acts
    assert not me.status([]).is_leader
    assert me.acting() == Acting(me=spec.node_id, term=4), "its Leader is silent: it knows of nobody"


def test_it_knows_where_the_node_is_that_acts(tmp_path: Path, clock: Clock) -> None:
    me, spec = node(tmp_path)
    me.told(Lead(holder=IT.node_id, holder_term=7, uri=IT.uri, holder_row=IT, others=(IT, THIRD)))
    assert me.acting() == Acting(me=spec.node_id, node=IT.node_id, uri=IT.uri, term=7)
    status = me.status([])
    active = status.active_node
    assert (active.hostname, active.token, active.app_version, active.db_backend) == (
        "host-2",
        "t2",
        "9",
        "db:3306",
    )
    assert active.first_seen_active
    assert [one.token for one in status.available_nodes] == [spec.token, "t2", "t3"]
    clock.now += 5
    assert me.acting() == Acting(me=spec.node_id, term=7)
    assert [one.token for one in me.status([]).available_nodes] == [spec.token]
    assert me.status([]).healthy
    clock.now += 10
    assert me.status([]).error == "no news from the Leader for 15 s"


def test_since_when_another_lives_is_kept_while_it_does(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    me, _ = node(tmp_path)
    seen: list[Any] = []
    for at, others in (("1", (IT,)), ("2", (IT, THIRD)), ("3", (THIRD,)), ("4", (IT, THIRD))):
        monkeypatch.setattr(standing, "utc_now", lambda at=at: at)
        me.told(Lead(others=others))
        seen.append([(one.token, one.first_seen_active) for one in me.status([]).available_nodes[1:]])
    assert seen == [
        [("t2", "1")],
        [("t2", "1"), ("t3", "2")],
        [("t3", "2")],
        [("t2", "4"), ("t3", "2")],
    ]


def test_what_is_wrong_is_told(tmp_path: Path, clock: Clock) -> None:
    me, _ = node(tmp_path)
    me.told(Lead(error="the store does not work"))
    status = me.status(["the topology is silent"])
    assert (status.healthy, status.error) == (False, "the topology is silent; the store does not work")


def test_in_raft_members_are_named(tmp_path: Path, clock: Clock) -> None:
    me, _ = node(
        tmp_path,
        RaftEnabled=True,
        RaftDataDir=str(tmp_path),
        RaftBind="127.0.0.1:1",
        RaftNodes=["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"],
    )
    view = RaftView(
        bind="127.0.0.1:1",
        advertise="127.0.0.1:1",
        state=FOLLOWER,
        leader="127.0.0.1:2",
        reached=("127.0.0.1:1", "127.0.0.1:2"),
        term=5,
    )
    me.told(Lead(holder="127.0.0.1:2", holder_term=5, uri="http://127.0.0.1:3000", raft=view))
    wanted = Acting(me="127.0.0.1:1", node="127.0.0.1:2", uri="http://127.0.0.1:3000", term=5)
    assert me.acting() == wanted
    status = me.status([])
    assert status.active_node.hostname == "127.0.0.1:2"
    assert [one.hostname for one in status.available_nodes[1:]] == ["127.0.0.1:2"]
    assert status.raft == view
    clock.now += 5
    assert me.acting() == Acting(me="127.0.0.1:1", term=5)
    raft = me.raft()
    assert raft is not None
    assert (raft.state, raft.leader) == ("Shutdown", "")


def test_one_problem_is_told_once_however_many_have_met_it(tmp_path: Path, clock: Clock) -> None:
    me, _ = node(tmp_path)
    full = "no room for the store"
    me.told(Lead(error=full))
    assert me.status([]).error == full
    assert me.status([f"StoreFullError: {full}"]).error == f"StoreFullError: {full}"
    assert me.status(["another"]).error == f"another; {full}"
