"""What people register, as requests: values that say what is wanted, carried out by the node that acts.

A request checks what it was given, turns durations into times and writes to the store; there it is the same
for all nodes. Knows the store and the settings; what a server or a cluster is called is resolved before.
"""

from __future__ import annotations

from services.registering.labels import (
    PutAttribute,
    PutTag,
    RemoveTag,
    SetClusterAlias,
    SubmitPool,
)
from services.registering.request import Book, Request
from services.registering.servers import (
    BeginDowntime,
    BeginMaintenance,
    DeregisterUnresolve,
    EndDowntime,
    EndMaintenance,
    EndMaintenanceNumbered,
    RegisterCandidate,
    RegisterUnresolve,
)
from services.registering.snapshots import RegularSnapshots, SnapshotCluster, snapshots_of

__all__ = [
    "BeginDowntime",
    "BeginMaintenance",
    "Book",
    "DeregisterUnresolve",
    "EndDowntime",
    "EndMaintenance",
    "EndMaintenanceNumbered",
    "PutAttribute",
    "PutTag",
    "RegisterCandidate",
    "RegisterUnresolve",
    "RegularSnapshots",
    "RemoveTag",
    "Request",
    "SetClusterAlias",
    "SnapshotCluster",
    "SubmitPool",
    "snapshots_of",
]
