"""A state means to MariadbGtidSet what it means to a real MariaDB server."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.topology.mariadb_gtid import MAX_SEQUENCE, MariadbGtidSet
from tests.servers import StandaloneServer

pytestmark = pytest.mark.timeout(180)

_IDS = st.one_of(st.integers(1, 4), st.integers(2**32 - 3, 2**32 - 1))
_STATES = st.dictionaries(
    st.tuples(st.one_of(st.integers(0, 2), st.just(2**32 - 1)), _IDS),
    st.one_of(st.integers(1, 30), st.just(MAX_SEQUENCE - 1)),
    max_size=6,
)


@settings(max_examples=40, deadline=None)
@given(state=_STATES)
def test_a_state_that_the_server_was_given_is_read_back_as_the_same_set(
    mariadb_server: StandaloneServer, state: dict[tuple[int, int], int]
) -> None:
    text = ",".join(f"{domain}-{server}-{last}" for (domain, server), last in state.items())
    mariadb_server.execute("RESET MASTER", f"SET GLOBAL gtid_binlog_state = '{text}'")
    assert MariadbGtidSet.parse(mariadb_server.variable("gtid_binlog_state")) == MariadbGtidSet.parse(text)
    assert MariadbGtidSet.parse(str(MariadbGtidSet.parse(text))) == MariadbGtidSet.parse(text)
    position = MariadbGtidSet.parse(mariadb_server.variable("gtid_binlog_pos"))
    assert position <= MariadbGtidSet.parse(text), "a position is the last of each domain"


def test_what_one_writes_is_added_to_its_state(mariadb_server: StandaloneServer) -> None:
    """Numbers grow along a domain whoever gives them: what ``reached`` builds on."""
    own = mariadb_server.variable("server_id")
    mariadb_server.execute("RESET MASTER", "SET GLOBAL gtid_binlog_state = '0-77-40,3-77-5'")
    mariadb_server.execute("CREATE DATABASE written_here", "DROP DATABASE written_here")
    state = MariadbGtidSet.parse(mariadb_server.variable("gtid_binlog_state"))
    assert state == MariadbGtidSet.parse(f"0-77-40,0-{own}-42,3-77-5")
    assert mariadb_server.variable("gtid_binlog_pos") == f"0-{own}-42,3-77-5"
