"""``orchestray up|down|status``: a node's actors in a Ray cluster that runs already."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence

from services.config import ConfigurationError

__all__ = ["run"]


def run(argv: Sequence[str]) -> int:
    """Do one command; 0 if it was done, 1 if it failed (why is on stderr), 2 for unknown arguments."""
    try:
        arguments = _parser().parse_args(argv)
    except SystemExit as stop:  # argparse has printed why
        return int(stop.code or 0)
    from actors import node

    try:
        node.connect(arguments.ray_address)
        if arguments.command == "up":
            asyncio.run(node.up(tuple(arguments.config or _default_files()), strict=arguments.strict_config))
            return 0
        if arguments.command == "down":
            asyncio.run(node.down())
            return 0
        states = asyncio.run(node.status())
    except (ConfigurationError, node.NodeNotReadyError) as error:
        return _fail(str(error))
    except (ConnectionError, ValueError, RuntimeError) as error:
        address = arguments.ray_address
        return _fail(f"no Ray cluster at {address}: {error} (is RAY_AUTH_TOKEN that of the cluster?)")
    for state in states:
        print(f"{state.name}: {state.state or 'works'}")
    return 0 if not any(state.state for state in states) else 1


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
    commands = parser.add_subparsers(dest="command", required=True, metavar="up|down|status")
    for name, text in (
        ("up", "start the actors, or adopt those that run, and return when they work"),
        ("down", "stop them; the lease is given back"),
        ("status", "say how they are; exit status 1 if one does not work"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument(
            "--ray-address", required=True, metavar="HOST:PORT", help="address of the Ray head"
        )
        if name == "up":
            command.add_argument("--config", action="append", metavar="FILE", help="configuration file")
            command.add_argument("--strict-config", action="store_true", help="unknown keys are errors")
    return parser
