"""Raft members, each a process on loopback, see ``tests/raft_process.py``."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from services.sandbox.ports import free_port

__all__ = ["SECRET", "Member", "Setup"]

SECRET = "a secret of the test, long enough"


class Member:
    """A process; ``ask("state")`` and the like, see ``tests/raft_process.py``."""

    def __init__(
        self, name: str, order: dict[str, Any], folder: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self._environment = {**os.environ, **(environment or {})}
        self.order = order
        self.file = Path(order["file"])
        self._folder = folder
        self._asking = asyncio.Lock()
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        written = self._folder / f"{self.name}.json"
        written.write_text(json.dumps(self.order))
        with (self._folder / f"{self.name}.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.raft_process", str(written),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, limit=16 * 1024 * 1024,
                env=self._environment,
            )  # fmt: skip

    async def ask(self, *asked: object, seconds: float = 20) -> Any:
        """Raises RuntimeError with what the member refused."""
        process = self.process
        assert process is not None and process.stdin is not None and process.stdout is not None
        async with self._asking:
            process.stdin.write(json.dumps(asked).encode() + b"\n")
            line = await asyncio.wait_for(process.stdout.readline(), seconds)
        said = json.loads(line)
        if "error" in said:
            raise RuntimeError(f"{said['error']}: {said['text']}")
        return said["ok"]

    def signal(self, which: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(which)

    async def kill(self) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()
            self.process = None

    @property
    def lives(self) -> bool:
        return self.process is not None

    def log(self) -> str:
        return (self._folder / f"{self.name}.log").read_text()


class Setup:
    """Members a, b, c. ``more`` goes into the order of each, ``own`` says what into that of one."""

    def __init__(
        self,
        folder: Path,
        *,
        names: str = "abc",
        own: Callable[[str], Mapping[str, Any]] = lambda name: {},
        environment: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        self.ports = {name: free_port() for name in names}
        self.members = {}
        for name, port in self.ports.items():
            order = {
                "node_id": name,
                "members": {other: ["127.0.0.1", at] for other, at in self.ports.items()},
                "bind": ["127.0.0.1", port],
                "file": str(folder / name / "raft.db"),
                "secret": SECRET,
                **more,
                **own(name),
            }
            self.members[name] = Member(name, order, folder, environment)

    async def start(self) -> None:
        await asyncio.gather(*(member.start() for member in self.members.values()))

    async def leader(self, seconds: float = 10, besides: str = "") -> Member:
        """Who has the right to act."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for member in self.members.values():
                if member.lives and member.name not in besides and await member.ask("leadership"):
                    return member
            await asyncio.sleep(0.01)
        raise AssertionError(
            "nobody may act; " + "".join(member.log()[-600:] for member in self.members.values())
        )

    def others(self, member: Member) -> list[Member]:
        return [other for other in self.members.values() if other is not member]

    async def equal(self) -> None:
        """Until all have the same commands."""
        await self.until(lambda states: len({json.dumps(state) for state in states}) == 1, "commands")

    async def until(self, holds: Callable[[list[Any]], bool], asked: str, seconds: float = 10) -> None:
        deadline = time.monotonic() + seconds
        while True:
            said = [await member.ask(asked) for member in self.members.values() if member.lives]
            if holds(said):
                return
            assert time.monotonic() < deadline, f"{asked}: {said}"
            await asyncio.sleep(0.03)

    async def stop(self) -> None:
        for member in self.members.values():
            if member.process is not None:
                member.signal(signal.SIGCONT)
            await member.kill()
