"""Instances as JSON text: the same as the JSON of `instance_to_wire`, whatever is in them."""

from __future__ import annotations

import dataclasses
import json
import typing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.instance_texts import InstanceTexts
from api.replies import JsonText, enveloped
from api.wire import dumps, instance_text, instance_to_wire
from api.wire_rows import Compiled
from services.topology.channel import Channel, ChannelTls
from services.topology.coordinates import BinlogCoordinates
from services.topology.instance import CheckOutcome, Instance, ThreadState
from services.topology.keys import InstanceKey
from services.topology.tree import Topology
from tests.unit.api.memory_node import M, fleet, snapshot

_TEXTS = st.text(alphabet=st.characters(), max_size=12) | st.sampled_from(
    ['"', "\\", "<&>", "\u2028", "%s", "é", "\x00"]
)
_WHOLE = st.integers(min_value=0, max_value=2**64 - 1)
_KEYS = st.builds(InstanceKey, _TEXTS, st.integers(0, 65535))
_BY_TYPE: dict[object, st.SearchStrategy[object]] = {
    str: _TEXTS,
    int: _WHOLE,
    bool: st.booleans(),
    float: st.floats(min_value=0, max_value=1e9),
    int | None: st.none() | st.integers(),
    bool | None: st.none() | st.booleans(),
    InstanceKey: _KEYS,
    tuple[InstanceKey, ...]: st.lists(_KEYS, max_size=3).map(tuple),
    tuple[str, ...]: st.lists(_TEXTS, max_size=3).map(tuple),
    tuple[Channel, ...]: st.lists(st.builds(Channel, name=_TEXTS, master_key=_KEYS), max_size=2).map(tuple),
    ChannelTls: st.builds(ChannelTls, ca_file=_TEXTS, verify_server_certificate=st.none() | st.booleans()),
    BinlogCoordinates: st.builds(BinlogCoordinates, _TEXTS, _WHOLE),
    ThreadState: st.sampled_from(ThreadState),
    CheckOutcome: st.sampled_from(CheckOutcome),
}


@st.composite
def values(draw: st.DrawFn, kind: type[Any]) -> Any:
    """A value of a data class, with some of its fields set."""
    hints = typing.get_type_hints(kind)
    fields = [field.name for field in dataclasses.fields(kind) if field.name != "key"]
    names = draw(st.lists(st.sampled_from(fields), unique=True))
    return kind(
        **{name: draw(_BY_TYPE[hints[name]]) for name in names}, **({"key": M} if "key" in hints else {})
    )


_BY_TYPE[ChannelTls] = values(ChannelTls)
_BY_TYPE[tuple[Channel, ...]] = st.lists(values(Channel), max_size=2).map(tuple)


@given(values(Instance))
def test_the_text_is_the_json_of_the_value(instance: Instance) -> None:
    assert instance_text(instance) == dumps(instance_to_wire(instance))


@given(st.data())
def test_what_is_kept_from_the_snapshot_before_is_what_would_be_written_now(data: st.DataObject) -> None:
    """Whichever field is another one now, also those of which nothing is said."""
    before = data.draw(values(Instance))
    hints = typing.get_type_hints(Instance)
    name = data.draw(st.sampled_from([one.name for one in dataclasses.fields(Instance) if one.name != "key"]))
    after = dataclasses.replace(before, **{name: data.draw(_BY_TYPE[hints[name]])})
    texts = InstanceTexts()
    for instance in (before, after, before):
        assert texts.of(_only(instance))[M] == instance_text(instance)


def _only(instance: Instance) -> Topology:
    return Topology(instances={instance.key: instance}, clusters=(), now=0.0)


def test_of_a_server_that_nobody_looked_at_only_that_is_written_which_time_moves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = []
    staying = Compiled.staying

    def counting(compiled: Compiled, instance: Instance) -> list[str]:
        made.append(instance.key)
        return staying(compiled, instance)

    monkeypatch.setattr(Compiled, "staying", counting)
    texts = InstanceTexts()
    for now in range(3):
        one = dataclasses.replace(fleet()[0], seconds_since_last_seen=now, uptime_seconds=now // 2)
        said = json.loads(texts.of(_only(one))[M])
        assert (said["SecondsSinceLastSeen"]["Int64"], said["Uptime"]) == (now, now // 2)
    assert made == [M, M]
    texts.of(Topology(instances={}, clusters=(), now=0.0))
    assert json.loads(texts.of(_only(one))[M])["Uptime"] == 1
    assert made == [M, M, M]  # what has gone is not kept


def test_texts_are_those_of_the_newest_snapshot() -> None:
    old, new = snapshot(fleet()), snapshot([dataclasses.replace(fleet()[0], uptime_seconds=7)])
    texts = InstanceTexts()
    assert json.loads(texts.of(old)[M])["Uptime"] == 0
    assert texts.of(old) is texts.of(old)
    assert json.loads(texts.of(new)[M])["Uptime"] == 7


def test_what_is_ready_goes_into_the_envelope_as_it_is() -> None:
    assert (
        enveloped("OK", "<x>", JsonText("[1,2]"))
        == '{"Code":"OK","Message":"\\u003cx\\u003e","Details":[1,2]}'
    )
    assert enveloped("ERROR", "x") == '{"Code":"ERROR","Message":"x","Details":null}'
