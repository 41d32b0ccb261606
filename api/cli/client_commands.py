"""The commands of the client, as a table (client-commands.md 5), and the path of each.

See ``client_rows`` for what a row says.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from api.cli import client_printing as show
from api.cli.client_looking import LOOKING
from api.cli.client_moving import MOVING
from api.cli.client_options import ClientError, Options
from api.cli.client_registrations import REGISTRATIONS
from api.cli.client_rows import HINT, Command, ask, change

__all__ = ["COMMANDS", "may_change", "path_of"]

# Names that need no path of their own stand in client.py: help, which-api, api.
_TABLE = (
    change(
        "discover",
        "discover/{instance}",
        show.details_instance,
        "instance",
        "Lookup an instance, investigate it",
    ),
    change(
        "async-discover",
        "async-discover/{instance}",
        show.details_instance,
        "instance",
        "Lookup an instance, investigate it in the background",
    ),
    change("forget", "forget/{instance}", show.nothing, "instance", "Forget about an instance's existence"),
    change("forget-cluster", "forget-cluster/{hint}", show.nothing, HINT, "Forget about a cluster"),
    ask("topology", "topology/{hint}", show.details_text, HINT, "Show an ascii-graph of a topology"),
    ask(
        "topology-tabulated",
        "topology-tabulated/{hint}",
        show.details_text,
        HINT,
        "Show an ascii-graph of a topology, in tabulated form",
    ),
    ask("clusters", "clusters-info", show.field("ClusterName"), "", "List all clusters"),
    ask(
        "clusters-alias",
        "clusters-info",
        show.field("ClusterName", "ClusterAlias"),
        "",
        "List all clusters with their aliases",
    ),
    ask("search", "search?s={search}", show.keys, "instance", "Search for instances matching given text"),
    ask(
        "instance which-instance",
        "instance/{instance}",
        show.field_key("Key"),
        "instance",
        "Output the fully-qualified hostname:port of the given instance",
    ),
    ask(
        "which-master",
        "instance/{instance}",
        show.field_key("MasterKey"),
        "instance",
        "Output the master of a given instance",
    ),
    ask(
        "which-replicas",
        "instance-replicas/{instance}",
        show.keys,
        "instance",
        "Output the direct replicas of a given instance",
    ),
    ask(
        "which-broken-replicas",
        "instance-replicas/{instance}",
        show.broken,
        "instance",
        "Output the direct replicas of a given instance that do not replicate, for an error",
    ),
    ask("which-cluster", "cluster-info/{hint}", show.field("ClusterName"), HINT, "Output a cluster's name"),
    ask(
        "which-cluster-alias",
        "cluster-info/{hint}",
        show.field("ClusterAlias"),
        HINT,
        "Output a cluster's alias",
    ),
    ask(
        "which-cluster-master", "master/{hint}", show.field("ClusterName"), HINT, "Output a cluster's master"
    ),
    ask("which-cluster-instances", "cluster/{hint}", show.keys, HINT, "Output the members of a cluster"),
    ask("all-clusters-masters", "masters", show.keys, "", "List the writeable masters, one per cluster"),
    ask("all-instances", "all-instances", show.keys, "", "List all known instances"),
    ask("downtimed", "downtimed/{hint}", show.keys, "", "List downtimed instances, of one cluster or all"),
    ask("dominant-dc", "masters", show.dominant_data_center, "", "Name the data center of most masters"),
    ask(
        "replication-analysis",
        "replication-analysis",
        show.analysis,
        "",
        "Request an analysis of potential crash incidents in all known topologies",
    ),
    ask(
        "is-replicating",
        "instance/{instance}",
        show.if_threads_are(1),
        "instance",
        "Output the instance if it is replicating, else nothing",
    ),
    ask(
        "is-replication-stopped",
        "instance/{instance}",
        show.if_threads_are(0),
        "instance",
        "Output the instance if both of its replication threads are stopped, else nothing",
    ),
    *REGISTRATIONS,
    # The old script asks twice, and the second time is about what the first has repaired already.
    # One request, with the wanted candidate in it, prints what both together were meant to print.
    change(
        "recover",
        "recover/{instance}{to}",
        show.details_key,
        "instance",
        "Do auto-recovery given a dead instance, optionally to a candidate (-d)",
    ),
    change(
        "ack-cluster-recoveries",
        "ack-recovery/cluster/{hint}?comment={reason}",
        show.details_text,
        f"{HINT} reason",
        "Acknowledge recoveries of a cluster; this unblocks future ones",
    ),
    change(
        "ack-all-recoveries",
        "ack-all-recoveries?comment={reason}",
        show.details_text,
        "reason",
        "Acknowledge all recoveries; this unblocks future ones",
    ),
    change(
        "disable-global-recoveries",
        "disable-global-recoveries",
        show.details_text,
        "",
        "Disallow automated recoveries",
    ),
    change(
        "enable-global-recoveries",
        "enable-global-recoveries",
        show.details_text,
        "",
        "Allow automated recoveries",
    ),
    ask(
        "check-global-recoveries",
        "check-global-recoveries",
        show.details_text,
        "",
        "Show whether automated recoveries are enabled",
    ),
    ask("raft-leader", "raft-leader", show.text, "", "Get identity of raft leader", asks_leader=True),
    ask("raft-health", "raft-health", show.text, "", "Whether this node is part of a raft quorum"),
    ask(
        "raft-leader-hostname",
        "status",
        show.details_hostname,
        "",
        "Get hostname of raft leader",
        asks_leader=True,
    ),
    change(
        "raft-elect-leader",
        "raft-yield-hint/{hostname}",
        show.details_text,
        "hostname",
        "Request raft re-election, give a hint (-H) of the new leader's name",
        asks_leader=True,
    ),
)

_ALL = (*_TABLE, *LOOKING, *MOVING)
COMMANDS: Mapping[str, Command] = {name: command for command in _ALL for name in command.names}


_READS = frozenset(
    {command.path.partition("/")[0].partition("?")[0] for command in _ALL if not command.changes}
    | {"audit", "audit-failure-detection", "audit-recovery", "audit-recovery-steps", "blocked-recoveries"}
    | {"bulk-promotion-rules", "cluster-pool-instances", "heuristic-cluster-pool-lag", "in-maintenance"}
    | {"clusters", "events", "health", "leader-check", "maintenance", "problems"}
)


_IN_PATHS = ("owner", "reason", "duration", "promotion_rule", "pool", "hostname", "binlog", "seconds")
_UNSENDABLE = frozenset("/#?")


def may_change(path: str) -> bool:
    """Whether asking for this path may alter something: what is not known to only read may."""
    return path.strip("/").partition("/")[0].partition("?")[0] not in _READS


def path_of(command: Command, options: Options) -> str:
    """The path to ask for. Raises ClientError that names a missing option."""
    for need in command.needs:
        if not any(getattr(options, name) for name in need.split("|")):
            raise ClientError(f"{need.replace('_', '-')} must be provided")
    for name in _IN_PATHS:
        if f"{{{name}}}" in command.path.partition("?")[0] and not _UNSENDABLE.isdisjoint(
            getattr(options, name)
        ):
            raise ClientError(f"{name.replace('_', '-')} must be without / # and ?: it is part of a path")
    destination = _host_and_port(options.destination, options.default_port)
    return command.path.format(
        instance=_host_and_port(options.instance, options.default_port),
        destination=destination,
        to=f"/{destination}" if destination else "",
        hint=_encoded(options.alias or options.instance),
        search=_encoded(options.instance),
        hostname=_encoded(options.hostname),
        binlog=_encoded(options.binlog),
        seconds=_encoded(options.seconds),
        query=_encoded(options.query),
        alias=_encoded(options.alias),
        promotion_rule=_encoded(options.promotion_rule),
        instances=_encoded(options.instance),
        owner=_encoded(options.owner),
        reason=_encoded(options.reason),
        duration=_encoded(options.duration),
        tag=_encoded(options.tag),
        pool=_encoded(options.pool),
    )


def _host_and_port(text: str, default_port: str) -> str:
    """``host:port`` as two path segments; ``[v6]:port`` too. Empty for an empty text."""
    if not text:
        return ""
    if text.startswith("[") and "]" in text:
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
    else:
        host, _, port = text.partition(":")
    return f"{_encoded(host)}/{_encoded(port or default_port)}"


def _encoded(text: str) -> str:
    return quote(text, safe=":")
