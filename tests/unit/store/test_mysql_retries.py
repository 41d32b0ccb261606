"""What is run again on a MySQL backend, how often, and what is not."""

from __future__ import annotations

import pytest

from services.config import Secret
from services.store.backend import MySQLBackend
from services.store.errors import StoreConflictError, StoreTimeoutError, StoreUnavailableError
from services.store.mysql_errors import (
    CONFLICTS,
    LOCK_WAIT,
    LOST,
    NOT_READY,
    READ_ONLY,
    from_mysql,
    number_of,
)
from services.store.mysql_retries import ATTEMPTS, CONFLICT_ATTEMPTS, Failed

DIRECT = MySQLBackend(host="db", port=3306, database="d", user="u", password=Secret("p"))
PROXIED = MySQLBackend(
    host="db", port=3306, database="d", user="u", password=Secret("p"), rejects_read_only=True
)
PLENTY = 5.0


def attempts(
    number: int,
    backend: MySQLBackend = DIRECT,
    left: float = PLENTY,
    *,
    is_new: bool = False,
    committing: bool = False,
) -> int:
    """How many there are if all fail in the same way; pauses are bounded."""
    failed = Failed(number, is_new=is_new, committing=committing)
    for attempt in range(1, 100):
        pause = failed.pause_seconds(backend, attempt, left)
        if pause is None:
            return attempt
        assert 0 <= pause <= 0.3
    raise AssertionError("without end")


@pytest.mark.parametrize("committing", [False, True])
@pytest.mark.parametrize("number", sorted(CONFLICTS))
def test_what_another_wrote_first_is_tried_often_also_after_a_commit(number: int, committing: bool) -> None:
    assert attempts(number, committing=committing) == CONFLICT_ATTEMPTS
    assert isinstance(from_mysql(Exception(number, "x"), "d", committing=committing), StoreConflictError)


def test_a_deadlock_that_only_the_commit_is_told_of_is_one() -> None:
    """Group Replication with several primaries, as seen."""
    told = Exception(1180, "Got error 149 - 'Lock deadlock; Retry transaction' during COMMIT")
    assert number_of(told) in CONFLICTS
    assert isinstance(from_mysql(told, "d", committing=True), StoreConflictError)
    other = Exception(1180, "Got error 5 - 'Input/output error' during COMMIT")
    assert number_of(other) == 1180
    assert isinstance(from_mysql(other, "d", committing=True), StoreTimeoutError)


def test_a_lock_is_awaited_again_while_that_can_come_to_an_end() -> None:
    assert attempts(LOCK_WAIT) == ATTEMPTS
    assert attempts(LOCK_WAIT, left=1.0) == 1


@pytest.mark.parametrize("number", sorted(NOT_READY))
def test_a_member_without_a_majority_is_left_and_tried_again(number: int) -> None:
    assert attempts(number) == ATTEMPTS
    assert Failed(number, is_new=True, committing=False).ends_session(DIRECT)
    with pytest.raises(StoreUnavailableError, match="belongs to no majority"):
        raise from_mysql(Exception(number, "x"), "d")


@pytest.mark.parametrize("number", sorted(READ_ONLY))
def test_a_read_only_server_is_left_only_behind_a_proxy(number: int) -> None:
    assert (attempts(number), attempts(number, PROXIED)) == (1, ATTEMPTS)
    failed = Failed(number, is_new=True, committing=False)
    assert (failed.ends_session(DIRECT), failed.ends_session(PROXIED)) == (False, True)


@pytest.mark.parametrize("number", sorted(LOST))
def test_a_lost_session_is_replaced_once_it_was_idle(number: int) -> None:
    assert attempts(number) == ATTEMPTS
    assert attempts(number, is_new=True) == 1
    assert attempts(number, committing=True) == 1, "whether it happened is not known"
    assert isinstance(from_mysql(Exception(number, "x"), "d", committing=True), StoreTimeoutError)


def test_any_other_failure_is_told() -> None:
    assert attempts(1064) == 1
