"""Hypothesis strategies for GTID set texts in every spelling that a server reads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

from hypothesis import strategies as st

from services.topology.gtid import MAX_GNO

__all__ = ["UUIDS", "Sample", "samples"]

# Few servers, tags and numbers, so that two samples meet often. The order of the UUIDs is not that of
# their last digits; the tags are prefixes of each other and differ in characters around the letters.
UUIDS = (
    "3e11fa47-71ca-11e1-9e33-c80aa9429562",
    "3e11fa47-71ca-11e1-9e33-c80aa942956a",
    "0fffffff-ffff-ffff-ffff-ffffffffffff",
)
_TAGS = ("a", "a_", "a1", "aa", "_", "z" * 32)
_FIRST_NUMBERS = (*range(1, 26), *range(MAX_GNO - 10, MAX_GNO + 1))


@dataclass(frozen=True, slots=True)
class Sample:
    text: str = ""
    members: frozenset[tuple[str, str, int]] = frozenset()
    """(uuid, tag, number), one by one: the slow, obvious model of a set."""
    uuid: str = ""
    tag: str = ""  # these two: where the text stops, for what is appended


@dataclass(frozen=True, slots=True)
class _Part:
    """What stands between colons or commas. One of uuid, tag and numbers is set."""

    text: str
    uuid: str = ""
    tag: str = ""
    numbers: range = range(0)


def _spelled_intervals(first: int, last: int) -> tuple[str, ...]:
    if first == last:
        return (f"{first}", f"{first}-{first}", f" 0{first} ")
    return (f"{first}-{last}", f" {first}\v- {last} ", f"00{first}-000{last}\r\n")


_HEADS = tuple(
    _Part(text, uuid=uuid)
    for uuid in UUIDS
    for text in (uuid, uuid.upper(), f"{{{uuid}}}", uuid.replace("-", ""), f"\n {uuid.title()}\t")
)
_TAG_PARTS = tuple(_Part(text, tag=tag) for tag in _TAGS for text in (tag, tag.upper(), f" {tag}\n"))
_INTERVALS = tuple(
    _Part(text, numbers=range(first, last + 1))
    for first in _FIRST_NUMBERS
    for last in range(first - 1, min(first + 6, MAX_GNO) + 1)  # the first one is empty
    for text in _spelled_intervals(first, last)
)


def _append(sample: Sample, part: _Part) -> Sample:
    if part.uuid:
        separator = "" if not sample.text else ",\n" if part.uuid == sample.uuid else " ,, "
        return Sample(sample.text + separator + part.text, sample.members, part.uuid)
    if not sample.uuid:
        sample = _append(sample, _HEADS[0])
    tag = part.tag or sample.tag
    members = sample.members.union((sample.uuid, tag, number) for number in part.numbers)
    return Sample(f"{sample.text}:{part.text}", members, sample.uuid, tag)


def _assembled(parts: list[_Part]) -> Sample:
    return reduce(_append, parts, Sample())


def samples() -> st.SearchStrategy[Sample]:
    # One draw for each part, because draws are what takes time; the factors make kinds about as frequent
    # as in a text of a few servers with a few tags.
    weighted = (*_HEADS * 18, *_TAG_PARTS * 12, *_INTERVALS)
    return st.lists(st.sampled_from(weighted), max_size=16).map(_assembled)
