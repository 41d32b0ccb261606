"""What every actor of a node is started with, and the configuration in force.

What is in force are copies in the node's directory, not the files themselves: an actor that Ray restarts
goes on with exactly what the others have, whatever became of the files meanwhile. A reload puts new copies in
place of the old ones, at once or not at all, and that is what takes it over.

    <node directory>/configuration/0/000.json …, sources    as the node was started
    <node directory>/configuration/7/…                      the greatest number: in force
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
from dataclasses import dataclass, replace
from pathlib import Path

from services.config import (
    ConfigurationError,
    LoadedConfiguration,
    Settings,
    changed_keys,
    load,
    needs_restart,
)
from services.election.clock import boot_id

__all__ = ["Configuration", "NodeSpec"]

_FOLDER = "configuration"
_SOURCES = "sources"


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """Constructor argument of the head's actors. Holds no secret: files are read by who needs them."""

    directory: str  # the node's, absolute
    working_directory: str  # what relative paths of the configuration count from
    strict: bool = False
    node_id: str = ""  # of the election: the host, the node's directory, and this boot of the host
    token: str = ""  # of this start of the node, 64 hex digits
    hostname: str = ""

    @classmethod
    def make(cls, directory: Path, strict: bool) -> NodeSpec:
        """For a node whose files are named relative to where this process is."""
        hostname = socket.gethostname()
        return cls(
            directory=str(directory.absolute()),
            working_directory=str(Path.cwd()),
            strict=strict,
            # With the boot, so that hosts of one name (clones, on a backend that they share) are two: only a
            # process of the same host may take a lease for its own node's.
            node_id=f"{hostname}:{directory.absolute()}:{boot_id()[:8]}",
            token=secrets.token_hex(32),
            hostname=hostname,
        )

    @property
    def folder(self) -> Path:
        return Path(self.directory)


class Configuration:
    """The settings in force in one actor. Raises ConfigurationError, OSError or ValueError if there are none.

    Keys that need a restart keep the values that they had when the node was started.
    """

    def __init__(self, spec: NodeSpec) -> None:
        os.chdir(spec.working_directory)
        self._folder = spec.folder / _FOLDER
        self._strict = spec.strict
        self._started = self._read(0).settings
        self.loaded = self._started_or_reloaded(self._read(self._newest()))

    @classmethod
    def begin(cls, spec: NodeSpec, files: tuple[Path, ...]) -> Configuration:
        """Put the files in force for a node that is started now. Raises ConfigurationError or OSError."""
        shutil.rmtree(spec.folder / _FOLDER, ignore_errors=True)
        _copy([file.absolute() for file in files], spec.folder / _FOLDER / "0", spec.strict)
        return cls(spec)

    @property
    def settings(self) -> Settings:
        return self.loaded.settings

    def adopt(self) -> None:
        """Take over what another actor has put in force."""
        self.loaded = self._started_or_reloaded(self._read(self._newest()))

    def reload(self, extra: str = "") -> tuple[str, ...]:
        """Read the files again, and ``extra`` after them, and put them in force.

        Returns the keys that changed and need a restart. Raises ConfigurationError or OSError; then
        nothing has changed.
        """
        sources = list(self.loaded.sources)
        if extra and Path(extra).absolute() not in sources:
            sources.append(Path(extra).absolute())
        newest = self._newest()
        _copy(sources, self._folder / str(newest + 1), self._strict)
        late = needs_restart(changed_keys(self._started, self._read(newest + 1).settings))
        self.adopt()
        for number in range(1, newest):  # the one before stays for who is just reading it
            shutil.rmtree(self._folder / str(number), ignore_errors=True)
        return late

    def _newest(self) -> int:
        return max(int(entry.name) for entry in self._folder.iterdir() if entry.name.isdigit())

    def _read(self, number: int) -> LoadedConfiguration:
        return _read(self._folder / str(number), self._strict)

    def _started_or_reloaded(self, loaded: LoadedConfiguration) -> LoadedConfiguration:
        kept = needs_restart(changed_keys(self._started, loaded.settings))
        settings = replace(loaded.settings, **{name: getattr(self._started, name) for name in kept})
        return replace(loaded, settings=settings)


def _copy(files: list[Path], target: Path, strict: bool) -> None:
    """Copy configuration files to a folder that appears only when they are found to be good."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o700)
    try:
        load(files, strict=strict)  # whose errors name the files themselves, not copies
        for number, source in enumerate(files):
            _write(partial / f"{number:03}.json", source.read_bytes())
        _write(partial / _SOURCES, json.dumps([str(file) for file in files]).encode())
        _read(partial, strict)  # once more, as a file may have changed between
        partial.rename(target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _write(path: Path, content: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)


def _read(folder: Path, strict: bool) -> LoadedConfiguration:
    """What the copies say, in the names of the files that they were made of."""
    sources = tuple(Path(source) for source in json.loads((folder / _SOURCES).read_text()))
    copies = [folder / f"{number:03}.json" for number in range(len(sources))]

    def named(text: str) -> str:
        for copy, source in zip(copies, sources, strict=True):
            text = text.replace(str(copy), str(source))
        return text

    try:
        loaded = load(copies, strict=strict)
    except ConfigurationError as error:
        raise ConfigurationError([named(problem) for problem in error.problems]) from None
    return replace(loaded, warnings=tuple(map(named, loaded.warnings)), sources=sources)
