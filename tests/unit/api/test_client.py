"""``orchestray -c``: client-commands.md, against a real HTTP server on loopback."""

from __future__ import annotations

import asyncio
import base64
import getpass
import json
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import uvicorn

from api.app import create_app
from api.cli import client_http
from api.cli.client import run
from api.cli.client_commands import COMMANDS
from api.cli.client_options import ClientError, parse
from services.store.recoveries import Outcome
from services.topology.records import AnalysisEntry, Recovery
from tests.unit.api.app_client import memory_node
from tests.unit.api.memory_node import R1, M, MemoryNode, fleet

pytestmark = pytest.mark.timeout(60)

Outcome_ = tuple[int, str, str]
Ask = Callable[..., Outcome_]


class Served:
    """The application in a thread of its own, on a free port."""

    def __init__(self, directory: Path) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._directory = directory
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self.node: MemoryNode

    async def _serve(self) -> None:
        async with memory_node(self._directory) as self.node:
            self._loop = asyncio.get_running_loop()
            config = uvicorn.Config(create_app(self.node), log_level="critical", lifespan="off")
            self._server = uvicorn.Server(config)
            self._ready.set()
            await self._server.serve(sockets=[self._socket])

    def __enter__(self) -> Served:
        self._thread.start()
        assert self._ready.wait(20), "the server did not start"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive()

    def call(self, make: Callable[[], object]) -> None:
        """Run a coroutine in the server's loop."""
        asyncio.run_coroutine_threadsafe(make(), self._loop).result(10)  # type: ignore[arg-type]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with Served(tmp_path) as served:
        yield served


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("ORCHESTRATOR_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def ask(served: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Run a command against ``served``: exit status, stdout, stderr."""
    monkeypatch.setenv("ORCHESTRATOR_API", served.url)

    def ask(*words: str) -> Outcome_:
        capsys.readouterr()
        status = run(words)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return ask


# what is printed


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        ("clusters", "orders-1.example.com:3306\nusers.example.com:3306\n"),
        (
            "clusters-alias",
            "orders-1.example.com:3306,orders\nusers.example.com:3306,users.example.com:3306\n",
        ),
        (
            "all-instances",
            "orders-1.example.com:3306\norders-2.example.com:3306\norders-3.example.com:3307\nusers.example.com:3306\n",
        ),
        ("search -i 9.1.0", "users.example.com:3306\n"),
        ("instance -i orders-2", "orders-2.example.com:3306\n"),
        ("which-instance -i orders-3:3307", "orders-3.example.com:3307\n"),
        ("which-instance -i orders-3 -D 3307", "orders-3.example.com:3307\n"),
        ("which-master -i orders-2", "orders-1.example.com:3306\n"),
        ("which-master -i orders-1", ":0\n"),
        ("which-replicas -i orders-1", "orders-2.example.com:3306\norders-3.example.com:3307\n"),
        ("which-slaves -i orders-1", "orders-2.example.com:3306\norders-3.example.com:3307\n"),
        ("which-broken-replicas -i orders-1", "orders-3.example.com:3307\n"),
        ("which-cluster -i orders-2:3306", "orders-1.example.com:3306\n"),
        ("which-cluster-alias -i orders-2", "orders\n"),
        ("which-cluster-master -alias orders", "orders-1.example.com:3306\n"),
        ("which-cluster-instances -a users.example.com:3306", "users.example.com:3306\n"),
        ("all-clusters-masters", "orders-1.example.com:3306\nusers.example.com:3306\n"),
        ("downtimed", "orders-3.example.com:3307\n"),
        ("downtimed -a users.example.com:3306", ""),
        ("dominant-dc", "dc2\n"),  # one master each: the later name, as sort -nr has it
        ("is-replicating -i orders-2", "orders-2.example.com:3306\n"),
        ("is-replicating -i orders-3:3307", ""),
        ("is-replication-stopped -i orders-2", ""),
        ("check-global-recoveries", "enabled\n"),
        ("disable-global-recoveries", "disabled\n"),
        ("enable-global-recoveries", "enabled\n"),
        ("discover -i orders-2", "orders-2.example.com:3306\n"),
        ("async-discover -i new.example.com", ":null\n"),
        ("forget -i orders-2", ""),
        ("forget-cluster -a orders", ""),
        ("register-candidate -i orders-2 -R prefer", "orders-2.example.com:3306\n"),
        ("register-candidate -i orders-2 --promotion-rule must_not", "orders-2.example.com:3306\n"),
        ("api -P clusters", '[ "orders-1.example.com:3306", "users.example.com:3306" ]\n'),
        ("api -path /lb-check", '"OK"\n'),
    ],
)
def test_a_command_prints(ask: Ask, words: str, printed: str) -> None:
    name, *options = words.split()
    assert ask("-c", name, *options) == (0, printed, "")


