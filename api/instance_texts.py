"""The JSON of the instances of a snapshot, each made when it is first asked for, and once."""

from __future__ import annotations

from api.wire import instance_text
from services.topology.instance import Instance
from services.topology.keys import InstanceKey
from services.topology.tree import Topology

__all__ = ["InstanceTexts"]


class _Texts(dict[InstanceKey, str]):
    def __init__(self, topology: Topology) -> None:
        super().__init__()
        self._topology = topology

    def __missing__(self, key: InstanceKey) -> str:
        instance: Instance = self._topology.instances[key]
        text = self[key] = instance_text(instance)
        return text


class InstanceTexts:
    """Those of the newest snapshot only."""

    def __init__(self) -> None:
        self._topology: Topology | None = None
        self._texts: _Texts | None = None

    def of(self, topology: Topology) -> _Texts:
        """By key; KeyError for what is not in that snapshot."""
        if self._texts is None or topology is not self._topology:
            self._topology, self._texts = topology, _Texts(topology)
        return self._texts
