"""Registers things at the acting node all the time, and records what was answered."""

from __future__ import annotations

import random
import threading
import time
from typing import Any
from urllib.parse import quote

from tests.chaos.history import Reading, Registration
from tests.chaos.world import ChaosNode, World
from tests.node import key_of

__all__ = ["Registrar", "reading"]

RULES = ("prefer", "neutral", "prefer_not")
_ANSWER_SECONDS = 8.0
_PAGES = 50
_NOTHING_WAS_DONE = ("does not lead", "nothing was done")


class Registrar:
    """Promotion rules of the servers, and acknowledgements of recoveries with a comment of their own."""

    def __init__(self, world: World, chance: random.Random) -> None:
        self._world, self._chance = world, chance
        self._number = 0
        self._stop = threading.Event()
        self._going = threading.Event()
        self._idle = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._going.set()
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._going.set()
        self._thread.join(_ANSWER_SECONDS * 3)

    def pause(self) -> None:
        """Nothing is asked for from now on: what was is answered."""
        self._going.clear()
        assert self._idle.wait(_ANSWER_SECONDS * 3), "a registration hangs"

    def resume(self) -> None:
        self._idle.clear()
        self._going.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            if not self._going.is_set():
                self._idle.set()
                self._going.wait()
                continue
            self._register()
            self._stop.wait(self._chance.uniform(0.2, 1.5))

    def _register(self) -> None:
        node = self._world.acting() or self._chance.choice(self._world.nodes)
        self._number += 1
        recovery = self._unacknowledged(node) if self._chance.random() < 0.3 else None
        if recovery is not None:
            value = f"comment-{self._number}"
            key, path = f"ack:{recovery}", f"ack-recovery/uid/{quote(recovery, safe='')}?comment={value}"
        else:
            server, value = self._chance.choice(self._world.servers), self._chance.choice(RULES)
            key, path = f"rule:{server.key}", f"register-candidate/{server.host}/{server.port}/{value}"
        sent = time.time()
        outcome = self._outcome(node, path)
        self._world.history.registrations.append(Registration(sent, time.time(), key, value, outcome))

    def _unacknowledged(self, node: ChaosNode) -> str | None:
        recoveries = node.answers("audit-recovery", 5) or []
        return next((str(one["UID"]) for one in recoveries if not one["Acknowledged"]), None)

    def _outcome(self, node: ChaosNode, path: str) -> str:
        try:
            status, reply = node.get(path, _ANSWER_SECONDS)
        except OSError:
            return "unknown"
        message = str(reply.get("Message")) if isinstance(reply, dict) else str(reply)
        if status == 200 and isinstance(reply, dict) and reply.get("Code") == "OK":
            return "refused" if message.startswith("Acknowledged 0 ") else "acknowledged"
        return "refused" if any(said in message for said in _NOTHING_WAS_DONE) else "unknown"


def reading(node: ChaosNode) -> Reading | None:
    """What the node knows of all that is registered; None if it does not answer well."""
    instances: list[dict[str, Any]] | None = node.answers("all-instances", 5)
    if instances is None:
        return None
    recoveries: list[dict[str, Any]] = []
    for page in range(_PAGES):
        found = node.answers(f"audit-recovery/{page}", 5)
        if found is None:
            return None
        recoveries += found
        if not found:
            break
    values = {f"rule:{key_of(one['Key'])}": str(one["PromotionRule"]) for one in instances}
    values |= {
        f"ack:{one['UID']}": str(one["AcknowledgedComment"]) for one in recoveries if one["Acknowledged"]
    }
    return Reading(time.time(), node.name, values)
