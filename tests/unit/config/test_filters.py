"""Which clusters and hosts a filter speaks of."""

from __future__ import annotations

import pytest

from services.config import cluster_matches, endpoint_matches, hold_down_milliseconds, hostname_matches

NAME, ALIAS = "db1.example.com:3306", "shop"


@pytest.mark.parametrize(
    ("entry", "matches"),
    [
        ("*", True),
        ("db1.example.com:3306", True),
        ("shop", True),
        ("sho", False),
        ("Shop", False),
        ("db1", True),
        ("^db[0-9]+[.]", True),
        ("^example", False),
        ("3306$", True),
        ("alias=shop", True),
        ("alias=sho", False),
        ("alias=.*", False),
        ("alias~=^sh", True),
        ("alias~=op$", True),
        ("alias~=db1", False),
        ("", False),
    ],
)
def test_a_cluster_filter(entry: str, matches: bool) -> None:
    assert cluster_matches([entry], NAME, ALIAS) is matches
    assert cluster_matches(["nothing", entry], NAME, ALIAS) is matches


def test_no_filter_matches_no_cluster() -> None:
    assert not cluster_matches([], NAME, ALIAS)


def test_a_cluster_without_alias() -> None:
    assert not cluster_matches(["alias=shop", "shop", ""], NAME, "")
    assert cluster_matches(["alias~=^$"], NAME, "")


@pytest.mark.parametrize(
    ("entry", "host", "port", "matches"),
    [
        ("db1", "db1.example.com", 3306, True),
        (":3307$", "db1", 3307, True),
        ("db1$", "db1", 3306, False),
        ("^db1:3306$", "db1", 3306, True),
        ("10.0.0.1", "10.0.0.1", 3306, True),
        ("10.0.0.1", "10.0.0.11", 3306, False),
        ("10.0.0.1", "10a0b0c1", 3306, False),
        ("10.0.0.", "10.0.0.11", 3306, True),
        ("::1", "::1", 3306, True),
        ("::1", "fe80::1", 3306, False),
        ("", "db1", 3306, False),
    ],
)
def test_a_host_filter(entry: str, host: str, port: int, matches: bool) -> None:
    assert endpoint_matches([entry], host, port) is matches


def test_a_filter_on_the_host_alone() -> None:
    assert hostname_matches(["^db1$"], "db1")
    assert not hostname_matches([":3306"], "db1")
    assert hostname_matches(["10.0.0.1"], "10.0.0.1")
    assert not hostname_matches(["10.0.0.1"], "10.0.0.11")
    assert not hostname_matches([], "db1")


@pytest.mark.parametrize(
    ("by_cluster", "milliseconds"),
    [
        ({}, 100),
        ({"other": 1}, 100),
        ({"*": 2000}, 2000),
        ({"*": 2000, "alias=shop": 0}, 0),
        ({"*": 2000, "shop": 0, "^db": 500}, 0),
        ({"*": 2000, "^db": 500}, 500),
        ({"^db": 500, "alias~=sh": 700}, 700),
        ({NAME: 1, "shop": 3, "alias=shop": 2}, 3),
    ],
)
def test_the_hold_down_of_a_cluster_is_that_of_its_most_exact_filter(
    by_cluster: dict[str, int], milliseconds: int
) -> None:
    assert hold_down_milliseconds(100, by_cluster, NAME, ALIAS) == milliseconds