def test_topologies_are_printed_as_they_come(ask: Ask) -> None:
    status, out, _ = ask("-c", "topology", "-a", "orders")
    assert status == 0
    assert [line.split(" [")[0].rstrip() for line in out.splitlines()] == [
        "orders-1.example.com:3306",
        "+ orders-2.example.com:3306",
        "- orders-3.example.com:3307",
    ]
    status, out, _ = ask("-c", "topology-tabulated", "-i", "orders-2.example.com")
    assert status == 0
    assert {line.count("|") for line in out.splitlines()} == {6}


def test_analysis_names_code_or_first_structure_finding(served: Served, ask: Ask) -> None:
    dead, *others = fleet()
    off = {"gtid_mode": "OFF", "using_oracle_gtid": False}  # no way to fail over: a structure finding
    plain = [replace(each, cluster_name="", **off) for each in others]  # type: ignore[arg-type]
    served.node.show([replace(dead, gtid_mode="OFF", suggested_cluster_alias=""), *plain])
    _, out, _ = ask("-c", "replication-analysis")
    expected = [
        f"{entry.analyzed_instance_key} (cluster {entry.cluster_details.cluster_name}): {entry.text}"
        for entry in served.node.analysis
    ]
    assert "NoFailoverSupportStructureWarning" in expected[0]
    assert out.splitlines() == expected


def test_the_raw_text_of_i_is_the_hint_and_the_alias_goes_first(ask: Ask) -> None:
    assert ask("-c", "which-cluster", "-i", "orders")[1] == "orders-1.example.com:3306\n"  # an alias
    assert ask("-c", "which-cluster", "-i", "orders", "-a", "users.example.com:3306")[1].startswith("users.")


def test_help_lists_every_command(ask: Ask) -> None:
    for words in (("-h",), ("--help",), ("-help",), ("-c", "help")):
        status, out, err = ask(*words)
        assert (status, err) == (0, "")
        assert '"instance"|"which-instance" ' in out
        assert all(f'"{name}"' in out for name in [*COMMANDS, "api", "which-api", "help"])


def test_which_api_adds_what_is_missing(ask: Ask) -> None:
    assert ask("-c", "which-api", "-U", "http://a:1/") == (0, "http://a:1/api\n", "")
    assert ask("-c", "which-api", "-U", "http://a:1/orc/api") == (0, "http://a:1/orc/api\n", "")
    assert ask("-c", "which-api", "-U", "a:1") == (0, "http://a:1/api\n", "")


# recoveries


def test_recover_asks_once_and_prints_the_promoted(served: Served, ask: Ask) -> None:
    served.node.promotes = R1
    assert ask("-c", "recover", "-i", str(M)) == (0, f"{R1}\n", "")
    assert served.node.done == [("recover", M, None, False, "node-1")]
    assert ask("-c", "recover", "-i", str(M), "-d", "orders-3:3307")[:2] == (0, "orders-3.example.com:3307\n")
    assert len(served.node.done) == 2


def test_a_refused_recovery_is_an_error_with_details(ask: Ask) -> None:
    status, out, err = ask("-c", "recover", "-i", str(M))
    assert status == 1
    assert out == '{ "Hostname": "orders-1.example.com", "Port": 3306 }\n'
    assert err == "Recovery not attempted\n"


def test_the_whole_reason_is_sent(served: Served, ask: Ask) -> None:
    words = "it was the disk, again & again"
    assert ask("-c", "ack-all-recoveries", "-r", words) == (0, f"{words}\n", "")
    assert ask("-c", "ack-cluster-recoveries", "-a", "orders", "--reason", words)[:2] == (
        0,
        "orders-1.example.com:3306\n",
    )
    assert [done[2] for done in served.node.done] == [words, words]


