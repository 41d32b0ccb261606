"""A Leader in a process of its own, for tests that stop it: holds an acting session and does as it is told.

``python -m tests.paused_leader '{"port": …, "user": …, "password": …, "term": …}'``. It says ``ready``; a
line ``act`` makes it send a statement, ``freeze`` makes it stop itself (SIGSTOP) between the last check of
the mandate and the sending. It says how that went, and ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import Any

from services.mysql.connection import Login
from services.mysql.session import ActingSession
from services.topology.keys import InstanceKey
from tests.recovery_world import FakeMandate

STATEMENT = "SET GLOBAL max_connections = 77"


async def main(given: dict[str, Any]) -> None:
    mandate = FakeMandate(term=given["term"], seconds=60.0)
    login = Login(given["user"], given["password"])
    session = await ActingSession.open(InstanceKey("127.0.0.1", given["port"]), login, mandate)
    print("ready", session._connection.thread_id, flush=True)
    order = await asyncio.to_thread(sys.stdin.readline)
    if order.strip() == "freeze":
        query = session._connection.query

        async def frozen_query(sql: str, *, timeout: float) -> Any:
            if STATEMENT in sql:
                os.kill(os.getpid(), signal.SIGSTOP)
            return await query(sql, timeout=timeout)

        session._connection.query = frozen_query  # type: ignore[method-assign]
    try:
        await session.act(STATEMENT, step="1")
    except Exception as error:
        print(type(error).__name__, error, flush=True)
    else:
        print("done", flush=True)
    await session.close()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
