"""How servers are named (discovery.md 4, and where we differ)."""

from __future__ import annotations

import pytest

from services.topology.keys import InstanceKey
from services.topology.names import NamePolicy, NameTable, own_name

ALIAS, OWN = InstanceKey("db-alias", 3306), InstanceKey("db-7", 3306)


@pytest.mark.parametrize(
    ("method", "own"),
    [
        ("none", None),
        ("", None),
        ("default", "db-7"),
        ("hostname", "db-7"),
        ("@@hostname", "db-7"),
        ("report_host", "db-7.example"),
        ("@@report_host", "db-7.example"),
    ],
)
def test_the_ways_a_server_names_itself(method: str, own: str | None) -> None:
    found = own_name(ALIAS, "db-7", "db-7.example", NamePolicy(own_method=method))
    assert found == (InstanceKey(own, 3306) if own else None)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "localhost", "::1"])
def test_a_loopback_address_is_not_left_for_the_name_of_the_host(host: str) -> None:
    key = InstanceKey(host, 3306)
    assert own_name(key, "db-7", "", NamePolicy(own_method="@@hostname")) is None
    assert own_name(key, "", "db-7", NamePolicy(own_method="@@report_host")) == OWN


@pytest.mark.parametrize("own", ["", "db-alias", "DB-Alias", "a,b", "//db-7", "db-9.bad"])
def test_what_is_no_name_or_no_other_is_not_taken(own: str) -> None:
    policy = NamePolicy(own_method="@@report_host", reject=r"[.]bad$")
    assert own_name(ALIAS, "", own, policy) is None


def test_what_was_learned_is_resolved_and_looked_at_again_when_its_time_is_over() -> None:
    table = NameTable(NamePolicy(expiry_seconds=60))
    table.learn(ALIAS, OWN, 0.0)
    assert (table.resolve(ALIAS), table.resolve(OWN)) == (OWN, OWN)
    assert table.doubtful(59.0) == {}
    assert table.doubtful(60.0) == {ALIAS: OWN}
    assert table.resolve(ALIAS) == OWN, "until it is known better"
    table.defer(ALIAS, 99.0)
    assert table.doubtful(60.0) == {}
    table.unlearn(ALIAS)
    assert table.resolve(ALIAS) == ALIAS


def test_names_lead_to_instances_not_to_names() -> None:
    table, newest = NameTable(), InstanceKey("db-7.example", 3306)
    table.learn(ALIAS, OWN, 0.0)
    table.learn(OWN, newest, 0.0)
    assert (table.resolve(ALIAS), table.resolve(OWN)) == (newest, newest)
    assert table.names_of(newest) == (OWN, ALIAS)
    table.learn(newest, OWN, 0.0)  # a to b and b to a: the newer counts
    assert (table.resolve(newest), table.resolve(OWN)) == (OWN, OWN)


@pytest.mark.parametrize("host", ["", "_", "//db-7", "a,b"])
def test_what_is_no_server_is_never_resolved(host: str) -> None:
    table = NameTable(NamePolicy(method="cname"))
    key = InstanceKey(host, 3306)
    assert table.resolve(key) == key
    assert table.is_settled(key)
    assert table.wanted(0.0) == frozenset()


def test_names_are_looked_up_once_then_when_their_time_is_over() -> None:
    table = NameTable(NamePolicy(method="cname", expiry_seconds=3600))
    assert not table.is_settled(ALIAS)
    assert table.wanted(0.0) == {"db-alias"}
    table.found("db-alias", "db-7", 0.0)
    assert table.is_settled(ALIAS)
    assert table.resolve(ALIAS) == OWN
    assert (table.wanted(3599.0), table.wanted(3600.0)) == (frozenset(), {"db-alias"})
    table.found("db-alias", None, 3600.0)
    assert table.resolve(ALIAS) == OWN, "a name server that is down takes no source away"
    assert table.wanted(3659.0) == frozenset()
    assert table.wanted(3660.0) == {"db-alias"}


def test_a_name_that_fails_or_is_rejected_stands_for_itself_for_a_minute() -> None:
    table = NameTable(NamePolicy(method="ip", reject="^10[.]"))
    table.found("db-alias", None, 0.0)
    table.found("db-7", "10.0.0.7", 0.0)
    assert (table.resolve(ALIAS), table.resolve(OWN)) == (ALIAS, OWN)
    assert table.wanted(60.0) == {"db-alias", "db-7"}
    assert table.is_settled(InstanceKey("10.0.0.9", 1)), "an address is not looked up"


def test_without_a_method_that_looks_up_nothing_is_looked_up() -> None:
    for method in ("none", "default"):
        table = NameTable(NamePolicy(method=method))
        assert table.is_settled(ALIAS)
        assert table.wanted(0.0) == frozenset()


def test_the_cache_shows_names_what_they_stand_for_and_until_when() -> None:
    table = NameTable(NamePolicy(expiry_seconds=60))
    table.learn(ALIAS, OWN, 5.0)
    shown = table.cache([OWN], 10.0)
    assert {host: (known.name, known.until) for host, known in shown.items()} == {
        "db-7": ("db-7", 70.0),
        "db-alias": ("db-7", 65.0),
    }
    assert list(shown) == ["db-7", "db-alias"]
    table.reset()
    assert list(table.cache([OWN], 10.0)) == ["db-7"]


def test_an_instance_has_the_names_that_are_looked_up_too() -> None:
    table = NameTable(NamePolicy(method="cname"))
    table.found("db-alias", "db-7", 0.0)
    assert table.names_of(OWN) == (ALIAS,)
    own = InstanceKey("db-7.example", 3306)
    table.learn(OWN, own, 0.0)
    assert table.names_of(own) == (OWN, ALIAS)
    assert table.names_of(InstanceKey("db-7", 3307)) == (InstanceKey("db-alias", 3307),)


def test_what_was_known_before_a_restart_counts_while_names_cannot_be_looked_up_and_is_looked_up() -> None:
    table = NameTable(NamePolicy(method="cname", expiry_seconds=3600))
    table.recall(ALIAS, OWN, 0.0)
    assert table.wanted(0.0) == {"db-alias"}
    table.found("db-alias", None, 0.0)
    assert table.resolve(ALIAS) == OWN
    assert table.doubtful(1.0) == {}
    table.found("db-alias", "db-9", 60.0)
    assert table.doubtful(60.0) == {ALIAS: OWN}, "it stands for something else by now: compare them"
    table.unlearn(ALIAS)
    assert table.resolve(ALIAS) == InstanceKey("db-9", 3306)


def test_a_claim_counts_once_it_was_compared() -> None:
    table = NameTable(NamePolicy(expiry_seconds=60))
    table.claim({ALIAS: OWN})
    assert table.resolve(ALIAS) == ALIAS
    assert table.doubtful(0.0) == {ALIAS: OWN}
    table.defer(ALIAS, 60.0)
    assert table.doubtful(59.0) == {}, "one of them did not answer"
    assert table.unlearn(ALIAS) is False
    assert table.doubtful(99.0) == {}, "it leads elsewhere"
    table.claim({})
    table.claim({ALIAS: OWN})
    assert table.doubtful(99.0) == {ALIAS: OWN}, "registered anew"
    table.learn(ALIAS, OWN, 99.0)
    assert (table.resolve(ALIAS), table.names_of(OWN)) == (OWN, (ALIAS,))
    assert table.unlearn(ALIAS) is True, "it was believed"