# registrations


def test_tags_and_pools_are_printed_a_line_each(ask: Ask) -> None:
    one, other, third = (f"orders-{n}.example.com" for n in (1, 2, 3))
    for words, printed in (
        ("tag -i orders-1 -t role=db", f"{one}:3306\n"),
        ("tag -i orders-2 -t new", f"{other}:3306\n"),
        ("tag -i orders-2 --tag role=web", f"{other}:3306\n"),
        ("tags -i orders-2", "new=\nrole=web\n"),
        ("tags -i orders-3:3307", ""),
        ("tag-value -i orders-2 -t role", "web\n"),
        ("tag-value -i orders-2 -t new", "\n"),
        ("tagged -t role", f"{one}:3306\n{other}:3306\n"),
        ("tagged -t role,~new", f"{one}:3306\n"),
        ("tagged -t ~role=web -i orders-2", f"{one}:3306\n"),  # whatever ORCHESTRATOR_INSTANCE says
        ("untag -i orders-1 -t role=web", ""),
        ("untag -i orders-1 -t role", f"{one}:3306\n"),
        ("untag-all -t role=web", f"{other}:3306\n"),
        ("tagged -t role", ""),
        ("submit-pool-instances -i orders-1:3306,orders-3:3307 -l web", "web\n"),
        ("which-heuristic-cluster-pool-instances -a orders", f"{one}:3306\n{third}:3307\n"),
        ("which-heuristic-cluster-pool-instances -i orders-2:3306 -l web", f"{one}:3306\n{third}:3307\n"),
        ("which-heuristic-cluster-pool-instances -a orders -l other", ""),
    ):
        name, *options = words.split()
        assert (words, *ask("-c", name, *options)) == (words, 0, printed, "")


def test_downtime_and_maintenance(served: Served, ask: Ask) -> None:
    key = "orders-2.example.com:3306"
    reason = "it is the disk, again & again"
    assert ask("-c", "begin-downtime", "-i", key, "-r", reason, "-o", "me") == (0, f"{key}\n", "")
    asked = served.node.done[-1][1]
    assert (asked.owner, asked.reason, asked.seconds) == ("me", reason, 600)  # type: ignore[attr-defined]
    assert ask("-c", "begin-downtime", "-i", key, "-r", "x", "-u", "2h")[0] == 0
    asked = served.node.done[-1][1]
    assert (asked.owner, asked.seconds) == (getpass.getuser(), 7200)  # type: ignore[attr-defined]
    assert ask("-c", "end-downtime", "-i", key) == (0, f"{key}\n", "")
    assert ask("-c", "begin-maintenance", "-i", key, "-r", reason, "-o", "me") == (0, f"{key}\n", "")
    status, out, err = ask("-c", "begin-maintenance", "-i", key, "-r", "more", "-o", "you")
    assert (status, out) == (1, "0\n")
    assert err == f"Cannot begin maintenance for instance: {key}: it is in maintenance already\n"
    assert ask("-c", "end-maintenance", "-i", key) == (0, f"{key}\n", "")
    assert ask("-c", "register-hostname-unresolve", "-i", key, "-H", "vip") == (0, f"{key}\n", "")
    assert ask("-c", "deregister-hostname-unresolve", "-i", key) == (0, f"{key}\n", "")
    assert ask("-c", "begin-downtime", "-i", key, "-r", "x", "-u", "soon")[0] == 1


def test_acknowledging_reaches_the_store(served: Served, ask: Ask) -> None:
    async def recover_once() -> None:
        entry = AnalysisEntry(
            analyzed_instance_key=M, analysis="DeadMaster", cluster_name=str(M), cluster_id="c-orders"
        )
        start = Recovery(
            uid="1:a", analysis_entry=entry, recovery_start_timestamp="2026-11-22T20:46:24Z", term=0
        )
        recoveries = served.node.store.recoveries
        await recoveries.register(start)
        end = Outcome(is_successful=True, successor_key=R1)
        await recoveries.resolve("1:a", end, at="2026-11-22T20:46:25Z", term=0, block_seconds=60)

    served.call(recover_once)
    assert ask("-c", "ack-all-recoveries", "-r", "seen")[0] == 0
    [recovery] = json.loads(ask("-c", "api", "-P", "audit-recovery")[1])
    assert (recovery["Acknowledged"], recovery["AcknowledgedComment"]) == (True, "seen")


