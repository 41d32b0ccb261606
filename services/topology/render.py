"""A cluster as text, as ``-c topology``, ``-tabulated`` and ``-tags`` print it (client-commands.md 6).

Each server is one line: a marker that says how it replicates, its name, and six tokens. Widths are
counted in bytes, as people's scripts expect them: a ``‡`` shifts its row by two.

One thing differs on purpose. Where a cluster has several tops, or rings beside a top, the reference
shows the last top only; here every server of the cluster is shown, exactly once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from services.topology.instance import Instance, ThreadState
from services.topology.keys import InstanceKey

__all__ = ["RenderPolicy", "tokens", "topology_tabulated", "topology_tags", "topology_text"]

_LAG_COLUMN = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderPolicy:
    reasonable_maintenance_replication_lag_seconds: int = 20


def topology_text(instances: Iterable[Instance], policy: RenderPolicy) -> str:
    """Lines of ``name [token,token]``, padded so that all first ``[`` stand in one column."""
    return "\n".join(line for line, _ in _lines(instances, policy))


def topology_tags(
    instances: Iterable[Instance], policy: RenderPolicy, tags: Mapping[InstanceKey, Iterable[tuple[str, str]]]
) -> str:
    """The same with ``[tag,name=value]`` behind each line. ``tags``: name and value, "" for none."""
    return "\n".join(f"{line} [{_tags(tags.get(key, ()))}]" for line, key in _lines(instances, policy))


def _tags(tags: Iterable[tuple[str, str]]) -> str:
    return ",".join(f"{name}={value}" if value else name for name, value in sorted(tags))


def _lines(instances: Iterable[Instance], policy: RenderPolicy) -> list[tuple[str, InstanceKey]]:
    named = list(_named(instances))
    lines = [
        f"{name} [{','.join(token for token in tokens(instance, policy) if token)}]"
        for name, instance in named
    ]
    widths = [_width(line[: line.index("[")]) for line in lines]
    widest = max(widths, default=0)
    padded = (
        line.replace("[", " " * (widest - width) + "[", 1) for line, width in zip(lines, widths, strict=True)
    )
    return [(line, instance.key) for line, (_, instance) in zip(padded, named, strict=True)]


def topology_tabulated(instances: Iterable[Instance], policy: RenderPolicy) -> str:
    """Lines of seven cells (name and tokens) with ``|`` between them, each padded to its column."""
    rows = [(name, *tokens(instance, policy)) for name, instance in _named(instances)]
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    return "\n".join("|".join(_cells(row, widths)) for row in rows)


def tokens(instance: Instance, policy: RenderPolicy) -> tuple[str, str, str, str, str, str]:
    """Lag, status, version, ``ro`` or ``rw``, binary log format, extras (may be empty)."""
    return (
        _lag(instance),
        _status(instance, policy),
        instance.version,
        "ro" if instance.read_only else "rw",
        instance.binlog_format if instance.log_bin_enabled else "nobinlog",
        _extras(instance),
    )


def _lag(instance: Instance) -> str:
    if instance.exec_coordinates.is_detached:
        return "detached"
    if not (instance.is_last_check_valid and instance.is_recently_checked):
        return "unknown"
    if instance.is_replica and (not instance.replication_running or instance.replication_lag_seconds is None):
        return "null"
    return f"{instance.replication_lag_seconds or 0}s"


def _status(instance: Instance, policy: RenderPolicy) -> str:
    if not instance.is_last_check_valid:
        return "invalid"
    if not instance.is_recently_checked:
        return "unchecked"
    if instance.is_replica and not instance.replication_running:
        return "nonreplicating"
    # With a delay configured what counts is the distance from it, in both directions.
    behind_seconds = abs((instance.seconds_behind_master or 0) - instance.sql_delay_seconds)
    if instance.is_replica and behind_seconds > policy.reasonable_maintenance_replication_lag_seconds:
        return "lag"
    return "ok"


def _extras(instance: Instance) -> str:
    replicates_by_gtid = instance.using_oracle_gtid or instance.using_mariadb_gtid
    extras = (
        (">>", instance.log_bin_enabled and instance.log_replica_updates_enabled),
        (
            "GTID:errant" if instance.gtid_errant else "GTID",
            replicates_by_gtid or instance.supports_oracle_gtid,
        ),
        ("P-GTID", instance.using_pseudo_gtid),
        ("semi:master", instance.semi_sync_master_status),
        ("semi:replica", instance.semi_sync_replica_status),
        ("downtimed", instance.is_downtimed),
    )
    return ",".join(text for text, applies in extras if applies)


def _named(instances: Iterable[Instance]) -> Iterator[tuple[str, Instance]]:
    """Each server behind its prefixed name, in the order of the lines."""
    for depth, instance in _ordered(instances):
        alias = f" ({instance.instance_alias})" if instance.instance_alias else ""
        yield f"{_prefix(depth, instance)}{instance.key}{alias}", instance


def _prefix(depth: int, instance: Instance) -> str:
    if depth == 0:
        return ""
    threads = (instance.receiver_state, instance.applier_state)
    if _is_group_secondary(instance):
        marker = "‡"
    elif (
        threads == (ThreadState.RUNNING, ThreadState.RUNNING)
        and instance.is_last_check_valid
        and instance.is_recently_checked
    ):
        marker = "+"
    else:
        marker = "-"
    return f"{'  ' * (depth - 1)}{marker} "


def _ordered(instances: Iterable[Instance]) -> Iterator[tuple[int, Instance]]:
    """Depth and server, depth first, siblings by name: the tops, then the rings that have no top.

    Of a ring of two, each co-master is a branch of its own at depth 1. A ring of more has no member
    that is known to be above the others: it is opened at the first by name.
    """
    by_key = {instance.key: instance for instance in sorted(instances, key=lambda instance: instance.key)}
    children: dict[InstanceKey, list[Instance]] = {}
    tops: list[Instance] = []
    for instance in by_key.values():
        parent = _parent(instance, by_key)
        if parent is None:
            tops.append(instance)
        else:
            children.setdefault(parent, []).append(instance)

    shown: set[InstanceKey] = set()
    co_masters = [instance for instance in by_key.values() if instance.is_co_master]
    starts = ((0, tops), (1, co_masters), (1, list(by_key.values())))
    for depth, candidates in starts:
        for candidate in candidates:
            if candidate.key not in shown:
                yield from _branch(depth, candidate, children, shown)


def _branch(
    depth: int,
    top: Instance,
    children: Mapping[InstanceKey, Sequence[Instance]],
    shown: set[InstanceKey],
) -> Iterator[tuple[int, Instance]]:
    """A server and what is below it. A stack, not recursion: a chain may be longer than Python allows."""
    stack = [(depth, top)]
    while stack:
        depth, instance = stack.pop()
        if instance.key in shown or (instance.is_co_master and depth > 1):
            continue
        shown.add(instance.key)
        yield depth, instance
        below = children.get(instance.key, ())
        stack.extend((depth + 1, child) for child in reversed(below))


def _parent(instance: Instance, known: Mapping[InstanceKey, Instance]) -> InstanceKey | None:
    """Whom it hangs on, if that server is known: the primary for a group's secondary, else its master."""
    if _is_group_secondary(instance):
        parent = instance.replication_group_primary_key
    elif _is_group_primary(instance) and not instance.is_replica:
        return None
    else:
        parent = instance.master_key
    return parent if parent in known and parent != instance.key else None


def _is_group_secondary(instance: Instance) -> bool:
    return instance.is_group_member and instance.replication_group_member_role == "SECONDARY"


def _is_group_primary(instance: Instance) -> bool:
    return instance.is_group_member and instance.replication_group_member_role == "PRIMARY"


def _cells(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    for column, (cell, width) in enumerate(zip(row, widths, strict=True)):
        padding = " " * (width - _width(cell))
        yield padding + cell if column == _LAG_COLUMN else cell + padding


def _width(text: str) -> int:
    return len(text.encode())
