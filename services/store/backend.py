"""Where the store is kept: the one place that chooses between SQLite and MySQL."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from services.config import Secret, Settings
from services.mysql.connection import TlsFiles

__all__ = ["Backend", "MySQLBackend", "SQLiteBackend", "backend_of"]


@dataclass(frozen=True, slots=True)
class SQLiteBackend:
    path: Path

    @property
    def endpoint(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class MySQLBackend:
    """A database on a server; ``connections`` counts for each process of a node."""

    host: str
    port: int
    database: str
    user: str
    password: Secret
    tls: TlsFiles | None = None
    connect_timeout_seconds: float = 2.0
    read_timeout_seconds: float = 30.0
    connections: int = 128
    lifetime_seconds: float = 0.0  # 0: for ever
    rejects_read_only: bool = False
    """A connection that finds the server read-only is made anew: a proxy may lead elsewhere by now."""
    deploys_schema: bool = True

    @property
    def name(self) -> str:
        """What errors call it."""
        return f"{self.endpoint}/{self.database}"

    @property
    def endpoint(self) -> str:
        """What the API calls it."""
        return f"{self.host}:{self.port}"


Backend = SQLiteBackend | MySQLBackend


def backend_of(settings: Settings) -> Backend:
    """The backend that the settings ask for."""
    if settings.uses_sqlite:
        return SQLiteBackend(Path(settings.SQLite3DataFile))
    files = TlsFiles(
        ca=settings.MySQLOrchestratorSSLCAFile,
        certificate=settings.MySQLOrchestratorSSLCertFile,
        private_key=settings.MySQLOrchestratorSSLPrivateKeyFile,
        verify=not settings.MySQLOrchestratorSSLSkipVerify,
    )
    return MySQLBackend(
        host=settings.MySQLOrchestratorHost,
        port=settings.MySQLOrchestratorPort,
        database=settings.MySQLOrchestratorDatabase,
        user=settings.MySQLOrchestratorUser,
        password=settings.MySQLOrchestratorPassword,
        tls=files if settings.MySQLOrchestratorUseMutualTLS else None,
        connect_timeout_seconds=settings.MySQLConnectTimeoutSeconds,
        read_timeout_seconds=settings.MySQLOrchestratorReadTimeoutSeconds,
        connections=settings.MySQLOrchestratorMaxPoolConnections,
        lifetime_seconds=settings.MySQLConnectionLifetimeSeconds,
        rejects_read_only=settings.MySQLOrchestratorRejectReadOnly,
        deploys_schema=not settings.SkipOrchestratorDatabaseUpdate,
    )
