"""Every agreed change through raft is what it is directly: the same results, errors and rows."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from services.agreement.commands import UnknownCommandError, decode, encode
from services.agreement.operations import OPERATIONS, PARTS
from services.agreement.tables import LOCAL, dump
from services.store.clusters import ClusterRecord
from services.store.instances import InstanceStore
from services.store.nodes import NodeStore
from services.store.recoveries import Outcome, RecoveryFilter
from services.store.schema import LEASE, METADATA, RAFT_NUMBERS, SETTINGS
from services.store.store import Store
from services.topology.keys import NO_KEY, InstanceKey
from services.topology.records import AuditEntry, DeposedMaster, JournalEntry, JournalPhase
from services.topology.registrations import (
    CandidateRule,
    Downtime,
    HostAttribute,
    HostnameUnresolve,
    InstanceTag,
    Maintenance,
)
from services.topology.tags import TagTerm
from tests.backends import FLAVOURS, SERVERS, empty_backend
from tests.unit.agreement.members import alone
from tests.unit.store.samples import MASTER, OTHER, REPLICA, T0, detection, entry, recovery

LATER = "2026-11-22T21:00:00Z"
TERM = 1_000_000
"""Beyond any that the raft of a test comes to, so that both accept it."""


def _journal(uid: str, phase: JournalPhase, term: int = TERM) -> JournalEntry:
    return JournalEntry(
        recovery_uid=uid, term=term, step_no=1, kind="open", instance=REPLICA, phase=phase, detail="é", at=T0
    )


def _deposed() -> DeposedMaster:
    return DeposedMaster(
        cluster_id="c1", key=MASTER, deposed_at=T0, until=LATER, term=TERM, recovery_uid="1:a"
    )


def _noted() -> AuditEntry:
    return AuditEntry(at=T0, type="x", instance=MASTER, message="é")


def _maintenance() -> Maintenance:
    return Maintenance(key=MASTER, owner="me", reason="é", begins_at=T0, ends_at=LATER)


CALLS: tuple[tuple[str, tuple[Any, ...], dict[str, Any]], ...] = (
    ("instances.discover", ([MASTER, REPLICA, OTHER],), {}),
    ("instances.forget", ([OTHER],), {}),
    ("clusters.create", (ClusterRecord(id="c1", master_key=MASTER, alias="shop"),), {}),
    ("clusters.create", (ClusterRecord(id="c2", master_key=OTHER),), {}),
    ("clusters.forget", ("c2",), {}),
    (
        "registrations.register_candidate",
        (CandidateRule(key=REPLICA, promotion_rule="prefer", last_suggested=T0, expires_at=LATER),),
        {},
    ),
    (
        "registrations.begin_downtime",
        (Downtime(key=REPLICA, owner="me", reason="why", begins_at=T0, ends_at=LATER),),
        {},
    ),
    (
        "registrations.begin_downtime",
        (Downtime(key=MASTER, owner="me", reason="why", begins_at=T0, ends_at=LATER),),
        {},
    ),
    ("registrations.end_downtime", (MASTER, _noted()), {}),
    ("registrations.end_downtime", (MASTER, _noted()), {}),
    ("registrations.begin_maintenance", (_maintenance(), _noted()), {}),
    ("registrations.begin_maintenance", (_maintenance(), _noted()), {}),  # 0: there is one
    ("registrations.end_maintenance", (MASTER, _noted()), {"number": 2}),
    ("registrations.end_maintenance", (MASTER, _noted()), {"number": 1}),
    ("registrations.end_maintenance", (MASTER,), {}),
    ("registrations.begin_maintenance", (_maintenance(),), {}),
    (
        "registrations.register_unresolve",
        (
            HostnameUnresolve(
                hostname="m.example", unresolved_hostname="v", registered_at=T0, expires_at=LATER
            ),
        ),
        {},
    ),
    ("registrations.deregister_unresolve", ("nobody", _noted()), {}),
    ("tags.put", (InstanceTag(key=MASTER, name="é", value="1"), _noted()), {}),
    ("tags.put", (InstanceTag(key=REPLICA, name="é", value="2"),), {}),
    ("tags.put", (InstanceTag(key=REPLICA, name="b"),), {}),
    ("tags.remove", (TagTerm("é", "2"),), {"audit": _noted()}),
    ("tags.remove", (TagTerm("é"),), {"key": REPLICA}),
    ("tags.remove", (TagTerm("é"),), {"key": MASTER, "audit": _noted()}),
    ("pools.submit", ("p", [REPLICA, MASTER, REPLICA]), {"at": T0, "expires_at": LATER, "audit": _noted()}),
    ("pools.submit", ("q", [OTHER]), {"at": T0, "expires_at": LATER}),
    ("pools.submit", ("p", []), {"at": T0, "expires_at": LATER}),
    (
        "attributes.put",
        (HostAttribute(hostname="m.example", name="rack", value="7", submitted_at=T0), _noted()),
        {},
    ),
    ("clusters.set_alias", ("c1", "böse", _noted()), {}),
    ("clusters.set_alias", ("c1", "böse", _noted()), {}),
    ("clusters.set_alias", ("none", "x", _noted()), {}),
    ("registrations.expire", (T0,), {}),
    ("registrations.expire", (LATER,), {}),
    ("registrations.disable_recoveries", (), {}),
    ("registrations.enable_recoveries", (), {}),
    ("registrations.disable_recoveries", (), {}),
    ("witnesses.begin", ("c1", REPLICA, 60), {"term": TERM}),
    ("witnesses.begin", ("c9", REPLICA, 60), {"term": TERM}),
    ("witnesses.end", ("c9",), {}),
    ("recoveries.register", (recovery("1:a", term=TERM),), {}),
    ("recoveries.register", (recovery("1:a", term=TERM),), {}),  # the same again
    ("recoveries.register", (recovery("2:b", term=TERM),), {}),  # ClusterBusyError
    ("recoveries.register", (recovery("0:z", term=0),), {}),  # StaleTermError
    ("recoveries.register", (recovery("3:c", about=entry(cluster_id=""), term=TERM),), {}),  # ValueError
    ("detections.register", (detection(),), {"active_seconds": 60.0}),
    ("detections.register", (detection(),), {"active_seconds": 60.0}),
    ("journal.add_step", ("1:a", "one"), {"at": T0}),
    ("journal.add_steps", ("1:a", [(T0, "two"), (LATER, "three")]), {}),
    ("journal.add_steps", ("1:a", []), {}),
    ("journal.add_step", ("none", "lost"), {"at": T0}),  # UnknownRecoveryError
    ("journal.write", (_journal("1:a", JournalPhase.INTENT), _journal("1:a", JournalPhase.DONE)), {}),
    ("journal.write", (_journal("1:a", JournalPhase.INTENT, term=0),), {}),  # StaleTermError
    (
        "clusters.promote",
        ("c1",),
        {"expected": MASTER, "master": REPLICA, "at": T0, "term": TERM, "deposed": _deposed()},
    ),
    (
        "clusters.promote",
        ("c1",),
        {"expected": MASTER, "master": OTHER, "at": T0, "term": TERM},
    ),  # MasterChangedError
    ("clusters.seen_again", ("c1", MASTER, LATER), {}),
    ("clusters.rejoined", ("c1", MASTER), {}),
    ("clusters.rejoined", ("c1", MASTER), {}),
    ("clusters.follow", ("c1",), {"expected": REPLICA, "master": OTHER, "at": LATER}),
    ("clusters.follow", ("c1",), {"expected": MASTER, "master": OTHER, "at": LATER}),
    (
        "recoveries.resolve",
        (
            "1:a",
            Outcome(is_successful=True, successor_key=REPLICA, lost_replicas=(OTHER,), all_errors=("é",)),
        ),
        {"at": T0, "term": TERM, "block_seconds": 3600.5},
    ),
    ("recoveries.register", (recovery("4:d", term=TERM),), {}),  # ClusterBlockedError
    (
        "recoveries.resolve",
        ("none", Outcome(is_successful=False)),
        {"at": T0, "term": TERM, "block_seconds": 0.0},
    ),  # UnknownRecoveryError
    (
        "recoveries.acknowledge",
        (RecoveryFilter(cluster_alias="shop"),),
        {"owner": "me", "comment": "seen", "at": LATER},
    ),
    (
        "recoveries.acknowledge",
        (RecoveryFilter(),),
        {"owner": "me", "comment": " ", "at": LATER},
    ),  # ValueError
    ("recoveries.register", (recovery("5:e", term=TERM),), {"automatic": False}),
    ("audit.add", (AuditEntry(at=T0, type="deposed", instance=MASTER, message="said"),), {}),
    ("audit.add", (AuditEntry(at=T0, type="node", instance=NO_KEY, message="said"),), {}),
    ("audit.purge", (LATER,), {"days": 1.0}),
)


async def _done(store: Store, call: tuple[str, tuple[Any, ...], dict[str, Any]]) -> tuple[Any, str, str]:
    name, arguments, named = call
    part, _, method = name.partition(".")
    try:
        value = await getattr(getattr(store, part), method)(*arguments, **named)
    except Exception as error:
        return None, type(error).__name__, str(error)
    return value, "", ""


def _rows(dumped: dict[str, Any]) -> dict[str, Any]:
    """Without what only raft has."""
    own = {LEASE.name, RAFT_NUMBERS.name}
    tables = {name: sorted(map(tuple, table["rows"])) for name, table in dumped["tables"].items()}
    tables[SETTINGS.name] = [row for row in tables[SETTINGS.name] if not row[0].startswith("raft_")]
    return {**{name: rows for name, rows in tables.items() if name not in own}, "known": dumped["known"]}


@pytest.fixture
async def direct(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(tmp_path / "direct.db")
    yield store
    await store.close()


@pytest.mark.parametrize("flavour", FLAVOURS)
async def test_each_operation_is_as_without_raft(
    tmp_path: Path, direct: Store, flavour: str, request: pytest.FixtureRequest
) -> None:
    """On each kind of backend, with the numbers that a SQLite file of its own gives."""
    backend = None if flavour == "sqlite" else empty_backend(request.getfixturevalue(SERVERS[flavour]))
    called = {name for name, _, _ in CALLS}
    assert called == {name for name in OPERATIONS if not name.startswith("founding.")}
    # A lease of a term that has begun, as the leader's first command in raft.
    await direct.database.write(
        lambda connection: connection.execute(
            LEASE.insert().values(name="leader", node_id="n", term=1, counter=1, length_ms=1)
        )
    )
    errors = set()
    async with alone(tmp_path, backend) as member:
        for call in CALLS:
            expected, found = await _done(direct, call), await _done(member.store, call)
            if "StaleTermError" in expected:  # its text names the newest term
                expected, found = expected[:2], found[:2]  # type: ignore[assignment]
            assert found == expected, call
            errors.add(expected[1])
            assert _rows(await member.local.database.read(dump)) == _rows(await direct.database.read(dump))
        assert member.seat.node.state().failed_commands == 0, "what is refused is no failure"
    assert errors == {
        "",
        "ClusterBlockedError",
        "ClusterBusyError",
        "MasterChangedError",
        "StaleTermError",
        "UnknownRecoveryError",
        "ValueError",
    }


@pytest.mark.parametrize("part", [part for part in PARTS if part != "founding"])
def test_what_is_not_agreed_on_writes_nothing_but_observations(part: str) -> None:
    """Whoever adds a change to the store has to decide: in the table, or here, among what is local."""
    store, agreed = PARTS[part]
    local = {
        (InstanceStore, "upsert_many"),
        (InstanceStore, "update_many"),
        (NodeStore, "make_secret"),
    }
    for name, method in inspect.getmembers(store, inspect.iscoroutinefunction):
        if ".write(" in inspect.getsource(method):
            assert name in agreed or (store, name) in local, f"{store.__name__}.{name}"


async def test_every_part_of_the_store_is_known(direct: Store) -> None:
    parts = {name for name, value in vars(direct).items() if type(value).__name__.endswith("Store")}
    assert parts == PARTS.keys() - {"founding"}


def test_every_table_is_agreed_on_but_the_local_ones(direct: Store) -> None:
    assert METADATA.tables.keys() > LOCAL


@pytest.mark.parametrize(
    "command",
    [
        b"",
        b"[]",
        b'{"op":"clusters.vanish","args":{}}',
        b'{"op":"clusters.forget","args":{}}',
        b'{"op":"clusters.forget","args":{"cluster_id":7}}',
        b'{"op":"clusters.forget","args":{"cluster_id":"c","more":1}}',
        b'{"op":"journal.add_steps","args":{"uid":"u","lines":[["only one"]]}}',
        b'{"op":"registrations.end_downtime","args":{"key":{"hostname":"h","port":1,"colour":"red"}}}',
    ],
)
def test_what_another_version_wrote_is_told_apart(command: bytes) -> None:
    with pytest.raises(UnknownCommandError):
        decode(command)


def test_a_command_is_json() -> None:
    command = encode(OPERATIONS["registrations.end_downtime"], InstanceKey("h", 1))
    assert command == b'{"op":"registrations.end_downtime","args":{"key":{"hostname":"h","port":1}}}'
