"""The grammar of ``orchestray -c COMMAND ...``: the options of orchestrator-client.

Short names take their value as the next word or attached (``-i db1``, ``-idb1``); long names, with one
dash or two, only as the next word. What a script relied on works; what the old client misread in
silence (``--reason=x``, an unknown option) is an error here, and left-over words are named.
"""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

__all__ = ["OPTION_HELP", "ClientError", "Options", "parse"]


class ClientError(Exception):
    """The client cannot go on; the text is for stderr, the exit status is 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What was asked. Empty text: not given. Texts are raw, not yet fit for a URL."""

    command: str = ""
    instance: str = ""
    destination: str = ""
    alias: str = ""
    default_port: str = "3306"
    owner: str = ""  # from ``parse``: the user who asks
    reason: str = ""
    duration: str = "10m"
    promotion_rule: str = ""
    tag: str = ""
    pool: str = ""
    hostname: str = ""
    binlog: str = ""
    seconds: str = ""
    query: str = ""
    api: str = "http://localhost:3000"  # blank-separated endpoints
    path: str = ""
    auth: str = ""  # user:password
    headers_auth: str = ""  # Name:value
    leftover: tuple[str, ...] = ()


_LETTERS = {
    "c": "command",
    "i": "instance",
    "d": "destination",
    "s": "destination",
    "a": "alias",
    "D": "default_port",
    "o": "owner",
    "r": "reason",
    "u": "duration",
    "R": "promotion_rule",
    "t": "tag",
    "l": "pool",
    "H": "hostname",
    "n": "binlog",
    "S": "seconds",
    "q": "query",
    "U": "api",
    "P": "path",
    "b": "auth",
    "e": "headers_auth",
}

_LONG_NAMES = {
    "command": "c",
    "alias": "a",
    "owner": "o",
    "reason": "r",
    "duration": "u",
    "promotion-rule": "R",
    "tag": "t",
    "pool": "l",
    "hostname": "H",
    "binlog": "n",
    "seconds": "S",
    "query": "q",
    "api": "U",
    "path": "P",
    "auth": "b",
    "headers-auth": "e",
}

OPTION_HELP = """\
Usage: orchestray -c <command> [flags...]

  -h, --help                       this text
  -c, --command <command>          what to do
  -i <host[:port]>                 instance (search: the text); env ORCHESTRATOR_INSTANCE
  -d, -s <host[:port]>             destination instance
  -a, --alias <hint>               cluster: alias, name, or a member's host:port
  -D <port>                        port where none is given (3306)
  -o, --owner <name>               owner (the user who asks)
  -r, --reason <text>              reason or comment
  -u, --duration <time>            duration (10m)
  -R, --promotion-rule <rule>      prefer, neutral, prefer_not, must_not
  -t, --tag <expression>           tag
  -l, --pool <name>                pool
  -H, --hostname <name>            host name of a node or for resolving
  -n, --binlog <file>              binary log file
  -S, --seconds <n>                delay
  -q, --query <statement>          statement
  -U, --api <url [url...]>         endpoints; env ORCHESTRATOR_API (http://localhost:3000)
  -P, --path <path>                path for -c api
  -b, --auth <user:password>       env ORCHESTRATOR_AUTH_USER, ORCHESTRATOR_AUTH_PASSWORD
  -e, --headers-auth <name:value>  one HTTP header; env ORCHESTRATOR_AUTH_USER_HEADER
"""


def parse(argv: Sequence[str], environment: Mapping[str, str]) -> Options:
    """Read the words after the program's name. Raises ClientError on an option it does not know."""
    values = _from_environment(environment)
    words = list(argv)
    while words:
        word = words.pop(0)
        if word == "--" or not word.startswith("-") or word == "-":
            # As getopts: the first word that is no option ends the options.
            values["leftover"] = tuple(words if word == "--" else [word, *words])
            break
        letter, attached = _letter(word)
        if letter == "h":
            values["command"] = "help"
        elif attached or words:
            value = attached or words.pop(0)
            if value or letter != "U":  # an empty -U leaves ORCHESTRATOR_API in force
                values[_LETTERS[letter]] = value
        else:
            raise ClientError(f"{word} needs a value")
    return _options(values)


def _letter(word: str) -> tuple[str, str]:
    """Letter of the option, and the value that is attached to it."""
    name = word.removeprefix("-").removeprefix("-")
    if name == "help":
        return "h", ""
    if name in _LONG_NAMES:
        return _LONG_NAMES[name], ""
    long_name, equals, _ = name.partition("=")
    if equals and long_name in _LONG_NAMES:
        raise ClientError(f"{word}: write the value as a word of its own: --{long_name} <value>")
    if not word.startswith("--") and (name[0] in _LETTERS or name == "h"):
        return name[0], name[1:]
    raise ClientError(f"unknown option {word}; see: orchestray -h")


def _from_environment(environment: Mapping[str, str]) -> dict[str, str | tuple[str, ...]]:
    values: dict[str, str | tuple[str, ...]] = {}
    with contextlib.suppress(KeyError):  # a container may run under a number that has no name
        values["owner"] = pwd.getpwuid(os.geteuid()).pw_name
    user = environment.get("ORCHESTRATOR_AUTH_USER", "")
    password = environment.get("ORCHESTRATOR_AUTH_PASSWORD", "")
    if user or password:
        values["auth"] = f"{user}:{password}"
    for name, variable in (
        ("api", "ORCHESTRATOR_API"),
        ("instance", "ORCHESTRATOR_INSTANCE"),
        ("headers_auth", "ORCHESTRATOR_AUTH_USER_HEADER"),
    ):
        if environment.get(variable):
            values[name] = environment[variable]
    return values


def _options(values: Mapping[str, str | tuple[str, ...]]) -> Options:
    assert {field.name for field in fields(Options)} >= set(values)
    return Options(**values)  # type: ignore[arg-type]
