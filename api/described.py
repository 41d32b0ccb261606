"""What a route says of itself beside its path: its parameters and its reply, for ``/api/openapi.json``.

A route is described where it is registered (``api.routes.call.route``), with the types that its reply is
written from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "TEXT",
    "Bare",
    "Description",
    "Enveloped",
    "Parameter",
    "Reply",
    "list_of",
    "mapping_of",
    "path_parameter",
]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a path or a query. ``schema`` is JSON schema."""

    description: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})


@dataclass(frozen=True, slots=True)
class Reply:
    """What comes with status 200, and with others that are no error of ours.

    ``type`` is a type: of the whole reply, or of ``Details`` in an envelope.
    """

    type: Any
    is_enveloped: bool
    other: Mapping[int, Any] = field(default_factory=dict)
    never: bool = False
    """There is no such reply: all that is asked is refused."""


def Bare(kind: Any, other: Mapping[int, Any] | None = None) -> Reply:  # noqa: N802 - read as a word
    return Reply(kind, False, other or {})


def Enveloped(kind: Any) -> Reply:  # noqa: N802
    return Reply(kind, True)


def list_of(kind: Any) -> Any:
    """For types that are made at run time."""
    return list[kind]


def mapping_of(kind: Any) -> Any:
    return dict[str, kind]


TEXT = Parameter("a text")
_PORT = {"type": "integer", "minimum": 1, "maximum": 65535}
_PAGE = {"type": "integer", "minimum": 0}
_SECONDS = {"type": "integer", "minimum": 0}
_HOST = "host name or address; part of a name is enough where only one known instance has it"
_HINT = "a cluster: its name, its alias, or host:port of a member"

_PATH_PARAMETERS: Mapping[str, Parameter] = {
    "host": Parameter(_HOST),
    "port": Parameter("port of the instance", _PORT),
    "below_host": Parameter("host of the instance that is to be above"),
    "below_port": Parameter("port of the instance that is to be above", _PORT),
    "candidate_host": Parameter("host of the replica that is wanted as the new master"),
    "candidate_port": Parameter("port of the replica that is wanted as the new master", _PORT),
    "designated_host": Parameter("host of the replica that is wanted as the new master"),
    "designated_port": Parameter("port of the replica that is wanted as the new master", _PORT),
    "sibling_host": Parameter("host of a replica of the same master"),
    "sibling_port": Parameter("port of a replica of the same master", _PORT),
    "hint": Parameter(_HINT),
    "cluster_hint": Parameter(_HINT),
    "cluster_name": Parameter("name of a cluster: host:port of its master"),
    "alias": Parameter("alias of a cluster"),
    "text": Parameter("what to look for"),
    "page": Parameter("number of the page, from 0; 20 entries each", _PAGE),
    "number": Parameter("id of the entry", {"type": "integer", "minimum": 1}),
    "uid": Parameter("UID of the recovery"),
    "recovery_id": Parameter("id of the recovery", {"type": "integer", "minimum": 1}),
    "rule": Parameter(
        "promotion rule", {"type": "string", "enum": ["prefer", "neutral", "prefer_not", "must_not"]}
    ),
    "status_code": Parameter(
        "HTTP status for a node that does not lead; 404 if it is none",
        {"type": "integer", "minimum": 200, "maximum": 599},
    ),
    "seconds": Parameter("of how long ago, at most", _SECONDS),
    "queue": Parameter("DEFAULT or DEADINSTANCES", {"type": "string", "enum": ["DEFAULT", "DEADINSTANCES"]}),
    "node": Parameter("a raft member, as in RaftNodes"),
    "addr": Parameter("address of a raft member"),
    "token": Parameter("token of the report"),
    "raft_bind": Parameter("RaftBind of the member"),
    "raft_advertise": Parameter("RaftAdvertise of the member"),
    "owner": Parameter("who does it"),
    "reason": Parameter("why"),
    "duration": Parameter("number and unit: 30s, 10m, 2h, 1d, 1w"),
    "maintenance_key": Parameter("number of the maintenance", {"type": "integer", "minimum": 1}),
    "pool": Parameter("name of a pool"),
    "tag_name": Parameter("name of a tag"),
    "tag_value": Parameter("value of a tag"),
    "attribute": Parameter("name of an attribute"),
    "value": Parameter("its value"),
    "virtual_name": Parameter("host name to use in place of the resolved one"),
    "log_file": Parameter("name of a binary log file"),
    "log_pos": Parameter("position in it", {"type": "integer", "minimum": 0}),
    "process": Parameter("id of the connection", {"type": "integer", "minimum": 1}),
    "command": Parameter("name of the command"),
    "target_host": Parameter("host that is filled"),
    "source_host": Parameter("host that it is filled from"),
    "seed_id": Parameter("id of the seed", {"type": "integer", "minimum": 1}),
}


def path_parameter(name: str) -> Parameter:
    """What a parameter of that name means in any path. Raises KeyError: describe it above."""
    return _PATH_PARAMETERS[name]


@dataclass(frozen=True, slots=True)
class Description:
    """Of one handler."""

    reply: Reply
    query: Mapping[str, Parameter]
    changes: bool
    """It needs write permission."""
