"""The routes of the API as its reference lists them (http-api.md 5), written down for tests.

A row per route: its path, its reply (``env`` or ``bare``, and a kind of ``reference_shapes``), what
orchestray does about it, and the path that a test asks where the parameters alone do not do. Nothing here is
taken from the code that is tested.

``python -m tests.reference_routes`` prints how many are answered, by group.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["ANSWERED", "REFUSED", "ROUTES", "Route", "counts"]

ANSWERED = "answered"
REFUSED = "refused"
"""With a text that says why: changes of topologies, which come later, and what is not supported."""


@dataclass(frozen=True, slots=True)
class Route:
    group: str
    path: str
    form: str
    """bare or env"""
    kind: str
    state: str
    asked: str
    """What a test asks; ``{leaf}``, ``{master}``, ``{cluster}`` and so on are filled in."""
    fails: bool
    """It is asked for something that has to be refused, and so for an ERROR."""


_SYNONYMS = {
    "relocate-replicas": "relocate-slaves",
    "regroup-replicas": "regroup-slaves",
    "move-up-replicas": "move-up-slaves",
    "repoint-replicas": "repoint-slaves",
    "take-siblings": "enslave-siblings",
    "take-master": "enslave-master",
    "regroup-replicas-bls": "regroup-slaves-bls",
    "move-replicas-gtid": "move-slaves-gtid",
    "regroup-replicas-gtid": "regroup-slaves-gtid",
    "match-replicas": "match-slaves",
    "match-up-replicas": "match-up-slaves",
    "regroup-replicas-pgtid": "regroup-slaves-pgtid",
    "detach-replica": "detach-slave",
    "reattach-replica": "reattach-slave",
    "detach-replica-master-host": "detach-slave-master-host",
    "reattach-replica-master-host": "reattach-slave-master-host",
    "cluster-osc-replicas": "cluster-osc-slaves",
    "start-replica": "start-slave",
    "restart-replica": "restart-slave",
    "stop-replica": "stop-slave",
    "stop-replica-nice": "stop-slave-nice",
    "reset-replica": "reset-slave",
    "restart-replica-statements": "restart-slave-statements",
    "enable-semi-sync-master": "enable-semi-sync-source",
    "disable-semi-sync-master": "disable-semi-sync-source",
}
"""Each is served with the other name too."""

_FILLED = {
    ":host/:port/:belowHost/:belowPort": "{leaf}/{master}",
    ":host/:port/:siblingHost/:siblingPort": "{one}/{two}",
    ":host/:port": "{leaf}",
    ":clusterHint": "{cluster}",
    ":clusterName": "{cluster}",
    ":clusterAlias": "{cluster}",
    ":designatedHost/:designatedPort": "{two}",
    ":candidateHost/:candidatePort": "{two}",
    ":page": "0",
    ":seconds": "60",
    ":searchString": "127.0.0",
    ":queue": "DEFAULT",
    ":pool": "web",
}

# path | reply | state | what is asked: all of it, or what stands behind the path (``?…``). With ``!`` before
# it, it has to be refused, with ``Details`` of that kind. A line that begins with ``|`` goes on with another.
_TABLE = {
    "5.1 smart relocation": """
        relocate/:host/:port/:belowHost/:belowPort | env Instance | refused
        relocate-below/:host/:port/:belowHost/:belowPort | env Instance | refused
        relocate-replicas/:host/:port/:belowHost/:belowPort | env [Instance] | refused
        regroup-replicas/:host/:port | env Key | refused
    """,
    "5.2 relocation by position": """
        move-up/:host/:port | env Instance | refused
        move-up-replicas/:host/:port | env [Instance] | refused
        move-below/:host/:port/:siblingHost/:siblingPort | env Instance | refused
        move-equivalent/:host/:port/:belowHost/:belowPort | env Instance | refused
        repoint/:host/:port/:belowHost/:belowPort | env Instance | refused
        repoint-replicas/:host/:port | env [Instance] | refused
        make-co-master/:host/:port | env Instance | refused
        take-siblings/:host/:port | env Instance | refused
        take-master/:host/:port | env Instance | refused
        master-equivalent/:host/:port/:logFile/:logPos | env [InstanceCoordinates] | refused
    """,
    "5.3 binlog servers, GTID, Pseudo-GTID": """
        regroup-replicas-bls/:host/:port | env Key | refused
        move-below-gtid/:host/:port/:belowHost/:belowPort | env Instance | refused
        move-replicas-gtid/:host/:port/:belowHost/:belowPort | env Key | refused
        regroup-replicas-gtid/:host/:port | env Key | refused
        match/:host/:port/:belowHost/:belowPort | env Instance | refused
        match-below/:host/:port/:belowHost/:belowPort | env Instance | refused
        match-up/:host/:port | env Instance | refused
        match-replicas/:host/:port/:belowHost/:belowPort | env Key | refused
        match-up-replicas/:host/:port | env Key | refused
        regroup-replicas-pgtid/:host/:port | env Key | refused
        make-master/:host/:port | env Instance | refused
        make-local-master/:host/:port | env Instance | refused
        last-pseudo-gtid/:host/:port | env str | refused
    """,
    "5.4 replication of one server": """
        enable-gtid/:host/:port | env Instance | refused
        disable-gtid/:host/:port | env Instance | refused
        locate-gtid-errant/:host/:port | env null | answered | !locate-gtid-errant/{leaf}
        gtid-errant-reset-master/:host/:port | env Instance | refused
        gtid-errant-inject-empty/:host/:port | env Instance | refused
        skip-query/:host/:port | env Instance | refused
        start-replica/:host/:port | env Instance | refused
        stop-replica/:host/:port | env Instance | refused
        restart-replica/:host/:port | env Instance | refused
        stop-replica-nice/:host/:port | env Instance | refused
        reset-replica/:host/:port | env Instance | refused
        change-master-credentials/:host/:port | env Instance | refused
        detach-replica/:host/:port | env Instance | refused
        detach-replica-master-host/:host/:port | env Instance | refused
        reattach-replica/:host/:port | env Instance | refused
        reattach-replica-master-host/:host/:port | env Instance | refused
        restart-replica-statements/:host/:port | env [str] | answered | ?q=do%201
        enable-semi-sync-master/:host/:port | env Instance | refused
        disable-semi-sync-master/:host/:port | env Instance | refused
        enable-semi-sync-replica/:host/:port | env Instance | refused
        disable-semi-sync-replica/:host/:port | env Instance | refused
        delay-replication/:host/:port/:seconds | env uint | refused
        flush-binary-logs/:host/:port | env Instance | refused
        purge-binary-logs/:host/:port/:logFile | env Instance | refused
        set-read-only/:host/:port | env Instance | refused
        set-writeable/:host/:port | env Instance | refused
        kill-query/:host/:port/:process | env Instance | refused
        can-replicate-from/:host/:port/:belowHost/:belowPort | env Key | answered
        can-replicate-from-gtid/:host/:port/:belowHost/:belowPort | env Key | answered
    """,
    "5.5 instances": """
        instance/:host/:port | bare Instance | answered
        instance-replicas/:host/:port | bare [Instance] | answered | instance-replicas/{master}
        discover/:host/:port | env Instance | answered
        async-discover/:host/:port | env null | answered
        refresh/:host/:port | env Key | answered
        forget/:host/:port | env null | answered | !forget/{nobody}
        forget-cluster/:clusterHint | env null | answered | !forget-cluster/nobody
        resolve/:host/:port | env Key | answered
        begin-maintenance/:host/:port/:owner/:reason | env Key | answered
            | begin-maintenance/{leaf}/me/why
        end-maintenance/:host/:port | env Key | answered
        end-maintenance/:maintenanceKey | env uint | answered | end-maintenance/1
        in-maintenance/:host/:port | env str | answered
        maintenance | bare [Maintenance] | answered
        begin-downtime/:host/:port/:owner/:reason | env Key | answered | begin-downtime/{leaf}/me/why
        begin-downtime/:host/:port/:owner/:reason/:duration | env Key | answered
            | begin-downtime/{leaf}/me/why/5m
        end-downtime/:host/:port | env Key | answered
    """,
    "5.6 clusters and lists": """
        clusters | bare [str] | answered
        clusters-info | bare [ClusterInfo] | answered
        cluster-info/:clusterHint | bare ClusterInfo | answered
        cluster-info/alias/:clusterAlias | bare ClusterInfo | answered
        cluster/:clusterHint | bare [Instance] | answered
        cluster/alias/:clusterAlias | bare [Instance] | answered
        cluster/instance/:host/:port | bare [Instance] | answered
        cluster-osc-replicas/:clusterHint | bare [Instance] | answered
        set-cluster-alias/:clusterName | env null | answered | ?alias=
        masters | bare [Instance] | answered
        master/:clusterHint | bare Instance | answered
        all-instances | bare [Instance] | answered
        search/:searchString | bare [Instance] | answered
        search | bare [Instance] | answered | ?s=127.0.0
        downtimed | bare [Instance] | answered
        downtimed/:clusterHint | bare [Instance] | answered
        problems | bare [Instance] | answered
        problems/:clusterName | bare [Instance] | answered
        topology/:clusterHint | env str | answered
        topology/:host/:port | env str | answered
        topology-tabulated/:clusterHint | env str | answered
        topology-tabulated/:host/:port | env str | answered
        topology-tags/:clusterHint | env str | answered
        topology-tags/:host/:port | env str | answered
        snapshot-topologies | env str | answered
        bulk-instances | bare [Key] | answered
        bulk-promotion-rules | bare [CandidateDatabaseInstance] | answered
    """,
    "5.7 pools": """
        submit-pool-instances/:pool | env str | answered | ?instances=127.0.0.1:1
        cluster-pool-instances/:clusterName | env {[Key]} | answered
        cluster-pool-instances/:clusterName/:pool | env {[Key]} | answered
            | cluster-pool-instances/{cluster}/web
        heuristic-cluster-pool-instances/:clusterName | env [Instance] | answered
        heuristic-cluster-pool-instances/:clusterName/:pool | env [Instance] | answered
            | heuristic-cluster-pool-instances/{cluster}/web
        heuristic-cluster-pool-lag/:clusterName | env null | answered
            | !heuristic-cluster-pool-lag/{cluster}
        heuristic-cluster-pool-lag/:clusterName/:pool | env null | answered
            | !heuristic-cluster-pool-lag/{cluster}/nobody
    """,
    "5.8 tags": """
        tag/:host/:port | env Key | answered | ?tag=role=backup
        tag/:host/:port/:tagName/:tagValue | env Key | answered | tag/{leaf}/rack/4
        tags/:host/:port | bare [str] | answered
        tag-value/:host/:port | bare str | answered | ?tag=role
        tag-value/:host/:port/:tagName | bare str | answered | tag-value/{leaf}/rack
        tagged | bare [Key] | answered | ?tag=role=backup
        untag/:host/:port | env [Key] | answered | ?tag=role
        untag/:host/:port/:tagName | env [Key] | answered | untag/{leaf}/rack
        untag-all | env [Key] | answered | ?tag=role=backup
        untag-all/:tagName/:tagValue | env [Key] | answered | untag-all/rack/4
    """,
    "5.9 key-value": """
        submit-masters-to-kv-stores | env [KVPair] | refused
        submit-masters-to-kv-stores/:clusterHint | env [KVPair] | refused
    """,
    "5.10 analysis, recovery": """
        replication-analysis | env [ReplicationAnalysis] | answered
        replication-analysis/:clusterName | env [ReplicationAnalysis] | answered
        replication-analysis/instance/:host/:port | env [ReplicationAnalysis] | answered
        replication-analysis-changelog | bare [Changelog] | answered
        recover/:host/:port | env Key | answered | !recover/{leaf}
        recover/:host/:port/:candidateHost/:candidatePort | env Key | answered | !recover/{leaf}/{two}
        recover-lite/:host/:port | env Key | answered | !recover-lite/{leaf}
        recover-lite/:host/:port/:candidateHost/:candidatePort | env Key | answered
            | !recover-lite/{leaf}/{two}
        graceful-master-takeover/:clusterHint | env Recovery | refused
        graceful-master-takeover/:clusterHint/:designatedHost/:designatedPort | env Recovery | refused
        graceful-master-takeover/:host/:port | env Recovery | refused
        graceful-master-takeover/:host/:port/:designatedHost/:designatedPort | env Recovery | refused
        graceful-master-takeover-auto/:clusterHint | env Recovery | refused
        graceful-master-takeover-auto/:clusterHint/:designatedHost/:designatedPort | env Recovery | refused
        graceful-master-takeover-auto/:host/:port | env Recovery | refused
        graceful-master-takeover-auto/:host/:port/:designatedHost/:designatedPort | env Recovery | refused
        force-master-failover/:clusterHint | env Recovery | refused
        force-master-failover/:host/:port | env Recovery | refused
        force-master-takeover/:clusterHint/:designatedHost/:designatedPort | env Recovery | refused
        force-master-takeover/:host/:port/:designatedHost/:designatedPort | env Recovery | refused
        register-candidate/:host/:port/:promotionRule | env Key | answered | register-candidate/{leaf}/neutral
        automated-recovery-filters | env Filters | answered
        audit-failure-detection | bare [Detection] | answered
        audit-failure-detection/:page | bare [Detection] | answered
        audit-failure-detection/id/:id | bare [Detection] | answered | audit-failure-detection/id/1
        audit-failure-detection/alias/:clusterAlias | bare [Detection] | answered
        audit-failure-detection/alias/:clusterAlias/:page | bare [Detection] | answered
        audit-recovery | bare [Recovery] | answered
        audit-recovery/:page | bare [Recovery] | answered
        audit-recovery/id/:id | bare [Recovery] | answered | audit-recovery/id/1
        audit-recovery/uid/:uid | bare [Recovery] | answered | audit-recovery/uid/1:a
        audit-recovery/cluster/:clusterName | bare [Recovery] | answered
        audit-recovery/cluster/:clusterName/:page | bare [Recovery] | answered
        audit-recovery/alias/:clusterAlias | bare [Recovery] | answered
        audit-recovery/alias/:clusterAlias/:page | bare [Recovery] | answered
        audit-recovery-steps/:uid | bare [RecoveryStep] | answered | audit-recovery-steps/1:a
        active-cluster-recovery/:clusterName | bare [Recovery] | answered
        recently-active-cluster-recovery/:clusterName | bare [Recovery] | answered
        recently-active-instance-recovery/:host/:port | bare [Recovery] | answered
        ack-recovery/cluster/:clusterHint | env str | answered | ?comment=x
        ack-recovery/cluster/alias/:clusterAlias | env str | answered | ?comment=x
        ack-recovery/instance/:host/:port | env Key | answered | ?comment=x
        ack-recovery/:recoveryId | env str | answered | ?comment=x
        ack-recovery/uid/:uid | env str | answered | ?comment=x
        ack-all-recoveries | env str | answered | ?comment=x
        blocked-recoveries | bare [BlockedRecovery] | answered
        blocked-recoveries/cluster/:clusterName | bare [BlockedRecovery] | answered
        disable-global-recoveries | env str | answered
        enable-global-recoveries | env str | answered
        check-global-recoveries | env str | answered
    """,
    "5.11 audit, names": """
        audit | bare [Audit] | answered
        audit/:page | bare [Audit] | answered
        audit/instance/:host/:port | bare [Audit] | answered
        audit/instance/:host/:port/:page | bare [Audit] | answered
        hostname-resolve-cache | env {Resolved} | answered
        reset-hostname-resolve-cache | env null | answered
        register-hostname-unresolve/:host/:port/:virtualname | env Key | answered
            | register-hostname-unresolve/{leaf}/db.example.com
        deregister-hostname-unresolve/:host/:port | env Key | answered
        reload-cluster-alias | env null | refused
    """,
    "5.12 nodes": """
        lb-check | bare str | answered
        _ping | bare str | answered
        leader-check | bare str | answered
        leader-check/:errorStatusCode | bare str | answered | leader-check/503
        routed-leader-check | bare str | answered
        health | env HealthStatus | answered
        status | env HealthStatus | answered
        headers | bare {[str]} | answered
        grab-election | env null | answered
        reelect | env null | answered
        reload-configuration | env str | answered
        raft-state | bare null | answered | !raft-state
        raft-leader | bare null | answered | !raft-leader
        raft-peers | bare null | answered | !raft-peers
        raft-health | bare null | answered | !raft-health
        raft-status | bare null | answered | !raft-status
        raft-add-peer/:addr | bare null | answered | !raft-add-peer/10.0.0.1
        raft-remove-peer/:addr | bare null | answered | !raft-remove-peer/10.0.0.1
        raft-yield/:node | env null | answered | !raft-yield/10.0.0.1
        raft-yield-hint/:hint | env null | answered | !raft-yield-hint/db
        raft-snapshot | bare null | answered | !raft-snapshot
        raft-follower-health-report/:authenticationToken/:raftBind/:raftAdvertise | bare null | answered
            | !raft-follower-health-report/t/a/b
    """,
    "5.13 internal metrics": """
        discovery-metrics-raw/:seconds | bare [DiscoveryMetric] | answered
        discovery-metrics-aggregated/:seconds | bare AggregatedDiscoveryMetrics | answered
        discovery-queue-metrics-raw/:seconds | bare [QueueMetric] | answered
        discovery-queue-metrics-raw/:queue/:seconds | bare [QueueMetric] | answered
        discovery-queue-metrics-aggregated/:seconds | bare AggregatedQueueMetrics | answered
        discovery-queue-metrics-aggregated/:queue/:seconds | bare AggregatedQueueMetrics | answered
        backend-query-metrics-raw/:seconds | bare [BackendMetric] | answered
        backend-query-metrics-aggregated/:seconds | bare AggregatedBackendMetrics | answered
        write-buffer-metrics-raw/:seconds | bare [WriteMetric] | answered
        write-buffer-metrics-aggregated/:seconds | bare AggregatedWriteMetrics | answered
    """,
    "5.14 host agents": """
        agents | bare null | refused
        agent/:host | bare null | refused
        agent-umount/:host | bare null | refused
        agent-mount/:host | bare null | refused
        agent-create-snapshot/:host | bare null | refused
        agent-removelv/:host | bare null | refused
        agent-mysql-stop/:host | bare null | refused
        agent-mysql-start/:host | bare null | refused
        agent-custom-command/:host/:command | bare null | refused
        agent-seed/:targetHost/:sourceHost | bare null | refused
        agent-active-seeds/:host | bare null | refused
        agent-recent-seeds/:host | bare null | refused
        agent-seed-details/:seedId | bare null | refused
        agent-seed-states/:seedId | bare null | refused
        agent-abort-seed/:seedId | bare null | refused
        seeds | bare null | refused
    """,
}


def _rows() -> Iterator[Route]:
    for group, rows in _TABLE.items():
        for row in filter(None, map(str.strip, re.sub(r"\n *\|", " |", rows).splitlines())):
            path, reply, state, *asked = map(str.strip, row.split(" | "))
            form, _, kind = reply.partition(" ")
            fails, asks = bool(asked) and asked[0].startswith("!"), asked[0].lstrip("!") if asked else ""
            if not asks or asks.startswith("?"):
                asks = _filled(path) + asks
            route = Route(group, path, form, kind, state, asks, fails)
            yield route
            name = path.partition("/")[0]
            if name in _SYNONYMS:
                old = _SYNONYMS[name]
                yield Route(
                    group, path.replace(name, old, 1), form, kind, state,
                    route.asked.replace(name, old, 1), route.fails,
                )  # fmt: skip


def _filled(path: str) -> str:
    for parameters, value in _FILLED.items():
        path = path.replace(parameters, value)
    return re.sub(r":\w+", "1", path)


ROUTES = tuple(_rows())


def counts() -> list[str]:
    """A line for each group, and one for all."""
    states = (ANSWERED, REFUSED)
    found = Counter((route.group, route.state) for route in ROUTES)
    groups = [*_TABLE, "all"]
    found.update(("all", route.state) for route in ROUTES)
    lines = [f"{'group':38}" + "".join(f"{state:>10}" for state in states)]
    return [
        *lines,
        *(f"{group:38}" + "".join(f"{found[group, state]:10}" for state in states) for group in groups),
    ]


if __name__ == "__main__":
    print("\n".join(counts()))
