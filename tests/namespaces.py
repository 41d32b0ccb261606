"""Network namespaces with wires between them: hosts of their own on this machine, for tests as root.

``wired`` makes two, ``switched`` any number on one switch, of which each can be cut off from each.

A thread that is ``inside`` one opens its sockets there. A thread that is started meanwhile stays there for
ever: processes are started by the command that is ``within`` instead.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Namespace", "cut", "mend", "switched", "why_none", "wired"]

_CLONE_NEWNET = 0x40000000
_COMMAND_SECONDS = 10
_NETWORK = "10.213.77"  # inside the namespaces only: nobody else's address is in its way


@dataclass(frozen=True)
class Namespace:
    """``address`` is its end of the wire."""

    name: str
    address: str

    @property
    def within(self) -> tuple[str, ...]:
        """The command that runs another one in the namespace."""
        nsenter = shutil.which("nsenter")
        assert nsenter is not None, "util-linux has it"
        return nsenter, f"--net=/run/netns/{self.name}"

    @contextmanager
    def inside(self) -> Iterator[None]:
        """This thread is in the namespace."""
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            there = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
            try:
                _enter(there)
            finally:
                os.close(there)
            try:
                yield
            finally:
                _enter(own)
        finally:
            os.close(own)


def why_none() -> str:
    """Why namespaces cannot be made here; empty if they can."""
    if os.geteuid() != 0:
        return "network namespaces are made as root only"
    try:
        with wired():
            return ""
    except (OSError, subprocess.SubprocessError) as error:
        return f"network namespaces cannot be made here: {error}"


@contextmanager
def wired() -> Iterator[tuple[Namespace, Namespace]]:
    """Both, up; removed at the end."""
    mark = f"orc-{os.getpid()}-{secrets.token_hex(3)}"
    made = tuple(Namespace(f"{mark}-{at}", f"{_NETWORK}.{at}") for at in (1, 2))
    with ExitStack() as endings:
        for each in made:
            _ip("netns", "add", each.name)
            endings.callback(_remove, each)
        first, second = made
        _ip(
            *("link", "add", "wire1", "netns", first.name, "type", "veth"),
            *("peer", "name", "wire2", "netns", second.name),
        )
        for at, each in enumerate(made, start=1):
            _ip("-n", each.name, "address", "add", f"{each.address}/24", "dev", f"wire{at}")
            for device in ("lo", f"wire{at}"):
                _ip("-n", each.name, "link", "set", device, "up")
        yield first, second


@contextmanager
def switched(number: int) -> Iterator[tuple[Namespace, ...]]:
    """So many, all of which reach each other over a switch in a namespace of its own; removed at the end."""
    mark = f"orc-{os.getpid()}-{secrets.token_hex(3)}"
    switch = Namespace(f"{mark}-s", "")
    made = tuple(Namespace(f"{mark}-{at}", f"{_NETWORK}.{at}") for at in range(1, number + 1))
    with ExitStack() as endings:
        for each in (switch, *made):
            _ip("netns", "add", each.name)
            endings.callback(_remove, each)
        _ip("-n", switch.name, "link", "add", "switch", "type", "bridge", "forward_delay", "0")
        _ip("-n", switch.name, "link", "set", "switch", "up")
        for at, each in enumerate(made, start=1):
            _ip(
                *("link", "add", "wire", "netns", each.name, "type", "veth"),
                *("peer", "name", f"port{at}", "netns", switch.name),
            )
            _ip("-n", switch.name, "link", "set", f"port{at}", "master", "switch", "up")
            _ip("-n", each.name, "address", "add", f"{each.address}/24", "dev", "wire")
            for device in ("lo", "wire"):
                _ip("-n", each.name, "link", "set", device, "up")
        yield made


def cut(one: Namespace, other: Namespace, how: str = "unreachable") -> None:
    """Nothing goes from one to the other any more; who dials is told so at once, or, if it is a
    ``blackhole``, nothing."""
    _ip("-n", one.name, "route", "add", how, f"{other.address}/32")
    _ip("-n", other.name, "route", "add", how, f"{one.address}/32")


def mend(one: Namespace, other: Namespace) -> None:
    """After ``cut``."""
    _ip("-n", one.name, "route", "delete", f"{other.address}/32")
    _ip("-n", other.name, "route", "delete", f"{one.address}/32")


def _remove(namespace: Namespace) -> None:
    if Path(f"/run/netns/{namespace.name}").exists():
        _ip("netns", "delete", namespace.name)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=_COMMAND_SECONDS)


def _enter(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")
