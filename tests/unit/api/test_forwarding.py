"""Changes that are asked of a node that does not act: two applications, on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
import uvicorn
from starlette.types import ASGIApp

from api.app import create_app
from services.config import Secret
from services.forwarding.client import CHALLENGE_PATH, Target, greet
from services.forwarding.signing import HEADER, Claims, digest_of, name_digest, sign
from services.node_view import Acting, RefusedError
from services.raft.view import RaftView
from services.store.migrate import prepare
from services.topology.keys import InstanceKey
from tests.unit.api.app_client import client_of, memory_node
from tests.unit.api.memory_node import ALONE, SECRET, M, MemoryNode, fleet, settings

FRONT, ACTS = "host-1:/x:1", "host-2:/x:1"
FORGET = f"/api/forget/{ALONE.hostname}/{ALONE.port}"


@contextlib.asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[str]:
    """Its URI."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        server = uvicorn.Server(
            uvicorn.Config(app, loop="none", lifespan="off", log_config=None, timeout_graceful_shutdown=1)
        )
        server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign]
        task = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            await asyncio.wait_for(task, 5)


@dataclass
class Two:
    """``front`` does not act, and knows that ``acts`` does."""

    front: MemoryNode
    acts: MemoryNode
    uri: str

    def client(self, **options: str) -> httpx.AsyncClient:
        return client_of(self.front, **options)


