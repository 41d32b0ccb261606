"""Fixtures with real servers. Everything that is started is ended, on failures and on Ctrl-C too.

Servers are started to die with the test process (see ``services/sandbox/processes.py``), so even a
killed pytest leaves none.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from services.sandbox.binaries import Mysqld, find_mysqld
from tests.servers import StandaloneServer, short_directory


@pytest.fixture(scope="session")
def mysqld() -> Mysqld:
    """The server program; fetched if there is none."""
    return find_mysqld()


@pytest.fixture(scope="session")
def mysql_server(mysqld: Mysqld) -> Iterator[StandaloneServer]:
    """One server for all tests that only ask, or that clean up: ``.query(sql, args)``, ``.execute(sql)``
    as root; ``.host .port .user .password`` to connect to over TCP with all privileges.
    """
    folder = short_directory()
    server = StandaloneServer(mysqld, folder / "s")
    try:
        yield server.set_up()
    finally:
        server.destroy()
        folder.rmdir()
