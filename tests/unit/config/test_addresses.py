"""Listen addresses."""

from __future__ import annotations

import pytest

from services.config import parse_listen_address
from tests.unit.config.helpers import loaded, problem_with


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        (":3000", "", 3000),
        ("127.0.0.1:3000", "127.0.0.1", 3000),
        ("orc-1.example.com:80", "orc-1.example.com", 80),
        ("[::1]:3000", "::1", 3000),
        ("[::]:65535", "::", 65535),
        ("[fe80::1%eth0]:1", "fe80::1%eth0", 1),
    ],
)
def test_a_listen_address(text: str, host: str, port: int) -> None:
    assert parse_listen_address(text) == (host, port)
    assert loaded(ListenAddress=text).settings.listen_endpoint == (host, port)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "has no port"),
        ("3000", "has no port"),
        ("host", "has no port"),
        (":", "has a port that is not a number within 1..65535"),
        (":0", "has a port that is not a number within 1..65535"),
        (":65536", "has a port that is not a number within 1..65535"),
        (":-1", "has a port that is not a number within 1..65535"),
        (":٣", "has a port that is not a number within 1..65535"),
        (":http", "has a port that is not a number within 1..65535"),
        ("::1:3000", "has an IPv6 address without brackets"),
        ("a b:3000", "has an impossible host name"),
        ("http://h:3000", "has an IPv6 address without brackets"),
    ],
)
def test_what_is_no_listen_address(text: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        parse_listen_address(text)
    assert what in problem_with({"ListenAddress": text})
    if text:
        assert what in problem_with({"AgentsServerPort": text})


def test_the_port_for_agents_may_be_empty() -> None:
    assert loaded(AgentsServerPort="").settings.AgentsServerPort == ""
