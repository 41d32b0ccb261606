"""Which key a name in a file means: known in any case, ignored, misspelt or unknown."""

from __future__ import annotations

from services.config.settings import KEYS

__all__ = ["IGNORED_KEYS", "MISSPELT_WITHIN", "canonical_name", "is_ignored", "nearest_key"]

IGNORED_KEYS = (
    "DatabaselessMode__experimental",
    "BufferBinlogEvents",
    "BinlogFileHistoryDays",
    "MaintenanceOwner",
    "ReadLongRunningQueries",
    "DiscoveryPollSeconds",
    "ActiveNodeExpireSeconds",
    "AuditPageSize",
    "SlaveStartPostWaitMilliseconds",
    "MySQLTopologyMaxPoolConnections",
    "MaintenancePurgeDays",
    "MaintenanceExpireMinutes",
    "HttpTimeoutSeconds",
    "AgentAutoDiscover",
    "PseudoGTIDCoordinatesHistoryHeuristicMinutes",
    "PseudoGTIDPreferIndependentMultiMatch",
    "MaxOutdatedKeysToShow",
    "StatusSimpleHealth",
)
"""Keys of earlier versions of orchestrator: known, without effect."""

MISSPELT_WITHIN = 2
"""A name this many edits away from a key is taken for a misspelling of it."""

_CANONICAL = {name.lower(): name for name in KEYS}
_IGNORED = frozenset(name.lower() for name in IGNORED_KEYS)


def canonical_name(name: str) -> str | None:
    """The known key that ``name`` is, without regard to case; None if there is none."""
    return _CANONICAL.get(name.lower())


def is_ignored(name: str) -> bool:
    """Whether ``name`` is a key of earlier versions, without regard to case."""
    return name.lower() in _IGNORED


def nearest_key(name: str) -> str | None:
    """The known key of which ``name`` is a misspelling; None if it is too far from all."""
    lowered = name.lower()
    distances = ((_distance(lowered, known), canonical) for known, canonical in _CANONICAL.items())
    distance, nearest = min(distances)
    return nearest if distance <= MISSPELT_WITHIN else None


def _distance(left: str, right: str) -> int:
    """Levenshtein distance; every distance above MISSPELT_WITHIN is given as MISSPELT_WITHIN + 1.

    Only the band of cells that can stay within the limit is computed, so that a file of nonsense is cheap.
    """
    beyond = MISSPELT_WITHIN + 1
    if abs(len(left) - len(right)) > MISSPELT_WITHIN or len(set(left) ^ set(right)) > 2 * MISSPELT_WITHIN:
        return beyond  # one edit adds at most one character and removes at most one
    above = {column: column for column in range(MISSPELT_WITHIN + 1)}
    for row, mark in enumerate(left, 1):
        current: dict[int, int] = {}
        for column in range(max(0, row - MISSPELT_WITHIN), min(len(right), row + MISSPELT_WITHIN) + 1):
            if column == 0:
                current[0] = row
                continue
            current[column] = min(
                above.get(column, beyond) + 1,
                current.get(column - 1, beyond) + 1,
                above.get(column - 1, beyond) + (mark != right[column - 1]),
            )
        if min(current.values(), default=beyond) > MISSPELT_WITHIN:
            return beyond
        above = current
    return min(above.get(len(right), beyond), beyond)
