"""Versions are compared as numbers; flavours follow the texts of real servers."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.topology.versions import Version, flavor


@pytest.mark.parametrize(
    ("text", "numbers", "major"),
    [
        ("9.7.4-2", (9, 7, 4), "9.7"),
        ("8.0.36-28.1", (8, 0, 36), "8.0"),
        ("5.7.44-48-log", (5, 7, 44), "5.7"),
        ("10.11.6-MariaDB-0+deb12u1", (10, 11, 6), "10.11"),
        ("5.5.5-10.11.6-MariaDB-0+deb12u1", (10, 11, 6), "10.11"),  # as a handshake says it
        ("8.0.mysql_aurora.3.05.2", (8, 0), "8.0"),
        ("8.0.33-ndb-8.0.33", (8, 0, 33), "8.0"),
        (" 8.4.3 ", (8, 4, 3), "8.4"),
        ("8", (8,), "8"),
        ("Unknown", (), ""),
        ("", (), ""),
        ("v8.0", (), ""),
        ("9" * 5000, (), ""),
        ("\u0668.4", (), ""),  # a digit to Python, not to a server
    ],
)
def test_reading(text: str, numbers: tuple[int, ...], major: str) -> None:
    version = Version.parse(text)
    assert version.numbers == numbers
    assert version.major == major
    assert str(version) == text


def test_order_is_by_number_not_by_text() -> None:
    texts = ["garbage", "5.7.44", "8.0.4-rc", "8.0.36", "8.4", "8.10.0", "9.7.4-2", "10.0.1", "11.4.2"]
    versions = [Version.parse(text) for text in texts]
    assert all(older < newer for older, newer in pairwise(versions))
    assert not any(newer < older for older, newer in pairwise(versions))
    assert Version.parse("10.0.0") >= Version.parse("8.4")


def test_what_follows_the_numbers_does_not_count() -> None:
    assert Version.parse("9.7.4-2") == Version.parse("9.7.4")
    assert hash(Version.parse("9.7.4-2")) == hash(Version.parse("9.7.4"))
    assert Version.parse("8.4") == Version.parse("8.4.0")
    assert Version.parse("8.4") >= Version.parse("8.4.0-log")
    assert Version.parse("8.4") != "8.4"


@given(st.text())
def test_no_text_is_an_error(text: str) -> None:
    version = Version.parse(text)
    assert version == Version.parse(text)
    assert flavor(text, text) in {"MySQL", "Percona", "MariaDB", "MaxScale", "unknown"}


@pytest.mark.parametrize(
    ("version", "comment", "expected"),
    [
        ("9.7.4-2", "(Debian)", "MySQL"),
        ("8.4.3", "MySQL Community Server - GPL", "MySQL"),
        ("10.0.1", "MySQL Community Server - GPL", "MySQL"),
        ("8.0.33-ndb-8.0.33", "MySQL Cluster Community Server - GPL", "MySQL"),
        ("8.0.36-28", "Percona Server (GPL), Release 28, Revision 47601f19", "Percona"),
        ("10.11.6-MariaDB-0+deb12u1", "Debian 12", "MariaDB"),
        ("10.11.6-MariaDB", "built by Percona", "MariaDB"),
        ("23.08.4-maxscale", "", "MaxScale"),
        ("Unknown", "", "unknown"),
        ("", "", "unknown"),
    ],
)
def test_flavor(version: str, comment: str, expected: str) -> None:
    assert flavor(version, comment) == expected


def test_mariadb_and_maxscale_are_known_by_text() -> None:
    assert Version.parse("10.11.6-MariaDB").is_mariadb
    assert not Version.parse("10.11.6").is_mariadb
    assert Version.parse("23.08.4-maxscale").is_maxscale
    assert not Version.parse("8.0.36").is_maxscale