# options


def test_long_names_take_one_dash_or_two_and_short_ones_attached_values() -> None:
    expected = parse(["-c", "topology", "-a", "x"], {})
    for words in (
        ["-command", "topology", "-alias", "x"],
        ["--command", "topology", "--alias", "x"],
        ["-ctopology", "-ax"],
    ):
        assert parse(words, {}) == expected
    assert parse(["-s", "d"], {}).destination == parse(["-d", "d"], {}).destination == "d"


def test_environment_gives_defaults_that_options_override() -> None:
    environment = {
        "ORCHESTRATOR_API": "http://a http://b",
        "ORCHESTRATOR_INSTANCE": "db1",
        "ORCHESTRATOR_AUTH_USER": "u",
        "ORCHESTRATOR_AUTH_PASSWORD": "p",
        "ORCHESTRATOR_AUTH_USER_HEADER": "X-User:me",
    }
    options = parse([], environment)
    assert (options.api, options.instance, options.auth) == ("http://a http://b", "db1", "u:p")
    assert options.headers_auth == "X-User:me"
    assert parse(["-U", "", "-i", "db2", "-b", "v:q"], environment).api == "http://a http://b"
    assert parse(["-U", "http://c", "-i", "db2", "-b", "v:q"], environment).auth == "v:q"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--reason=x"], "--reason <value>"),
        (["--nothing", "x"], "unknown option --nothing"),
        (["-x"], "unknown option -x"),
        (["-c"], "-c needs a value"),
    ],
)
def test_misread_options_are_errors(words: list[str], complaint: str) -> None:
    with pytest.raises(ClientError, match=complaint):
        parse(words, {})


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "No command given"),
        (["-c", "no-such"], "Unsupported command no-such"),
        (["-c", "discover"], "instance must be provided"),
        (["-c", "topology"], "instance|alias must be provided"),
        (["-c", "register-candidate", "-i", "a"], "promotion-rule must be provided"),
        (["-c", "ack-all-recoveries"], "reason must be provided"),
        (["-c", "begin-downtime", "-i", "a"], "reason must be provided"),
        (["-c", "begin-downtime", "-i", "a", "-r", "x", "-o", ""], "owner must be provided"),
        (["-c", "begin-maintenance", "-i", "a", "-r", "a/b"], "reason must be without / # and ?"),
        (["-c", "tag", "-i", "a"], "tag must be provided"),
        (["-c", "tagged"], "tag must be provided"),
        (["-c", "submit-pool-instances", "-i", "a"], "pool must be provided"),
        (["-c", "register-hostname-unresolve", "-i", "a"], "hostname must be provided"),
        (["-c", "api"], "path must be provided"),
        (["-c", "clusters", "-U", "ftp://a"], "is not an URL of http or https"),
        (["-c", "clusters", "-e", "nonsense"], "Name:value"),
    ],
)
def test_what_cannot_be_asked_is_told_and_exits_1(
    capsys: pytest.CaptureFixture[str], words: list[str], complaint: str
) -> None:
    assert run(words) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"orchestray[{os.getpid()}]: ")
    assert complaint in captured.err


def test_left_over_words_are_named_not_silently_dropped(ask: Ask) -> None:
    status, out, err = ask("-c", "ack-all-recoveries", "-r", "planned", "work", "-i", "x")
    assert (status, out) == (0, "planned\n")
    assert "ignored: work -i x" in err


# errors of the server


def test_an_error_envelope_is_one_line_and_exit_1(ask: Ask) -> None:
    assert ask("-c", "instance", "-i", "nowhere") == (1, "", "Cannot read instance: nowhere:3306\n")


def test_api_prints_the_whole_error(ask: Ask) -> None:
    status, out, err = ask("-c", "api", "-P", "instance/nowhere/3306")
    assert (status, err) == (1, "")
    assert json.loads(out)["Code"] == "ERROR"


def test_raft_commands_end_with_the_servers_word(ask: Ask) -> None:
    for name in ("raft-leader", "raft-leader-hostname"):
        assert ask("-c", name) == (1, "", "raft-state: not running with raft setup\n")
    assert ask("-c", "raft-elect-leader", "-H", "a")[0] == 1
    assert ask("-c", "raft-health")[2] == "raft-health: not running with raft setup\n"


