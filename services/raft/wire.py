"""Messages as bytes, and back: msgpack, a number for the kind, then the fields in order.

What comes in is checked field by field: a value of another type, or too much, is an error and not a message.
"""

from __future__ import annotations

import types
import typing
from dataclasses import fields
from functools import cache
from typing import Any

import msgpack

from services.consensus import messages
from services.consensus.messages import Entry, Message, Snapshot
from services.raft.errors import PeerError

__all__ = ["COMMAND_BYTES_MAX", "SNAPSHOT_BYTES_MAX", "decode", "encode"]

COMMAND_BYTES_MAX = 512 * 1024
SNAPSHOT_BYTES_MAX = 256 * 1024 * 1024

_KINDS: dict[int, type[Message]] = {
    1: messages.Vote,
    2: messages.VoteReply,
    3: messages.Append,
    4: messages.Reply,
    5: messages.Install,
    6: messages.TimeoutNow,
    7: messages.Inquiry,
    8: messages.InquiryReply,
}
_NUMBERS = {kind: number for number, kind in _KINDS.items()}


def encode(message: Message) -> bytes:
    return typing.cast(bytes, msgpack.packb([_NUMBERS[type(message)], *_flat(message)]))


def decode(data: bytes) -> Message:
    """Raises PeerError."""
    try:
        number, *values = msgpack.unpackb(data, use_list=True, strict_map_key=True)
        kind: type[Any] = _KINDS[number]
        return typing.cast(Message, _made(kind, values))
    except (ValueError, TypeError, KeyError, msgpack.UnpackException) as error:
        raise PeerError(f"what came is no message: {error!r}") from error


def _flat(value: Any) -> list[Any]:
    flat: list[Any] = []
    for each in fields(value):
        item = getattr(value, each.name)
        if isinstance(item, tuple):
            item = [_flat(entry) for entry in item]
        elif isinstance(item, Snapshot):
            item = _flat(item)
        flat.append(item)
    return flat


@cache
def _types(name: str) -> tuple[Any, ...]:
    kind = getattr(messages, name)
    hints = typing.get_type_hints(kind)
    return tuple(hints[each.name] for each in fields(kind))


def _made(kind: type[Any], values: list[Any]) -> Any:
    expected = _types(kind.__name__)
    if len(values) != len(expected):
        raise ValueError(f"{kind.__name__} with {len(values)} fields")
    return kind(*(_checked(hint, value) for hint, value in zip(expected, values, strict=True)))


def _checked(hint: Any, value: Any) -> Any:
    if hint is Snapshot:
        return _made(Snapshot, value)
    if typing.get_origin(hint) is tuple:
        return tuple(_made(Entry, entry) for entry in value)
    allowed = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    if type(value) not in allowed:
        raise TypeError(f"{type(value).__name__} where {hint} is expected")
    return value
