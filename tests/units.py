"""Plays systemd for one unit: reads the file that is shipped, starts what it says, restarts what ends.

Of systemd's rules it has those that the units use: commands and their order, the prefix ``-``, words with
``$``, environment files, KillMode=mixed, Restart=always, RestartSec, TimeoutStopSec. What a unit
names by absolute path is where a test has it.
"""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from services.sandbox.processes import Process, spawn
from tests.node import Marked
from tests.servers import wait_until

__all__ = ["UNITS", "Supervised", "Unit", "environment_of"]

UNITS = Path(__file__).parents[1] / "deploy" / "systemd"
_COMMAND_SECONDS = 240


class Unit:
    """``paths``: beginnings of absolute paths, and what they are here."""

    def __init__(self, file: Path, paths: Mapping[str, str]) -> None:
        text = re.sub(r"\\\n\s*", " ", file.read_text())
        lines = [line for line in text.splitlines() if line and line[0] not in "#;["]
        self._paths = paths
        self._values: dict[str, list[str]] = {}
        for line in lines:
            name, _, value = line.partition("=")
            self._values.setdefault(name, []).append(value)

    def get(self, name: str) -> str:
        return self._values[name][-1]

    def seconds(self, name: str) -> float:
        found = re.fullmatch(r"([0-9.]+)(ms|s)?", self.get(name))
        assert found is not None, f"{name}={self.get(name)}"
        return float(found[1]) / (1000 if found[2] == "ms" else 1)

    def commands(self, name: str, environment: Mapping[str, str]) -> list[tuple[bool, list[str]]]:
        """Whether it may fail, and its words."""
        return [
            (line.startswith("-"), self._words(line.lstrip("-"), environment))
            for line in self._values.get(name, [])
        ]

    def _words(self, line: str, environment: Mapping[str, str]) -> list[str]:
        for path, here in self._paths.items():
            line = line.replace(path, here)
        words: list[str] = []
        for word in shlex.split(line):
            if re.fullmatch(r"\$[A-Z_]+", word):  # as many words as it has
                words += environment.get(word[1:], "").split()
            else:
                expanded = re.sub(r"\$\{([A-Z_]+)\}", lambda found: environment[found[1]], word)
                words.append(expanded.replace("$$", "$"))
        return words


def environment_of(file: Path, paths: Mapping[str, str], **changed: str) -> dict[str, str]:
    """What an environment file says, with its paths and these values replaced."""
    values = {}
    for line in file.read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.partition("=")
            for path, here in paths.items():
                value = value.replace(path, here)
            values[name] = value
    assert changed.keys() <= values.keys(), "only what is there may be changed"
    return {**values, **changed}


class Supervised:
    """A unit that is kept running until ``stop``."""

    def __init__(self, unit: Unit, environment: Mapping[str, str], folder: Path, name: str) -> None:
        self.marked = Marked()
        self.output = folder / f"{name}.log"
        self.restarts = 0
        self.spared: set[int] = set()  # of its processes, until ``stop``: as if they had left the cgroup
        self._unit = unit
        self._folder = folder
        self._values = environment
        self._environment = {**self.marked.environment, **environment}
        self._main: subprocess.Popen[bytes] | None = None
        self._active = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=name, daemon=True)

    def start(self) -> Supervised:
        self._thread.start()
        return self

    @property
    def is_active(self) -> bool:
        """Started, ExecStartPost included, and not ended since."""
        return self._active.is_set()

    @property
    def main(self) -> Process:
        assert self._main is not None
        return Process.of(self._main.pid)

    @property
    def said(self) -> str:
        return self.output.read_text(errors="replace") if self.output.exists() else ""

    def wait_active(self, seconds: float) -> None:
        wait_until(lambda: self.is_active, seconds, lambda: self.said)

    def stop(self) -> None:
        """As ``systemctl stop``; nothing of it is left."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_COMMAND_SECONDS)
        self.marked.kill_all()
        wait_until(lambda: not self.marked.processes(), 20, self.marked.processes)

    def die(self) -> None:
        """As if its host did: all of it at once, and nobody starts it again."""
        self.marked.kill_all()
        self.stop()

    def _keep(self) -> None:
        while not self._stop.is_set():
            if self._begin():
                self._active.set()
                assert self._main is not None
                while self._main.poll() is None and not self._stop.wait(0.02):
                    pass
                self._active.clear()
            self._end()
            if not self._stop.wait(self._unit.seconds("RestartSec")):
                self.restarts += 1

    def _begin(self) -> bool:
        if not all(self._run(name) for name in ("ExecStartPre",)):
            return False
        ((_, words),) = self._unit.commands("ExecStart", self._values)
        self._main = spawn(
            words,
            log=self.output,
            directory=self._folder,
            die_with_parent=True,
            environment=self._environment,
        )
        self.marked.session = self._main.pid
        return self._run("ExecStartPost")

    def _run(self, name: str, **more: str) -> bool:
        for may_fail, words in self._unit.commands(name, self._values):
            with self.output.open("ab") as output:
                process = subprocess.Popen(
                    words, stdout=output, stderr=output, env={**self._environment, **more}, cwd=self._folder
                )
            deadline = time.monotonic() + _COMMAND_SECONDS
            while process.poll() is None:
                ended = name == "ExecStartPost" and self._main is not None and self._main.poll() is not None
                if ended or time.monotonic() > deadline or (self._stop.is_set() and name != "ExecStop"):
                    process.kill()
                time.sleep(0.02)
            if process.returncode != 0 and not may_fail:
                return False
        return True

    def _end(self) -> None:
        """SIGTERM to the main process and, when it has ended or time is up, SIGKILL to all others."""
        assert self._unit.get("KillMode") == "mixed"
        if self._main is None:
            return
        alive = self._main.poll() is None
        self._run("ExecStop", **({"MAINPID": str(self._main.pid)} if alive else {}))
        with suppress(subprocess.TimeoutExpired):
            self._main.terminate()
            self._main.wait(self._unit.seconds("TimeoutStopSec"))
        for pid in self._mine():
            with suppress(ProcessLookupError):
                Process.of(pid).signal(signal.SIGKILL)
        self._main.wait(10)
        wait_until(lambda: not self._mine(), 10, self._mine)
        self.marked.session = 0  # its number may be given to another

    def _mine(self) -> set[int]:
        return set(self.marked.processes()) - self.spared