# endpoints, tries, time


class Scripted(ThreadingHTTPServer):
    """A server that answers what the test says, and remembers what it was asked."""

    daemon_threads = True

    def __init__(self, *answers: tuple[int, str]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = list(answers)
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"
        self._thread = threading.Thread(target=self.serve_forever, daemon=True)

    def __enter__(self) -> Scripted:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join(10)
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Scripted

    def do_GET(self) -> None:
        self.server.asked.append((self.path, dict(self.headers)))
        answers = self.server.answers
        status, body = answers.pop(0) if len(answers) > 1 else answers[0]
        if status == 0:  # the connection breaks
            self.close_connection = True
            return
        if status == 1:  # no answer for a while
            time.sleep(3)
            return
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that the client made; none is waited for."""
    made: list[float] = []
    monkeypatch.setattr(client_http.time, "sleep", made.append)
    return made


OK = (200, '"OK"')
FOLLOWER = (404, '"Not leader"')


def test_one_endpoint_is_used_without_a_check() -> None:
    with Scripted((200, '["c"]')) as server:
        assert run(["-c", "api", "-P", "clusters", "-U", server.url]) == 0
    assert [path for path, _ in server.asked] == ["/api/clusters"]


def test_of_several_the_leader_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    with Scripted(FOLLOWER) as follower, Scripted(OK) as leader:
        endpoints = f"http://127.0.0.1:1 {follower.url} {leader.url}"
        assert run(["-c", "which-api", "-U", endpoints]) == 0
    assert capsys.readouterr().out == f"{leader.url}/api\n"
    assert [path for path, _ in follower.asked] == ["/api/leader-check"]


def test_if_none_leads_one_that_reaches_the_leader(capsys: pytest.CaptureFixture[str]) -> None:
    with Scripted(FOLLOWER, OK) as follower:
        assert run(["-c", "which-api", "-U", f"http://127.0.0.1:1 {follower.url}"]) == 0
    assert capsys.readouterr().out == f"{follower.url}/api\n"
    assert [path for path, _ in follower.asked] == ["/api/leader-check", "/api/routed-leader-check"]


def test_no_leader_at_all(capsys: pytest.CaptureFixture[str]) -> None:
    with Scripted(FOLLOWER) as first, Scripted((503, "")) as second:
        secret = second.url.replace("http://", "http://me:secret@")
        assert run(["-c", "clusters", "-U", f"{first.url} {secret}"]) == 1
    error = capsys.readouterr().err
    assert "Cannot determine leader from " in error
    assert "secret" not in error


def test_a_silent_endpoint_costs_a_second(capsys: pytest.CaptureFixture[str]) -> None:
    with Scripted((1, "")) as silent, Scripted(OK) as leader:
        began = time.monotonic()
        assert run(["-c", "which-api", "-U", f"{silent.url} {leader.url}"]) == 0
        assert time.monotonic() - began < 2
    assert capsys.readouterr().out == f"{leader.url}/api\n"


def test_a_wrong_endpoint_is_tried_eight_times(
    capsys: pytest.CaptureFixture[str], pauses: list[float]
) -> None:
    assert run(["-c", "clusters", "-U", "http://127.0.0.1:1"]) == 1
    assert pauses == [0.1, 0.2, 0.5, 1.0, 2.0, 2.5, 5.0, 0.0]
    assert "Cannot access orchestrator at http://127.0.0.1:1/api.  " in capsys.readouterr().err


def test_what_is_not_json_is_asked_again(pauses: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with Scripted((404, "404 page not found\n"), (0, ""), (200, "<html>"), (200, "[]")) as server:
        assert run(["-c", "all-instances", "-U", server.url]) == 0
    assert len(server.asked) == 4
    assert pauses == [0.1, 0.2, 0.5]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("answer", [(0, ""), (502, "bad gateway"), (504, "")])
def test_a_change_that_may_have_happened_is_not_asked_again(
    pauses: list[float], capsys: pytest.CaptureFixture[str], answer: tuple[int, str]
) -> None:
    with Scripted(answer) as server:
        assert run(["-c", "recover", "-i", "db1", "-U", server.url]) == 1
    assert len(server.asked) == 1
    assert "it may have been carried out" in capsys.readouterr().err


def test_api_asks_again_only_what_is_known_to_read(pauses: list[float]) -> None:
    for path, times in (("/clusters", 2), ("search?s=x", 2), ("stop-replica/a/1", 1), ("recover/a/1", 1)):
        with Scripted((0, ""), (200, "[]")) as server:
            run(["-c", "api", "-P", path, "-U", server.url])
        assert len(server.asked) == times, path


def test_a_change_that_was_never_sent_is_asked_again(pauses: list[float]) -> None:
    assert run(["-c", "forget", "-i", "db1", "-U", "http://127.0.0.1:1"]) == 1
    assert len(pauses) == 8


def test_tries_end_when_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_http, "READ_SECONDS", 0.3)
    monkeypatch.setattr(client_http, "LAST_TRY_STARTS_SECONDS", 0.5)
    with Scripted((1, "")) as server:
        began = time.monotonic()
        assert run(["-c", "clusters", "-U", server.url]) == 1
        assert time.monotonic() - began < 2
    assert 1 <= len(server.asked) <= 2


def test_a_reply_that_drips_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes within any time-out between two bytes; the whole does not."""
    monkeypatch.setattr(client_http, "READ_SECONDS", 0.5)
    monkeypatch.setattr(client_http, "LAST_TRY_STARTS_SECONDS", 0.0)
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def drip() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            try:
                while not ended.wait(0.05):
                    connection.sendall(b" ")
            except OSError:
                pass

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    began = time.monotonic()
    assert run(["-c", "clusters", "-U", f"http://127.0.0.1:{listener.getsockname()[1]}"]) == 1
    assert time.monotonic() - began < 3
    ended.set()
    thread.join(5)
    listener.close()


def test_401_ends_at_once_and_names_no_password(
    pauses: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with Scripted((401, "Not Authorized")) as server:
        url = server.url.replace("http://", "http://me:hunter2@")
        assert run(["-c", "clusters", "-U", url]) == 1
        assert run(["-c", "clusters", "-U", f"{url} {url}"]) == 1
    error = capsys.readouterr().err
    assert error.count("401 Unauthorized") == 2
    assert "hunter2" not in error
    assert pauses == []


def test_credentials_and_header_are_sent() -> None:
    with Scripted((200, "[]")) as server:
        run(["-c", "clusters", "-U", server.url, "-b", "me:p w", "-e", "X-Forwarded-User: me"])
        run(["-c", "clusters", "-U", server.url.replace("//", "//you:p%20w@")])
    sent = [headers for _, headers in server.asked]
    assert sent[0]["Authorization"] == "Basic " + base64.b64encode(b"me:p w").decode()
    assert sent[0]["X-Forwarded-User"] == "me"
    assert sent[1]["Authorization"] == "Basic " + base64.b64encode(b"you:p w").decode()


def test_values_are_encoded() -> None:
    with Scripted((200, "[]")) as server:
        run(["-c", "search", "-i", "a b&c/d", "-U", server.url])
        run(["-c", "which-cluster", "-a", "a/b", "-U", server.url])
        run(["-c", "which-replicas", "-i", "[2001:db8::1]:3307", "-U", server.url])
    assert [path for path, _ in server.asked] == [
        "/api/search?s=a%20b%26c%2Fd",
        "/api/cluster-info/a%2Fb",
        "/api/instance-replicas/2001:db8::1/3307",
    ]


def test_it_starts_fast_and_light() -> None:
    """Well under half a second, so nothing of Ray, FastAPI or a database is imported."""
    program = (
        "import sys; from api.cli.client import run; status = run(['-c', 'which-api', '-U', 'http://a']); "
        "heavy = {'ray', 'fastapi', 'starlette', 'sqlalchemy', 'pymysql', 'httpx', 'structlog', 'asyncio'}; "
        "print(sorted(heavy & set(sys.modules))); sys.exit(status)"
    )
    before = _children_cpu_seconds()
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout) == (0, "http://a/api\n[]\n"), done.stderr
    assert _children_cpu_seconds() - before < 0.4


def _children_cpu_seconds() -> float:
    """Not the time on the wall: the machine may be busy with other tests."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
