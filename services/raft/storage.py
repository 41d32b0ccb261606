"""The disk of one member: term, vote, log and snapshot in an SQLite file of its own, used by a thread of its
own.

* What `Persist` says is one transaction, on disk (WAL, ``synchronous=FULL``) when ``write`` returns.
* No second process opens it: exclusive locking, held until ``close``.
* It knows whose it is, so that a copied file gives no member another's votes, and each row carries a
  checksum.
* A file that is missing or empty belongs to a learner. Any other that cannot be understood is an error that
  names the file and the mend, and never a state made up.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from services.consensus.membership import membership_error
from services.consensus.messages import EMPTY_SNAPSHOT, Entry, Snapshot
from services.consensus.state import Hard, Persist, Stored
from services.raft.errors import StorageError

__all__ = ["Storage"]

T = TypeVar("T")

_VERSION = 1
_SCHEMA = (
    "CREATE TABLE member (one INTEGER PRIMARY KEY CHECK (one = 1), node_id TEXT NOT NULL,"
    " members TEXT NOT NULL, term INTEGER NOT NULL, voted_for TEXT, votes_after INTEGER NOT NULL,"
    " base_index INTEGER NOT NULL, base_term INTEGER NOT NULL, crc INTEGER NOT NULL)",
    "CREATE TABLE log (idx INTEGER PRIMARY KEY, term INTEGER NOT NULL, command BLOB, crc INTEGER NOT NULL)",
    "CREATE TABLE snapshot (one INTEGER PRIMARY KEY CHECK (one = 1), idx INTEGER NOT NULL,"
    " term INTEGER NOT NULL, data BLOB NOT NULL, crc INTEGER NOT NULL)",
    f"PRAGMA user_version = {_VERSION}",
)
_TO_REPLACE = (
    "stop this node, move the file (and its -wal) away and start it: it then learns everything from the "
    "others and votes again after that. Never do this on a majority of the nodes at once"
)


class Storage:
    """``open``, then ``write`` one after another, then ``close``. Each raises StorageError."""

    def __init__(self, file: Path, node_id: str, members: frozenset[str]) -> None:
        self._file = file
        self._node_id = node_id
        self._members = members
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="raft-storage")
        self._connection: sqlite3.Connection | None = None
        self._hard = Hard()
        self._base = (0, 0)

    async def open(self) -> Stored:
        return await self._run(self._open)

    async def write(self, persist: Persist) -> None:
        await self._run(lambda: self._write(persist))

    async def close(self) -> None:
        """The file may be opened again afterwards."""
        await self._run(self._close)

    def end(self) -> None:
        """No more of it, after ``close``."""
        self._thread.shutdown(wait=False)

    async def _run(self, work: Callable[[], T]) -> T:
        def named() -> T:
            try:
                return work()
            except (sqlite3.Error, OSError, OverflowError) as error:
                raise self._named(error) from error

        return await asyncio.get_running_loop().run_in_executor(self._thread, named)

    # In the thread

    def _open(self) -> Stored:
        self._close()
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        connection = sqlite3.connect(
            self._file, timeout=0.2, isolation_level=None, check_same_thread=False, cached_statements=32
        )
        self._connection = connection
        self._file.chmod(0o600)
        for setting in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL"):
            connection.execute(f"PRAGMA {setting}").fetchall()
        with _transaction(connection):  # takes the lock, and keeps it
            self._prepare(connection)
        return self._read(connection)

    def _prepare(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0 and not connection.execute("SELECT name FROM sqlite_master").fetchall():
            for statement in _SCHEMA:
                connection.execute(statement)
        elif version != _VERSION:
            raise StorageError(
                f"{self._file} is no raft log of version {_VERSION}: run the version that wrote it, "
                f"or {_TO_REPLACE}"
            )

    def _read(self, connection: sqlite3.Connection) -> Stored:
        (check,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if check != "ok":
            raise self._corrupt(check)
        row = connection.execute(
            "SELECT node_id, members, term, voted_for, votes_after, base_index, base_term, crc FROM member"
        ).fetchone()
        entries = self._read_entries(connection)
        snapshot = self._read_snapshot(connection)
        if row is None:
            if entries or snapshot is not EMPTY_SNAPSHOT:
                raise self._corrupt("its log has no owner")
            self._hard, self._base = Hard(), (0, 0)
            return Stored()
        node_id, members, term, voted_for, votes_after, base_index, base_term, crc = row
        if crc != _crc(*row[:-1]):
            raise self._corrupt("the checksum of its term and vote is wrong")
        self._check_owner(node_id, frozenset(json.loads(members)))
        self._hard, self._base = Hard(term, voted_for, votes_after), (base_index, base_term)
        indexes = [entry.index for entry in entries]
        last = base_index + len(indexes)
        if indexes != list(range(base_index + 1, last + 1)) or not base_index <= snapshot.index <= last:
            raise self._corrupt(f"its log after {base_index}, with a snapshot at {snapshot.index}, has gaps")
        return Stored(self._hard, snapshot, base_index, base_term, tuple(entries))

    def _check_owner(self, node_id: str, members: frozenset[str]) -> None:
        if node_id != self._node_id:
            raise StorageError(
                f"{self._file} belongs to the raft member {node_id}, this is {self._node_id}: two with one's "
                "votes could elect two leaders. Give this node its own directory, or its former name; "
                f"or {_TO_REPLACE}"
            )
        error = membership_error(members, self._members)
        if error:
            raise StorageError(
                f"{self._file} was written with the raft members {', '.join(sorted(members))}: {error}. "
                "Change fewer members at a time, on every node, and wait for a leader in between"
            )

    def _read_entries(self, connection: sqlite3.Connection) -> list[Entry]:
        entries = []
        for index, term, command, crc in connection.execute(
            "SELECT idx, term, command, crc FROM log ORDER BY idx"
        ):
            if crc != _crc(index, term, command):
                raise self._corrupt(f"the checksum of entry {index} is wrong")
            entries.append(Entry(index, term, command))
        return entries

    def _read_snapshot(self, connection: sqlite3.Connection) -> Snapshot:
        row = connection.execute("SELECT idx, term, data, crc FROM snapshot").fetchone()
        if row is None:
            return EMPTY_SNAPSHOT
        if row[3] != _crc(*row[:3]):
            raise self._corrupt("the checksum of its snapshot is wrong")
        return Snapshot(*row[:3])

    def _write(self, persist: Persist) -> None:
        connection = self._connection
        if connection is None:
            raise StorageError(f"{self._file} is not open")
        hard, base = persist.hard or self._hard, persist.base or self._base
        with _transaction(connection):
            if persist.snapshot is not None:
                one = (persist.snapshot.index, persist.snapshot.term, persist.snapshot.data)
                connection.execute("REPLACE INTO snapshot VALUES (1, ?, ?, ?, ?)", (*one, _crc(*one)))
            if persist.base is not None:
                connection.execute("DELETE FROM log WHERE idx <= ?", (base[0],))
            if persist.replace_from is not None:
                connection.execute("DELETE FROM log WHERE idx >= ?", (persist.replace_from,))
                rows = [(entry.index, entry.term, entry.command) for entry in persist.entries]
                connection.executemany(
                    "INSERT INTO log VALUES (?, ?, ?, ?)", [(*row, _crc(*row)) for row in rows]
                )
            members = json.dumps(sorted(self._members))
            owner = (self._node_id, members, hard.term, hard.voted_for, hard.votes_after, *base)
            if persist.hard is not None or persist.base is not None:
                connection.execute(
                    "REPLACE INTO member VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)", (*owner, _crc(*owner))
                )
        self._hard, self._base = hard, base

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    # Errors

    def _corrupt(self, what: str) -> StorageError:
        return StorageError(f"{self._file} is corrupt ({what}): {_TO_REPLACE}")

    def _named(self, error: Exception) -> StorageError:
        text = str(error)
        name = getattr(error, "sqlite_errorname", "")
        if "locked" in text:
            return StorageError(
                f"{self._file} is used by another process: end it, two members must not share a log"
            )
        if "full" in text:
            return StorageError(
                f"the disk of {self._file} is full: free some space, raft then goes on by itself"
            )
        if "FSYNC" in name:
            return StorageError(
                f"{self._file} could not be brought to disk ({text}): the disk may have forgotten what it "
                f"was given. Check it, then {_TO_REPLACE}",
                mendable=False,
            )
        if "malformed" in text or "not a database" in text or isinstance(error, OverflowError):
            return self._corrupt(text)
        return StorageError(
            f"{self._file} cannot be used ({text or error!r}): check the disk and its permissions"
        )


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing; with the write lock from the beginning."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        raise


def _crc(*values: object) -> int:
    crc = 0
    for value in values:
        data = value if isinstance(value, bytes) else repr(value).encode()
        crc = zlib.crc32(data, zlib.crc32(len(data).to_bytes(8, "big"), crc))
    return crc
