"""Names of members: a name server that hangs or fails, and names with several addresses."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.raft import lookup
from services.raft.config import Address, RaftConfig
from services.raft.errors import PeerError
from services.raft.lookup import Lookup
from services.raft.peers import Peers
from services.sandbox.ports import free_port
from tests.servers import wait_until_async

SECRET = "a secret of the test, long enough"
PORT = 10008


class NameServer:
    """``answers`` by name; one that has none hangs until the end of the test."""

    def __init__(self) -> None:
        self.answers: dict[str, list[str] | OSError] = {}
        self.asked: list[str] = []
        self.over = threading.Event()

    def getaddrinfo(self, host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        self.asked.append(host)
        if host not in self.answers:
            self.over.wait(30)
            raise socket.gaierror(socket.EAI_AGAIN, "try again")
        answer = self.answers[host]
        if isinstance(answer, OSError):
            raise answer
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (number, port)) for number in answer]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    server = NameServer()
    monkeypatch.setattr(lookup, "_ANSWER_SECONDS", 0.05)
    monkeypatch.setattr(lookup.socket, "getaddrinfo", server.getaddrinfo)
    yield server
    server.over.set()


async def test_who_hangs_is_asked_once_and_delays_nobody(names: NameServer) -> None:
    names.answers["well"] = ["127.0.0.1"]
    hangs = [Lookup(Address(f"hangs{number}", PORT)) for number in range(8)]
    for _ in range(3):
        for one in hangs:
            with pytest.raises(PeerError, match="not resolved in time"):
                await one.numbers()
    assert sorted(names.asked) == sorted(f"hangs{number}" for number in range(8))
    well = Lookup(Address("well", PORT))
    assert await well.numbers() == ("127.0.0.1",)
    assert await asyncio.wait_for(asyncio.to_thread(lambda: "at once"), 5) == "at once"
    for one in (*hangs, well):
        one.end()


@pytest.mark.parametrize("fails", [None, socket.gaierror(socket.EAI_NONAME, "no such name")])
async def test_the_last_answer_holds_when_there_is_none(names: NameServer, fails: OSError | None) -> None:
    names.answers["member"] = ["192.0.2.1"]
    member = Lookup(Address("member", PORT))
    assert (await member.numbers(), member.error) == (("192.0.2.1",), "")
    del names.answers["member"]
    if fails is not None:
        names.answers["member"] = fails
    assert await member.numbers() == ("192.0.2.1",)
    assert "'member'" in member.error
    names.answers["member"] = ["192.0.2.2"]
    names.over.set()
    await wait_until_async(lambda: member._asked is None or member._asked.done())
    await member.numbers()  # the answer to what was asked before
    assert (await member.numbers(), member.error) == (("192.0.2.2",), "")
    member.end()


async def test_a_name_that_is_none_is_said_to_be(names: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    member = Lookup(Address("a..b", PORT))
    with pytest.raises(PeerError, match=r"'a\.\.b' is not a valid host name"):
        await member.numbers()
    member.end()


async def test_a_member_is_found_at_its_second_address_and_again_without_a_name_server(
    names: NameServer, tmp_path: Path
) -> None:
    """As with a name for IPv6 and IPv4 whose member listens at one of them."""
    ports = {name: free_port() for name in "ab"}
    names.answers = {
        "a.test": ["127.0.0.1"],
        "b.test": ["127.0.0.77", "127.0.0.1"],
        "127.0.0.1": ["127.0.0.1"],
    }
    members = {name: Address(f"{name}.test", port) for name, port in ports.items()}
    both = [
        Peers(
            RaftConfig(
                node_id=name,
                members=members,
                bind=Address("127.0.0.1", port),
                file=tmp_path / name,
                secret=SECRET,
            ),
            lambda *_: None,
        )
        for name, port in ports.items()
    ]
    try:
        for each in both:
            await each.start()
        b = both[0].members["b"]
        await wait_until_async(lambda: b.connected, 5, lambda: b.error)
        names.answers["b.test"] = socket.gaierror(socket.EAI_AGAIN, "no name server")
        await both[1].stop()
        await wait_until_async(lambda: "no name server; at its last known" in b.error, 5, lambda: b.error)
        both[1] = Peers(both[1]._config, lambda *_: None)
        await both[1].start()
        await wait_until_async(lambda: b.connected, 5, lambda: b.error)
    finally:
        for each in both:
            await each.stop()
