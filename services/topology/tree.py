"""The replication trees of a snapshot: who belongs to which cluster, how deep, below whom.

``derive`` is pure: instances as probed, the identities that the store keeps, settings and the time in;
a `Topology` out. Rules are those of discovery.md 5 (name, depth, alias, ancestry), 3.4 (errant
transactions) and 9 (problems), with these differences:

* Places are computed for the whole tree at once. Nothing travels down a level per poll.
* A ring of any length ends: its top is the server that an identity names as master, else the one
  that the ring was named after before, else the smallest key.
* Several replicas of one master that nobody knows are one cluster, named after that master.
* A cluster has an identity that survives its masters (design, "Identity"). What stays behind under
  a deposed master is a *fragment*: a cluster of its own, with the same id.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from services.topology.instance import CheckOutcome, Instance
from services.topology.keys import NO_KEY, InstanceKey
from services.topology.placing import Place, ancestry_of, errant_transactions, trees

__all__ = [
    "Cluster",
    "ClusterIdentity",
    "Topology",
    "TreePolicy",
    "derive",
    "roots_without_identity",
    "suggested_alias",
]

LOST_IN_RECOVERY = "lost-in-recovery"
"""Downtime reason of servers that a recovery left behind; they suggest no alias (discovery.md 5)."""

_DUPLICATE = "duplicate_server_uuid"
"""A problem that the reference does not know: another endpoint answers with the same uuid."""

_RECENT_POLLS = 5  # "recently checked" means within so many poll intervals (discovery.md 1)

_AliasRank = tuple[bool, bool, int]  # valid, writeable, replicas
_Claim = tuple[bool, bool, _AliasRank]


@dataclass(frozen=True, slots=True, kw_only=True)
class TreePolicy:
    """What `derive` takes from the configuration."""

    instance_poll_seconds: int = 5
    reasonable_replication_lag_seconds: int = 10
    aliases_by_name: tuple[tuple[str, str], ...] = ()
    """Regular expressions on a cluster's name, each with the alias that it stands for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterIdentity:
    """What is durable about a cluster."""

    id: str
    master_key: InstanceKey
    """The master now: the server promoted last."""
    alias: str = ""  # given by a person; goes before what the servers suggest
    domain: str = ""
    deposed: frozenset[InstanceKey] = frozenset()
    """Former masters that have not rejoined."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """One replication tree."""

    id: str  # "": no identity is known yet
    name: str  # host:port of its top
    alias: str  # the name where nothing suggests one
    domain: str
    master_key: InstanceKey
    """Its top. Not necessarily a known instance: see the head of this module."""
    instance_keys: tuple[InstanceKey, ...]  # sorted
    is_fragment: bool = False


@dataclass(frozen=True, slots=True)
class Topology:
    """All that is known at one moment: instances with their places, sorted by key; clusters, by master.

    ``now`` is in seconds of the same clock as the instances' ``checked_at``. In one that is not
    ``is_live`` (read from a file) how and when servers were checked is unknown.
    """

    instances: Mapping[InstanceKey, Instance]
    clusters: tuple[Cluster, ...]
    now: float
    is_live: bool = True
    _names: Mapping[InstanceKey, InstanceKey] = field(init=False, repr=False, compare=False)
    _clusters_by_key: Mapping[InstanceKey, Cluster] = field(init=False, repr=False, compare=False)
    _clusters_by_name: Mapping[str, Cluster] = field(init=False, repr=False, compare=False)
    _replicas: Mapping[InstanceKey, tuple[Instance, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        replicas: defaultdict[InstanceKey, list[Instance]] = defaultdict(list)
        for key in sorted(self.instances):
            replicas[self.instances[key].master_key].append(self.instances[key])
        by_key = {key: cluster for cluster in self.clusters for key in cluster.instance_keys}
        names = {name: key for key in self.instances for name in self.instances[key].also_known_as}
        object.__setattr__(self, "_names", names)
        object.__setattr__(self, "_clusters_by_key", by_key)
        object.__setattr__(self, "_clusters_by_name", {cluster.name: cluster for cluster in self.clusters})
        object.__setattr__(self, "_replicas", {key: tuple(found) for key, found in replicas.items()})

    def named(self, key: InstanceKey) -> InstanceKey:
        """The instance that is known under this name too; else the key itself."""
        return self._names.get(key, key)

    def cluster_of(self, key: InstanceKey) -> Cluster | None:
        """The cluster that an instance is in; None if the instance is not known."""
        return self._clusters_by_key.get(key)

    def cluster_by_name(self, name: str) -> Cluster | None:
        return self._clusters_by_name.get(name)

    def replicas_of(self, key: InstanceKey) -> tuple[Instance, ...]:
        """The known instances whose source is ``key``, whatever their state, sorted by key."""
        return self._replicas.get(key, ()) if key.names_a_server else ()

    def instances_of(self, cluster: Cluster) -> tuple[Instance, ...]:
        """The instances of a cluster, sorted by key."""
        return tuple(self.instances[key] for key in cluster.instance_keys)


def derive(
    instances: Iterable[Instance], identities: Sequence[ClusterIdentity], policy: TreePolicy, now: float
) -> Topology:
    """Compute the place and the health of each instance, and the clusters.

    Of two instances with one key the last counts. A cluster of which no identity speaks has the id "":
    see `roots_without_identity`.
    """
    known = {instance.key: instance for instance in sorted(instances, key=lambda instance: instance.key)}
    known = _with_primaries(known)
    grown = list(trees(known, {identity.master_key for identity in identities}))
    drafts = [_cluster(head, places, identities, known) for head, places in _heads(grown)]
    known = _suggesting(known, grown, drafts, identities, policy)
    clusters = _with_aliases(drafts, known, identities)
    cluster_of = {key: cluster for cluster in clusters for key in cluster.instance_keys}
    uuids = Counter(instance.server_uuid for instance in known.values() if instance.server_uuid)
    ancestries: dict[InstanceKey, tuple[str, ...]] = {}
    derived: dict[InstanceKey, Instance] = {}
    for raw in (place for tree in grown for place in tree):
        place = replace(raw, instance=known[raw.key])
        ancestries[place.key] = ancestry_of(place, ancestries)
        cluster = cluster_of[place.key]
        found = _derived(place, cluster, ancestries[place.key], policy, now)
        if uuids[found.server_uuid] > 1:
            found = replace(found, problems=(*found.problems, _DUPLICATE))
        derived[place.key] = found
    return Topology({key: derived[key] for key in known}, clusters, now)


def _with_primaries(known: dict[InstanceKey, Instance]) -> dict[InstanceKey, Instance]:
    """One that was expelled sees no primary: it is below that which the others see (discovery.md 3.5)."""
    members = [instance for instance in known.values() if instance.is_group_member]
    primaries = {
        member.replication_group_name: member.key
        for member in members
        if member.replication_group_member_role == "PRIMARY"
    }
    lost = {
        member.key: replace(
            member, replication_group_primary_key=primaries.get(member.replication_group_name, NO_KEY)
        )
        for member in members
        if member.replication_group_primary_key == NO_KEY
    }
    return {**known, **lost} if lost else known


def roots_without_identity(topology: Topology) -> tuple[InstanceKey, ...]:
    """The masters of clusters that need an identity: make one for each and derive again."""
    return tuple(cluster.master_key for cluster in topology.clusters if not cluster.id)


def suggested_alias(instances: Iterable[Instance], replica_counts: Mapping[InstanceKey, int]) -> str:
    """The alias that the servers of one cluster suggest; "" if none does (discovery.md 5).

    Of several suggestions that of the valid, writeable server with most replicas counts.
    """
    suggesting = [instance for instance in instances if _may_suggest_alias(instance)]
    best = max(suggesting, key=lambda instance: _alias_rank(instance, replica_counts), default=None)
    return best.suggested_cluster_alias if best else ""


@dataclass(frozen=True, slots=True)
class _Head:
    """What a cluster hangs on: the key it is named after, and its tops."""

    key: InstanceKey
    tops: tuple[InstanceKey, ...]


def _heads(grown: Iterable[list[Place]]) -> Iterator[tuple[_Head, list[Place]]]:
    """One cluster per tree, but one for all trees whose tops replicate from the same unknown server."""
    orphaned: defaultdict[InstanceKey, list[list[Place]]] = defaultdict(list)
    for tree in grown:
        top, master = tree[0], tree[0].instance.master_key
        if top.source is None and master.names_a_server and master != top.key:
            orphaned[master].append(tree)
        else:
            yield _Head(top.key, (top.key,)), tree
    for master, siblings in orphaned.items():
        tops = tuple(tree[0].key for tree in siblings)
        head = _Head(master if len(tops) > 1 else tops[0], tops)
        yield head, [place for tree in siblings for place in tree]


def _cluster(
    head: _Head,
    places: list[Place],
    identities: Sequence[ClusterIdentity],
    known: Mapping[InstanceKey, Instance],
) -> Cluster:
    identity, is_fragment = _identity(head, places, identities)
    detected = known[head.key].detected_cluster_domain if head.key in known else ""
    return Cluster(
        id=identity.id if identity else "",
        name=str(head.key),
        alias=str(head.key),
        domain=(identity.domain if identity else "") or detected,
        master_key=head.key,
        instance_keys=tuple(sorted(place.key for place in places)),
        is_fragment=is_fragment,
    )


def _identity(
    head: _Head, places: list[Place], identities: Sequence[ClusterIdentity]
) -> tuple[ClusterIdentity | None, bool]:
    """Whose cluster it is, and whether it is a fragment of it.

    A master that was put below another server by other means takes its identity along, unless that
    server is deposed: then what is seen is a fragment, and stays one until a person decides.
    """
    heads = (head.key, *head.tops)
    for identity in identities:
        if identity.master_key in heads:
            return identity, False
    for identity in identities:
        if not identity.deposed.isdisjoint(heads):
            return identity, True
    by_master = {identity.master_key: identity for identity in identities}
    return next((by_master[place.key] for place in places if place.key in by_master), None), False


def _suggesting(
    known: Mapping[InstanceKey, Instance],
    grown: Iterable[list[Place]],
    drafts: Iterable[Cluster],
    identities: Iterable[ClusterIdentity],
    policy: TreePolicy,
) -> dict[InstanceKey, Instance]:
    """The instances with the alias that each suggests for its cluster (discovery.md 5).

    What a person gave, else what its source suggests, else what it was told, else by the cluster's name.
    """
    given = {identity.id: identity.alias for identity in identities if identity.alias}
    cluster_of = {key: cluster for cluster in drafts for key in cluster.instance_keys}
    suggested: dict[InstanceKey, str] = {}
    for place in (place for tree in grown for place in tree):
        cluster = cluster_of[place.key]
        suggested[place.key] = (
            ("" if cluster.is_fragment else given.get(cluster.id, ""))
            or (suggested.get(place.source.key, "") if place.source else "")
            or place.instance.suggested_cluster_alias
            or next((alias for name, alias in policy.aliases_by_name if re.search(name, cluster.name)), "")
        )
    return {
        key: instance
        if instance.suggested_cluster_alias == suggested[key]
        else replace(instance, suggested_cluster_alias=suggested[key])
        for key, instance in known.items()
    }


def _with_aliases(
    drafts: Iterable[Cluster], known: Mapping[InstanceKey, Instance], identities: Sequence[ClusterIdentity]
) -> tuple[Cluster, ...]:
    """Give each cluster its alias, sorted by master. A contested one goes to the better claim.

    What a person gave goes before what servers suggest, a whole cluster before a fragment, then the
    cluster that has the best server. The others are called by their names.
    """
    counts: Mapping[InstanceKey, int] = Counter(instance.master_key for instance in known.values())
    given = {identity.id: identity.alias for identity in identities if identity.alias}
    claims: defaultdict[str, list[tuple[_Claim, Cluster]]] = defaultdict(list)
    clusters = sorted(drafts, key=lambda cluster: cluster.master_key)
    for cluster in clusters:
        members = [known[key] for key in cluster.instance_keys]
        alias = "" if cluster.is_fragment else given.get(cluster.id, "")
        best = max(_alias_rank(member, counts) for member in members)
        claim = (bool(alias), not cluster.is_fragment, best)
        claims[alias or suggested_alias(members, counts)].append((claim, cluster))
    winners = {max(rivals, key=lambda rival: rival[0])[1].name: alias for alias, rivals in claims.items()}
    return tuple(replace(cluster, alias=winners.get(cluster.name) or cluster.name) for cluster in clusters)


def _may_suggest_alias(instance: Instance) -> bool:
    is_lost = instance.is_downtimed and instance.downtime_reason == LOST_IN_RECOVERY
    return bool(instance.suggested_cluster_alias) and not is_lost


def _alias_rank(instance: Instance, replica_counts: Mapping[InstanceKey, int]) -> _AliasRank:
    is_valid = instance.last_check_outcome is CheckOutcome.OK or instance.is_last_check_valid
    return is_valid, not instance.read_only, replica_counts.get(instance.key, 0)


def _derived(
    place: Place, cluster: Cluster, ancestry: tuple[str, ...], policy: TreePolicy, now: float
) -> Instance:
    """The instance with its last group of fields filled in.

    ``is_last_check_valid`` speaks of the last finished check; one that hangs is for the analysis to notice.
    """
    instance = place.instance
    # Whole seconds, as the reference counts: a check that began 5.9 s ago is within the last 5 s.
    checked_ago = int(now - instance.checked_at) if instance.checked_at else None
    is_valid = instance.last_check_outcome is CheckOutcome.OK
    is_recent = checked_ago is not None and checked_ago <= _RECENT_POLLS * policy.instance_poll_seconds
    errant = errant_transactions(place, ancestry)
    first_problem = _first_problem(instance, is_valid, is_recent, policy)
    return replace(  # once: a copy of so many fields is most of the cost of deriving
        instance,
        cluster_name=cluster.name,
        cluster_id=cluster.id,
        replication_depth=place.depth,
        is_co_master=place.is_co_master,
        ancestry_uuid=",".join(ancestry),
        gtid_errant=errant,
        is_last_check_valid=is_valid,
        is_up_to_date=checked_ago is not None and checked_ago <= policy.instance_poll_seconds,
        is_recently_checked=is_recent,
        seconds_since_last_seen=max(0, int(now - instance.seen_at)) if instance.seen_at else None,
        problems=tuple(filter(None, (first_problem, errant and "errant_gtid", _group_problem(instance)))),
    )


def _first_problem(instance: Instance, is_valid: bool, is_recent: bool, policy: TreePolicy) -> str:
    """discovery.md 9; "" if there is none."""
    if not is_valid:
        return "last_check_invalid"
    if not is_recent:
        return "not_recently_checked"
    if instance.replication_threads_exist and not instance.replication_running:
        return "not_replicating"
    lag_seconds = instance.replication_lag_seconds
    if lag_seconds is None:
        return ""
    off_by_seconds = abs(lag_seconds - instance.sql_delay_seconds)
    return "replication_lag" if off_by_seconds > policy.reasonable_replication_lag_seconds else ""


def _group_problem(instance: Instance) -> str:
    is_offline = instance.replication_group_name and instance.replication_group_member_state != "ONLINE"
    return "group_replication_member_not_online" if is_offline else ""
