"""What is known of every server, and what one more report changes about it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from services.analysis import AnalysisPolicy, ReplicationAnalysis, analyze
from services.registry.notes import has_moved, is_worse, note_of, privileges_note
from services.topology.instance import Instance, Observation
from services.topology.keys import InstanceKey
from services.topology.merging import as_promoted, merge
from services.topology.names import NamePolicy, NameTable, with_known_names
from services.topology.places import PlacePatterns, placed
from services.topology.tree import Cluster, ClusterIdentity, Topology, TreePolicy, derive

__all__ = ["Changes", "Registry", "RegistryPolicy"]

HostFilter = Callable[[InstanceKey], bool]
UserFilter = Callable[[str], bool]


def _no_host(_key: InstanceKey) -> bool:
    return False


def _no_user(_user: str) -> bool:
    return False


_FIRST_CHECK_SECONDS = 15.0
_WITNESS_SECONDS = 30.0
"""So long a failed witness speaks against its master, unless that answers meanwhile."""
_DISPUTE_SECONDS = 180.0
"""So long a dispute stands that the Leader does not renew, unless the master answers meanwhile."""
_WATCHED_SECONDS = 600.0
_IGNORED_SECONDS = 60.0
"""Who replicates as a user that is ignored is looked at again after so long, if it is met then."""
_FORGOTTEN_POLLS = 3  # a forgotten server is not found again for so many poll intervals (discovery.md 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryPolicy:
    """The settings that matter here."""

    tree: TreePolicy = field(default_factory=TreePolicy)
    analysis: AnalysisPolicy = field(default_factory=AnalysisPolicy)
    places: PlacePatterns = field(default_factory=PlacePatterns)
    poll_seconds: float = 5.0
    ignores_host: HostFilter = _no_host
    ignores_replica: HostFilter = _no_host
    ignores_master: HostFilter = _no_host
    names: NamePolicy = field(default_factory=NamePolicy)
    ignores_user: UserFilter = _no_user
    """Of who replicates as such a user nothing is kept."""
    logs_ignored_users: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What some observations brought."""

    found: frozenset[InstanceKey] = frozenset()
    """Servers that were not known before."""
    renamed: tuple[tuple[InstanceKey, InstanceKey], ...] = ()
    """Servers that are known under their own names from now on: as they were found, and their own."""
    dropped: frozenset[InstanceKey] = frozenset()
    """Servers that are not watched any more: they replicate as a user that is ignored."""
    look_at: frozenset[InstanceKey] = frozenset()
    """Servers that should be looked at now, because something near them has just changed for the worse."""
    significant: bool = False
    """The analysis may come out differently."""
    fresh: tuple[Instance, ...] = ()
    """Servers whose facts were read."""
    notes: tuple[tuple[InstanceKey, str], ...] = ()
    """What a person would want to know."""