@pytest.fixture(scope="module")
def ready_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose schema is made: that takes longer than most of the tests."""
    file = tmp_path_factory.mktemp("store") / "store.sqlite3"
    prepare(file)
    return file


@pytest.fixture
async def two(tmp_path: Path, ready_store: Path) -> AsyncIterator[Two]:
    shutil.copy(ready_store, tmp_path)
    async with memory_node(tmp_path) as acts:
        front = MemoryNode(acts.store, is_leader=False)
        front.show(fleet())
        acts.acts = Acting(me=ACTS, term=7)
        async with serving(create_app(acts)) as uri:
            front.acts = Acting(me=FRONT, node=ACTS, uri=uri, term=7)
            yield Two(front, acts, uri)


def claims(path: str = FORGET, **changed: object) -> Claims:
    said = Claims(
        request=digest_of("GET", path, b""),
        user="ann",
        peer="192.0.2.1",
        front=FRONT,
        front_host="host-1",
        to=ACTS,
        term=7,
        challenge="",
    )
    return replace(said, **changed)  # type: ignore[arg-type]


async def challenge(two: Two) -> str:
    return (await greet(Target(node=ACTS, uri=two.uri))).challenge


async def sent(two: Two, said: Claims, path: str = FORGET, secret: Secret = SECRET) -> tuple[int, str]:
    """Status and message of a request that was signed by hand."""
    async with httpx.AsyncClient() as http:
        reply = await http.get(two.uri + path, headers={HEADER: sign(secret, said)})
        return reply.status_code, reply.json()["Message"]


# as if it had been done here


async def test_a_change_is_done_where_it_can_be_and_answered_as_if_local(two: Two) -> None:
    async with two.client() as http:
        reply = await http.get(FORGET)
    async with client_of(two.acts) as http:
        local = await http.get(FORGET)
    assert two.acts.done == [("forget", ALONE)] * 2
    assert two.front.done == [("catch-up",)], "what was changed is seen here at once"
    assert (reply.status_code, reply.content) == (local.status_code, local.content)
    assert reply.headers["content-type"] == local.headers["content-type"]


async def test_an_error_comes_back_as_it_is(two: Two) -> None:
    two.acts.fails_with = RefusedError("Recovery not attempted: nothing is wrong", M)
    async with two.client() as http:
        reply = await http.get(f"/api/recover/{M.hostname}/{M.port}")
    assert reply.status_code == 500
    assert reply.json() == {
        "Code": "ERROR",
        "Message": "Recovery not attempted: nothing is wrong",
        "Details": {"Hostname": M.hostname, "Port": M.port},
    }
    assert two.front.done == []


async def test_the_query_comes_as_it_was_written(two: Two) -> None:
    async with two.client() as http:
        reply = await http.get("/api/ack-all-recoveries?comment=a%20b%26c%2Bd+e%C3%BC&comment=x")
    assert reply.json()["Details"] == "x"
    async with two.client() as http:
        reply = await http.get("/api/ack-all-recoveries?comment=a%20b%26c%2Bd+e%C3%BC%00'")
    assert reply.json()["Details"] == "a b&c+d eü\x00'"
    assert two.acts.done[-1][2:] == ("a b&c+d eü\x00'", "node-1"), "as the node that was asked would say"


async def test_long_answers_are_compressed_for_who_asks(two: Two) -> None:
    comment = "x" * 5000
    async with two.client() as http:
        reply = await http.get(f"/api/ack-all-recoveries?comment={comment}")
    assert reply.headers["content-encoding"] == "gzip"
    assert reply.json()["Details"] == comment


async def test_reads_are_answered_here(two: Two) -> None:
    two.acts.show([])
    async with two.client() as http:
        assert len((await http.get("/api/all-instances")).json()) == 4
        assert (await http.get(f"/api/refresh/{M.hostname}/{M.port}")).status_code == 200
    assert two.front.done == [("refresh", M)]


@pytest.mark.parametrize(
    "path", ["reload-configuration", "raft-snapshot", "raft-yield/a", "raft-yield-hint/a"]
)
async def test_what_is_about_the_node_itself_is_not_passed_on(two: Two, path: str) -> None:
    async with two.client() as http:
        await http.get(f"/api/{path}")
    assert two.acts.done == []


async def test_under_a_prefix(tmp_path: Path) -> None:
    async with memory_node(tmp_path, URLPrefix="/orc") as acts:
        acts.acts = Acting(me=ACTS, term=1)
        async with serving(create_app(acts)) as uri:
            front = MemoryNode(acts.store, settings=acts.settings, is_leader=False)
            front.acts = Acting(me=FRONT, node=ACTS, uri=f"{uri}/", term=1)
            async with client_of(front) as http:
                assert (await http.get(f"/orc{FORGET}")).json()["Code"] == "OK"
                assert (await http.get("/orc/api/routed-leader-check")).status_code == 200
        assert acts.done == [("forget", ALONE)]


# who may


async def test_the_caller_is_known_where_it_is_done(tmp_path: Path) -> None:
    keys = {"AuthenticationMethod": "basic", "HTTPAuthUser": "ann", "HTTPAuthPassword": "p"}
    async with memory_node(tmp_path, **keys) as acts:
        acts.acts = Acting(me=ACTS, term=1)
        async with serving(create_app(acts)) as uri:
            front = MemoryNode(acts.store, settings=acts.settings, is_leader=False)
            front.acts = Acting(me=FRONT, node=ACTS, uri=uri, term=1)
            async with client_of(front, peer="192.0.2.1") as http:
                assert (await http.get("/api/ack-all-recoveries?comment=x")).status_code == 401
                assert acts.done == []
                reply = await http.get("/api/ack-all-recoveries?comment=x", auth=("ann", "p"))
                assert reply.json()["Code"] == "OK"
        assert acts.done[0][3] == "ann"


@pytest.mark.parametrize(
    ("keys", "peer", "headers"),
    [
        ({"ReadOnly": True}, "127.0.0.1", {}),
        ({}, "192.0.2.1", {}),
        ({}, "127.0.0.1", {"origin": "http://evil.example"}),
        ({"AuthenticationMethod": "proxy", "PowerAuthUsers": ["ann"]}, "127.0.0.1",
         {"x-forwarded-user": "bob"}),
        ({"AuthenticationMethod": "multi", "HTTPAuthUser": "a", "HTTPAuthPassword": "p"}, "127.0.0.1",
         {"authorization": "Basic cmVhZG9ubHk6eA=="}),
    ],
)  # fmt: skip
async def test_who_may_not_change_anything_here_may_not_through_it(
    two: Two, keys: dict[str, object], peer: str, headers: dict[str, str]
) -> None:
    two.front.settings = settings(**keys)
    async with two.client(peer=peer) as http:
        reply = await http.get(FORGET, headers=headers)
    assert reply.status_code == 500
    assert reply.json()["Message"].startswith("Unauthorized")
    assert two.acts.done == []


async def test_the_acting_node_s_own_read_only_holds(two: Two) -> None:
    two.acts.settings = replace(two.acts.settings, ReadOnly=True)
    async with two.client() as http:
        assert (await http.get(FORGET)).json()["Message"] == "Unauthorized: ReadOnly is configured"
    assert two.acts.done == []


# what is refused there


async def test_what_was_passed_on_is_good_once(two: Two) -> None:
    said = claims(challenge=await challenge(two))
    assert (await sent(two, said))[0] == 200
    status, message = await sent(two, said)
    assert (status, message.startswith("Unauthorized")) == (500, True)
    assert "was used before, or has expired" in message
    assert two.acts.done == [("forget", ALONE)]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"challenge": "1-2-3"}, "its challenge was used before, or has expired"),
        ({"challenge": ""}, "its challenge was used before, or has expired"),
        ({"to": "host-3:/x:1"}, f"it is meant for host-3:/x:1, this is {ACTS}"),
        ({"term": 8}, f"{FRONT} knows of term 8, this node of 7 only"),
        ({"request": digest_of("GET", "/api/forget/other/1", b"")}, "it is not the one that was signed"),
        ({"request": digest_of("GET", FORGET, b"x")}, "it is not the one that was signed"),
        ({"request": digest_of("HEAD", FORGET, b"")}, "it is not the one that was signed"),
    ],
)
async def test_what_was_signed_for_something_else_is_refused(
    two: Two, changed: dict[str, object], why: str
) -> None:
    said = replace(claims(challenge=await challenge(two)), **changed)  # type: ignore[arg-type]
    status, message = await sent(two, said)
    assert status == 500
    assert why in message
    assert two.acts.done == []


async def test_who_has_not_the_secret_is_nobody(two: Two) -> None:
    said = claims(challenge=await challenge(two))
    status, message = await sent(two, said, secret=Secret("guessed"))
    assert (status, "its signature is not of this setup's secret" in message) == (500, True)
    assert (await sent(two, said))[0] == 200, "and has not used up the challenge"


async def test_an_older_term_at_the_other_node_is_no_reason(two: Two) -> None:
    """The node that was asked is behind; the one that is asked acts."""
    assert (await sent(two, claims(challenge=await challenge(two), term=6)))[0] == 200


async def test_a_body_is_signed_too(two: Two) -> None:
    async with httpx.AsyncClient() as http:
        said = claims(challenge=await challenge(two), request=digest_of("GET", FORGET, b"one"))
        reply = await http.request(
            "GET", two.uri + FORGET, content=b"two", headers={HEADER: sign(SECRET, said)}
        )
        assert "it is not the one that was signed" in reply.json()["Message"]
        reply = await http.request(
            "GET", two.uri + FORGET, content=b"one", headers={HEADER: sign(SECRET, said)}
        )
        assert reply.json()["Code"] == "OK"
    async with two.client() as http:
        reply = await http.request("GET", FORGET, content=b"a body")
        assert reply.json()["Code"] == "OK"
        reply = await http.request("GET", FORGET, content=b"x" * (1024 * 1024 + 1))
        assert "a body of more than 1048576 bytes" in reply.json()["Message"]


# when there is nobody to pass it on to


@pytest.mark.parametrize("node", ["", FRONT])
async def test_when_nobody_acts(two: Two, node: str) -> None:
    two.front.acts = Acting(me=FRONT, node=node, uri=two.uri, term=7)
    async with two.client() as http:
        reply = await http.get(FORGET)
        assert (reply.status_code, reply.json()["Code"]) == (500, "ERROR")
        assert reply.json()["Message"].startswith("Unauthorized: nobody acts at the moment, nothing was done")
        assert (await http.get("/api/routed-leader-check")).status_code == 404
    assert two.acts.done == []


async def test_when_it_is_not_known_where_the_other_is(two: Two) -> None:
    two.front.acts = Acting(me=FRONT, node=ACTS, term=7)
    async with two.client() as http:
        assert f"nothing was done; {ACTS} does" in (await http.get(FORGET)).json()["Message"]


async def test_a_node_that_is_gone(two: Two) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        gone = f"http://127.0.0.1:{unused.getsockname()[1]}"
        two.front.acts = Acting(me=FRONT, node=ACTS, uri=gone, term=7)
        async with two.client() as http:
            message = (await http.get(FORGET)).json()["Message"]
            assert (await http.get("/api/routed-leader-check")).status_code == 404
    assert message.startswith(f"nothing was done: {ACTS}, which acts, is not reached at {gone}")


async def test_a_node_that_hangs_holds_nobody_up(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.forwarding.client.GREETING_SECONDS", 0.2)
    with socket.socket() as hanging:
        hanging.bind(("127.0.0.1", 0))
        hanging.listen()
        two.front.acts = replace(two.front.acts, uri=f"http://127.0.0.1:{hanging.getsockname()[1]}")
        async with two.client() as http:
            message = (await asyncio.wait_for(http.get(FORGET), 5)).json()["Message"]
            reply = await asyncio.wait_for(http.get("/api/routed-leader-check"), 5)
    assert message.startswith(f"nothing was done: {ACTS}, which acts, is not reached")
    assert reply.status_code == 404


class Slow(MemoryNode):
    def __init__(self, two: Two) -> None:
        super().__init__(two.acts.store, acts=two.acts.acts)
        self.began = asyncio.Event()

    async def forget(self, key: InstanceKey) -> None:
        await super().forget(key)
        self.began.set()
        await asyncio.sleep(20)


@pytest.mark.parametrize("late", ["ANSWER_SECONDS", "SUCCEEDED_SECONDS"])
async def test_an_answer_that_does_not_come_is_an_unknown_outcome(
    two: Two, late: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a time; and some time after another node has begun to act, because a dead host says nothing."""
    monkeypatch.setattr(f"services.forwarding.client.{late}", 0.3)
    monkeypatch.setattr("services.forwarding.client._LOOK_SECONDS", 0.1)
    slow = Slow(two)
    async with serving(create_app(slow)) as uri, two.client() as http:
        two.front.acts = replace(two.front.acts, uri=uri)
        asking = asyncio.create_task(http.get(FORGET))
        await slow.began.wait()
        if late == "SUCCEEDED_SECONDS":
            two.front.acts = replace(two.front.acts, node="host-3:/x:1")
        message = (await asyncio.wait_for(asking, 5)).json()["Message"]
    assert message.startswith(f"no answer from {ACTS} ({uri}), which was asked to do it")
    assert message.endswith("it may have been done. Look before asking again")
    assert slow.done == [("forget", ALONE)]


