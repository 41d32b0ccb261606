"""What one member is told: who the members are, where they are, how they prove it, and where the log is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from services.config.raft_rules import SECRET_CHARACTERS_MIN, is_loopback
from services.consensus.state import Timing
from services.raft.errors import RaftConfigurationError

__all__ = ["Address", "RaftConfig", "TlsFiles"]


@dataclass(frozen=True, slots=True)
class Address:
    """A name or number, resolved again at each dial."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files. Each member's certificate names its id or its host, and ``authority`` signed all of them."""

    certificate: Path
    key: Path
    authority: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class RaftConfig:
    """``members`` maps each stable id, the own one too, to where the others dial it; the same on all members.

    ``secret`` or ``tls`` is needed wherever an address is not of the loopback; with both, TLS carries it.
    """

    node_id: str
    members: Mapping[str, Address]
    bind: Address
    file: Path
    secret: str | None = field(default=None, repr=False)
    tls: TlsFiles | None = None
    timing: Timing = field(default_factory=Timing)
    snapshot_every: int = 1024  # entries
    keep_entries: int = 1024  # behind a snapshot, for members that are a little late

    def __post_init__(self) -> None:
        if self.node_id not in self.members:
            raise RaftConfigurationError(
                f"this node, {self.node_id}, is not among the raft members "
                f"{', '.join(sorted(self.members))}: add it, on every node"
            )
        if self.secret is not None and len(self.secret) < SECRET_CHARACTERS_MIN:
            raise RaftConfigurationError(
                f"the raft secret has fewer than {SECRET_CHARACTERS_MIN} characters: it can be guessed"
            )
        if not self.is_protected and not is_loopback(self.bind.host):
            raise RaftConfigurationError(
                f"raft does not listen at {self.bind} without TLS files or a secret: whoever reaches it "
                "could decide who leads. Configure one of them, or bind to 127.0.0.1"
            )

    @property
    def is_protected(self) -> bool:
        return self.secret is not None or self.tls is not None

    @property
    def peers(self) -> dict[str, Address]:
        return {name: address for name, address in self.members.items() if name != self.node_id}
