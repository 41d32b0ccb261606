"""What an error says, and what it says of the server."""

from __future__ import annotations

import pytest

from services.mysql.connection import Login, TlsFiles
from services.mysql.errors import ConnectError, LostError, StatementError, connect_outcome
from services.topology.instance import CheckOutcome
from services.topology.keys import InstanceKey

KEY = InstanceKey("db1", 3306)


@pytest.mark.parametrize(
    ("errno", "outcome"),
    [
        (1045, CheckOutcome.DENIED),
        (1130, CheckOutcome.DENIED),
        (3118, CheckOutcome.DENIED),
        (3159, CheckOutcome.DENIED),
        (1040, CheckOutcome.REJECTED),
        (1129, CheckOutcome.REJECTED),
        (1203, CheckOutcome.REJECTED),
        (9999, CheckOutcome.REJECTED),
    ],
)
def test_any_error_packet_is_an_answer(errno: int, outcome: CheckOutcome) -> None:
    assert connect_outcome(errno) is outcome
    assert outcome.is_answer
    assert not outcome.is_silence


def test_the_text_names_the_instance_and_the_mend() -> None:
    text = str(ConnectError(KEY, CheckOutcome.REJECTED, "Host is blocked", 1129))
    assert text.startswith("db1:3306: Host is blocked (")
    assert "FLUSH HOSTS" in text
    assert str(StatementError(KEY, "You have an error", 1064)) == "db1:3306: You have an error"


def test_silence_is_told_from_a_broken_connection() -> None:
    assert LostError(KEY, "x", timed_out=True).outcome is CheckOutcome.STALLED
    assert LostError(KEY, "x", timed_out=False).outcome is CheckOutcome.LOST


def test_a_login_never_shows_its_password() -> None:
    login = Login("orc", "hunter2", tls=TlsFiles(ca="/ca.pem"))
    assert "hunter2" not in repr(login)
    assert "hunter2" not in str(login)


def test_a_refusal_for_want_of_a_privilege_says_which_to_grant() -> None:
    need = (
        "Access denied; you need (at least one of) the SUPER, READ_ONLY ADMIN privilege(s) for this operation"
    )
    said = str(StatementError(KEY, need, 1227))
    assert said.endswith(" (GRANT READ_ONLY ADMIN ON *.* TO the account of MySQLTopologyUser)")
    assert "README" in str(StatementError(KEY, "Access denied", 1227))
    assert "CONNECTION_ADMIN" in str(StatementError(KEY, "You are not owner of thread 7", 1095))
