"""Fixtures with real servers. Everything that is started is ended, on failures and on Ctrl-C too.

Servers are started to die with the test process (see ``services/sandbox/processes.py``), so even a
killed pytest leaves none; its folders are removed by the next run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager

import hypothesis
import pytest

from services.sandbox.binaries import Mysqld, find_mariadbd, find_mysqld
from services.sandbox.errors import BinaryNotFoundError
from services.sandbox.topology import MySQLTopology, TopologySpec
from tests.pairs import WITH_PAIR, Pair
from tests.servers import Stage, StandaloneServer, remove_folders_of_killed_runs

pytest.register_assert_rewrite("tests.recovery_world")  # its assertions are many tests'

# How long an example takes says how busy the machine is, not whether the law holds.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")

_STAGES = pytest.StashKey[list[Stage]]()


_ON_ONE_NODE = ("test_client_live.py", "test_routes_errors_live.py", "test_routes_live.py", "test_watched.py")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """By file, and those that share the package's node by one process: it takes long to start."""
    from xdist.scheduler import LoadFileScheduling

    class ByNode(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "the package's node" if file.endswith(_ON_ONE_NODE) else file

    return ByNode(config, log)


MakeTopology = Callable[..., MySQLTopology]


@pytest.fixture(scope="session")
def mysqld() -> Mysqld:
    """The server program; fetched if there is none."""
    remove_folders_of_killed_runs()
    return find_mysqld()


@pytest.fixture(scope="session")
def mysql_server(mysqld: Mysqld) -> Iterator[StandaloneServer]:
    """One server for all tests that only ask, or that clean up: ``.query(sql, args)``, ``.execute(sql)``
    as root; ``.host .port .user .password`` to connect to over TCP with all privileges.
    """
    stage = Stage(mysqld)
    try:
        yield stage.server()
    finally:
        stage.clear()


@pytest.fixture(scope="session")
def mariadbd() -> Mysqld:
    """MariaDB's server program. Tests that want it are skipped where it is not; in CI that is a failure."""
    remove_folders_of_killed_runs()
    try:
        return find_mariadbd()
    except BinaryNotFoundError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def mariadb_server(mariadbd: Mysqld) -> Iterator[StandaloneServer]:
    """As ``mysql_server``."""
    stage = Stage(mariadbd)
    try:
        yield stage.server()
    finally:
        stage.clear()


@pytest.fixture(scope="session")
def statement_pair(mariadbd: Mysqld) -> Iterator[Pair | None]:
    """An active-active pair, if the run is told to have one (see ``integration/test_backend_pair.py``)."""
    if not os.environ.get(WITH_PAIR):
        yield None
        return
    stage = Stage(mariadbd)
    try:
        yield Pair(stage)
    finally:
        stage.clear()


@pytest.fixture(scope="session")
def statement_server(mariadbd: Mysqld, statement_pair: Pair | None) -> Iterator[StandaloneServer]:
    """A MariaDB with ``binlog_format=STATEMENT``, as both servers of an active-active pair have it."""
    if statement_pair is not None:
        yield statement_pair.first
        return
    stage = Stage(mariadbd)
    try:
        yield stage.server({"log-bin": "binlog", "binlog-format": "STATEMENT"})
    finally:
        stage.clear()


if os.environ.get(WITH_PAIR):

    @pytest.fixture(autouse=True)
    def same_on_both(request: pytest.FixtureRequest) -> Iterator[None]:
        """After each test that used the pair: both servers have the same rows, and no complaints."""
        yield
        if "[mariadb" in request.node.name:
            pair: Pair = request.getfixturevalue("statement_pair")
            assert (pair.differences(), pair.complaints()) == ([], [])


@pytest.fixture
def stage(mysqld: Mysqld, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """Servers and topologies of one test: ``stage.server(options)``, ``stage.topology(spec)``."""
    with _staged(mysqld, request) as stage:
        yield stage


@pytest.fixture
def mariadb_stage(mariadbd: Mysqld, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """As ``stage``."""
    with _staged(mariadbd, request) as stage:
        yield stage


@contextmanager
def _staged(mysqld: Mysqld, request: pytest.FixtureRequest) -> Iterator[Stage]:
    stage = Stage(mysqld)
    request.node.stash.setdefault(_STAGES, []).append(stage)
    try:
        yield stage
    finally:
        stage.clear()


@pytest.fixture
def make_topology(stage: Stage) -> MakeTopology:
    """Makes a fresh topology in about 2 s; takes the fields of TopologySpec: ``make_topology(replicas=2)``.

    By default one master and three replicas with lossless semi-sync. ``.master``, ``.replicas``, ``.below``
    and ``.servers`` are MySQLServer, ``.accounts`` has the logins. A server takes 210 MB: not more than
    eight at a time.
    """
    return lambda **spec: stage.topology(TopologySpec(**{"semi_sync": "lossless", **spec}))


@pytest.fixture
def make_mariadb_topology(mariadb_stage: Stage) -> MakeTopology:
    """As ``make_topology``."""
    return lambda **spec: mariadb_stage.topology(TopologySpec(**{"semi_sync": "lossless", **spec}))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        for stage in item.stash.get(_STAGES, []):
            report.sections.append(("error logs of the servers", stage.error_logs()))
    return report