class Registry:
    """Belongs to one event loop. Times are seconds of one monotonic clock, which the caller reads."""

    def __init__(self, policy: RegistryPolicy) -> None:
        self._policy = policy
        self._instances: dict[InstanceKey, Instance] = {}
        self._identities: dict[str, ClusterIdentity] = {}
        self._forgotten: dict[InstanceKey, float] = {}
        self._known_since: dict[InstanceKey, float] = {}
        self._unsettled: dict[InstanceKey, bool] = {}
        self._names = NameTable(policy.names)
        self._renames: list[tuple[InstanceKey, InstanceKey]] = []
        self._awaited_since: dict[InstanceKey, float] = {}
        self._failed_witnesses: dict[InstanceKey, float] = {}
        self._disputed: dict[InstanceKey, tuple[float, tuple[str, ...]]] = {}
        self._topology: Topology | None = None

    @property
    def policy(self) -> RegistryPolicy:
        return self._policy

    @policy.setter
    def policy(self, policy: RegistryPolicy) -> None:
        if policy.names != self._policy.names:
            self._names.policy = policy.names
            self.reset_names()
        self._policy = policy
        for instance in list(self._instances.values()):
            self._set(instance)
        self._topology = None

    # what is known

    @property
    def instances(self) -> Mapping[InstanceKey, Instance]:
        return self._instances

    @property
    def watched(self) -> tuple[InstanceKey, ...]:
        """Those that are probed. One that a filter leaves out since it became known is shown as it was."""
        return tuple(key for key in self._instances if not self.policy.ignores_host(key))

    def topology(self, now: float) -> Topology:
        """The clusters as of ``now``; computed anew if something changed or time has passed."""
        if self._topology is None or now - self._topology.now >= 0.5:
            self._topology = derive(
                self._instances.values(), list(self._identities.values()), self.policy.tree, now
            )
        return self._topology

    def analysis(self, now: float, *, unix_now: float | None = None) -> tuple[ReplicationAnalysis, ...]:
        """What is wrong, judged on the clusters as of ``now``; with ``unix_now``, how long downtimes last."""
        failed = frozenset(key for key in self._failed_witnesses if self.is_witnessed(key, now))
        disputed = {key: facts for key, (at, facts) in self._disputed.items() if self._is_fresh(key, at, now)}
        findings = analyze(
            self.topology(now),
            self.policy.analysis,
            now,
            failed_witnesses=failed,
            disputed=disputed,
            unix_now=unix_now,
        )
        ignores = self.policy.ignores_host  # of whom nobody looks at nothing can be said
        return tuple(finding for finding in findings if not ignores(finding.analyzed_instance_key))

    def _is_fresh(self, key: InstanceKey, at: float, now: float) -> bool:
        known = self._instances.get(key)
        return known is not None and known.seen_at < at > now - _DISPUTE_SECONDS

    def is_witnessed(self, key: InstanceKey, now: float) -> bool:
        """Whether a witness found this server dead, not long ago, and it has not answered since."""
        at, known = self._failed_witnesses.get(key), self._instances.get(key)
        return at is not None and known is not None and known.seen_at < at > now - _WITNESS_SECONDS

    def unread(self, cluster: Cluster, now: float) -> tuple[InstanceKey, ...]:
        """Servers that belong to a cluster, or may, and of which no check has ended yet.

        What the store says of them may be old: one of them may have what no other server has. They are
        awaited for a while from when they are first asked about; then they are as good as unreachable.
        """
        related = {cluster.master_key, *cluster.instance_keys}
        for other in self.topology(now).clusters:
            if cluster.id and other.id == cluster.id:  # what a promotion left behind is of the same id
                related.update(other.instance_keys)
        for key in cluster.instance_keys:
            related.update(self._instances[key].replicas if key in self._instances else ())
        unread = {key for key in related if key in self._instances and not self._instances[key].checked_at}
        self._awaited_since = {key: at for key, at in self._awaited_since.items() if key in self._instances}
        return tuple(
            sorted(
                key for key in unread if now - self._awaited_since.setdefault(key, now) < _FIRST_CHECK_SECONDS
            )
        )

    def identity(self, cluster_id: str) -> ClusterIdentity | None:
        return self._identities.get(cluster_id)

    # what changes it

    def add(self, key: InstanceKey, now: float, *, explicit: bool = False) -> bool:
        """Take up a server. False if it is known, filtered out or was forgotten a moment ago.

        One that is named ``explicit``-ly, a seed or a request, is taken whatever was forgotten.
        """
        if not self._names.is_settled(key):
            self._unsettled[key] = explicit or self._unsettled.get(key, False)
            return False
        given, key = key, self._names.resolve(key)
        if key in self._instances or not key.names_a_server:
            return False
        if self.policy.ignores_host(key) or self.policy.ignores_host(given):
            return False
        if not explicit and self._forgotten.get(key, 0.0) > now:
            return False
        self._forgotten.pop(key, None)
        self._known_since[key] = now
        self._set(Instance(key=key))
        return True

    def restore(self, instances: Iterable[Instance], now: float = 0.0) -> None:
        instances = list(instances)
        for instance in instances:
            for endpoint in instance.also_known_as:
                self._names.recall(endpoint, instance.key, now)
        for instance in instances:
            is_own_name = self._names.resolve(instance.key) == instance.key
            if instance.key not in self._instances and is_own_name:
                self._known_since[instance.key] = now
                self._set(instance)
        self._topology = None

    def forget(self, keys: Collection[InstanceKey], now: float) -> None:
        until = now + _FORGOTTEN_POLLS * self.policy.poll_seconds
        self._forgotten = {key: end for key, end in self._forgotten.items() if end > now}
        for key in keys:
            self._instances.pop(key, None)
            self._known_since.pop(key, None)
            self._forgotten[key] = until
        self._topology = None

    def long_unseen(self, now: float, utc_limit: str, seconds: float) -> tuple[InstanceKey, ...]:
        """Servers last seen before ``utc_limit``, or never in ``seconds``; all watched for a while here.

        A node that was itself away for so long has seen nobody: it looks first.
        """

        def is_unseen(key: InstanceKey, instance: Instance) -> bool:
            is_watched = instance.checked_at or self.policy.ignores_host(key)
            watched = now - self._known_since.get(key, now) if is_watched else 0.0
            if not instance.last_seen_timestamp:
                return watched > seconds
            return instance.last_seen_timestamp < utc_limit and watched > min(seconds, _WATCHED_SECONDS)

        return tuple(key for key, instance in self._instances.items() if is_unseen(key, instance))

    def set_identities(self, identities: Iterable[ClusterIdentity]) -> None:
        self._identities = {identity.id: identity for identity in identities}
        self._topology = None

    def promoted(self, successor: InstanceKey, failed: InstanceKey) -> None:
        """It has the place of ``failed``, whatever was read of it before."""
        known = self._instances.get(successor)
        if known is not None and known.master_key == failed:
            self._set(as_promoted(known, self._instances.get(failed)))

    def witnessed(self, key: InstanceKey, at: float) -> None:
        """A replica of this server had its receiver restarted, and could not connect."""
        self._failed_witnesses[key] = at

    def dispute(self, key: InstanceKey, facts: tuple[str, ...], at: float) -> None:
        """The raft members do not agree that this server is dead; without ``facts`` they do, or need not."""
        self._disputed.pop(key, None)
        if facts:
            self._disputed[key] = at, facts

    def settle_disputes(self) -> None:
        """This node does not act any more: they were the acting one's."""
        self._disputed.clear()

    def register(self, key: InstanceKey, **registrations: object) -> None:
        """Set what people registered about a known server: fields of Instance."""
        known = self._instances.get(key)
        if known is not None:
            self._set(replace(known, **registrations))  # type: ignore[arg-type]

    def observe(self, observations: Iterable[Observation], *, now: float, utc: str) -> Changes:
        """Merge reports. Those about servers that are not known (any more) are dropped."""
        found: set[InstanceKey] = set()
        dropped: set[InstanceKey] = set()
        renamed: list[tuple[InstanceKey, InstanceKey]] = []
        look_at: set[InstanceKey] = set()
        fresh: list[Instance] = []
        notes: list[tuple[InstanceKey, str]] = []
        significant = False
        for given in observations:
            seen = given
            known = self._instances.get(seen.key)
            if known is None:
                continue
            if seen.own_key is not None and not self._is_deposed(seen.key):
                seen = self._renamed(seen, seen.own_key, now)
                known = self._instances[seen.key]
                renamed.append((given.key, seen.key))
            if seen.instance is not None and self.policy.ignores_user(seen.instance.replication_user):
                dropped.add(seen.key)
                notes += self._ignored(seen.instance, now)
                continue
            merged = merge(known, seen, now=now, utc=utc)
            self._set(merged)
            note = note_of(known, merged)
            notes += [(seen.key, text) for text in (note, privileges_note(known, merged)) if text]
            worse = is_worse(known, merged)
            if worse:
                look_at |= self._neighbours(merged)
            significant = significant or worse or bool(note) or has_moved(known, merged)
            if seen.instance is not None:
                fresh.append(merged)
                found |= self._linked(merged, now)
        return Changes(
            found=frozenset(found),
            dropped=frozenset(dropped),
            renamed=tuple(renamed),
            look_at=frozenset(look_at),
            significant=significant or bool(found) or bool(renamed),
            fresh=tuple(fresh),
            notes=tuple(notes),
        )

    def _ignored(self, instance: Instance, now: float) -> list[tuple[InstanceKey, str]]:
        self._instances.pop(instance.key, None)
        self._forgotten[instance.key] = now + _IGNORED_SECONDS
        self._topology = None
        said = (
            f"{instance.key}: replicates as {instance.replication_user}, which "
            "DiscoveryIgnoreReplicationUsernameFilters leaves out: it is not watched"
        )
        return [(instance.key, said)] if self.policy.logs_ignored_users else []

    # names

    @property
    def names(self) -> NameTable:
        return self._names

    def named(self, host: str, name: str | None, now: float) -> frozenset[InstanceKey]:
        """A host name was looked up (`NameTable.found`). Returns servers that are known from now on."""
        self._names.found(host, name, now)
        waiting = {key: explicit for key, explicit in self._unsettled.items() if key.hostname == host}
        for key in waiting:
            del self._unsettled[key]
        for instance in list(self._instances.values()):
            self._set(instance)
        for key in [one for one in self._instances if one.hostname == host]:
            own = self._names.resolve(key)
            if own != key and not self._is_deposed(key) and not self.policy.ignores_host(own):
                self._move(key, own, now)  # it was taken up while the name did not resolve
                self._renames.append((key, own))
        new = [key for key, explicit in waiting.items() if self.add(key, now, explicit=explicit)]
        return frozenset(map(self._names.resolve, new))

    def moved(self) -> tuple[tuple[InstanceKey, InstanceKey], ...]:
        """Servers that got another name by a look-up since this was asked last: that before, that now."""
        moved, self._renames = tuple(self._renames), []
        return moved

    def learned(self, endpoint: InstanceKey, own: InstanceKey, now: float) -> None:
        """Both lead to one server: whoever names the endpoint means that one."""
        self._names.learn(endpoint, own, now)
        for instance in list(self._instances.values()):
            self._set(instance)

    def claim(self, names: Mapping[str, str]) -> None:
        """Names that are registered for hosts, each with its host: seen to lead there, they count."""
        by_host: defaultdict[str, list[str]] = defaultdict(list)
        for name, host in names.items():
            by_host[host].append(name)
        claims = {
            InstanceKey(name, own.port): own
            for own in self._instances
            for name in by_host.get(own.hostname, ())
        }
        self._names.claim({key: own for key, own in claims.items() if key not in self._instances})

    def reset_names(self) -> None:
        self._names.reset()
        for instance in list(self._instances.values()):
            self._set(replace(instance, also_known_as=()) if instance.also_known_as else instance)

    def _renamed(self, seen: Observation, own: InstanceKey, now: float) -> Observation:
        """What was seen, as of the server under its own name; under the other it is not known any more."""
        assert seen.instance is not None, "who says how it is called was read"
        self._move(seen.key, own, now)
        return replace(seen, key=own, instance=replace(seen.instance, key=own), own_key=None)

    def _move(self, key: InstanceKey, own: InstanceKey, now: float) -> None:
        before = self._instances.pop(key)
        if own not in self._instances:
            self._instances[own] = replace(before, key=own)
            self._known_since[own] = self._known_since.pop(key, now)
        self.learned(key, own, now)

    def _is_deposed(self, key: InstanceKey) -> bool:
        return any(key in identity.deposed for identity in self._identities.values())

    def _set(self, instance: Instance) -> None:
        instance = self._without_ignored_replicas(instance)
        if not self._names.is_empty:
            instance = with_known_names(instance, self._names)
        self._instances[instance.key] = placed(instance, self._policy.places)
        self._topology = None

    def _without_ignored_replicas(self, instance: Instance) -> Instance:
        ignores, resolve = self.policy.ignores_replica, self._names.resolve
        kept = tuple(key for key in instance.replicas if not (ignores(key) or ignores(resolve(key))))
        return instance if len(kept) == len(instance.replicas) else replace(instance, replicas=kept)

    def _linked(self, instance: Instance, now: float) -> set[InstanceKey]:
        """Take up the source and the replicas of a server; those that are new."""
        below = (*instance.replicas, *instance.replication_group_members)
        linked = {key for key in below if not self.policy.ignores_replica(key)}
        sources = {instance.master_key, *(channel.master_key for channel in instance.channels)}
        linked |= {key for key in sources if not self.policy.ignores_master(key)}
        return {key for key in linked if self.add(key, now)}

    def _neighbours(self, instance: Instance) -> set[InstanceKey]:
        """Its source and its replicas, but those of which it is known already that they are in trouble."""
        near = [other for other in self._instances.values() if other.master_key == instance.key]
        source = self._instances.get(instance.master_key)
        if source is not None:
            near.append(source)
        return {other.key for other in near if not other.last_check_outcome.is_silence}
