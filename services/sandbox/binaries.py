"""Which ``mysqld`` to run: the machine's own, an unpacked one, or one that is fetched now."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from services.sandbox.errors import BinaryNotFoundError

__all__ = ["Mysqld", "cache_directory", "find_mysqld"]

MINIMUM_VERSION = (8, 4)
"""The first with the statements that lay replication here (CHANGE REPLICATION SOURCE alone is older)."""

_SYSTEM_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/usr/local/mysql/bin")  # not on every user's PATH
_ASK_VERSION_SECONDS = 30
_FETCH_SECONDS = 2000  # more than the installer allows itself
_INSTALLER = Path(__file__).resolve().parents[2] / "scripts" / "install-mysql"
_MEND = "install a mysqld and put it on PATH"


@dataclass(frozen=True, slots=True)
class Mysqld:
    """A MySQL server program, and the settings without which it does not find its own files."""

    path: Path
    version: str
    settings: dict[str, str] = field(default_factory=dict)


def cache_directory() -> Path:
    """Where orchestray keeps what it can make again (XDG base directory specification)."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "orchestray"


def find_mysqld() -> Mysqld:
    """The first that is MySQL 8.4 or newer: on PATH, in the cache, or fetched into the cache now.

    Fetching takes a network and a minute. Raises BinaryNotFoundError, which names each place that was
    looked at with what was wrong there, and the mend.
    """
    refused: list[str] = []
    folders = os.pathsep.join((os.environ.get("PATH", ""), *_SYSTEM_FOLDERS))
    on_path = shutil.which("mysqld", path=folders)
    unpacked = cache_directory() / "mysql" / "mysqld"
    for candidate in (Path(on_path) if on_path else None, unpacked if unpacked.exists() else None):
        if candidate is not None:
            found = _examine(candidate)
            if isinstance(found, Mysqld):
                return found
            refused.append(found)
    if _INSTALLER.exists():
        found = _fetch(unpacked.parent)
        if isinstance(found, Mysqld):
            return found
        refused.append(found)
    elif not refused:
        refused.append(f"none is on PATH, and none in {unpacked.parent}")
    raise BinaryNotFoundError(f"no MySQL server to run: {'; '.join(refused)}. To mend it, {_MEND}")


def _examine(path: Path) -> Mysqld | str:
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
    if "mariadb" in answer.stdout.lower():
        return f"{path} is MariaDB"
    match = re.search(r"Ver (\d+)\.(\d+)(\.[\w.-]+)?", answer.stdout)
    if answer.returncode != 0 or match is None:
        return f"{path} does not say its version ({(answer.stderr or answer.stdout).strip()[:200]})"
    if (int(match[1]), int(match[2])) < MINIMUM_VERSION:
        return f"{path} is MySQL {match[1]}.{match[2]}, older than 8.4"
    return Mysqld(path, match[0].removeprefix("Ver "), _settings_of(path))


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
    return _examine(target / "mysqld")
