"""Commands that change replication: who replicates from whom, and the settings of one server."""

from __future__ import annotations

from api.cli import client_printing as show
from api.cli.client_printing import Printer
from api.cli.client_rows import HINT, Command, ask, change

__all__ = ["MOVING"]


def _below(name: str, description: str, printer: Printer = show.details_relation, path: str = "") -> Command:
    """An instance (-i) goes below another (-d)."""
    path = f"{path or name}/{{instance}}/{{destination}}"
    return change(name, path, printer, "instance destination", description)


def _one(name: str, description: str, printer: Printer = show.details_instance) -> Command:
    return change(name, f"{name}/{{instance}}", printer, "instance", description)


_RELOCATIONS = (
    _below("relocate", "Relocate a replica beneath another instance"),
    _below(
        "relocate-replicas", "Relocate all replicas of an instance beneath another", show.details_instances
    ),
    _below("match", "Match a replica beneath another instance by Pseudo-GTID"),
    _one("match-up", "Match a replica one level up by Pseudo-GTID", show.details_relation),
    _one("match-up-replicas", "Match replicas of an instance one level up by Pseudo-GTID", show.details_key),
    _below("move-below", "Move a replica beneath its sibling"),
    _below("move-equivalent", "Move a replica beneath another instance by a recorded equal position"),
    # The route is move-below-gtid; the old client asks for one that there is not.
    _below("move-gtid", "Move a replica beneath another instance by GTID", path="move-below-gtid"),
    _below(
        "move-replicas-gtid", "Move all replicas of an instance beneath another by GTID", show.details_key
    ),
    _one("move-up", "Move a replica one level up", show.details_relation),
    _one("move-up-replicas", "Move replicas of an instance one level up", show.details_instances),
    _below("repoint", "Make a replica replicate from another instance at the same position"),
    _one("repoint-replicas", "Repoint all replicas of an instance to it", show.details_instances),
    _one("make-co-master", "Make an instance the co-master of its master", show.details_relation),
    _one("take-master", "Swap an instance and its master", show.details_relation),
    _one("take-siblings", "Turn all siblings of a replica into its replicas", show.details_relation),
)

_CONTROL = (
    _one("stop-replica", "Stop replication on an instance"),
    _one("stop-replica-nice", "Stop replication on an instance once all that was received is applied"),
    _one("start-replica", "Start replication on an instance"),
    _one("restart-replica", "Stop and start replication on an instance"),
    _one("reset-replica", "Issue RESET REPLICA on an instance"),
    _one("change-master-credentials", "Have an instance use the replication credentials anew"),
    _one("detach-replica", "Stop a replica by giving its source a name that cannot be reached"),
    _one("reattach-replica", "Undo detach-replica"),
    _one("detach-replica-master-host", "The same as detach-replica"),
    _one("reattach-replica-master-host", "The same as reattach-replica"),
    _one("skip-query", "Skip the statement at which a replica stopped"),
    _one("gtid-errant-reset-master", "Reset the master's state on a replica to drop errant transactions"),
    _one("gtid-errant-inject-empty", "Inject empty transactions on the master for errant ones"),
    _one("enable-semi-sync-master", "Enable semi-sync on the source side"),
    _one("disable-semi-sync-master", "Disable semi-sync on the source side"),
    _one("enable-semi-sync-replica", "Enable semi-sync on the replica side"),
    _one("disable-semi-sync-replica", "Disable semi-sync on the replica side"),
    _one("set-read-only", "Set an instance read-only"),
    _one("set-writeable", "Set an instance writeable"),
    _one("flush-binary-logs", "Flush binary logs of an instance"),
    change(
        "purge-binary-logs",
        "purge-binary-logs/{instance}/{binlog}",
        show.details_instance,
        "instance binlog",
        "Purge binary logs up to a file (-n)",
    ),
    change(
        "delay-replication",
        "delay-replication/{instance}/{seconds}",
        show.details_json,
        "instance seconds",
        "Have a replica lag by so many seconds (-S)",
    ),
    ask(
        "restart-replica-statements",
        "restart-replica-statements/{instance}?q={query}",
        show.details_json,
        "instance query",
        "Output the statements that stop replication, run one (-q), and start it again",
    ),
)

_TAKEOVERS = (
    change(
        "graceful-master-takeover",
        "graceful-master-takeover/{hint}{to}",
        show.details_successor,
        HINT,
        "Promote a replica in place of a master that lives, optionally a certain one (-d)",
    ),
    change(
        "graceful-master-takeover-auto",
        "graceful-master-takeover-auto/{hint}{to}",
        show.details_successor,
        HINT,
        "The same; the server may choose, and starts replication on the old master",
    ),
    change(
        "force-master-failover",
        "force-master-failover/{hint}",
        show.details_successor,
        HINT,
        "Fail over the master of a cluster whatever its state",
    ),
    change(
        "force-master-takeover",
        "force-master-takeover/{hint}/{destination}",
        show.details_successor,
        f"{HINT} destination",
        "The same, promoting a certain replica (-d)",
    ),
    change(
        "submit-masters-to-kv-stores",
        "submit-masters-to-kv-stores/{alias}",
        show.details_pairs,
        "",
        "Submit a cluster's master (-a), or all masters, to key-value stores",
    ),
)

MOVING = (*_RELOCATIONS, *_CONTROL, *_TAKEOVERS)