async def test_a_node_that_says_that_it_does_not_act(two: Two) -> None:
    two.acts.is_leader = False
    async with two.client() as http:
        message = (await http.get(FORGET)).json()["Message"]
        assert (await http.get("/api/routed-leader-check")).status_code == 404
    assert message == f"nothing was done: {ACTS} is said to act, to {FRONT}, and does not"
    assert two.acts.done == []


async def test_it_is_never_passed_on_twice(two: Two) -> None:
    """It stopped acting in between, and takes the first node for the one that acts."""
    said = claims(challenge=await challenge(two))
    two.acts.is_leader = False
    two.acts.acts = Acting(me=ACTS, node=FRONT, uri="http://127.0.0.1:1", term=7)
    status, message = await sent(two, said)
    assert (status, message.startswith("Unauthorized")) == (500, True)
    assert f"{FRONT} passed this on to {ACTS}, which does not act either, nothing was done" in message


async def test_an_address_that_leads_to_another_node(two: Two) -> None:
    two.acts.acts = Acting(me="host-3:/x:1", term=7)
    async with two.client() as http:
        message = (await http.get(FORGET)).json()["Message"]
    assert f"{two.uri} is another node than {ACTS}, which acts; see HTTPAdvertise" in message
    assert two.acts.done == []


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b"404 page not found\n"),
        (200, b"{}"),
        (200, b"[]"),
        (200, b"\xff"),
        (200, b"x" * 10_000),
        (302, b""),
    ],
)
async def test_an_address_that_leads_somewhere_else(two: Two, status: int, body: bytes) -> None:
    async def other(scope: object, receive: object, send: object) -> None:
        headers = [(b"location", f"{two.uri}{CHALLENGE_PATH}".encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})  # type: ignore[operator]
        await send({"type": "http.response.body", "body": body})  # type: ignore[operator]

    async with serving(other) as uri, two.client() as http:  # type: ignore[arg-type]
        two.front.acts = replace(two.front.acts, uri=uri)
        message = (await http.get(FORGET)).json()["Message"]
    assert message.startswith("nothing was done: ")
    assert uri in message
    assert two.acts.done == []


