"""``orchestray sandbox up|down|status``: a real topology on this machine, to watch and to break."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from api.cli.sandbox_options import add_sandbox_options, sandbox_image, sandbox_spec
from services.sandbox.describe import server_lines, usage_lines
from services.sandbox.detached import bring_up, look, take_down
from services.sandbox.errors import SandboxError
from services.sandbox.kinds import DEFAULT_KIND, KINDS
from services.sandbox.state import CLIENT_FILE, CONFIGURATION_FILE, state_directory

__all__ = ["run"]


def run(argv: Sequence[str]) -> int:
    """Do one command; the exit code: 0 done, 1 it failed (the text is on stderr), 2 unknown arguments."""
    try:
        arguments = _parser().parse_args(argv)
    except SystemExit as stop:  # argparse has printed why
        return int(stop.code or 0)
    try:
        if arguments.command == "up":
            return _up(arguments)
        if arguments.command == "down":
            return _down()
        return _status()
    except SandboxError as error:
        print(f"orchestray sandbox: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="orchestray sandbox",
        description="A real topology on 127.0.0.1: one master and its replicas.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="up|down|status")
    up = commands.add_parser("up", help="start one and leave it running")
    up.add_argument("kind", nargs="?", choices=KINDS, default=DEFAULT_KIND, help=f"({DEFAULT_KIND})")
    add_sandbox_options(up)
    commands.add_parser("down", help="kill its servers and remove their data")
    commands.add_parser("status", help="say how its servers are")
    return parser


def _up(arguments: argparse.Namespace) -> int:
    if arguments.image and arguments.kind != "docker":
        raise SandboxError("--image: only for docker")
    bring_up(sandbox_spec(arguments), arguments.kind, sandbox_image(arguments))
    _status()
    directory = state_directory()
    print(f"watch it:         orchestray serve --config {directory / CONFIGURATION_FILE}")
    print("end it:           orchestray sandbox down")
    return 0


def _status() -> int:
    state, views = look()
    if not state.servers:
        print("a start was cut off; clear it away with: orchestray sandbox down")
        return 1
    running = sum(view.pid is not None for view in views)
    how = "lossless semi-sync" if state.semi_sync else "asynchronous"
    print(f"sandbox ({state.kind}): {running} of {len(views)} servers run, {how} replication with GTID")
    for line in server_lines(views) + usage_lines(views, state_directory() / CLIENT_FILE):
        print(line)
    return 0


def _down() -> int:
    ended = take_down()
    print(f"sandbox: {ended} server{'' if ended == 1 else 's'} ended, data removed")
    return 0
