"""A change as data: ``{"op": "clusters.promote", "args": {…}}`` in JSON, made of a call, and a call again."""

from __future__ import annotations

import inspect
import json
from typing import Any

from services.agreement.operations import OPERATIONS, Operation
from services.agreement.values import from_data, to_data

__all__ = ["UnknownCommandError", "decode", "encode"]


class UnknownCommandError(Exception):
    """Written by a version of orchestray that does something else, or more."""


def encode(operation: Operation, *arguments: Any, **named: Any) -> bytes:
    """Raises TypeError if the call does not fit the method."""
    bound = operation.signature.bind(*arguments, **named)
    given = {name: to_data(value) for name, value in bound.arguments.items()}
    command = {"op": operation.name, "args": given}
    return json.dumps(command, separators=(",", ":"), ensure_ascii=False).encode()


def decode(command: bytes) -> tuple[Operation, inspect.BoundArguments]:
    """Raises UnknownCommandError."""
    try:
        said = json.loads(command)
        operation = OPERATIONS[said["op"]]
        bound = operation.signature.bind_partial()
        for name, data in said["args"].items():
            bound.arguments[name] = _argument(operation, name, data)
        operation.signature.bind(*bound.args, **bound.kwargs)  # all that it needs is there
    except (ValueError, TypeError, KeyError) as error:
        shown = command[:60].decode(errors="replace")
        raise UnknownCommandError(f"{shown}…: {error!r}") from error
    return operation, bound


def _argument(operation: Operation, name: str, data: Any) -> Any:
    hint = operation.hints[name]
    if operation.signature.parameters[name].kind is inspect.Parameter.VAR_POSITIONAL:
        return tuple(from_data(hint, item) for item in data)
    return from_data(hint, data)
