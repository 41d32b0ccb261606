"""Which binary logs of a server have given transactions: read from the servers, as nobody keeps it."""

from __future__ import annotations

import asyncio
import time

from services.mysql.connection import Login
from services.mysql.errors import MySQLError, StatementError
from services.mysql.poll import PolledServer
from services.mysql.session import quoted_file
from services.topology.binlog_files import files_with
from services.topology.gtid import GtidSet, GtidSyntaxError
from services.topology.keys import InstanceKey

__all__ = ["LocateError", "locate_in_binary_logs"]

_STATEMENT_SECONDS = 10.0
_WHOLE_SECONDS = 60.0
_EVENTS_READ = 4
"""Format description, a start-of-encryption event perhaps, then Previous_gtids."""


class LocateError(Exception):
    """They cannot be located; the text says why."""


async def locate_in_binary_logs(
    key: InstanceKey, login: Login, wanted: GtidSet, *, connect_seconds: float
) -> tuple[str, ...]:
    """Names of the binary logs in which a part of ``wanted`` is, oldest first. Raises LocateError."""
    try:
        server = await PolledServer.connect(key, login, timeout=connect_seconds)
        try:
            return await asyncio.wait_for(_located(server, wanted), _WHOLE_SECONDS)
        finally:
            server.connection.abort()
    except asyncio.TimeoutError:
        raise LocateError(f"{key}: its binary logs were not read within {_WHOLE_SECONDS:g} s") from None
    except StatementError as error:
        mend = "; orchestray's account needs REPLICATION SLAVE and REPLICATION CLIENT there"
        raise LocateError(f"{key}: {error.reason}{mend}") from None
    except MySQLError as error:
        raise LocateError(f"{key}: {error.reason}") from None
    except GtidSyntaxError as error:
        raise LocateError(f"{key}: {error}") from None


async def _located(server: PolledServer, wanted: GtidSet) -> tuple[str, ...]:
    began, ask = time.monotonic(), server.connection.query
    purged = GtidSet.parse(
        str((await ask("SELECT @@global.gtid_purged AS s", timeout=_STATEMENT_SECONDS))[0][0]["s"])
    )
    if not (purged & wanted).is_empty:
        raise LocateError(f"{server.connection.key}: {purged & wanted} of it is already purged")
    logs = (await ask("SHOW BINARY LOGS", timeout=_STATEMENT_SECONDS))[0]
    previous = []
    for row in logs:
        if time.monotonic() - began > _WHOLE_SECONDS:
            raise asyncio.TimeoutError
        name = str(row["Log_name"])
        events = await ask(
            f"SHOW BINLOG EVENTS IN {quoted_file(name)} LIMIT {_EVENTS_READ}", timeout=_STATEMENT_SECONDS
        )
        before = next((str(one["Info"]) for one in events[0] if one["Event_type"] == "Previous_gtids"), "")
        previous.append((name, GtidSet.parse(before)))
    executed = (await ask("SELECT @@global.gtid_executed AS s", timeout=_STATEMENT_SECONDS))[0][0]["s"]
    return files_with(wanted, previous, GtidSet.parse(str(executed)))
