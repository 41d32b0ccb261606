"""Who tells whether a master that does not answer hangs: a replica whose receiver is restarted.

A server that is stopped, or whose storage hangs, keeps its connections: its replicas go on believing in it
for ``replica_net_timeout``. One of them is asked to connect anew. If it receives within the wait, the master
lives, whatever we can reach of it; if it hangs in the connect, the master is dead.

The witness is a direct replica that was seen after the master last was, and

- whose receiver runs. One that is connecting by itself already need only be watched, but may have a trouble
  of its own: it is taken only if nobody receives any more;
- whose restart cannot make a semi-sync master fall back to asynchronous: it does not acknowledge, or others
  that do are enough without it, or commits wait for ever;
- on MariaDB, whose applier runs: a START while both threads are stopped discards the relay log (rule 1).

Of several, one that does not acknowledge is preferred, then one that would be promoted late.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.topology.instance import Instance, ThreadState
from services.topology.keys import InstanceKey
from services.topology.merging import LOSSLESS_TIMEOUT_MS

__all__ = ["NoWitness", "Witness", "choose_witness", "is_suspected"]

_RULES = ("must", "prefer", "neutral", "prefer_not", "must_not")


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """Ask this replica. ``restart``: its receiver runs, and is to connect anew."""

    key: InstanceKey
    restart: bool
    reason: str


@dataclass(frozen=True, slots=True)
class NoWitness:
    """Nobody can be asked, and why."""

    reason: str


def is_suspected(master: Instance) -> bool:
    """A fresh connection went unanswered: it may hang. One that is refused is no riddle."""
    return master.last_check_outcome.is_unanswered


def choose_witness(master: Instance, replicas: Sequence[Instance]) -> Witness | NoWitness:
    seen = [one for one in replicas if one.is_last_check_valid and one.checked_at >= master.seen_at]
    receiving = [one for one in seen if one.receiver_state is ThreadState.RUNNING]
    if receiving:
        return _to_restart(master, receiving)
    connecting = [one for one in seen if one.receiver_state is ThreadState.OTHER]
    if connecting:
        watched = max(connecting, key=_lateness)
        return Witness(key=watched.key, restart=False, reason="it is connecting by itself")
    if seen:
        return NoWitness("the receivers were stopped by somebody: that is evidence of nothing")
    return NoWitness("no replica was seen since the master last was")


def _to_restart(master: Instance, receiving: Sequence[Instance]) -> Witness | NoWitness:
    able = [one for one in receiving if one.applier_state is ThreadState.RUNNING or not one.is_mariadb]
    if not able:
        return NoWitness("to restart a receiver while the applier is stopped would discard its relay log")
    silent = [one for one in able if not _acknowledges(one)]
    if not master.semi_sync_master_enabled:
        reason = "there is no semi-sync"
    elif silent:
        able, reason = silent, "it acknowledges nothing"
    elif master.semi_sync_master_clients > max(1, master.semi_sync_master_wait_count):
        reason = "the others are enough to acknowledge"
    elif _waits_for_ever(master):
        reason = "commits wait for an acknowledgement for ever"
    else:
        return NoWitness("to restart any receiver might make the master fall back to asynchronous")
    return Witness(key=max(able, key=_lateness).key, restart=True, reason=reason)


def _acknowledges(replica: Instance) -> bool:
    return replica.semi_sync_replica_enabled or replica.semi_sync_replica_status


def _waits_for_ever(master: Instance) -> bool:
    unlimited = master.semi_sync_master_timeout_ms >= LOSSLESS_TIMEOUT_MS
    return unlimited and master.semi_sync_master_wait_no_replica


def _lateness(replica: Instance) -> tuple[int, InstanceKey]:
    """How late it would be promoted: the witness is the last to be ready for that."""
    rule = replica.promotion_rule
    return _RULES.index(rule) if rule in _RULES else _RULES.index("neutral"), replica.key
