"""The store: opened once by each process that uses it, closed when that process ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from os import PathLike
from pathlib import Path

from services.store.audit import AuditStore
from services.store.backend import Backend, SQLiteBackend
from services.store.clusters import ClusterStore
from services.store.detections import DetectionStore
from services.store.engine import Database
from services.store.errors import StoreBusyError
from services.store.instances import InstanceStore
from services.store.journal import JournalStore
from services.store.labels import AttributeStore, PoolStore, TagStore
from services.store.migrate import OPEN_LIMIT_SECONDS, prepare, verify
from services.store.mysql import MySQLDatabase
from services.store.mysql_migrate import prepare_mysql, verify_mysql
from services.store.nodes import NodeStore
from services.store.recoveries import RecoveryStore
from services.store.registrations import RegistrationStore
from services.store.sqlite import SQLiteDatabase
from services.store.witnesses import WitnessStore

__all__ = ["Store"]

_OPEN_GRACE_SECONDS = 5.0


class Store:
    """What must survive, by subject. Every method is bounded in time and raises StoreError."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.instances = InstanceStore(database)
        self.clusters = ClusterStore(database)
        self.registrations = RegistrationStore(database)
        self.tags = TagStore(database)
        self.pools = PoolStore(database)
        self.attributes = AttributeStore(database)
        self.recoveries = RecoveryStore(database)
        self.journal = JournalStore(database)
        self.detections = DetectionStore(database)
        self.audit = AuditStore(database)
        self.witnesses = WitnessStore(database)
        self.nodes = NodeStore(database)

    @classmethod
    async def open(cls, backend: Backend | str | PathLike[str], *, read_only: bool = False) -> Store:
        """Open the backend (a path is a SQLite file); make it, or bring its schema up to date, first.

        With ``read_only`` it makes nothing: the store must be there and up to date. Raises StoreError.
        """
        if not isinstance(backend, Backend):
            backend = SQLiteBackend(Path(backend))
        if isinstance(backend, SQLiteBackend):
            file = backend.path.absolute()
            await _made_ready(str(file), partial(verify if read_only else prepare, file))
            return cls(SQLiteDatabase(str(file), read_only=read_only))
        await _made_ready(backend.name, partial(verify_mysql if read_only else prepare_mysql, backend))
        return cls(MySQLDatabase(backend, read_only=read_only))

    async def close(self) -> None:
        await self.database.close()


async def _made_ready(name: str, work: Callable[[], None]) -> None:
    opening = asyncio.create_task(asyncio.to_thread(work))
    done, _ = await asyncio.wait({opening}, timeout=OPEN_LIMIT_SECONDS + _OPEN_GRACE_SECONDS)
    if not done:
        raise StoreBusyError(f"the store {name} could not be opened in time: does its disk or server hang?")
    opening.result()
