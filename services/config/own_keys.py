"""The keys that orchestrator does not know: one table with type, default, unit and meaning.

``docs/configuration.md`` shows this table; a test compares both.
"""

# ruff: noqa: RUF009 - key() declares a field, as dataclasses.field() does

from __future__ import annotations

import re
from dataclasses import dataclass

from services.config.errors import UnfitValueError
from services.config.filters import check_cluster_filter
from services.config.keys import key
from services.config.kinds import (
    FLAG,
    NATURAL,
    NO_SECRET,
    PATH,
    POSITIVE,
    SECRET,
    TEXTS,
    CheckedText,
    Map,
    Whole,
)
from services.config.values import FrozenMap, Secret

__all__ = ["OwnKeys"]

_NO_ENTRIES: FrozenMap[int] = FrozenMap()
_SETUP_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")


def _check_setup_name(text: str) -> None:
    if not _SETUP_NAME.fullmatch(text):
        raise UnfitValueError("is not usable in a lock name; give 1 to 32 of the characters A-Z a-z 0-9 _ -")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class OwnKeys:
    """orchestray's own keys; Settings extends them with those of orchestrator."""

    InstanceHeartbeatMilliseconds: int = key(
        Whole(10, 60_000),
        500,
        "how often a server with replicas is pinged, and how long the answer may take",
        unit="ms",
    )
    FailureHoldDownMilliseconds: int = key(
        NATURAL, 0, "how long a finding must last before it is acted upon", unit="ms"
    )
    FailureHoldDownMillisecondsByCluster: FrozenMap[int] = key(
        Map(NATURAL, check_cluster_filter),
        _NO_ENTRIES,
        "the same for single clusters: cluster filter to time; the most exact filter decides",
        unit="ms",
    )
    WitnessWaitMilliseconds: int = key(
        POSITIVE, 500, "how long a witness may take to receive from a master suspected to hang", unit="ms"
    )
    RecoveryRetryMaxSeconds: int = key(
        POSITIVE, 60, "longest pause between attempts of a recovery that was refused or failed", unit="s"
    )
    FenceOldMasterSeconds: int = key(
        NATURAL, 86_400, "how long a deposed master is dialled again in order to make it read-only", unit="s"
    )
    FenceProcesses: tuple[str, ...] = key(
        TEXTS, (), "hooks that fence the failed master: run when all is ready, before the candidate is opened"
    )
    FenceProcessesRequired: bool = key(
        FLAG, True, "a failure of FenceProcesses undoes the recovery; false: it is noted, and goes on"
    )
    HookTimeoutSeconds: int = key(
        POSITIVE, 60, "a hook that takes longer is ended with all its processes, and has failed", unit="s"
    )
    HookAsyncTimeoutSeconds: int = key(
        POSITIVE, 3600, "the same for a hook that ends with `&`, for which nothing waits", unit="s"
    )
    HookOutputBytes: int = key(
        Whole(256, 1_048_576), 4096, "kept of a hook's output: its first and its last half", unit="bytes"
    )
    ProbeActorsMax: int = key(
        POSITIVE,
        64,
        "actors that poll on one Ray node; beyond, they share instances",
        unit="actors",
        restart=True,
    )
    RestartLeaderAfterSeconds: int = key(
        POSITIVE, 5, "a Leader that answers no liveness call for this long is ended and replaced", unit="s"
    )
    LeaseMilliseconds: int = key(
        Whole(100),
        3000,
        "length of the lease; at least twice LeaseRenewMilliseconds",
        unit="ms",
        restart=True,
    )
    LeaseRenewMilliseconds: int = key(
        Whole(10), 1000, "how often the lease is renewed", unit="ms", restart=True
    )
    RaftSecret: Secret = key(
        SECRET,
        NO_SECRET,
        "shared by all raft members, at least 16 characters: who does not have it is not heard, and cannot "
        "read what they say",
        restart=True,
    )
    RaftSSLCertFile: str = key(
        PATH,
        "",
        "mutual TLS between raft members (PEM): this one's certificate, which names its host or its entry in "
        "RaftNodes",
        restart=True,
    )
    RaftSSLPrivateKeyFile: str = key(PATH, "", "the key of RaftSSLCertFile", restart=True)
    RaftSSLCAFile: str = key(PATH, "", "who signed the certificates of all members", restart=True)
    RaftQuorumOfEyes: bool = key(
        FLAG,
        True,
        "before a master is taken for dead the other raft members are asked what they see of it: without a "
        "majority that sees it dead nothing is done; false: the one that acts decides alone",
    )
    NodeDirectory: str = key(
        PATH,
        "",
        "locks and state of this node; empty: `<SQLite3DataFile>.node-<listen port>`, and on a MySQL backend "
        "`orchestray/<SetupName>.node-<listen port>` under `$XDG_STATE_HOME` (`~/.local/state`)",
        restart=True,
    )
    SetupName: str = key(
        CheckedText(_check_setup_name, required=True),
        "orchestray",
        "name of this highly available setup in the lock that it takes on servers; "
        "1 to 32 of `A-Z a-z 0-9 _ -`",
        restart=True,
    )
