"""One raft member in a process of its own: ``python -m tests.raft_process FILE``, the file is a JSON `order`.

Takes commands on standard input, one JSON value a line, and answers each with a line of JSON. Its state
machine is the list of all commands; ``poison`` cannot be applied, and after ``break`` nothing can, here.
"""

from __future__ import annotations

import asyncio
import json
import logging
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import structlog

from services.consensus.state import Persist
from services.election.clock import boottime
from services.raft.config import Address, RaftConfig, TlsFiles
from services.raft.errors import MachineUnavailableError, RaftError
from services.raft.node import RaftNode


class Recorder:
    """The state: every command, with its index."""

    def __init__(self) -> None:
        self.commands: list[tuple[int, str]] = []
        self.restored = 0
        self.hindrance = ""
        self.broken = ""

    async def begin(self, *, is_new: bool) -> int:
        if is_new:
            self.commands = []
        return self.commands[-1][0] if self.commands else 0

    async def apply(self, index: int, command: bytes) -> object:
        if self.hindrance:
            raise MachineUnavailableError(self.hindrance)
        if self.broken:
            raise {"memory": MemoryError, "os": OSError, "defect": AttributeError}[self.broken](self.broken)
        if command == b"poison":
            raise ValueError("poison cannot be applied")
        self.commands.append((index, command.decode()))
        return len(self.commands)

    async def check(self) -> None:
        if self.hindrance:
            raise MachineUnavailableError(self.hindrance)

    async def snapshot(self) -> bytes:
        return json.dumps(self.commands).encode()

    async def restore(self, index: int, data: bytes) -> None:
        self.restored = index
        self.commands = [(at, command) for at, command in json.loads(data)]


def config_of(order: dict[str, Any]) -> RaftConfig:
    tls = order.get("tls")
    return RaftConfig(
        node_id=order["node_id"],
        members={name: Address(host, port) for name, (host, port) in order["members"].items()},
        bind=Address(*order["bind"]),
        file=Path(order["file"]),
        secret=order.get("secret"),
        tls=None if tls is None else TlsFiles(*(Path(file) for file in tls)),
        snapshot_every=order.get("snapshot_every", 1024),
        keep_entries=order.get("keep_entries", 1024),
    )


async def answer(node: RaftNode, machine: Recorder, asked: list[Any]) -> object:
    what, *arguments = asked
    if what == "propose":
        return await node.propose(arguments[0].encode(), timeout_seconds=3)
    if what == "leadership":
        held = node.leadership()
        return None if held is None else [held.term, held.deadline, boottime()]
    if what == "peers":
        return [asdict(peer) for peer in node.peers()]
    if what == "yield":
        return await node.yield_to(arguments[0])
    if what == "ask":
        return await asked_of_all(node, arguments[0], arguments[1])
    if what == "file_limit":  # from now on no file grows beyond: a full disk
        limit = arguments[0] if arguments[0] is not None else resource.RLIM_INFINITY
        return resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    if what == "slow":  # from now on each write takes so much longer: a slow disk
        return slow_down(node, arguments[0])
    if what in ("hindrance", "broken"):
        return setattr(machine, what, arguments[0])
    simple: dict[str, Callable[[], object]] = {
        "state": lambda: asdict(node.state()),
        "commands": lambda: machine.commands,
        "restored": lambda: machine.restored,
        "step_down": node.step_down,
        "wall_clock": time.time,
    }
    return simple[what]()


async def asked_of_all(node: RaftNode, question: str, seconds: float) -> list[tuple[str, str]]:
    heard: list[tuple[str, str]] = []

    def hear(member: str, answer: bytes) -> bool:
        heard.append((member, answer.decode()))
        return False

    await node.ask(question.encode(), seconds=seconds, heard=hear)
    return heard


def slow_down(node: RaftNode, seconds: float) -> None:
    """In the thread that writes, before the real write with its fsync."""
    storage = node._storage
    write = type(storage)._write

    def slow(persist: Persist) -> None:
        time.sleep(seconds)
        write(storage, persist)

    storage._write = slow  # type: ignore[method-assign]


async def serve(order: dict[str, Any]) -> None:
    machine = Recorder()

    async def answer_question(question: bytes) -> bytes:
        await asyncio.sleep(order.get("answers_after", 0.0))
        return f"{order['node_id']} heard {question.decode()}".encode()

    node = RaftNode(config_of(order), machine, answer=answer_question)
    await node.start()
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=16 * 1024 * 1024)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        try:
            said: object = {"ok": await answer(node, machine, json.loads(line))}
        except RaftError as error:
            said = {"error": type(error).__name__, "text": str(error)}
        print(json.dumps(said), flush=True)
    await node.stop()


if __name__ == "__main__":
    structlog.configure(
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
    asyncio.run(serve(json.loads(Path(sys.argv[1]).read_text())))
