"""A member as the configuration asks for it."""

from __future__ import annotations

from pathlib import Path

from services.raft.config import Address, TlsFiles
from services.raft.from_settings import http_uri, raft_config
from tests.unit.config.helpers import loaded


def test_a_member_is_named_by_its_entry_with_its_port() -> None:
    settings = loaded(
        RaftEnabled=True,
        RaftDataDir="/r",
        RaftBind="0.0.0.0",
        RaftAdvertise="a.example",
        RaftNodes=["a.example", "b.example:7", "[::1]:8"],
        RaftSecret="s" * 16,
        RaftSSLCertFile="/c",
        RaftSSLPrivateKeyFile="/k",
        RaftSSLCAFile="/ca",
        ListenAddress=":3001",
    ).settings
    config = raft_config(settings)
    assert config.node_id == "a.example:10008"
    assert config.members == {
        "a.example:10008": Address("a.example", 10008),
        "b.example:7": Address("b.example", 7),
        "[::1]:8": Address("::1", 8),
    }
    assert config.bind == Address("0.0.0.0", 10008)
    assert config.file == Path("/r/orchestray-raft.db")
    assert config.secret == "s" * 16
    assert config.tls == TlsFiles(Path("/c"), Path("/k"), Path("/ca"))
    assert "s" * 16 not in repr(config)
    assert http_uri(settings) == "http://a.example:3001"


def test_alone_without_raft_nodes() -> None:
    config = raft_config(loaded(RaftEnabled=True, RaftDataDir="/r").settings)
    assert set(config.members) == {config.node_id} == {"127.0.0.1:10008"}
    assert config.secret is None


def test_the_advertised_address_of_the_http_interface() -> None:
    settings = loaded(RaftEnabled=True, RaftDataDir="/r", HTTPAdvertise="https://orc.example:443").settings
    assert http_uri(settings) == "https://orc.example:443"
