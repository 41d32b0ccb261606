"""``orchestray serve``: a whole node in the foreground, Ray included, in one process tree.

This process supervises: it starts a Ray head of its own, has the actors put into it, says what the node
sees, and stops everything on Ctrl-C or SIGTERM. It does not import Ray, so that what happens to
Ray does not happen to it; if Ray dies, it clears away and fails.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from api.cli.descendants import adopt_orphans, end_descendants
from api.cli.narrator import Narrator
from api.cli.preflight import NodeLock, PreflightError, check_place, check_settings
from api.cli.ray_head import HeadFailedError, RayHead
from api.cli.sandbox_options import add_sandbox_options, given_options, sandbox_image, sandbox_spec
from api.cli.work_directory import work_directory
from services.config import ConfigurationError, LoadedConfiguration, Settings, load, settings_for_demo
from services.sandbox.errors import SandboxError
from services.sandbox.kinds import DEFAULT_KIND, KINDS, program_for

__all__ = ["run"]

_UP_SECONDS = 90.0
_DOWN_SECONDS = 4.0
_RELOAD_SECONDS = 30.0
_END_SECONDS = 3.0
_WATCH_SECONDS = 0.2


def run(argv: Sequence[str]) -> int:
    """Serve until told to stop. 0: stopped as told; 1: it failed, why is on stderr; 2: unknown arguments."""
    try:
        arguments = _parse(argv)
    except SystemExit as stop:  # argparse has printed why
        return int(stop.code or 0)
    try:
        return _Service(arguments).run()
    except _StoppedError:
        return 0
    except (ConfigurationError, PreflightError, HeadFailedError, SandboxError) as error:
        print(f"orchestray: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="orchestray serve", description="Run a node here, with its own Ray."
    )
    parser.add_argument("--config", action="append", metavar="FILE", help="configuration file (JSON)")
    parser.add_argument("--strict-config", action="store_true", help="unknown keys are errors")
    parser.add_argument("--dashboard", action="store_true", help="also run the Ray dashboard")
    sandbox = parser.add_argument_group("sandbox", "real servers on 127.0.0.1, as long as the node runs")
    sandbox.add_argument(
        "--sandbox", nargs="?", choices=KINDS, const=DEFAULT_KIND, help=f"start one ({DEFAULT_KIND})"
    )
    add_sandbox_options(sandbox)
    return parser


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = _parser()
    arguments = parser.parse_args(argv)
    if not arguments.sandbox and (stray := given_options(arguments)):
        parser.error(f"{', '.join(stray)}: only with --sandbox")
    if arguments.image and arguments.sandbox != "docker":
        parser.error("--image: only with --sandbox docker")
    return arguments


class _StoppedError(BaseException):
    """We were told to stop while something long ran that does not look whether we were."""


class _Service:
    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._stop = threading.Event()
        self._hangup = threading.Event()
        self._interruptible = False
        self._sandbox: Any = None
        self._head: RayHead | None = None
        self._is_up = False

    def run(self) -> int:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._told_to_stop)
        signal.signal(signal.SIGHUP, lambda *_: self._hangup.set())
        adopt_orphans()
        with work_directory() as work:
            try:
                return self._serve(work)
            finally:
                self._clear_away()

    def _told_to_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stop.set()
        if self._interruptible:
            raise _StoppedError

    @contextmanager
    def _interrupted(self) -> Iterator[None]:
        """What runs inside ends with _StoppedError when we are told to stop."""
        self._interruptible = True
        try:
            if self._stop.is_set():
                raise _StoppedError
            yield
        finally:
            self._interruptible = False

    def _serve(self, work: Path) -> int:
        loaded = self._configuration(work)
        for warning in loaded.warnings:
            _say(f"configuration: {warning}")
        settings = loaded.settings
        check_settings(settings)
        directory = settings.node_directory()
        with NodeLock(directory):
            check_place(settings, self._stop)
            url = _url(settings)
            _say(f"starting on {url}, state in {directory.absolute().parent}")
            self._head = RayHead(
                work / "r", dashboard=self._arguments.dashboard, token_file=directory / "ray-token"
            )
            self._head.start(self._stop)
            if not self._stop.is_set():
                self._up(self._head, loaded)
            if self._stop.is_set():
                return 0
            _say(f"serving {url}  (Ctrl-C stops everything)")
            if self._head.dashboard_url:
                _say(f"Ray dashboard {self._head.dashboard_url}, token in {self._head.token_file}")
            if self._sandbox is not None:
                for line in self._sandbox.describe():
                    _say(line)
            return self._watch(self._head, Narrator(url, settings, _say))

    def _up(self, head: RayHead, loaded: LoadedConfiguration) -> None:
        strict = ["--strict-config"] if self._arguments.strict_config else []
        files = [word for source in loaded.sources for word in ("--config", str(source))]
        code, said = head.orchestray(
            "up", *files, *strict, given_up=self._stop.is_set, limit_seconds=_UP_SECONDS
        )
        self._is_up = True  # some of it, at least
        if code != 0 and not self._stop.is_set():
            ended = head.exit_code()
            raise HeadFailedError(said if ended is None else f"Ray ended by itself (status {ended})")

    def _configuration(self, work: Path) -> LoadedConfiguration:
        """The given files; without any, those of the default locations; without those, a node to try out."""
        given = [Path(file) for file in self._arguments.config] if self._arguments.config else None
        loaded = load(given, strict=self._arguments.strict_config)
        if loaded.sources and not self._arguments.sandbox:
            return loaded
        layers = list(loaded.sources)
        if not layers:
            state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "orchestray"
            layers.append(_written(work / "demo.json", _demo_settings(state)))
        if self._arguments.sandbox:
            from services.sandbox.serve import start_for_serve

            kind, spec = self._arguments.sandbox, sandbox_spec(self._arguments)
            fetched = {"mysql": ", fetched the first time", "docker": " in containers"}.get(kind, "")
            _say(f"starting a sandbox of {spec.servers} servers ({kind}{fetched})")
            with self._interrupted():
                program = program_for(kind, sandbox_image(self._arguments))
                self._sandbox = start_for_serve(work / "s", spec, program)
            overrides = self._sandbox.settings_overrides()
            if not loaded.sources:
                # What a sandbox was is gone with it: remember nothing of the one before.
                overrides["SQLite3DataFile"] = str(work / "orchestray.db")
            layers.append(_written(work / "sandbox.json", overrides))
        return load(layers, strict=self._arguments.strict_config)

    def _watch(self, head: RayHead, narrator: Narrator) -> int:
        narrator.start()
        while not self._stop.wait(_WATCH_SECONDS):
            if self._hangup.is_set():
                self._hangup.clear()
                self._reload(head)
            code = head.exit_code()
            if code is not None:
                self._is_up = False
                print(f"orchestray: Ray ended by itself (status {code}); stopping", file=sys.stderr)
                return 1
        _say("stopping")
        return 0

    def _reload(self, head: RayHead) -> None:
        """Not over the API, whose rules of access may forbid it to us."""
        code, said = head.orchestray("reload", given_up=self._stop.is_set, limit_seconds=_RELOAD_SECONDS)
        _say(said if code == 0 else f"configuration not reloaded, nothing has changed: {said}")

    def _clear_away(self) -> None:
        if self._head is not None and self._is_up and self._head.exit_code() is None:
            self._head.orchestray("down", given_up=lambda: False, limit_seconds=_DOWN_SECONDS)
        try:
            if self._sandbox is not None:
                self._sandbox.stop()
        finally:
            end_descendants(_END_SECONDS)


def _url(settings: Settings) -> str:
    host, port = settings.listen_endpoint
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{settings.URLPrefix}"


def _demo_settings(state: Path) -> dict[str, Any]:
    settings = settings_for_demo(state / "orchestray.db").settings
    names = ("BackendDB", "SQLite3DataFile", "ListenAddress", "RecoverMasterClusterFilters")
    values = {name: getattr(settings, name) for name in names}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _written(path: Path, settings: dict[str, Any]) -> Path:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w") as file:
        json.dump(settings, file, indent=1)
    return path


def _say(text: str) -> None:
    print(text, flush=True)
