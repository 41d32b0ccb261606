"""Hosts of their own for everything that may be cut off: a network namespace each, on one bridge.

The bridge is in a namespace that this process moves into, so that nothing of it is seen outside. A host that
may not reach another sends to a hardware address that nobody has: what it sends is lost without a word, in
this direction only. That is one entry in its table of neighbours: no packet filter is needed.

Where namespaces cannot be made (not root) every host is 127.0.0.1, and nothing can be cut.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.namespaces import why_none

__all__ = ["Host", "Network", "loopback", "networked"]

_CLONE_NEWNET = 0x40000000
_COMMAND_SECONDS = 20
_PREFIX = "orcc"
_NETWORK = "10.213.78"
_OURS = 254
_NOBODY = "02:00:00:00:ff:ff"
_NAMES = Path("/run/netns")


@dataclass(frozen=True, slots=True)
class Host:
    """``within`` is the command that runs another one there."""

    name: str
    address: str
    within: tuple[str, ...] = ()


class Network:
    """``host(name)`` makes one. ``cut`` and ``heal`` say which hosts cannot send to which."""

    def __init__(self, mark: str | None) -> None:
        """``mark``: what the names of its namespaces begin with; None if there are none."""
        self._mark = mark
        self._hosts: dict[str, Host] = {}
        self._cuts: set[tuple[str, str]] = set()

    @property
    def can_cut(self) -> bool:
        return self._mark is not None

    @property
    def cuts(self) -> frozenset[tuple[str, str]]:
        """The pairs (from, to) between which nothing arrives."""
        return frozenset(self._cuts)

    def host(self, name: str) -> Host:
        assert name not in self._hosts
        alone = self._mark is None
        made = Host(name, "127.0.0.1") if alone else self._made(name, len(self._hosts) + 1)
        self._hosts[name] = made
        return made

    def cut(self, pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """From the first to the second of each pair nothing arrives now. Returns those that were not cut."""
        assert self.can_cut
        new = [pair for pair in pairs if pair not in self._cuts]
        for sender, receiver in new:
            host, to = self._hosts[sender], self._hosts[receiver]
            words = ("neigh", "replace", to.address, "lladdr", _NOBODY, "dev", "eth0", "nud", "permanent")
            _ip("-n", f"{self._mark}-{host.name}", *words)
            self._cuts.add((sender, receiver))
        return new

    def heal(self, pairs: Iterable[tuple[str, str]]) -> None:
        """What was cut."""
        for sender, receiver in pairs:
            to = self._hosts[receiver]
            _ip("-n", f"{self._mark}-{sender}", "neigh", "del", to.address, "dev", "eth0")
            self._cuts.discard((sender, receiver))

    def _made(self, name: str, number: int) -> Host:
        nsenter = shutil.which("nsenter")
        assert nsenter is not None, "util-linux has it"
        space, address, wire = f"{self._mark}-{name}", f"{_NETWORK}.{number}", f"w{number}"
        _ip("netns", "add", space)
        _ip("link", "add", wire, "type", "veth", "peer", "name", "eth0", "netns", space)
        _ip("link", "set", wire, "master", "bridge", "up")
        _ip("-n", space, "address", "add", f"{address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip("-n", space, "link", "set", device, "up")
        return Host(name, address, (nsenter, f"--net={_NAMES / space}"))

    def remove(self) -> None:
        for space in _NAMES.glob(f"{self._mark}-*") if self._mark is not None else ():
            with suppress(subprocess.SubprocessError):
                _ip("netns", "delete", space.name)


def loopback() -> Network:
    return Network(None)


@contextmanager
def networked() -> Iterator[tuple[Network, str]]:
    """A network, and why it cannot cut (empty if it can). This process stays in its namespace.

    For the first thread of a process that has no other yet.
    """
    reason = why_none()
    if reason:
        yield loopback(), reason
        return
    _remove_those_of_killed_runs()
    network = Network(f"{_PREFIX}{os.getpid()}-{secrets.token_hex(2)}")
    with ExitStack() as endings:
        endings.callback(network.remove)
        _enter_a_new_one()
        _ip("link", "set", "lo", "up")
        _ip("link", "add", "bridge", "type", "bridge")
        _ip("address", "add", f"{_NETWORK}.{_OURS}/24", "dev", "bridge")
        _ip("link", "set", "bridge", "up")
        yield network, ""


def _enter_a_new_one() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")


def _remove_those_of_killed_runs() -> None:
    for space in _NAMES.glob(f"{_PREFIX}*-*-*"):
        pid = space.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            with suppress(subprocess.SubprocessError):
                _ip("netns", "delete", space.name)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=_COMMAND_SECONDS)
