"""In which binary logs given transactions are, told from what each file says that was before it."""

from __future__ import annotations

from collections.abc import Sequence

from services.topology.gtid import GtidSet

__all__ = ["files_with"]


def files_with(
    wanted: GtidSet, previous: Sequence[tuple[str, GtidSet]], executed: GtidSet
) -> tuple[str, ...]:
    """Names of the files in which a part of ``wanted`` is, in order.

    ``previous`` is each file with the set of all before it (``Previous_gtids``), oldest first; the last file
    ends with what is ``executed`` now.
    """
    ends = [*(before for _, before in previous), executed][1:]
    return tuple(
        name
        for (name, before), end in zip(previous, ends, strict=True)
        if not ((end - before) & wanted).is_empty
    )
