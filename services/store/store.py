"""The store: opened once by each process that uses it, closed when that process ends."""

from __future__ import annotations

import asyncio
from os import PathLike
from pathlib import Path

from services.store.audit import AuditStore
from services.store.clusters import ClusterStore
from services.store.detections import DetectionStore
from services.store.engine import Database
from services.store.errors import StoreBusyError
from services.store.instances import InstanceStore
from services.store.journal import JournalStore
from services.store.migrate import OPEN_LIMIT_SECONDS, prepare, verify
from services.store.recoveries import RecoveryStore
from services.store.registrations import RegistrationStore
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
        self.recoveries = RecoveryStore(database)
        self.journal = JournalStore(database)
        self.detections = DetectionStore(database)
        self.audit = AuditStore(database)
        self.witnesses = WitnessStore(database)

    @classmethod
    async def open(cls, path: str | PathLike[str], *, read_only: bool = False) -> Store:
        """Open the file ``path``; make it and its directory, or bring its schema up to date, first.

        With ``read_only`` it makes nothing: the file must be there and up to date. Raises StoreError.
        """
        file = _absolute(path)
        opening = asyncio.create_task(asyncio.to_thread(verify if read_only else prepare, file))
        done, _ = await asyncio.wait({opening}, timeout=OPEN_LIMIT_SECONDS + _OPEN_GRACE_SECONDS)
        if not done:
            raise StoreBusyError(f"the store {file} could not be opened in time: does its disk hang?")
        opening.result()
        return cls(Database(str(file), read_only=read_only))

    async def close(self) -> None:
        await self.database.close()


def _absolute(path: str | PathLike[str]) -> Path:
    return Path(path).absolute()