# what anybody is told


async def test_a_challenge_tells_strangers_nothing_but_whether_it_acts(two: Two) -> None:
    async with httpx.AsyncClient() as http:
        said = (await http.get(two.uri + CHALLENGE_PATH)).json()
    assert said == {"Node": name_digest(ACTS), "Acts": True, "Term": 7, "Challenge": said["Challenge"]}
    async with two.client() as http:
        said = (await http.get(CHALLENGE_PATH)).json()
    assert said == {"Node": name_digest(FRONT), "Acts": False, "Term": 7, "Challenge": ""}


async def test_routed_leader_check(two: Two) -> None:
    async with two.client() as http:
        assert (await http.get("/api/leader-check")).status_code == 404
        reply = await http.get("/api/routed-leader-check")
    assert (reply.status_code, reply.text) == (200, '"OK"')


# grabbing


async def test_who_acts_gives_it_up_before_another_stands(two: Two) -> None:
    async with two.client() as http:
        assert (await http.get("/api/grab-election")).json()["Code"] == "OK"
        assert two.acts.done == [("reelect",)]
        assert two.front.done == [("stand",)]
        assert (await http.get("/api/grab-election")).json()["Code"] == "OK"
    assert two.front.done == [("stand",)], "it acts already"


async def test_nobody_stands_while_another_may_act(two: Two) -> None:
    two.acts.fails_with = RefusedError("no")
    async with two.client() as http:
        message = (await http.get("/api/grab-election")).json()["Message"]
    assert message.startswith(f"{ACTS} acts, and does not give it up: ")
    assert two.front.done == []
    two.front.acts = replace(two.front.acts, uri="http://127.0.0.1:1")
    async with two.client() as http:
        assert (await http.get("/api/grab-election")).json()["Message"].startswith("nothing was done: ")
    assert two.front.done == []


async def test_what_is_not_won_is_said(two: Two) -> None:
    two.front.wins = False
    async with two.client() as http:
        assert "This node was not elected" in (await http.get("/api/grab-election")).json()["Message"]


async def test_where_nobody_acts_there_is_nobody_to_ask(two: Two) -> None:
    two.front.acts = Acting(me=FRONT, term=7)
    async with two.client() as http:
        assert (await http.get("/api/grab-election")).json()["Code"] == "OK"
    assert two.acts.done == []


async def test_raft_members_are_not_grabbed(two: Two) -> None:
    two.front.raft = RaftView(bind="a:1", advertise="a:1")
    async with two.client() as http:
        assert "not with raft" in (await http.get("/api/grab-election")).json()["Message"]
    assert (two.front.done, two.acts.done) == ([], [])
