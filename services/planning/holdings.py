"""What a replica holds, in its flavour's terms: what it executed, and what it retrieved.

MySQL says both as sets. MariaDB has states and positions: they are read against the history of the failed
master as it was last seen, and what cannot be decided from them is *unknown* (design, "Identity"). Where no
replica uses GTID, it is how far each came in the master's binary log.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from services.topology.coordinates import IncomparableCoordinatesError
from services.topology.executed import transactions_in
from services.topology.gtid import GtidSet, GtidSyntaxError
from services.topology.instance import Instance, ThreadState
from services.topology.log_prefix import LogPrefix
from services.topology.mariadb_gtid import MariadbGtidSet
from services.topology.transactions import TransactionSet

__all__ = ["Holdings", "executed_by", "holdings_of", "is_trapped", "none_of", "numbered_by_others"]

_NOT_IN_ITS_BINARY_LOGS = 1236  # a source refuses a receiver: purged, or not of this history


@dataclass(frozen=True, slots=True)
class Holdings:
    executed: TransactionSet
    retrieved: TransactionSet
    purged: TransactionSet
    unreadable: str = ""
    """Why these are not what it holds; "" if they are."""
    unknown: bool = False
    """It may hold more than anybody can tell: nobody is promoted beside it (rule 10)."""


def none_of(failed: Instance, replicas: Sequence[Instance]) -> TransactionSet:
    """The empty set, of the kind in which these can be compared."""
    if any(one.is_mariadb for one in (failed, *replicas)):
        return MariadbGtidSet.EMPTY
    if replicas and not any(replica.using_oracle_gtid for replica in replicas):
        return LogPrefix.EMPTY
    return GtidSet.EMPTY


def executed_by(instance: Instance, *, like: TransactionSet) -> TransactionSet:
    """All that it was last seen to have executed, as far as that can be read, in the flavour of ``like``."""
    try:
        if isinstance(like, LogPrefix):
            return LogPrefix.up_to(instance.self_coordinates)
        return transactions_in(instance.executed, mariadb=isinstance(like, MariadbGtidSet))
    except (GtidSyntaxError, IncomparableCoordinatesError):
        return like - like


def holdings_of(failed: Instance, replica: Instance, none: TransactionSet) -> Holdings:
    """``none`` tells in which terms."""
    try:
        if isinstance(none, LogPrefix):
            return _by_position(replica)
        return _of_mariadb(failed, replica) if isinstance(none, MariadbGtidSet) else _of_mysql(replica)
    except GtidSyntaxError:
        mariadb = isinstance(none, MariadbGtidSet)
        return Holdings(none, none, none, "its GTID sets cannot be read", unknown=mariadb)
    except IncomparableCoordinatesError as error:
        return Holdings(none, none, none, f"it cannot be told how far it came: {error}", unknown=True)


def numbered_by_others(
    transactions: TransactionSet, failed: Instance, replicas: Sequence[Instance]
) -> TransactionSet:
    """Without those that the failed master numbered itself.

    One that was never seen alive is known by the name that its replicas have for it.
    """
    if isinstance(transactions, MariadbGtidSet):
        return transactions.without(_servers_of(failed, replicas))
    if not isinstance(transactions, GtidSet):
        return transactions - transactions  # a place in the master's log tells of the master's alone
    uuids = {failed.server_uuid, *(replica.master_uuid for replica in replicas)} - {"", "No"}
    return transactions.without(uuids)


def is_trapped(replica: Instance) -> bool:
    """MariaDB by GTID throws the relay log away at any START while both threads are stopped (rule 1)."""
    return (
        replica.using_mariadb_gtid
        and replica.receiver_state is ThreadState.STOPPED
        and replica.applier_state is ThreadState.STOPPED
    )


def _of_mysql(replica: Instance) -> Holdings:
    return Holdings(
        GtidSet.parse(replica.executed_gtid_set),
        GtidSet.parse(replica.retrieved_gtid_set),
        _purged(replica),
    )


def _by_position(replica: Instance) -> Holdings:
    executed, retrieved = (
        LogPrefix.up_to(place) for place in (replica.exec_coordinates, replica.read_coordinates)
    )
    unreadable = "" if executed else "has executed nothing of the master's binary log"
    return Holdings(executed, executed | retrieved, LogPrefix.EMPTY, unreadable)


def _purged(replica: Instance) -> GtidSet:
    try:
        return GtidSet.parse(replica.gtid_purged)
    except GtidSyntaxError:
        return GtidSet.EMPTY


def _of_mariadb(failed: Instance, replica: Instance) -> Holdings:
    none = MariadbGtidSet.EMPTY  # what it purged is not told; a source that lacks it refuses with 1236
    history = MariadbGtidSet.parse(failed.executed)
    masters = _servers_of(failed, [replica])
    executed = MariadbGtidSet.parse(replica.gtid_binlog_state) | MariadbGtidSet.reached(
        replica.gtid_slave_pos, history, masters
    )
    if not replica.using_mariadb_gtid:
        why = "does not replicate by GTID: what its relay log holds cannot be told"
        told = replica.exec_coordinates == replica.read_coordinates
        return Holdings(executed, none, none, "" if told else why, unknown=not told)
    if replica.last_io_errno == _NOT_IN_ITS_BINARY_LOGS:
        why = "was refused by its source (error 1236): whether it is of the same history cannot be told"
        return Holdings(none, none, none, why, unknown=not executed <= history)
    retrieved = MariadbGtidSet.reached(replica.gtid_io_pos, history, masters)
    if replica.has_several_sources and history:
        # A receiver that is started anew has all domains in its position, those of the other sources too.
        retrieved = retrieved.in_domains_of(history)
    return Holdings(executed, retrieved, none)


def _servers_of(failed: Instance, replicas: Iterable[Instance]) -> frozenset[int]:
    return frozenset({failed.server_id, *(replica.master_server_id for replica in replicas)}) - {0}
