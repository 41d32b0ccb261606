"""Values that travel between actors arrive as they were sent."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.topology.channel import Channel, ChannelTls
from services.topology.coordinates import BinlogCoordinates
from services.topology.instance import Instance
from services.topology.keys import InstanceKey
from services.topology.travelling import travelling

_KEYS = st.builds(InstanceKey, st.text(), st.integers(0, 65535))
_PLACES = st.builds(BinlogCoordinates, st.text(), st.integers(0, 2**63 - 1), st.booleans())
_CHANNELS = st.builds(Channel, name=st.text(), master_key=_KEYS, read_coordinates=_PLACES)
_INSTANCES = st.builds(
    Instance,
    key=_KEYS,
    master_key=_KEYS,
    self_coordinates=_PLACES,
    channels=st.lists(_CHANNELS, max_size=2).map(tuple),
    replication_tls=st.builds(ChannelTls, ca_file=st.text()),
    uptime_seconds=st.integers(),
    problems=st.lists(st.text(), max_size=2).map(tuple),
)


@given(_INSTANCES | _KEYS | _PLACES | _CHANNELS)
def test_they_arrive_as_they_were_sent(sent: object) -> None:
    for arrived in (pickle.loads(pickle.dumps(sent, protocol=5)), copy.deepcopy(sent)):
        assert arrived == sent
        assert type(arrived) is type(sent)
        assert hash(arrived) == hash(sent)


def test_what_has_arrived_stays_what_it_is() -> None:
    sent = Instance(key=InstanceKey("a", 1), uptime_seconds=7)
    arrived = pickle.loads(pickle.dumps(sent))
    with pytest.raises(FrozenInstanceError):
        arrived.uptime_seconds = 8
    assert replace(arrived, uptime_seconds=8).uptime_seconds == 8


def test_one_of_another_version_is_refused() -> None:
    """A field more or less: never values under the names of others."""
    with pytest.raises(ValueError, match="zip"):
        object.__new__(InstanceKey).__setstate__(("a", 1, "more"))  # type: ignore[attr-defined]


def test_a_class_without_slots_is_refused() -> None:
    @dataclass(frozen=True)
    class Loose:
        one: int
        two: int

    with pytest.raises(AttributeError):
        travelling(Loose)
