"""The identities of clusters: which master has each, and which masters it had and lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, delete, select, update

from services.store.audit import note_in
from services.store.engine import Database
from services.store.errors import MasterChangedError
from services.store.rows import fence, is_server, key_columns, key_of, upsert
from services.store.schema import CLUSTERS, DEPOSED_MASTERS
from services.topology.keys import NO_KEY, InstanceKey
from services.topology.records import AuditEntry, DeposedMaster

__all__ = ["ClusterRecord", "ClusterStore"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterRecord:
    """A cluster by its generated id, which its masters come and go under."""

    id: str
    master_key: InstanceKey
    alias: str = ""
    domain: str = ""
    promoted_at: str = ""  # UTC; empty while the first master that was found has it


class ClusterStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> tuple[ClusterRecord, ...]:
        """All clusters, sorted by id."""
        statement = select(CLUSTERS).order_by(CLUSTERS.c.id)
        return await self._database.read(
            lambda connection: tuple(_record(row) for row in connection.execute(statement))
        )

    async def deposed_masters(self) -> tuple[DeposedMaster, ...]:
        """All deposed masters of all clusters, the longest deposed first."""
        table = DEPOSED_MASTERS
        statement = select(table).order_by(table.c.deposed_at, table.c.host, table.c.port)
        return await self._database.read(
            lambda connection: tuple(_deposed(row) for row in connection.execute(statement))
        )

    async def create(self, record: ClusterRecord) -> ClusterRecord:
        """Give a cluster its identity. If the id is there already, what is there stands; it is returned."""

        def work(connection: Connection) -> ClusterRecord:
            found = _found(connection, record.id)
            if found is None:
                upsert(connection, CLUSTERS, [_columns(record)])
            return found or record

        return await self._database.write(work)

    async def set_alias(self, cluster_id: str, alias: str, audit: AuditEntry | None = None) -> bool:
        """What a person calls it; "" leaves it to its servers again. False if there is no such cluster."""
        statement = update(CLUSTERS).where(CLUSTERS.c.id == cluster_id).values(alias=alias)

        def work(connection: Connection) -> bool:
            is_known = connection.execute(statement).rowcount > 0
            note_in(connection, [audit] if audit and is_known else [])
            return is_known

        return await self._database.write(work)

    async def forget(self, cluster_id: str) -> None:
        """Forget a cluster and its deposed masters; its recoveries stay in the audit."""

        def work(connection: Connection) -> None:
            connection.execute(delete(DEPOSED_MASTERS).where(DEPOSED_MASTERS.c.cluster_id == cluster_id))
            connection.execute(delete(CLUSTERS).where(CLUSTERS.c.id == cluster_id))

        await self._database.write(work)

    async def promote(
        self,
        cluster_id: str,
        *,
        expected: InstanceKey,
        master: InstanceKey,
        at: str,
        term: int,
        deposed: DeposedMaster | None = None,
    ) -> ClusterRecord:
        """In one transaction: ``master`` has the cluster, ``deposed`` had it.

        ``expected`` is the master that the plan was made for. Doing it twice is doing it once. The new
        master is no longer deposed, if it was. Raises MasterChangedError, StaleTermError.
        """

        def work(connection: Connection) -> ClusterRecord:
            fence(connection, term)
            found = _found(connection, cluster_id) or ClusterRecord(id=cluster_id, master_key=expected)
            if found.master_key not in (expected, master):
                raise MasterChangedError(cluster_id, expected, found.master_key)
            moved = _moved(connection, found, master, at)
            if deposed is not None:
                upsert(connection, DEPOSED_MASTERS, [_deposed_columns(deposed)])
            return moved

        return await self._database.write(work)

    async def follow(self, cluster_id: str, *, expected: InstanceKey, master: InstanceKey, at: str) -> bool:
        """Somebody else gave the cluster another master, seen in the topology. False if ``expected`` is not
        what the store has: a promotion came first, and stands."""

        def work(connection: Connection) -> bool:
            found = _found(connection, cluster_id)
            if found is None or found.master_key != expected:
                return False
            _moved(connection, found, master, at)
            return True

        return await self._database.write(work)

    async def seen_again(self, cluster_id: str, key: InstanceKey, at: str) -> bool:
        """A deposed master answered. True the first time, when the loss can be told exactly."""
        table = DEPOSED_MASTERS
        statement = (
            update(table)
            .where(table.c.cluster_id == cluster_id, is_server(table, key), table.c.seen_again_at == "")
            .values(seen_again_at=at)
        )
        return await self._database.write(lambda connection: connection.execute(statement).rowcount > 0)

    async def rejoined(self, cluster_id: str, key: InstanceKey) -> bool:
        """A deposed master is an ordinary replica again. False if it was not deposed."""
        return await self._database.write(lambda connection: _reinstate(connection, cluster_id, key))


def _found(connection: Connection, cluster_id: str) -> ClusterRecord | None:
    statement = select(CLUSTERS).where(CLUSTERS.c.id == cluster_id).with_for_update()
    row = connection.execute(statement).one_or_none()
    return None if row is None else _record(row)


def _moved(connection: Connection, found: ClusterRecord, master: InstanceKey, at: str) -> ClusterRecord:
    if found.master_key == master and found.promoted_at:
        return found  # the second time
    moved = ClusterRecord(
        id=found.id, master_key=master, alias=found.alias, domain=found.domain, promoted_at=at
    )
    upsert(connection, CLUSTERS, [_columns(moved)])
    _reinstate(connection, found.id, master)
    return moved


def _reinstate(connection: Connection, cluster_id: str, key: InstanceKey) -> bool:
    table = DEPOSED_MASTERS
    statement = delete(table).where(and_(table.c.cluster_id == cluster_id, is_server(table, key)))
    return connection.execute(statement).rowcount > 0


def _record(row: Any) -> ClusterRecord:
    return ClusterRecord(
        id=row.id,
        master_key=InstanceKey(row.master_host, row.master_port) if row.master_host else NO_KEY,
        alias=row.alias,
        domain=row.domain,
        promoted_at=row.promoted_at,
    )


def _columns(record: ClusterRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "master_host": record.master_key.hostname,
        "master_port": record.master_key.port,
        "alias": record.alias,
        "domain": record.domain,
        "promoted_at": record.promoted_at,
    }


def _deposed(row: Any) -> DeposedMaster:
    return DeposedMaster(
        cluster_id=row.cluster_id,
        key=key_of(row),
        deposed_at=row.deposed_at,
        until=row.until,
        term=row.term,
        recovery_uid=row.recovery_uid,
        executed_gtid_set=row.executed_gtid_set,
        seen_again_at=row.seen_again_at,
    )


def _deposed_columns(deposed: DeposedMaster) -> dict[str, Any]:
    return {
        "cluster_id": deposed.cluster_id,
        **key_columns(deposed.key),
        "deposed_at": deposed.deposed_at,
        "until": deposed.until,
        "term": deposed.term,
        "recovery_uid": deposed.recovery_uid,
        "executed_gtid_set": deposed.executed_gtid_set,
        "seen_again_at": deposed.seen_again_at,
    }
