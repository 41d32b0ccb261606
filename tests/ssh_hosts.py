"""Hosts to be reached by ssh: each an sshd on a loopback address, with processes and a home of its own.

A host is a PID namespace, so that what runs there is found and ended as a whole, and ``ray stop`` sees no Ray
but its own; and a mount namespace, in which root's home is a folder of the test's.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from services.sandbox.processes import spawn
from tests.servers import wait_until

__all__ = ["HOME", "Launcher", "SshHost", "host", "launched", "make_key", "why_none"]

_TOOLS = ("sshd", "ssh", "ssh-keygen", "rsync", "unshare")
_START_SECONDS = 10
_RAY_STATE = Path("/tmp/ray")
HOME = Path("/mnt")
"""Where a host has its home. Short: Ray puts sockets below it."""
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def why_none() -> str:
    """Why there can be none here; empty if there can."""
    if os.geteuid() != 0:
        return "hosts with an sshd of their own are made as root only"
    missing = [tool for tool in _TOOLS if shutil.which(tool, path=_PATH) is None]
    if missing:
        return f"not installed: {', '.join(missing)} (scripts/install-test-packages)"
    made = subprocess.run(
        ["unshare", "--pid", "--mount", "--fork", "--mount-proc", "true"],
        capture_output=True, text=True, timeout=10, check=False,
    )  # fmt: skip
    return f"namespaces cannot be made here: {made.stderr.strip()}" if made.returncode else ""


def _tool(name: str) -> str:
    found = shutil.which(name, path=_PATH)
    assert found is not None
    return found


def make_key(folder: Path) -> Path:
    """A private key; beside it the public one."""
    key = folder / "key"
    subprocess.run(
        [_tool("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", key],
        check=True,
        capture_output=True,
        timeout=20,
    )
    return key


def _home(folder: Path, port: int) -> Path:
    """A root's home, whose ssh finds the other hosts."""
    home = folder / "home"
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    (home / ".ssh" / "config").write_text(f"Host 127.0.0.*\n  Port {port}\n")
    return home


def _within(folder: Path, home: Path, *command: str) -> list[str]:
    """The command, with that home, in namespaces that end with it."""
    ray = folder / "ray"  # which clusters there are, in Ray's eyes
    ray.mkdir(exist_ok=True)
    _RAY_STATE.mkdir(exist_ok=True)
    files = [f"mount --bind {home} {HOME}", f"mount --bind {ray} {_RAY_STATE}"]
    for name, field, value in (("passwd", 5, str(HOME)), ("shadow", 1, "*")):
        lines = []
        for line in (Path("/etc") / name).read_text().splitlines():
            parts = line.split(":")
            if parts[0] == "root":
                parts[field] = value
            lines.append(":".join(parts))
        copy = folder / name
        copy.write_text("\n".join(lines) + "\n")
        copy.chmod(0o644 if name == "passwd" else 0o600)
        files.append(f"mount --bind {copy} /etc/{name}")
    script = " && ".join([*files, 'exec "$@"'])
    options = ["--pid", "--mount", "--fork", "--mount-proc", "--kill-child=KILL"]
    return [_tool("unshare"), *options, "sh", "-c", script, "sh", *command]


@dataclass(frozen=True)
class SshHost:
    """``home`` is what is at HOME there."""

    address: str
    home: Path
    pid: int

    def processes(self) -> dict[int, str]:
        """What runs there, sshd and what serves a session left out: pid (here) and command line."""
        found = {}
        namespace = _namespace_of_children(self.pid)
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdigit() and (entry / "ns" / "pid").readlink() == namespace:
                    title = (
                        (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                    )
                    state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                    if state not in "ZX" and not title.startswith(("sshd", _tool("sshd"))):
                        found[int(entry.name)] = title
        return found

    def kill(self) -> None:
        """The host dies, with all that runs there."""
        os.kill(self.pid, signal.SIGKILL)


def _namespace_of_children(pid: int) -> Path:
    return (Path("/proc") / str(pid) / "ns" / "pid_for_children").readlink()


@contextmanager
def host(folder: Path, address: str, port: int, key: Path) -> Iterator[SshHost]:
    """A host that lets in who has the key. ``folder`` is its own."""
    folder.mkdir()
    Path("/run/sshd").mkdir(exist_ok=True, mode=0o755)  # sshd wants it, and leaves it empty
    home = _home(folder, port)
    host_key = make_key(folder)
    config = folder / "sshd_config"
    config.write_text(
        f"ListenAddress {address}\nPort {port}\nHostKey {host_key}\nAuthorizedKeysFile {key}.pub\n"
        "PidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin prohibit-password\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nAllowUsers root\n"
    )
    log = folder / "sshd.log"
    command = _within(folder, home, _tool("sshd"), "-D", "-e", "-f", str(config))
    child = spawn(command, log=log, directory=folder, die_with_parent=True, environment=_bare_environment())
    try:
        wait_until(
            lambda: child.poll() is not None or "Server listening" in log.read_text(),
            _START_SECONDS,
            log.read_text,
        )
        assert child.poll() is None, log.read_text()
        yield SshHost(address, home, child.pid)
    finally:
        child.kill()
        child.wait(10)


@contextmanager
def launched(folder: Path, port: int, key: Path) -> Iterator[Launcher]:
    """The machine from which ssh is used: a root's home with the key."""
    folder.mkdir()
    home = _home(folder, port)
    shutil.copy(key, home / ".ssh" / "id_ed25519")
    yield Launcher(folder, home)


@dataclass(frozen=True)
class Launcher:
    folder: Path
    home: Path

    def run(self, *command: str, directory: Path, seconds: float) -> subprocess.CompletedProcess[str]:
        """With what it printed, both streams, in ``stdout``."""
        return subprocess.run(
            _within(self.folder, self.home, *command),
            env={**_bare_environment(), "HOME": str(HOME)},
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )


def _bare_environment() -> dict[str, str]:
    return {"PATH": _PATH, "LANG": "C.UTF-8", "TERM": "dumb"}
