"""``orchestray -c COMMAND``: orchestrator-client, without a shell, curl or jq.

One request, its reply as lines of text, exit status 0 or 1. Imports nothing heavy: it starts in about
a tenth of a second.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from api.cli.client_commands import COMMANDS, may_change, path_of
from api.cli.client_http import Api, choose_api
from api.cli.client_options import OPTION_HELP, ClientError, Options, parse
from api.cli.client_printing import one_line
from api.cli.client_profile import environment_with_profile
from api.cli.client_rows import Command

__all__ = ["run"]

PROGRAM = "orchestray"


def run(argv: Sequence[str]) -> int:
    """Carry out ``argv`` (the words after the program's name); returns the exit status, 0 or 1.

    Answers go to stdout, errors to stderr.
    """
    try:
        return _run(parse(argv, environment_with_profile(os.environ)))
    except ClientError as error:
        _complain(f"{PROGRAM}[{os.getpid()}]: {error}")
    except BrokenPipeError:  # the reader of our output has gone
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - for the flush at exit
    except KeyboardInterrupt:
        _complain(f"{PROGRAM}[{os.getpid()}]: interrupted")
    return 1


def _run(options: Options) -> int:
    if options.leftover:
        ignored = " ".join(options.leftover)
        _complain(f"{PROGRAM}[{os.getpid()}]: ignored: {ignored} (quote values that hold blanks)")
    name = options.command.replace("slave", "replica", 1)
    if name == "help":
        return _print(_help())
    if not name:
        raise ClientError("No command given. Use -c <command>; for the list: -h")
    if name not in COMMANDS and name not in ("api", "which-api"):
        raise ClientError(f"Unsupported command {name}")
    if name == "api" and not options.path:
        raise ClientError("path must be provided")
    command = COMMANDS.get(name)
    path = path_of(command, options) if command else options.path
    api = choose_api(options.api, auth=options.auth, header=options.headers_auth)
    if name == "which-api":
        return _print([api.url])
    if command is None:
        return _call_any(api, path)
    return _call(api, command, path)


def _call(api: Api, command: Command, path: str) -> int:
    if command.asks_leader:
        state = api.get("raft-state")
        if _is_error(state):
            return _fail(state)
        if "Leader" not in str(state):
            raise ClientError("Cannot determine raft state")
    response = api.get(path, changes=command.changes)
    if _is_error(response):
        return _fail(response)
    try:
        lines = list(command.show(response))
    except (AttributeError, KeyError, TypeError) as error:
        raise ClientError(f"{api.url}/{path} gave an unexpected reply: {error!r} not found in it") from error
    return _print(lines)


def _call_any(api: Api, path: str) -> int:
    """``-c api``: the whole response, an error too."""
    response = api.get(path, changes=may_change(path))
    _print([one_line(response)])
    return 1 if _is_error(response) else 0


def _is_error(response: Any) -> bool:
    return isinstance(response, dict) and "ERROR" in str(response.get("Code", ""))


def _fail(response: Any) -> int:
    """Show an enveloped error: its message in one line without single quotes, its details as JSON."""
    _complain(" ".join(str(response.get("Message", "")).replace("'", "").split()))
    if response.get("Details") is not None:
        _print([one_line(response["Details"])])
    return 1


def _help() -> Iterable[str]:
    yield OPTION_HELP
    yield '"help" Show available commands'
    yield '"which-api" Output the chosen API endpoint'
    yield '"api" Invoke any API path (-P); output the JSON reply'
    for command in dict.fromkeys(COMMANDS.values()):
        names = "|".join(f'"{name}"' for name in command.names)
        yield f"{names} {command.description}"


def _print(lines: Iterable[str]) -> int:
    for line in lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
    return 0


def _complain(text: str) -> None:
    sys.stderr.write(f"{text}\n")
