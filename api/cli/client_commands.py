"""The commands of the client, as a table: what each needs, asks and prints (client-commands.md 4, 5).

A path is a template over the options, made fit for a URL: ``{instance}`` and ``{destination}`` are
``host/port``, ``{to}`` is ``/host/port`` of the destination or nothing, ``{hint}`` is the alias or else
the raw text of ``-i``, and the others are percent-encoded texts.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from api.cli.client_options import ClientError, Options

__all__ = ["COMMANDS", "Command", "may_change", "one_line", "path_of"]

Printer = Callable[[Any], Iterator[str]]
"""Takes the whole response (of an envelope the whole too) and gives the lines to print."""


@dataclass(frozen=True, slots=True)
class Command:
    names: tuple[str, ...]
    description: str
    path: str
    show: Printer
    needs: tuple[str, ...] = ()
    """Fields of Options that may not be empty; ``a|b``: one of them."""
    changes: bool = False
    """It alters something: it is not asked again while it may have been carried out."""
    asks_leader: bool = False
    """Local to a raft node: the state of the endpoint must be Leader first."""


# How replies are printed. A key that is not there prints as ":null".


def _key(key: Any) -> str:
    key = key if isinstance(key, dict) else {}
    port = key.get("Port")
    return f"{key.get('Hostname') or ''}:{'null' if port is None else port}"


def _details(response: Any) -> Any:
    return response.get("Details") if isinstance(response, dict) else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _raw(value: Any) -> str:
    """As ``jq -r``: a text without quotes, all else as JSON."""
    return value if isinstance(value, str) else one_line(value)


def one_line(value: Any) -> str:
    """JSON as the old client's shell echoes it: jq's lines, with one blank for each line break."""
    lines = json.dumps(value, indent=2, ensure_ascii=False).splitlines()
    return " ".join(line.strip() for line in lines)


def _nothing(_response: Any) -> Iterator[str]:
    return iter(())


def _text(response: Any) -> Iterator[str]:
    yield _raw(response)


def _details_text(response: Any) -> Iterator[str]:
    yield _raw(_details(response))


def _details_key(response: Any) -> Iterator[str]:
    yield _key(_details(response))


def _details_instance(response: Any) -> Iterator[str]:
    details = _details(response)
    yield _key(details.get("Key") if isinstance(details, dict) else None)


def _keys(response: Any) -> Iterator[str]:
    return (_key(instance["Key"]) for instance in _list(response))


def _field(*names: str) -> Printer:
    """One field of the response, or of each element; several are joined with commas."""

    def show(response: Any) -> Iterator[str]:
        for value in response if isinstance(response, list) else [response]:
            yield ",".join(_raw(value.get(name)) for name in names)

    return show


def _field_key(name: str) -> Printer:
    def show(response: Any) -> Iterator[str]:
        yield _key(response.get(name))

    return show


def _if_threads_are(state: int) -> Printer:
    def show(instance: Any) -> Iterator[str]:
        threads = (instance["ReplicationSQLThreadState"], instance["ReplicationIOThreadState"])
        if threads == (state, state):
            yield _key(instance["Key"])

    return show


def _broken(response: Any) -> Iterator[str]:
    for instance in _list(response):
        runs = instance["ReplicationSQLThreadRuning"] and instance["ReplicationIOThreadRuning"]
        if not runs and (instance["LastSQLError"] or instance["LastIOError"]):
            yield _key(instance["Key"])


def _dominant_data_center(response: Any) -> Iterator[str]:
    counts = Counter(str(instance["DataCenter"]) for instance in _list(response))
    if counts:
        yield max(counts, key=lambda name: (counts[name], name))


def _analysis(response: Any) -> Iterator[str]:
    for entry in _list(_details(response)):
        text = entry["Analysis"]
        if text == "NoProblem" and entry.get("StructureAnalysis"):
            text = entry["StructureAnalysis"][0]
        cluster = entry["ClusterDetails"]["ClusterName"]
        yield f"{_key(entry['AnalyzedInstanceKey'])} (cluster {cluster}): {text}"


def _details_hostname(response: Any) -> Iterator[str]:
    details = _details(response)
    yield _raw(details.get("Hostname") if isinstance(details, dict) else None)


_HINT = "alias|instance"


def _ask(names: str, path: str, show: Printer, needs: str, description: str, **more: bool) -> Command:
    """A row of the table. ``names`` and ``needs`` are blank-separated."""
    return Command(tuple(names.split()), description, path, show, tuple(needs.split()), **more)


def _change(names: str, path: str, show: Printer, needs: str, description: str, **more: bool) -> Command:
    return _ask(names, path, show, needs, description, changes=True, **more)


# Names that need no path of their own stand in client.py: help, which-api, api.
_TABLE = (
    _change(
        "discover", "discover/{instance}", _details_instance, "instance", "Lookup an instance, investigate it"
    ),
    _change(
        "async-discover",
        "async-discover/{instance}",
        _details_instance,
        "instance",
        "Lookup an instance, investigate it in the background",
    ),
    _change("forget", "forget/{instance}", _nothing, "instance", "Forget about an instance's existence"),
    _change("forget-cluster", "forget-cluster/{hint}", _nothing, _HINT, "Forget about a cluster"),
    _ask("topology", "topology/{hint}", _details_text, _HINT, "Show an ascii-graph of a topology"),
    _ask(
        "topology-tabulated",
        "topology-tabulated/{hint}",
        _details_text,
        _HINT,
        "Show an ascii-graph of a topology, in tabulated form",
    ),
    _ask("clusters", "clusters-info", _field("ClusterName"), "", "List all clusters"),
    _ask(
        "clusters-alias",
        "clusters-info",
        _field("ClusterName", "ClusterAlias"),
        "",
        "List all clusters with their aliases",
    ),
    _ask("search", "search?s={search}", _keys, "instance", "Search for instances matching given text"),
    _ask(
        "instance which-instance",
        "instance/{instance}",
        _field_key("Key"),
        "instance",
        "Output the fully-qualified hostname:port of the given instance",
    ),
    _ask(
        "which-master",
        "instance/{instance}",
        _field_key("MasterKey"),
        "instance",
        "Output the master of a given instance",
    ),
    _ask(
        "which-replicas",
        "instance-replicas/{instance}",
        _keys,
        "instance",
        "Output the direct replicas of a given instance",
    ),
    _ask(
        "which-broken-replicas",
        "instance-replicas/{instance}",
        _broken,
        "instance",
        "Output the direct replicas of a given instance that do not replicate, for an error",
    ),
    _ask("which-cluster", "cluster-info/{hint}", _field("ClusterName"), _HINT, "Output a cluster's name"),
    _ask(
        "which-cluster-alias",
        "cluster-info/{hint}",
        _field("ClusterAlias"),
        _HINT,
        "Output a cluster's alias",
    ),
    _ask("which-cluster-master", "master/{hint}", _field("ClusterName"), _HINT, "Output a cluster's master"),
    _ask("which-cluster-instances", "cluster/{hint}", _keys, _HINT, "Output the members of a cluster"),
    _ask("all-clusters-masters", "masters", _keys, "", "List the writeable masters, one per cluster"),
    _ask("all-instances", "all-instances", _keys, "", "List all known instances"),
    _ask("downtimed", "downtimed/{hint}", _keys, "", "List downtimed instances, of one cluster or all"),
    _ask("dominant-dc", "masters", _dominant_data_center, "", "Name the data center of most masters"),
    _ask(
        "replication-analysis",
        "replication-analysis",
        _analysis,
        "",
        "Request an analysis of potential crash incidents in all known topologies",
    ),
    _ask(
        "is-replicating",
        "instance/{instance}",
        _if_threads_are(1),
        "instance",
        "Output the instance if it is replicating, else nothing",
    ),
    _ask(
        "is-replication-stopped",
        "instance/{instance}",
        _if_threads_are(0),
        "instance",
        "Output the instance if both of its replication threads are stopped, else nothing",
    ),
    _change(
        "register-candidate",
        "register-candidate/{instance}/{promotion_rule}",
        _details_key,
        "instance promotion_rule",
        "Set the promotion rule (-R) of an instance",
    ),
    # The old script asks twice, and the second time is about what the first has repaired already.
    # One request, with the wanted candidate in it, prints what both together were meant to print.
    _change(
        "recover",
        "recover/{instance}{to}",
        _details_key,
        "instance",
        "Do auto-recovery given a dead instance, optionally to a candidate (-d)",
    ),
    _change(
        "ack-cluster-recoveries",
        "ack-recovery/cluster/{hint}?comment={reason}",
        _details_text,
        f"{_HINT} reason",
        "Acknowledge recoveries of a cluster; this unblocks future ones",
    ),
    _change(
        "ack-all-recoveries",
        "ack-all-recoveries?comment={reason}",
        _details_text,
        "reason",
        "Acknowledge all recoveries; this unblocks future ones",
    ),
    _change(
        "disable-global-recoveries",
        "disable-global-recoveries",
        _details_text,
        "",
        "Disallow automated recoveries",
    ),
    _change(
        "enable-global-recoveries",
        "enable-global-recoveries",
        _details_text,
        "",
        "Allow automated recoveries",
    ),
    _ask(
        "check-global-recoveries",
        "check-global-recoveries",
        _details_text,
        "",
        "Show whether automated recoveries are enabled",
    ),
    _ask("raft-leader", "raft-leader", _text, "", "Get identity of raft leader", asks_leader=True),
    _ask("raft-health", "raft-health", _text, "", "Whether this node is part of a raft quorum"),
    _ask(
        "raft-leader-hostname",
        "status",
        _details_hostname,
        "",
        "Get hostname of raft leader",
        asks_leader=True,
    ),
    _change(
        "raft-elect-leader",
        "raft-yield-hint/{hostname}",
        _details_text,
        "hostname",
        "Request raft re-election, give a hint (-H) of the new leader's name",
        asks_leader=True,
    ),
)

COMMANDS: Mapping[str, Command] = {name: command for command in _TABLE for name in command.names}


_READS = frozenset(
    {command.path.partition("/")[0].partition("?")[0] for command in _TABLE if not command.changes}
    | {"audit", "audit-failure-detection", "audit-recovery", "audit-recovery-steps", "blocked-recoveries"}
    | {"clusters", "events", "health", "leader-check", "problems"}
)


def may_change(path: str) -> bool:
    """Whether asking for this path may alter something: what is not known to only read may."""
    return path.strip("/").partition("/")[0].partition("?")[0] not in _READS


def path_of(command: Command, options: Options) -> str:
    """The path to ask for. Raises ClientError that names a missing option."""
    for need in command.needs:
        if not any(getattr(options, name) for name in need.split("|")):
            raise ClientError(f"{need.replace('_', '-')} must be provided")
    destination = _host_and_port(options.destination, options.default_port)
    return command.path.format(
        instance=_host_and_port(options.instance, options.default_port),
        destination=destination,
        to=f"/{destination}" if destination else "",
        hint=_encoded(options.alias or options.instance),
        search=_encoded(options.instance),
        hostname=_encoded(options.hostname),
        promotion_rule=_encoded(options.promotion_rule),
        reason=_encoded(options.reason),
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
