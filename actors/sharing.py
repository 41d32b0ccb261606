"""In raft the member that acts learns which servers the others have found (``services.registry.sharing``)."""

from __future__ import annotations

import contextlib

from actors.handles import Peer
from services.node_errors import NodeError
from services.raft.node import RaftNode
from services.registry.sharing import WHAT_IS_FOUND, found_from, found_to
from services.topology.keys import InstanceKey

__all__ = ["answer_what_is_found", "learn_what_is_found"]

_SECONDS = 2.0


async def answer_what_is_found(topology: Peer) -> bytes:
    """For another member. Raises NodeError: then nothing is said."""
    return found_to(await topology.call("found_here", timeout=_SECONDS))


async def learn_what_is_found(node: RaftNode, topology: Peer) -> None:
    """Ask all others, and have this node's Topology take up what they say; from there it is agreed on."""
    found: set[InstanceKey] = set()

    def heard(_member: str, answer: bytes) -> bool:
        with contextlib.suppress(ValueError):  # as if it had not answered
            found.update(found_from(answer))
        return False

    await node.ask(WHAT_IS_FOUND, seconds=_SECONDS, heard=heard)
    if found:
        with contextlib.suppress(NodeError):  # the next time will do
            await topology.call("learn", sorted(found), timeout=_SECONDS)
