"""The words of hook commands: which keys hold them, which placeholders they may have, what cannot work.

Every placeholder has an environment variable with the same value; ``services.publish`` fills both in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import MappingProxyType

__all__ = ["HOOK_KEYS", "PLACEHOLDER", "PLACEHOLDERS", "hook_complaints"]

HOOK_KEYS = (
    "OnFailureDetectionProcesses",
    "PreFailoverProcesses",
    "FenceProcesses",
    "PostMasterFailoverProcesses",
    "PostFailoverProcesses",
    "PostUnsuccessfulFailoverProcesses",
)
"""The keys whose commands are run, in the order of events."""

PLACEHOLDERS = MappingProxyType(
    {
        "failureType": "ORC_FAILURE_TYPE",
        "instanceType": "ORC_INSTANCE_TYPE",
        "isMaster": "ORC_IS_MASTER",
        "isCoMaster": "ORC_IS_CO_MASTER",
        "failureDescription": "ORC_FAILURE_DESCRIPTION",
        "command": "ORC_COMMAND",
        "failedHost": "ORC_FAILED_HOST",
        "failedPort": "ORC_FAILED_PORT",
        "failureCluster": "ORC_FAILURE_CLUSTER",
        "failureClusterAlias": "ORC_FAILURE_CLUSTER_ALIAS",
        "failureClusterDomain": "ORC_FAILURE_CLUSTER_DOMAIN",
        "countReplicas": "ORC_COUNT_REPLICAS",
        "countSlaves": "ORC_COUNT_REPLICAS",
        "replicaHosts": "ORC_REPLICA_HOSTS",
        "slaveHosts": "ORC_REPLICA_HOSTS",
        "isDowntimed": "ORC_IS_DOWNTIMED",
        "autoMasterRecovery": "ORC_AUTO_MASTER_RECOVERY",
        "autoIntermediateMasterRecovery": "ORC_AUTO_INTERMEDIATE_MASTER_RECOVERY",
        "orchestratorHost": "ORC_ORCHESTRATOR_HOST",
        "recoveryUID": "ORC_RECOVERY_UID",
        "isSuccessful": "ORC_IS_SUCCESSFUL",
        "lostReplicas": "ORC_LOST_REPLICAS",
        "lostSlaves": "ORC_LOST_REPLICAS",
        "countLostReplicas": "ORC_COUNT_LOST_REPLICAS",
        "successorHost": "ORC_SUCCESSOR_HOST",
        "successorPort": "ORC_SUCCESSOR_PORT",
        "successorAlias": "ORC_SUCCESSOR_ALIAS",
        "successorBinlogCoordinates": "ORC_SUCCESSOR_BINLOG_COORDINATES",
    }
)
"""Each placeholder's environment variable (``ORC_COUNT_LOST_REPLICAS`` is ours)."""

PLACEHOLDER = re.compile(r"\{(" + "|".join(PLACEHOLDERS) + r")\}")

# What looks like one and is none: not ${VARIABLE}, %{format}, @{…}, and no brace that is escaped.
_LIKE_ONE = re.compile(r"(?<![$%@\\])\{([A-Za-z]+)\}")


def hook_complaints(command: str) -> Iterator[str]:
    """What is wrong with one command, so that it cannot work as it stands."""
    if not command.strip().removesuffix("&").strip():
        yield "is empty and is passed over; remove it"
    for name in dict.fromkeys(_LIKE_ONE.findall(command)):
        if name not in PLACEHOLDERS:
            meant = next((known for known in PLACEHOLDERS if known.lower() == name.lower()), "")
            mend = f"; did you mean {{{meant}}}?" if meant else " and stays as it is"
            yield f"{{{name}}} is not a placeholder{mend}"
