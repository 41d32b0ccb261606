"""The network of the chaos test: what is cut is cut in its direction, silently, and heals."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.namespaces import why_none

pytestmark = pytest.mark.alone

STORY = """
import subprocess, sys
from tests.chaos.network import networked

RECEIVE = (
    "import socket\\n"
    "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\\n"
    "s.bind(('', 5000))\\ns.settimeout(0.7)\\n"
    "print('ready', flush=True)\\n"
    "try:\\n    print(s.recv(9).decode())\\nexcept TimeoutError:\\n    print('nothing')"
)
SEND = (
    "import socket, sys\\n"
    "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'something', (sys.argv[1], 5000))"
)

def arrives(sender, receiver):
    receive = [*receiver.within, sys.executable, "-c", RECEIVE]
    there = subprocess.Popen(receive, stdout=subprocess.PIPE, text=True)
    assert there.stdout.readline() == "ready\\n"
    subprocess.run([*sender.within, sys.executable, "-c", SEND, receiver.address], check=True, timeout=10)
    return there.communicate(timeout=10)[0] == "something\\n"

with networked() as (network, why):
    assert network.can_cut, why
    a, b = network.host("a"), network.host("b")
    assert arrives(a, b) and arrives(b, a)
    cut = network.cut([("a", "b")])
    assert not arrives(a, b) and arrives(b, a)
    assert network.cut([("a", "b"), ("b", "a")]) == [("b", "a")]
    assert not arrives(a, b) and not arrives(b, a)
    network.heal(cut)
    assert arrives(a, b) and not arrives(b, a)
    network.heal([("b", "a")])
    assert arrives(a, b) and arrives(b, a)
"""


def test_cuts() -> None:
    """In a process of its own, which moves into the network."""
    if reason := why_none():
        pytest.skip(reason)
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", STORY], cwd=root, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stderr
