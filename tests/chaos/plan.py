"""Which faults a seed gives, as values: rounds of faults that begin together or one shortly after the other.

Of the nodes one at most has a fault at a time, besides what befalls servers and the backend. Whom a fault
meets is said by its role (the acting node, the master …): who that is shows when the round begins.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["KINDS", "Fault", "Round", "rounds"]

WAYS = ("both", "out", "in")
_NODE_ROLES = ("acting", "acting", "other")


@dataclass(frozen=True, slots=True)
class Fault:
    """Begins ``after`` seconds, lasts ``hold`` seconds. ``way``: of a cut, or the actor hit."""

    kind: str
    role: str
    after: float
    hold: float
    way: str = ""


@dataclass(frozen=True, slots=True)
class Round:
    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True)
class Kind:
    """``group``: there is one fault of a group in a round. ``ways``: what the seed chooses from."""

    name: str
    group: str
    roles: tuple[str, ...]
    ways: tuple[str, ...] = ("",)
    longest: float = 12.0
    weight: int = 2
    setup: str = ""  # only in this one
    cuts: bool = False


_ACTORS = ("leader", "leader", "topology", "gateway", "probe")

KINDS = (
    Kind("node-kill", "node", _NODE_ROLES, weight=3),
    Kind("node-stop", "node", _NODE_ROLES, weight=3),
    Kind("actor-kill", "node", _NODE_ROLES, _ACTORS, weight=4),
    Kind("actor-stop", "node", _NODE_ROLES, _ACTORS, weight=4),
    Kind("cut-node-from-nodes", "node", _NODE_ROLES, WAYS, setup="raft", cuts=True),
    Kind("cut-node-from-servers", "node", _NODE_ROLES, WAYS, cuts=True),
    Kind("cut-node-from-master", "node", _NODE_ROLES, WAYS, cuts=True),
    Kind("cut-node-from-all", "node", _NODE_ROLES, WAYS, cuts=True),
    Kind("store-held", "node", _NODE_ROLES, setup="raft", weight=1),
    Kind("cut-node-from-backend", "node", _NODE_ROLES, WAYS, setup="shared", cuts=True, weight=3),
    Kind("backend-kill", "backend", ("backend",), setup="shared"),
    Kind("backend-pause", "backend", ("backend",), setup="shared"),
    Kind("master-kill", "master", ("master",), weight=6, longest=20.0),
    Kind("master-stop", "master", ("master",)),
    Kind("master-pause", "master", ("master",), weight=3),
    Kind("cut-master-from-all", "master", ("master",), WAYS, cuts=True, weight=3),
    Kind("cut-master-from-replicas", "master", ("master",), WAYS, cuts=True),
    Kind("cut-master-from-nodes", "master", ("master",), WAYS, cuts=True),
    Kind("replica-kill", "replica", ("replica",), longest=8.0),
    Kind("replica-pause", "replica", ("replica",), longest=6.0),
    Kind("cut-replica-from-all", "replica", ("replica",), WAYS, cuts=True, longest=6.0),
)

_SHORTEST = 1.0
_GROUPS: tuple[tuple[tuple[str, ...], int], ...] = (
    (("node",), 3),
    (("master",), 3),
    (("node", "master"), 6),
    (("replica", "node"), 1),
    (("replica", "master"), 1),
    (("backend",), 2),
    (("backend", "master"), 2),
    (("node", "backend", "master"), 1),
    (("node", "replica", "master"), 1),
)
"""What comes together, and how often."""


def rounds(seed: int, setup: str, *, can_cut: bool) -> Iterator[Round]:
    """Without end, and the same for the same seed, setup and network."""
    chance = random.Random(f"{seed} {setup} {can_cut}")
    kinds = [kind for kind in KINDS if kind.setup in ("", setup) and (can_cut or not kind.cuts)]
    groups = {kind.group for kind in kinds}
    together = [(each, weight) for each, weight in _GROUPS if groups.issuperset(each)]
    while True:
        (chosen,) = chance.choices([each for each, _ in together], [weight for _, weight in together])
        yield Round(
            tuple(_fault(chance, [kind for kind in kinds if kind.group == group]) for group in chosen)
        )


def _fault(chance: random.Random, kinds: list[Kind]) -> Fault:
    (kind,) = chance.choices(kinds, [kind.weight for kind in kinds])
    return Fault(
        kind=kind.name,
        role=chance.choice(kind.roles),
        after=round(chance.choice([0.0, chance.uniform(0, 0.6), chance.uniform(0, 3)]), 3),
        hold=round(chance.uniform(_SHORTEST, kind.longest), 2),
        way=chance.choice(kind.ways),
    )
