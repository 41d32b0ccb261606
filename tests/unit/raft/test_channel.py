"""The handshake and its seals, over a pair of sockets; TLS with certificates made here."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from services.consensus.messages import Message, TimeoutNow
from services.raft.channel import Channel, accept, greet
from services.raft.config import Address, RaftConfig, TlsFiles
from services.raft.errors import PeerError, RaftConfigurationError
from services.raft.peers import Peers
from services.sandbox.ports import free_port
from tests.certificates import Authority
from tests.servers import wait_until_async

SECRET = "a secret of the test, long enough"


def config(node_id: str, folder: Path, *, members: str = "ab", **more: object) -> RaftConfig:
    addresses = {name: Address("127.0.0.1", free_port()) for name in members}
    given = {"secret": SECRET, **more}
    return RaftConfig(
        node_id=node_id,
        members=addresses,
        bind=addresses[node_id],
        file=folder / node_id,
        **given,  # type: ignore[arg-type]
    )


class Wire:
    """Two ends; what goes from the first to the second may be changed on the way."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.readers = [asyncio.StreamReader(), asyncio.StreamReader()]

    def end(self, number: int) -> Channel:
        wire = self

        class Writer:
            def write(self, data: bytes) -> None:
                wire.sent.append(data)
                wire.readers[1 - number].feed_data(data)

        return Channel(self.readers[number], Writer())  # type: ignore[arg-type]


async def shake(one: RaftConfig, other: RaftConfig, *, means: str = "b") -> tuple[Wire, Channel, Channel]:
    wire = Wire()
    dialler, dialled = wire.end(0), wire.end(1)

    async def answer() -> None:
        try:
            await accept(dialled, other)
        except PeerError:
            wire.readers[0].feed_eof()  # it hangs up
            raise

    results = await asyncio.gather(greet(dialler, one, means), answer(), return_exceptions=True)
    for result in reversed(results):
        if isinstance(result, BaseException):
            raise result
    return wire, dialler, dialled


async def test_both_know_each_other_and_nobody_else_can_read(tmp_path: Path) -> None:
    wire, dialler, dialled = await shake(config("a", tmp_path), config("b", tmp_path))
    assert (dialler.member, dialled.member) == ("b", "a")
    dialler.write(b"a decision")
    assert b"a decision" not in b"".join(wire.sent)
    assert await dialled.read() == b"a decision"


async def test_a_frame_that_is_repeated_or_changed_ends_the_connection(tmp_path: Path) -> None:
    for change in (lambda frame: frame, lambda frame: frame[:-1] + bytes([frame[-1] ^ 1])):
        wire, dialler, dialled = await shake(config("a", tmp_path), config("b", tmp_path))
        dialler.write(b"once")
        await dialled.read()
        wire.readers[1].feed_data(change(wire.sent[-1]))
        with pytest.raises(PeerError, match="changed on the way"):
            await dialled.read()


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ({"secret": "another one, long enough too"}, {}, "another secret"),
        ({"secret": None}, {}, "another secret"),
        ({}, {"secret": None}, "another secret"),
        ({"members": "abc"}, {}, "with others"),
        ({"node_id": "c", "members": "abc"}, {}, "not a member"),
    ],
)
async def test_who_is_not_let_in(
    tmp_path: Path, one: dict[str, object], other: dict[str, object], said: str
) -> None:
    caller = config(str(one.pop("node_id", "a")), tmp_path, **one)  # type: ignore[arg-type]
    with pytest.raises(PeerError, match=said):
        await shake(caller, config("b", tmp_path, **other))  # type: ignore[arg-type]


async def test_an_address_that_leads_to_another_member_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(PeerError, match="an address is wrong"):
        await shake(config("a", tmp_path, members="abc"), config("c", tmp_path, members="abc"))


async def test_a_frame_too_long_is_not_read(tmp_path: Path) -> None:
    _, dialler, dialled = await shake(config("a", tmp_path), config("b", tmp_path))
    dialler.write(b"x" * (2 * 1024 * 1024))
    with pytest.raises(PeerError, match="at most"):
        await dialled.read()


@pytest.mark.parametrize(
    ("certificate_of_a", "said"), [("a", ""), ("z", "the certificate of a names z"), ("foreign", "foreign")]
)
async def test_mutual_tls(tmp_path: Path, certificate_of_a: str, said: str) -> None:
    """Both show a certificate of the same authority, in the member's own name."""
    authority = Authority(tmp_path)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    of_a = Authority(foreign).files("a") if said == "foreign" else authority.files(certificate_of_a)
    addresses = {name: Address("127.0.0.1", free_port()) for name in "ab"}
    configs = [
        RaftConfig(node_id=name, members=addresses, bind=addresses[name], file=tmp_path / "log", tls=files)
        for name, files in (("a", of_a), ("b", authority.files("b")))
    ]
    received: list[tuple[str, Message]] = []
    peers = [Peers(each, lambda sender, message: received.append((sender, message))) for each in configs]
    try:
        for each in peers:
            await each.start()
        a_to_b, b_to_a = peers[0].members["b"], peers[1].members["a"]
        if said:
            await wait_until_async(lambda: "not dialled" not in b_to_a.error and b_to_a.error, 5, "b tried")
            await wait_until_async(lambda: "not dialled" not in a_to_b.error and a_to_b.error, 5, "a tried")
            assert not peers[1].is_heard("a")
            assert not a_to_b.connected
            assert (said if said != "foreign" else "its certificate is not accepted") in b_to_a.error
            if said == "foreign":
                assert "its certificate is not accepted" in a_to_b.error
                assert str(of_a.authority) in a_to_b.error
            return
        await wait_until_async(lambda: a_to_b.connected and b_to_a.connected, 5, "both are connected")
        a_to_b.send(TimeoutNow(7))
        await wait_until_async(lambda: received == [("a", TimeoutNow(7))], 5, "b has the message")
    finally:
        for each in peers:
            await each.stop()


def test_tls_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    files = TlsFiles(tmp_path / "c", tmp_path / "k", tmp_path / "a")
    with pytest.raises(RaftConfigurationError, match=str(tmp_path / "c")):
        Peers(config("a", tmp_path, tls=files), lambda *_: None)


async def test_a_name_that_leads_beyond_loopback_is_not_dialled_without_protection(tmp_path: Path) -> None:
    members = {"a": Address("127.0.0.1", free_port()), "b": Address("192.0.2.1", 1)}
    peers = Peers(
        RaftConfig(node_id="a", members=members, bind=members["a"], file=tmp_path / "log"), lambda *_: None
    )
    await peers.start()
    try:
        peer = peers.members["b"]
        await wait_until_async(lambda: "neither TLS files nor a secret" in peer.error, 5, "it is refused")
    finally:
        await peers.stop()


def test_a_short_secret_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RaftConfigurationError, match="can be guessed"):
        config("a", tmp_path, secret="short")
