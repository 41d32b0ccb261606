"""What is agreed on: the one table of the store's changes that go through the log.

A change that is to agree is a method of a part of the store that ends in one transaction, or in none, and
depends on its arguments and on the agreed tables only: no clock, no chance. Its name here is all that it
needs; renaming it, or an argument of it, breaks logs that were written before. A method that is not named
here is local: it may change nothing but what ``tables.LOCAL`` lists.
"""

from __future__ import annotations

import inspect
import typing
from dataclasses import dataclass
from typing import Any

from services.agreement.founding import FoundingStore
from services.store.audit import AuditStore
from services.store.clusters import ClusterStore
from services.store.detections import DetectionStore
from services.store.instances import InstanceStore
from services.store.journal import JournalStore
from services.store.labels import AttributeStore, PoolStore, TagStore
from services.store.nodes import NodeStore
from services.store.recoveries import RecoveryStore
from services.store.registrations import RegistrationStore
from services.store.witnesses import WitnessStore

__all__ = ["OPERATIONS", "PARTS", "Operation"]

PARTS: dict[str, tuple[type[Any], tuple[str, ...]]] = {
    "founding": (FoundingStore, ("found", "lead")),
    "instances": (InstanceStore, ("discover", "forget")),
    "clusters": (
        ClusterStore,
        ("create", "set_alias", "forget", "promote", "follow", "seen_again", "rejoined"),
    ),
    "registrations": (
        RegistrationStore,
        (
            "register_candidate",
            "begin_downtime",
            "end_downtime",
            "begin_maintenance",
            "end_maintenance",
            "register_unresolve",
            "deregister_unresolve",
            "expire",
            "enable_recoveries",
            "disable_recoveries",
        ),
    ),
    "tags": (TagStore, ("put", "remove")),
    "pools": (PoolStore, ("submit",)),
    "attributes": (AttributeStore, ("put",)),
    "recoveries": (RecoveryStore, ("register", "resolve", "acknowledge")),
    "journal": (JournalStore, ("add_step", "add_steps", "write")),
    "detections": (DetectionStore, ("register",)),
    "audit": (AuditStore, ("add", "purge")),
    "witnesses": (WitnessStore, ("begin", "end")),
    "nodes": (NodeStore, ()),
}
"""Part of the store: its class, and those of its changes that are agreed on."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One agreed change, ``part.method``."""

    part: str
    method: str
    signature: inspect.Signature
    hints: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.part}.{self.method}"


def _operation(part: str, store: type[Any], method: str) -> Operation:
    function = getattr(store, method)
    parameters = list(inspect.signature(function).parameters.values())[1:]
    return Operation(part, method, inspect.Signature(parameters), typing.get_type_hints(function))


OPERATIONS: dict[str, Operation] = {
    f"{part}.{method}": _operation(part, store, method)
    for part, (store, methods) in PARTS.items()
    for method in methods
}
