"""A raft member as the configuration asks for it.

A member's name is its entry in ``RaftNodes``, with a port: it stays when the host gets another address, since
names are resolved again at each dial.
"""

from __future__ import annotations

from pathlib import Path

from services.config import Settings
from services.config.raft_rules import raft_members, raft_self
from services.consensus.state import Timing
from services.raft.config import Address, RaftConfig, TlsFiles
from services.topology.keys import InstanceKey

__all__ = ["http_uri", "raft_config", "shared_http_uri"]

_TIMING = Timing(heartbeat=0.1, election_min=0.6, election_max=1.1)
"""Who acts is replaced within a second, about; a process that has to wait for half of one still leads."""
_LOG_FILE = "orchestray-raft.db"
_ANY = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - the addresses that name no interface


def raft_config(settings: Settings) -> RaftConfig:
    """Raises RaftConfigurationError where that would never work."""
    tls = (settings.RaftSSLCertFile, settings.RaftSSLPrivateKeyFile, settings.RaftSSLCAFile)
    return RaftConfig(
        node_id=str(_address(raft_self(settings))),
        members={str(address): address for address in map(_address, raft_members(settings))},
        bind=_address(InstanceKey.parse(settings.RaftBind, settings.DefaultRaftPort)),
        file=Path(settings.RaftDataDir) / _LOG_FILE,
        secret=settings.RaftSecret.reveal() or None,
        timing=_TIMING,
        tls=TlsFiles(*map(Path, tls)) if all(tls) else None,
    )


def http_uri(settings: Settings) -> str:
    """Where other nodes reach this one's HTTP interface: ``HTTPAdvertise``, else as the raft member, at the
    listening port (http-api.md 3)."""
    if settings.HTTPAdvertise:
        return settings.HTTPAdvertise
    _, port = settings.listen_endpoint
    scheme = "https" if settings.UseSSL else "http"
    return f"{scheme}://{Address(raft_self(settings).hostname, port)}"


def shared_http_uri(settings: Settings, hostname: str) -> str:
    """The same without raft: ``HTTPAdvertise``, else the listening address; where that is any, this host's
    name."""
    if settings.HTTPAdvertise:
        return settings.HTTPAdvertise
    host, port = settings.listen_endpoint
    return f"http://{Address(hostname if host in _ANY else host, port)}"


def _address(key: InstanceKey) -> Address:
    return Address(key.hostname, key.port)
