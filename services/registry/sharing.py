"""In raft: servers that one member has found and the others do not know, asked for beside the log.

Which servers are known is agreed on, and only who acts can propose it. A server that another member was
told of, or sees alone, would be known to that one only.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from services.topology.keys import InstanceKey

__all__ = ["WHAT_IS_FOUND", "found_from", "found_to"]

WHAT_IS_FOUND = json.dumps({"ask": "found"}).encode()
"""The question."""

_CHARACTERS_MAX = 12_000  # an answer has a limit; what does not fit is told the next time
_HOST_MAX = 255
_PORT_MAX = 65535


def found_to(keys: Iterable[InstanceKey]) -> bytes:
    """The answer: as many of them as fit."""
    said: list[list[str | int]] = []
    room = _CHARACTERS_MAX
    for key in sorted(keys):
        room -= len(json.dumps([key.hostname, key.port])) + 2
        if room < 0:
            break
        said.append([key.hostname, key.port])
    return json.dumps(said).encode()


def found_from(answer: bytes) -> tuple[InstanceKey, ...]:
    """Raises ValueError if it is none."""
    said = json.loads(answer)
    return tuple(_key(one) for one in (said if isinstance(said, list) else [said]))


def _key(said: object) -> InstanceKey:
    match said:
        case [str(host), int(port)] if 0 < len(host) <= _HOST_MAX and 0 < port <= _PORT_MAX:
            return InstanceKey(host, port)
    raise ValueError(f"not a server: {str(said)[:60]}")
