"""Commands that ask what is known of servers beside those of ``client_commands``."""

from __future__ import annotations

from api.cli import client_printing as show
from api.cli.client_rows import HINT, ask, change

__all__ = ["LOOKING"]

LOOKING = (
    ask(
        "topology-tags",
        "topology-tags/{hint}",
        show.details_text,
        HINT,
        "Show an ascii-graph of a topology with the tags of its instances",
    ),
    change(
        "snapshot-topologies",
        "snapshot-topologies",
        show.details_text,
        "",
        "Take a snapshot of all topologies",
    ),
    ask(
        "which-cluster-osc-replicas",
        "cluster-osc-replicas/{hint}",
        show.keys,
        HINT,
        "Output replicas that could serve as control replicas of an online schema change",
    ),
    ask(
        "which-cluster-osc-running-replicas",
        "cluster-osc-replicas/{hint}",
        show.running,
        HINT,
        "Output those of them that replicate",
    ),
    ask(
        "which-gtid-errant",
        "instance/{instance}",
        show.field("GtidErrant"),
        "instance",
        "Output the errant transactions of an instance",
    ),
    ask(
        "locate-gtid-errant",
        "locate-gtid-errant/{instance}",
        show.details_texts,
        "instance",
        "List the binary logs that have errant transactions of an instance",
    ),
    ask(
        "last-pseudo-gtid",
        "last-pseudo-gtid/{instance}",
        show.details_text,
        "instance",
        "Find the last Pseudo-GTID entry of an instance",
    ),
    ask(
        "can-replicate-from",
        "can-replicate-from/{instance}/{destination}",
        show.allowed,
        "instance destination",
        "Output the destination (-d) if the instance (-i) can replicate from it, else nothing",
    ),
    ask(
        "can-replicate-from-gtid",
        "can-replicate-from-gtid/{instance}/{destination}",
        show.allowed,
        "instance destination",
        "Output the destination (-d) if the instance (-i) can replicate from it by GTID, else nothing",
    ),
)
