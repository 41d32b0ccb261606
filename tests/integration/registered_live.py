"""Every route and every command that registers something, on a live node: as the reference has them, and how
it shows elsewhere. Afterwards nothing is registered any more but a promotion rule."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from services.sandbox.server import MySQLServer
from tests.live_routes import bare, client, enveloped, get, key
from tests.node import Node, Watched, keys_of
from tests.servers import wait_until

__all__ = ["known_to_all", "what_is_registered"]

_SHOWN_SECONDS = 10
_EXPIRED_SECONDS = 20


def what_is_registered(watched: Watched) -> None:
    """With a master and two replicas that are well."""
    one = watched.topology.replicas[0]
    _downtime(watched, one)
    _maintenance(watched, one)
    _promotion_rules(watched, one)
    _names(watched, one)
    _tags(watched, one)
    _pools(watched, one)


def _shown(watched: Watched, server: MySQLServer, **fields: Any) -> None:
    """Until the instance shows these."""

    def shows() -> bool:
        instance = bare(watched, f"instance/{server.host}/{server.port}", "Instance")
        return {name: instance[name] for name in fields} == fields

    wait_until(shows, _SHOWN_SECONDS, lambda: bare(watched, "instance/{one}", "Instance"))


def _command(watched: Watched, *words: str) -> list[str]:
    status, lines, complaint = client(watched, *words)
    assert (status, complaint) == (0, ""), (words, lines, complaint)
    return lines


def _downtime(watched: Watched, one: MySQLServer) -> None:
    name = str(one.key)
    assert enveloped(watched, "begin-downtime/{one}/me/new%20disk/1h", "Key") == key(one)
    _shown(watched, one, IsDowntimed=True, DowntimeOwner="me", DowntimeReason="new disk")
    shown = bare(watched, "instance/{one}", "Instance")
    assert shown["DowntimeEndTimestamp"][10] == " " and shown["ElapsedDowntime"] >= 0
    for path in ("downtimed", "downtimed/{cluster}", f"downtimed/{name}"):
        assert keys_of(bare(watched, path, "[Instance]")) == [name]
    assert _command(watched, "downtimed") == [name]
    (line,) = (line for line in _command(watched, "topology", "-i", name) if name in line)
    assert line.endswith(",downtimed]")
    one.execute("STOP REPLICA SQL_THREAD")  # a problem, of which nobody is to hear
    wait_until(lambda: "not_replicating" in bare(watched, "instance/{one}", "Instance")["Problems"], 20)
    assert name not in keys_of(bare(watched, "problems", "[Instance]"))
    assert _command(watched, "end-downtime", "-i", name) == [name]
    _shown(watched, one, IsDowntimed=False, DowntimeOwner="", DowntimeReason="", DowntimeEndTimestamp="")
    assert name in keys_of(bare(watched, "problems", "[Instance]"))
    one.execute("START REPLICA SQL_THREAD")
    wait_until(lambda: bare(watched, "instance/{one}", "Instance")["Problems"] == [], 20)
    assert _command(watched, "begin-downtime", "-i", name, "-r", "soon over", "-u", "1s") == [name]
    wait_until(lambda: bare(watched, "downtimed", "[Instance]") == [], _EXPIRED_SECONDS)
    wait_until(lambda: _audited(watched, one)[-1] == "expire-downtime", _EXPIRED_SECONDS)
    assert _audited(watched, one) == ["begin-downtime", "end-downtime", "begin-downtime", "expire-downtime"]
    assert enveloped(watched, "end-downtime/{one}", "Key") == key(one), "there is none"


def _audited(watched: Watched, server: MySQLServer) -> list[str]:
    """What the node's own store has of the server's downtimes, oldest first."""
    rows = "SELECT type FROM audit_log WHERE host = ? AND port = ? AND type LIKE '%downtime' ORDER BY id"
    with closing(sqlite3.connect(f"file:{watched.node.database}?mode=ro", uri=True)) as store:
        return [kind for (kind,) in store.execute(rows, (server.host, server.port))]


def _maintenance(watched: Watched, one: MySQLServer) -> None:
    name = str(one.key)
    assert bare(watched, "maintenance", "[Maintenance]") == []
    assert enveloped(watched, "begin-maintenance/{one}/me/disk", "Key") == key(one)
    assert enveloped(watched, "begin-maintenance/{one}/you/disk", "0", "ERROR") == 0
    (listed,) = bare(watched, "maintenance", "[Maintenance]")
    assert (listed["Key"], listed["Owner"], listed["Reason"]) == (key(one), "me", "disk")
    assert enveloped(watched, "in-maintenance/{one}", "str") == name
    number = listed["MaintenanceId"]
    assert enveloped(watched, f"end-maintenance/{number}", "id") == number
    assert get(watched, "in-maintenance/{one}").json == {"Code": "OK", "Message": "false", "Details": ""}
    assert _command(watched, "begin-maintenance", "-i", name, "-r", "disk", "-o", "me") == [name]
    assert _command(watched, "end-maintenance", "-i", name) == [name]
    assert bare(watched, "maintenance", "[Maintenance]") == []


def _promotion_rules(watched: Watched, one: MySQLServer) -> None:
    name = str(one.key)
    assert enveloped(watched, "register-candidate/{one}/must_not", "Key") == key(one)
    _shown(watched, one, PromotionRule="must_not", IsCandidate=False)
    rules = bare(watched, "bulk-promotion-rules", "[CandidateDatabaseInstance]")
    assert [rule["PromotionRule"] for rule in rules if rule["Port"] == one.port] == ["must_not"]
    assert _command(watched, "register-candidate", "-i", name, "-R", "prefer") == [name]
    _shown(watched, one, PromotionRule="prefer", IsCandidate=True)


def _names(watched: Watched, one: MySQLServer) -> None:
    name, cluster = str(one.key), watched.node.api("clusters")[0]
    assert enveloped(watched, "set-cluster-alias/{cluster}?alias=b%C3%B6se", "null") is None
    wait_until(lambda: _command(watched, "which-cluster-alias", "-i", name) == ["böse"], _SHOWN_SECONDS)
    assert len(bare(watched, "cluster/alias/b%C3%B6se", "[Instance]")) == len(watched.topology.servers)
    assert enveloped(watched, "set-cluster-alias/{cluster}?alias=", "null") is None
    wait_until(lambda: _command(watched, "which-cluster-alias", "-i", name) == [cluster], _SHOWN_SECONDS)
    assert enveloped(watched, "register-hostname-unresolve/{one}/vip", "Key") == key(one)
    _shown(watched, one, UnresolvedHostname="vip")
    assert _command(watched, "deregister-hostname-unresolve", "-i", name) == [name]
    _shown(watched, one, UnresolvedHostname="")
    assert _command(watched, "register-hostname-unresolve", "-i", name, "-H", "vip2") == [name]
    _shown(watched, one, UnresolvedHostname="vip2")
    assert enveloped(watched, "deregister-hostname-unresolve/{one}", "Key") == key(one)
    assert bare(watched, f"host-attribute/{one.host}/rack/7", "true") is True
    (attribute,) = bare(watched, "host-attribute/attr/rack?valueMatch=7", "[HostAttributes]")
    assert (attribute["Hostname"], attribute["AttributeValue"]) == (one.host, "7")


def _tags(watched: Watched, one: MySQLServer) -> None:
    name, master = str(one.key), str(watched.topology.master.key)
    assert enveloped(watched, "tag/{one}?tag=role%3Dbackup", "Key") == key(one)
    assert enveloped(watched, "tag/{master}/role/main", "Key") == key(watched.topology.master)
    assert _command(watched, "tag", "-i", name, "-t", "new") == [name]
    assert bare(watched, "tags/{one}", "[str]") == ["new=", "role=backup"]
    assert _command(watched, "tags", "-i", name) == ["new=", "role=backup"]
    (line,) = (
        line for line in enveloped(watched, "topology-tags/{cluster}", "str").splitlines() if name in line
    )
    assert line.endswith("] [new,role=backup]")
    assert bare(watched, "tag-value/{one}?tag=role", "str") == "backup"
    assert _command(watched, "tag-value", "-i", name, "-t", "role") == ["backup"]
    assert bare(watched, "tagged?tag=role,~new", "[Key]") == [key(watched.topology.master)]
    assert _command(watched, "tagged", "-t", "role=backup") == [name]
    assert enveloped(watched, "untag/{one}?tag=role=other", "[Key]") == []
    assert _command(watched, "untag", "-i", name, "-t", "role") == [name]
    assert enveloped(watched, "untag/{one}/new", "[Key]") == [key(one)]
    assert _command(watched, "untag-all", "-t", "role=main") == [master]
    assert enveloped(watched, "untag-all?tag=role=main", "[Key]") == []
    assert bare(watched, "tagged?tag=role", "[Key]") == []


def _pools(watched: Watched, one: MySQLServer) -> None:
    name, cluster, master = str(one.key), watched.node.api("clusters")[0], watched.topology.master
    both = sorted((str(master.key), name))
    assert enveloped(watched, f"submit-pool-instances/web?instances={','.join(both)}", "str") == "web"
    pools = get(watched, "cluster-pool-instances/{cluster}").json["Details"]
    assert pools == {"web": [key(server) for server in sorted((master, one), key=lambda each: each.key)]}
    for hint in ("{cluster}", f"{name}/web"):
        found = enveloped(watched, f"heuristic-cluster-pool-instances/{hint}", "[Instance]")
        assert keys_of(found) == both
    assert enveloped(watched, "heuristic-cluster-pool-lag/{cluster}/web", "uint") >= 0
    enveloped(watched, "heuristic-cluster-pool-lag/{cluster}/nobody", "null", "ERROR")
    assert _command(watched, "submit-pool-instances", "-i", name, "-l", "web") == ["web"]
    words = ["which-heuristic-cluster-pool-instances", "-a", cluster]
    assert _command(watched, *words) == _command(watched, *words, "-l", "web") == [name]
    assert enveloped(watched, "submit-pool-instances/web?instances=", "str") == "web"
    assert get(watched, "cluster-pool-instances/{cluster}").json["Details"] == {}


def known_to_all(acting: Node, nodes: Sequence[Node], replica: MySQLServer) -> None:
    """What one node registers, all show; and so what it takes back."""
    server, cluster, shown = f"{replica.host}/{replica.port}", acting.api("clusters")[0], {}
    for path in (
        f"begin-downtime/{server}/me/disk/1h",
        f"begin-maintenance/{server}/me/disk",
        f"register-hostname-unresolve/{server}/vip",
        f"set-cluster-alias/{cluster}?alias=shop",
        f"tag/{server}?tag=role=backup",
        f"submit-pool-instances/web?instances={replica.key}",
        f"host-attribute/{replica.host}/rack/7",
    ):
        acting.api(path)

    def shows(node: Node) -> list[Any]:
        instance = node.instances().get(str(replica.key), {})
        shown[node.port] = [
            instance.get("IsDowntimed"),
            instance.get("UnresolvedHostname"),
            [(one["Key"], one["Owner"]) for one in node.api("maintenance")],
            [one["ClusterAlias"] for one in node.api("clusters-info")],
            node.api(f"tags/{server}"),
            node.api("tagged?tag=role"),
            node.api(f"cluster-pool-instances/{cluster}"),
            [one["AttributeValue"] for one in node.api("host-attribute/attr/rack")],
        ]
        return shown[node.port]

    name = key(replica)
    there = [True, "vip", [(name, "me")], ["shop"], ["role=backup"], [name], {"web": [name]}, ["7"]]
    gone = [False, "", [], [cluster], [], [], {}, ["7"]]
    for node in nodes:
        wait_until(lambda node=node: shows(node) == there, _EXPIRED_SECONDS, lambda: shown)
    for path in (
        f"end-downtime/{server}",
        f"end-maintenance/{server}",
        f"deregister-hostname-unresolve/{server}",
        f"set-cluster-alias/{cluster}?alias=",
        "untag-all?tag=role=backup",
        "submit-pool-instances/web?instances=",
    ):
        acting.api(path)
    for node in nodes:
        wait_until(lambda node=node: shows(node) == gone, _EXPIRED_SECONDS, lambda: shown)
