"""Which server program to run: the machine's own, an unpacked one, or (MySQL) one that is fetched now."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from services.sandbox.errors import BinaryNotFoundError
from services.sandbox.flavours import MARIADB, MYSQL, Flavour
from services.sandbox.processes import Child, spawn

__all__ = ["Mysqld", "cache_directory", "find_mariadbd", "find_mysqld"]

_SYSTEM_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/usr/local/mysql/bin")  # not on every user's PATH
_ASK_VERSION_SECONDS = 30
_FETCH_SECONDS = 2000  # more than the installer allows itself
_INSTALLER = Path(__file__).resolve().parents[2] / "scripts" / "install-mysql"
_MEND = "install a mysqld and put it on PATH"
_MARIADB_MEND = "install a mariadbd and put it on PATH (on Debian: apt-get install mariadb-server-core)"


@dataclass(frozen=True, slots=True)
class Mysqld:
    """A server program of either flavour, and the settings without which it does not find its own files.

    ``system_tables``: the SQL with which MariaDB fills an empty data directory; MySQL needs none.
    """

    path: Path
    version: str
    settings: dict[str, str] = field(default_factory=dict)
    flavour: Flavour = MYSQL
    system_tables: tuple[Path, ...] = ()

    @property
    def identity(self) -> str:
        """Equal for equal programs."""
        return f"{self.path.resolve()} {self.version}"

    def run(
        self, arguments: Sequence[str], *, folder: Path, timeout_seconds: float, script: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end on files in ``folder``, with ``script`` as its input.

        Raises OSError or subprocess.TimeoutExpired.
        """
        return subprocess.run(
            [self.path, *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            input=script,
        )

    def spawn(self, arguments: Sequence[str], *, log: Path, directory: Path, die_with_parent: bool) -> Child:
        """Start it on files in ``directory``."""
        return spawn(
            [str(self.path), *arguments], log=log, directory=directory, die_with_parent=die_with_parent
        )


def cache_directory() -> Path:
    """Where orchestray keeps what it can make again (XDG base directory specification)."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "orchestray"


def find_mysqld() -> Mysqld:
    """The first that is MySQL 8.4 or newer: on PATH, in the cache, or fetched into the cache now.

    Fetching takes a network and a minute. Raises BinaryNotFoundError, which names each place that was
    looked at with what was wrong there, and the mend.
    """
    unpacked = cache_directory() / "mysql" / "mysqld"
    found, refused = _first([*_on_path("mysqld"), *([unpacked] if unpacked.exists() else [])], MYSQL)
    if found:
        return found
    if _INSTALLER.exists():
        fetched = _fetch(unpacked.parent)
        if isinstance(fetched, Mysqld):
            return fetched
        refused.append(fetched)
    elif not refused:
        refused.append(f"none is on PATH, and none in {unpacked.parent}")
    raise BinaryNotFoundError(f"no MySQL server to run: {'; '.join(refused)}. To mend it, {_MEND}")


def find_mariadbd() -> Mysqld:
    """The first on PATH that is MariaDB 10.6 or newer. Raises BinaryNotFoundError as ``find_mysqld`` does."""
    found, refused = _first([*_on_path("mariadbd"), *_on_path("mysqld")], MARIADB)
    if found:
        return found
    refused = refused or ["none is on PATH"]
    raise BinaryNotFoundError(f"no MariaDB server to run: {'; '.join(refused)}. To mend it, {_MARIADB_MEND}")


def _on_path(name: str) -> list[Path]:
    folders = os.pathsep.join((os.environ.get("PATH", ""), *_SYSTEM_FOLDERS))
    found = shutil.which(name, path=folders)
    return [Path(found)] if found else []


def _first(candidates: Iterable[Path], flavour: Flavour) -> tuple[Mysqld | None, list[str]]:
    """The first that can be used, or what is wrong with each."""
    refused: list[str] = []
    for candidate in candidates:
        found = _examine(candidate, flavour)
        if isinstance(found, Mysqld):
            return found, []
        refused.append(found)
    return None, refused


def _examine(path: Path, flavour: Flavour) -> Mysqld | str:
    """The program, or why it cannot be used."""
    try:
        answer = subprocess.run(
            [path, "--no-defaults", "--version"],
            check=False,
            capture_output=True,
            text=True,
            timeout=_ASK_VERSION_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{path} cannot be run ({error})"
    actual = MARIADB if "mariadb" in answer.stdout.lower() else MYSQL
    match = re.search(r"Ver (\d+)\.(\d+)(\.[\w.-]+)?", answer.stdout)
    if answer.returncode != 0 or match is None:
        return f"{path} does not say its version ({(answer.stderr or answer.stdout).strip()[:200]})"
    if actual is not flavour:
        return f"{path} is {actual.title}"
    if (int(match[1]), int(match[2])) < flavour.minimum_version:
        oldest = ".".join(map(str, flavour.minimum_version))
        return f"{path} is {flavour.title} {match[1]}.{match[2]}, older than {oldest}"
    version = match[0].removeprefix("Ver ")
    return _mariadbd(path, version) if flavour is MARIADB else Mysqld(path, version, _settings_of(path))


def _mariadbd(path: Path, version: str) -> Mysqld | str:
    """With the folder above its own as ``basedir``: a distribution's package or an unpacked archive alike."""
    basedir = path.resolve().parent.parent
    for share in (basedir / "share" / "mysql", basedir / "share" / "mariadb", basedir / "share"):
        for prefix in ("mysql", "mariadb"):  # before and since 11.0
            names = ("system_tables", "performance_tables", "system_tables_data")
            tables = tuple(share / f"{prefix}_{name}.sql" for name in names)
            if all(file.exists() for file in tables):
                settings = {"basedir": str(basedir), "lc-messages-dir": str(share)}
                return Mysqld(path, version, settings, MARIADB, tables)
    return f"{path} lacks its system tables (mysql_system_tables.sql in {basedir / 'share'})"


def _settings_of(path: Path) -> dict[str, str]:
    """An unpacked server lies beside a folder ``root`` and was compiled for other paths."""
    usr = path.resolve().parent / "root" / "usr"
    if not (usr / "sbin" / "mysqld").exists():
        return {}
    return {
        "basedir": str(usr),
        "lc-messages-dir": str(usr / "share" / "mysql"),
        "plugin-dir": str(usr / "lib" / "mysql" / "plugin"),
    }


def _fetch(target: Path) -> Mysqld | str:
    try:
        done = subprocess.run(
            [_INSTALLER, target], check=False, capture_output=True, text=True, timeout=_FETCH_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{_INSTALLER} did not finish ({error})"
    if done.returncode != 0:
        return f"{_INSTALLER} failed: {' / '.join(done.stderr.strip().splitlines()[-5:])}"
    return _examine(target / "mysqld", MYSQL)
