"""Tags as people write them, and which servers an expression means (http-api.md 5.8).

::

    name             has the tag, whatever its value
    name=value       has it with that value
    ~name, !name     lacks it, of the servers that have any tag
    ~name=value      has it with another value
    a,b              both

Names and values lose blanks around them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from services.topology.keys import InstanceKey
from services.topology.registrations import InstanceTag

__all__ = ["InvalidTagError", "TagTerm", "matching", "parse_expression", "parse_term"]

_NOT = ("~", "!")


class InvalidTagError(ValueError):
    """A text is no tag, or no expression over tags; the message says why."""


@dataclass(frozen=True, slots=True)
class TagTerm:
    """One condition of an expression; without negation also a tag to be set or removed."""

    name: str
    value: str | None = None
    """None: none was given."""
    negated: bool = False

    def fits(self, tag: InstanceTag) -> bool:
        """Whether a tag is of this name and, if one is given, of this value; regardless of negation."""
        return tag.name == self.name and self.value in (None, tag.value)

    def meets(self, tags: dict[str, str]) -> bool:
        """Whether a server with these tags is meant."""
        if not self.negated:
            return self.name in tags and self.value in (None, tags[self.name])
        if self.value is None:
            return self.name not in tags
        return self.name in tags and tags[self.name] != self.value


def parse_term(text: str) -> TagTerm:
    """``name``, ``name=value``, or one of them after ``~`` or ``!``. Raises InvalidTagError."""
    stripped = text.strip()
    negated = stripped.startswith(_NOT)
    name, equals, value = stripped[negated:].partition("=")
    name = name.strip()
    if not name or name.startswith(_NOT):
        raise InvalidTagError(f"Unable to parse tag: {text!r}; write name or name=value")
    return TagTerm(name, value.strip() if equals else None, negated)


def parse_expression(text: str) -> tuple[TagTerm, ...]:
    """Terms with commas between them. Raises InvalidTagError."""
    return tuple(parse_term(term) for term in text.split(","))


def matching(tags: Iterable[InstanceTag], terms: Iterable[TagTerm]) -> tuple[InstanceKey, ...]:
    """The servers that meet all terms, sorted. Those without any tag are never meant."""
    by_key: defaultdict[InstanceKey, dict[str, str]] = defaultdict(dict)
    for tag in tags:
        by_key[tag.key][tag.name] = tag.value
    wanted = tuple(terms)
    return tuple(sorted(key for key, has in by_key.items() if all(term.meets(has) for term in wanted)))
