r"""The filters of the configuration: which clusters and which hosts a key speaks of.

Two grammars, as the reference has them:

* *Cluster filter* (``RecoverMasterClusterFilters`` …): equal to the cluster's name or alias; ``*``;
  ``alias=<exact>``; ``alias~=<regex>``; else a regular expression searched in the cluster's name.
* *Host filter* (``…IgnoreHostnameFilters``): an IP address, which must equal the host; else a regular
  expression searched in ``host:port`` (or the host alone, where a key says so).

Filters are checked when the configuration is read (``check_*``); the matching functions rely on that
and raise ``re.error`` for an invalid one.
"""

from __future__ import annotations

import ipaddress
import re
import warnings
from collections.abc import Iterable, Mapping
from functools import lru_cache

from services.config.errors import UnfitValueError

__all__ = [
    "check_cluster_filter",
    "check_host_filter",
    "check_pattern",
    "cluster_matches",
    "endpoint_matches",
    "hold_down_milliseconds",
    "hostname_matches",
]

_EXACT_ALIAS = "alias="
_ALIAS_PATTERN = "alias~="
_POSIX_CLASS = re.compile(r"\[:\^?[a-z]+:\]")


def cluster_matches(filters: Iterable[str], name: str, alias: str) -> bool:
    """Whether one of the cluster filters speaks of the cluster with this name and alias ("" for none)."""
    return any(_cluster_rank(entry, name, alias) for entry in filters)


def endpoint_matches(filters: Iterable[str], hostname: str, port: int) -> bool:
    """Whether one of the host filters matches ``hostname:port``."""
    return any(_host_entry_matches(entry, hostname, f"{hostname}:{port}") for entry in filters)


def hostname_matches(filters: Iterable[str], hostname: str) -> bool:
    """Whether one of the host filters matches the host alone (``RecoveryIgnoreHostnameFilters``)."""
    return any(_host_entry_matches(entry, hostname, hostname) for entry in filters)


def hold_down_milliseconds(default: int, by_cluster: Mapping[str, int], name: str, alias: str) -> int:
    """How long a finding about this cluster waits before it is acted upon.

    ``by_cluster`` maps cluster filters to milliseconds. The most exact filter that matches decides
    (name or alias, then a regular expression, then ``*``); among equally exact ones the longest time.
    """
    matching = [
        (rank, milliseconds)
        for entry, milliseconds in by_cluster.items()
        if (rank := _cluster_rank(entry, name, alias))
    ]
    return max(matching)[1] if matching else default


def check_pattern(text: str, groups: int = 0) -> None:
    """Refuse what is no regular expression, or one with fewer than ``groups`` groups."""
    if _POSIX_CLASS.search(text):
        raise UnfitValueError("has a character class such as [[:alpha:]]; write it out, such as [A-Za-z]")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Python warns of what it may read otherwise one day
            compiled = re.compile(text)
    except (re.error, Warning, RecursionError, OverflowError) as error:
        reason = str(error)
    else:
        if compiled.groups >= groups:
            return
        raise UnfitValueError("has no group; put parentheses around the part to take, such as ^([a-z]+)")
    raise UnfitValueError(f"is not a valid regular expression ({reason}); correct it")


def check_cluster_filter(text: str) -> None:
    """Refuse a cluster filter that is empty or holds an invalid regular expression."""
    pattern = text
    if text.startswith(_ALIAS_PATTERN):
        pattern = text.removeprefix(_ALIAS_PATTERN)
    elif text.startswith(_EXACT_ALIAS):
        pattern = re.escape(text.removeprefix(_EXACT_ALIAS))
    elif text == "*":
        return
    if not pattern:
        raise UnfitValueError(
            'names no cluster; write a name, an alias, "alias=…", "alias~=<regex>", "*" or remove it'
        )
    check_pattern(pattern)


def check_host_filter(text: str) -> None:
    """Refuse a host filter that is empty (it would match every host) or invalid."""
    if not text:
        raise UnfitValueError("is empty and would match every host; write a pattern or remove it")
    if not _is_ip_address(text):
        check_pattern(text)


def _cluster_rank(entry: str, name: str, alias: str) -> int:
    """How exactly a filter names a cluster: 3 by name or alias, 2 by pattern, 1 as ``*``, 0 not at all."""
    if not entry:
        return 0
    if entry in (name, alias):
        return 3
    if entry == "*":
        return 1
    if entry.startswith(_EXACT_ALIAS):
        return 3 if entry.removeprefix(_EXACT_ALIAS) == alias else 0
    if entry.startswith(_ALIAS_PATTERN):
        return 2 if re.search(entry.removeprefix(_ALIAS_PATTERN), alias) else 0
    return 2 if re.search(entry, name) else 0


def _host_entry_matches(entry: str, hostname: str, text: str) -> bool:
    if _is_ip_address(entry):
        return entry == hostname
    return bool(entry) and re.search(entry, text) is not None


@lru_cache(maxsize=1024)
def _is_ip_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
