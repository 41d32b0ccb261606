"""Which ``mysqld`` is taken. Programs that only say a version stand in for servers nobody starts here."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.sandbox import binaries
from services.sandbox.binaries import find_mariadbd, find_mysqld
from services.sandbox.errors import BinaryNotFoundError
from services.sandbox.flavours import MARIADB

_MYSQL = "mysqld  Ver 9.7.4-2 for Linux on x86_64 ((Debian))"
_OLD_MYSQL = "mysqld  Ver 8.0.41 for Linux on x86_64 (MySQL Community Server - GPL)"
_MARIADB = "mysqld  Ver 10.11.11-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64 (Debian 12)"


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without any server and without the installer: ``bin`` is on PATH, ``cache`` is the cache."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(binaries, "_SYSTEM_FOLDERS", ())
    monkeypatch.setattr(binaries, "_INSTALLER", tmp_path / "none")
    return tmp_path


def _program(file: Path, body: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{body}\n")
    file.chmod(0o755)
    return file


def _server(file: Path, version: str) -> Path:
    return _program(file, f"echo '{version}'")


def _unpacked(machine: Path) -> Path:
    return machine / "cache" / "orchestray" / "mysql" / "mysqld"


def test_the_machines_own_mysql_comes_first(machine: Path) -> None:
    own = _server(machine / "bin" / "mysqld", _MYSQL)
    _server(_unpacked(machine), _MYSQL)
    found = find_mysqld()
    assert (found.path, found.version, found.settings) == (own, "9.7.4-2", {})


@pytest.mark.parametrize("other", [_MARIADB, _OLD_MYSQL, "something else"])
def test_what_is_not_a_recent_mysql_is_passed_over(machine: Path, other: str) -> None:
    _server(machine / "bin" / "mysqld", other)
    unpacked = _server(_unpacked(machine), _MYSQL)
    assert find_mysqld().path == unpacked


def test_an_unpacked_server_is_told_where_its_files_are(machine: Path) -> None:
    unpacked = _server(_unpacked(machine), _MYSQL)
    usr = unpacked.parent / "root" / "usr"
    _server(usr / "sbin" / "mysqld", _MYSQL)
    link = machine / "bin" / "mysqld"
    link.symlink_to(unpacked)  # put on PATH by somebody
    found = find_mysqld()
    assert found.path == link
    assert found.settings["basedir"] == str(usr)
    assert found.settings["plugin-dir"] == str(usr / "lib" / "mysql" / "plugin")


def test_it_is_fetched_if_there_is_none(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ready = _server(machine / "ready", _MYSQL)
    body = f'/bin/mkdir -p "$1" && /bin/cp {ready} "$1/mysqld"'
    monkeypatch.setattr(binaries, "_INSTALLER", _program(machine / "install-mysql", body))
    assert find_mysqld().path == _unpacked(machine)


def test_the_error_names_every_place_and_the_mend(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = _server(machine / "bin" / "mysqld", _MARIADB)
    broken = _program(_unpacked(machine), "echo 'no such library' >&2; exit 127")
    installer = _program(machine / "install-mysql", "echo 'the mirror is gone' >&2; exit 1")
    monkeypatch.setattr(binaries, "_INSTALLER", installer)
    with pytest.raises(BinaryNotFoundError) as caught:
        find_mysqld()
    text = str(caught.value)
    assert f"{own} is MariaDB" in text
    assert f"{broken} does not say its version (no such library)" in text
    assert f"{installer} failed: the mirror is gone" in text
    assert "install a mysqld and put it on PATH" in text


def test_without_installer_it_says_so(machine: Path) -> None:
    with pytest.raises(BinaryNotFoundError, match=r"none is on PATH.*install a mysqld"):
        find_mysqld()


def _mariadb(machine: Path, name: str = "mariadbd", *, prefix: str = "mysql", share: str = "mysql") -> Path:
    folder = machine / "share" / share
    folder.mkdir(parents=True)
    for table in ("system_tables", "performance_tables", "system_tables_data"):
        (folder / f"{prefix}_{table}.sql").touch()
    return _server(machine / "bin" / name, _MARIADB)


@pytest.mark.parametrize("name", ["mariadbd", "mysqld"])
@pytest.mark.parametrize(("prefix", "share"), [("mysql", "mysql"), ("mariadb", "mariadb"), ("mysql", "")])
def test_mariadb_is_found_with_its_system_tables(machine: Path, name: str, prefix: str, share: str) -> None:
    own = _mariadb(machine, name, prefix=prefix, share=share)
    found = find_mariadbd()
    assert (found.path, found.version, found.flavour) == (own, "10.11.11-MariaDB-0", MARIADB)
    assert found.settings == {"basedir": str(machine), "lc-messages-dir": str(machine / "share" / share)}
    assert found.system_tables[0].name == f"{prefix}_system_tables.sql"


@pytest.mark.parametrize(
    ("version", "why"),
    [
        (_MARIADB.replace("10.11.11", "10.5.29"), "is MariaDB 10.5, older than 10.6"),
        (_MYSQL, "is MySQL"),
        (_MARIADB, "lacks its system tables"),
    ],
)
def test_why_a_mariadb_is_refused(machine: Path, version: str, why: str) -> None:
    own = _server(machine / "bin" / "mariadbd", version)
    with pytest.raises(BinaryNotFoundError, match=why) as caught:
        find_mariadbd()
    assert str(own) in str(caught.value)
    assert "apt-get install mariadb-server-core" in str(caught.value)
