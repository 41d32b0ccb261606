"""``orchestray up|down|status|reload``: a node's actors in a Ray cluster that runs already."""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from services.config import ConfigurationError, load
from services.node_errors import NodeError

__all__ = ["run"]

_RESTARTED_SECONDS = 150.0
"""For a head that comes back on a busy host: if ``up`` fails, its supervisor begins anew with all of it."""


def run(argv: Sequence[str]) -> int:
    """Do one command; 0 if it was done, 1 if it failed (why is on stderr), 2 for unknown arguments."""
    try:
        arguments = _parser().parse_args(argv)
    except SystemExit as stop:  # argparse has printed why
        return int(stop.code or 0)
    os.environ.setdefault("RAY_AUTH_MODE", "token")  # Ray reads it when it is imported, and then no more
    from actors import node

    address = arguments.ray_address
    if getattr(arguments, "wait", 0):
        _await_ray(address, arguments.wait)
    try:
        node.connect(address)
    except (ConnectionError, ValueError, RuntimeError) as error:
        said = " ".join(str(error).split())
        return _fail(f"no Ray cluster at {address}: {said} (is RAY_AUTH_TOKEN that of the cluster?)")
    try:
        return _do(arguments)
    except (ConfigurationError, NodeError, node.NodeNotReadyError) as error:
        return _fail(str(error))


def _do(arguments: argparse.Namespace) -> int:
    from actors import node
    from api.auth import check_authentication

    if arguments.command == "up":
        files = tuple(arguments.config or _default_files())
        check_authentication(load([Path(file) for file in files], strict=arguments.strict_config).settings)
        patience = {"ready_seconds": _RESTARTED_SECONDS} if arguments.wait else {}
        asyncio.run(node.up(files, strict=arguments.strict_config, **patience))
    elif arguments.command == "down":
        asyncio.run(node.down())
    elif arguments.command == "reload":
        late = asyncio.run(node.reload())
        print("configuration reloaded" + (f"; not before a restart: {', '.join(late)}" if late else ""))
    else:
        states = asyncio.run(node.status())
        for state in states:
            print(f"{state.name}: {state.state or 'works'}")
        return 1 if any(state.state for state in states) else 0
    return 0


def _await_ray(address: str, seconds: float) -> None:
    """Until somebody listens there, or time is up; connecting then says what is wrong."""
    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and port.isdigit():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=1.0).close()
        except OSError:
            time.sleep(0.05)
        else:
            return


def _fail(text: str) -> int:
    print(f"orchestray: {text}", file=sys.stderr)
    return 1


def _default_files() -> list[str]:
    from services.config import DEFAULT_LOCATIONS

    found = [str(path) for path in DEFAULT_LOCATIONS if path.is_file()]
    if not found:
        raise ConfigurationError(["no configuration file: name one with --config FILE"])
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="orchestray", description="Run orchestray's actors in a running Ray cluster."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="up|down|status|reload")
    for name, text in (
        ("up", "start the actors, or adopt those that run, and return when they work"),
        ("down", "stop them; the lease is given back"),
        ("status", "say how they are; exit status 1 if one does not work"),
        ("reload", "have them read the configuration again, all or nothing"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument(
            "--ray-address", required=True, metavar="HOST:PORT", help="address of the Ray head"
        )
        if name == "up":
            command.add_argument("--config", action="append", metavar="FILE", help="configuration file")
            command.add_argument(
                "--wait",
                type=float,
                default=0,
                metavar="SECONDS",
                help="for a Ray that is only being started",
            )
            command.add_argument("--strict-config", action="store_true", help="unknown keys are errors")
    return parser
