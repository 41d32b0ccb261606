"""The decision about the lease, rule by rule, under a clock that the test sets."""

from __future__ import annotations

from services.election.lease import Lease, Renew, Seen, Take, Wait, decide, released

LENGTH_MS = 3000
OTHERS = Lease("other", 7, 40, LENGTH_MS)
OURS = Lease("me", 7, 40, LENGTH_MS)


def act(
    lease: Lease | None,
    now: float = 100.0,
    *,
    since: float = 100.0,
    term: int | None = None,
    newest_term: int = 0,
    holds_node_lock: bool = False,
    length_ms: int = LENGTH_MS,
) -> Wait | Renew | Take:
    return decide(
        Seen(lease, since),
        now,
        node_id="me",
        length_ms=length_ms,
        term=term,
        newest_term=newest_term,
        holds_node_lock=holds_node_lock,
    )


def test_the_first_lease_is_taken_at_once() -> None:
    assert act(None) == Take(None, Lease("me", 1, 1, LENGTH_MS))


def test_the_holder_counts_up_and_keeps_its_term() -> None:
    assert act(OURS, term=7) == Renew(OURS, Lease("me", 7, 41, LENGTH_MS))


def test_the_holder_goes_on_when_it_was_late_and_nobody_took_it() -> None:
    assert isinstance(act(OURS, now=500.0, term=7), Renew)


def test_rule_2_a_taker_waits_for_1_1_times_the_length_since_it_saw_the_count() -> None:
    wait = act(OTHERS, now=100.0)
    assert isinstance(wait, Wait)
    assert 3.29 < wait.seconds < 3.31
    assert isinstance(act(OTHERS, now=103.29), Wait)
    assert act(OTHERS, now=103.31) == Take(OTHERS, Lease("me", 8, 41, LENGTH_MS))


def test_the_length_that_counts_is_the_holders() -> None:
    long = Lease("other", 7, 40, 30_000)
    assert isinstance(act(long, now=132.9), Wait)
    assert act(long, now=133.1) == Take(long, Lease("me", 8, 41, LENGTH_MS))
    assert isinstance(act(OTHERS, now=103.31, length_ms=30_000), Take)


def test_a_count_that_moved_is_waited_for_anew() -> None:
    seen = Seen(OTHERS, 100.0)
    assert seen.then(OTHERS, 102.0) == seen
    renewed = Lease("other", 7, 41, LENGTH_MS)
    assert seen.then(renewed, 102.0) == Seen(renewed, 102.0)


def test_rule_3_terms_only_grow() -> None:
    free = released(OTHERS)
    assert (free.term, free.counter) == (7, 41), "a release changes the count, for who still waits"
    assert act(free) == Take(free, Lease("me", 8, 42, LENGTH_MS))
    assert act(None, newest_term=9) == Take(None, Lease("me", 10, 1, LENGTH_MS))
    assert act(free, newest_term=9) == Take(free, Lease("me", 10, 42, LENGTH_MS))


def test_rule_4_a_released_lease_is_taken_at_once() -> None:
    assert isinstance(act(released(OTHERS)), Take)


def test_rule_4_only_the_nodes_lock_makes_its_own_old_lease_free() -> None:
    assert act(OURS, holds_node_lock=True) == Take(OURS, Lease("me", 8, 41, LENGTH_MS))
    assert isinstance(act(OURS, holds_node_lock=False), Wait)
    assert isinstance(act(OTHERS, holds_node_lock=True), Wait)


def test_another_run_of_the_own_node_is_somebody_else() -> None:
    newer = Lease("me", 8, 41, LENGTH_MS)
    assert isinstance(act(newer, term=7), Wait)
