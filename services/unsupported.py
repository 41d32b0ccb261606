"""Settings that ask for what orchestray does not do yet, where doing something else would be dangerous."""

from __future__ import annotations

from services.config import ConfigurationError, Settings

__all__ = ["refuse_unsupported"]


def refuse_unsupported(settings: Settings) -> None:
    """Raises ConfigurationError with what to set instead."""
    checks = (
        (
            not settings.uses_sqlite and not settings.MySQLOrchestratorHost,
            (
                f'BackendDB: is "{settings.BackendDB}", but MySQLOrchestratorHost is empty; give host, '
                'database and account (MySQLOrchestrator…), or set BackendDB "sqlite" and SQLite3DataFile'
            ),
        ),
        (
            settings.UseSSL,
            "UseSSL: the listener speaks plain HTTP as yet; set it to false and have a proxy do TLS",
        ),
        (
            bool(settings.ListenSocket),
            "ListenSocket: unix sockets are not supported yet; leave it empty and set ListenAddress",
        ),
    )
    problems = [text for applies, text in checks if applies]
    if problems:
        raise ConfigurationError(problems)
