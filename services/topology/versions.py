"""Server versions, compared as numbers, and what kind of server a version text speaks of.

Numbers of different flavours share no scale: MariaDB's 10.11 is neither newer nor older than MySQL's
8.4. Ask ``is_mariadb`` (or the flavour) before numbers are compared to those of one flavour.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import total_ordering

__all__ = ["Version", "flavor"]

_NUMBERS = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9}){0,3}(?![0-9])")
_HANDSHAKE_PREFIX = "5.5.5-"  # MariaDB 10 and 11 put it before their version in the handshake


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class Version:
    """A server's version. Equal and ordered as the numbers are: 9.7.4-2 is 9.7.4, and 8.4 is 8.4.0."""

    text: str
    """As the server gave it."""
    numbers: tuple[int, ...]
    """(9, 7, 4) of ``9.7.4-2``; empty if the text does not begin with a number: older than all others."""

    @classmethod
    def parse(cls, text: str) -> Version:
        """Read ``@@version``, or the version of a handshake. Never raises."""
        rest = text.strip()
        if "mariadb" in rest.lower():
            rest = rest.removeprefix(_HANDSHAKE_PREFIX)
        match = _NUMBERS.match(rest)
        return cls(text, tuple(int(number) for number in match[0].split(".")) if match else ())

    def __str__(self) -> str:
        return self.text

    def __eq__(self, other: object) -> bool:
        return self._scale == other._scale if isinstance(other, Version) else NotImplemented

    def __lt__(self, other: object) -> bool:
        return self._scale < other._scale if isinstance(other, Version) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._scale)

    @property
    def major(self) -> str:
        """The first two numbers, "9.7"; "" if there are none."""
        return ".".join(str(number) for number in self.numbers[:2])

    @property
    def is_mariadb(self) -> bool:
        return "mariadb" in self.text.lower()

    @property
    def is_maxscale(self) -> bool:
        return "maxscale" in self.text.lower()

    @property
    def _scale(self) -> tuple[int, ...]:
        scale = self.numbers
        while scale and scale[-1] == 0:
            scale = scale[:-1]
        return scale


def flavor(version: str, version_comment: str) -> str:
    """Say which product ``@@version`` and ``@@version_comment`` speak of, as the API names it.

    "MariaDB", "Percona", "MaxScale", "MySQL" (NDB included), or "unknown" for a text without a version
    number, such as the ``Unknown`` of a server that was never reached. The first rule that holds decides.
    """
    parsed = Version.parse(version)
    if parsed.is_mariadb:
        return "MariaDB"
    if "percona" in version_comment.lower():
        return "Percona"
    if parsed.is_maxscale:
        return "MaxScale"
    return "MySQL" if parsed.numbers else "unknown"
