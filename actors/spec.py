"""What every actor of a node is started with, and how it gets at the configuration."""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

import structlog

from services.config import ConfigurationError, LoadedConfiguration, load, reload

__all__ = ["Configuration", "NodeSpec", "last_good_path"]

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """Constructor argument of the head's actors. Holds no secret: files are read by who needs them."""

    config_files: tuple[str, ...]
    strict: bool = False
    node_id: str = ""  # of the election: the host and the node's directory
    token: str = ""  # of this start of the node, 64 hex digits
    hostname: str = ""

    @classmethod
    def make(cls, config_files: tuple[str, ...], strict: bool, node_directory: Path) -> NodeSpec:
        hostname = socket.gethostname()
        return cls(
            config_files=config_files,
            strict=strict,
            node_id=f"{hostname}:{node_directory.absolute()}",
            token=secrets.token_hex(32),
            hostname=hostname,
        )


class Configuration:
    """The settings in force in one actor.

    An actor that is restarted while the file is malformed goes on with the last configuration that was
    found good, of which the node's directory keeps a copy.
    """

    def __init__(self, spec: NodeSpec, kept: Path | None = None) -> None:
        paths = [Path(file) for file in spec.config_files]
        try:
            self.loaded: LoadedConfiguration = load(paths, strict=spec.strict)
        except ConfigurationError as error:
            copies = sorted(kept.glob("*.json")) if kept is not None else []
            if not copies:
                raise
            _log.warning("configuration is not valid, the last good one is used", problems=str(error))
            self.loaded = load(copies)

    @property
    def files(self) -> tuple[str, ...]:
        """Absolute, for actors that run in other directories."""
        return tuple(str(source) for source in self.loaded.sources)

    def reload(self, extra: str) -> LoadedConfiguration:
        """Read the files again. Raises ConfigurationError; then nothing has changed."""
        self.loaded = reload(self.loaded, Path(extra) if extra else None)
        return self.loaded

    def keep(self, directory: Path) -> None:
        """Copy the files to where a restarted actor finds them."""
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for number, source in enumerate(self.loaded.sources):
            target = directory / f"{number:03}.json"
            partial = target.with_suffix(".partial")
            fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(fd, "wb") as file:
                file.write(source.read_bytes())
            partial.rename(target)
        for stale in sorted(directory.glob("*.json"))[len(self.loaded.sources) :]:
            stale.unlink()


def last_good_path(node_directory: Path) -> Path:
    return node_directory / "last-good"
