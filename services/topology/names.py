"""How servers are named: one server reached under several names is one instance (discovery.md 4).

Two steps, as in the reference. A host name is resolved by itself (`HostnameResolveMethod`: as it is, by its
canonical name, by its address); an endpoint by what the server there calls itself
(`MySQLHostnameResolveMethod`). Unlike the reference, a server's own name counts only where it was seen to
lead to that same server. Pure: whoever looks up or dials tells what was found.

A name that somebody registered for a host (``register-hostname-unresolve``) is a *claim*: it counts once it
was seen to lead to the same server.

What is learned stays while it is used: when its time is over it is looked up again, not forgotten, so that no
replica loses its source for a name server that is down.
"""

from __future__ import annotations

import ipaddress
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from services.topology.instance import Instance
from services.topology.keys import InstanceKey

__all__ = ["NamePolicy", "NameTable", "ResolvedName", "own_name", "with_known_names"]

_LOOKED_UP = ("cname", "ip")
_BY_HOSTNAME = ("default", "hostname", "@@hostname")
_BY_REPORT = ("report_host", "@@report_host")
_FAILURE_SECONDS = 60.0
"""A name that does not resolve stands for itself so long, then it is tried again."""
_MOST_NAMES = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class NamePolicy:
    """The settings that matter here."""

    method: str = "default"  # none, default, cname, ip
    own_method: str = "none"  # none, default, hostname, @@hostname, report_host, @@report_host
    reject: str = ""  # a regular expression; resolved names that match are not used
    expiry_seconds: float = 3600.0

    @property
    def looks_up(self) -> bool:
        return self.method in _LOOKED_UP

    def rejects(self, name: str) -> bool:
        return bool(self.reject) and re.search(self.reject, name) is not None


@dataclass(frozen=True, slots=True)
class ResolvedName:
    """What a name stands for, and until when that is believed, in seconds of the table's clock."""

    name: str
    until: float


def own_name(key: InstanceKey, hostname: str, report_host: str, policy: NamePolicy) -> InstanceKey | None:
    """The name under which a server at ``key`` wants to be known; None if ``key`` is it, or it says none.

    ``hostname`` and ``report_host`` are what it says of itself. A loopback address stays in spite of
    ``@@hostname``: that is a name of the host, and leads to another address.
    """
    if policy.own_method in _BY_HOSTNAME:
        name = "" if _is_loopback(key.hostname) else hostname
    else:
        name = report_host if policy.own_method in _BY_REPORT else ""
    if not name or name.lower() == key.hostname.lower() or not _can_resolve(name) or policy.rejects(name):
        return None
    return InstanceKey(name, key.port)


_Reverse = tuple[dict[InstanceKey, tuple[InstanceKey, ...]], dict[str, list[str]]]
"""Endpoints by the instance that they lead to, and host names by that for which they stand."""


@dataclass(slots=True)
class NameTable:
    """Belongs to one event loop. Times are seconds of one monotonic clock, which the caller reads."""

    policy: NamePolicy = field(default_factory=NamePolicy)
    _hosts: dict[str, ResolvedName] = field(default_factory=dict)
    _endpoints: dict[InstanceKey, InstanceKey] = field(default_factory=dict)
    _until: dict[InstanceKey, float] = field(default_factory=dict)
    _claims: dict[InstanceKey, InstanceKey] = field(default_factory=dict)
    _refuted: set[InstanceKey] = field(default_factory=set)
    _reverse: _Reverse | None = None
    """What `names_of` rests on, made when that is asked for after something has changed."""
    _wanted: set[str] = field(default_factory=set)

    def resolve(self, key: InstanceKey) -> InstanceKey:
        """The instance that is meant by an endpoint, as far as is known."""
        if not key.names_a_server:
            return key
        host = self._hosts.get(key.hostname)
        named = InstanceKey(host.name, key.port) if host is not None and self.policy.looks_up else key
        own = self._endpoints.get(named)
        return own if own is not None else self._endpoints.get(key, named)

    def recall(self, endpoint: InstanceKey, own: InstanceKey, now: float) -> None:
        """It was known before a restart: believed, and looked up again where names are."""
        self.learn(endpoint, own, now)
        if self.policy.looks_up and not _is_address(endpoint.hostname) and len(self._wanted) < _MOST_NAMES:
            self._wanted.add(endpoint.hostname)

    def claim(self, claims: Mapping[InstanceKey, InstanceKey]) -> None:
        """What is registered now: endpoints, each with the instance that it is said to lead to."""
        if claims != self._claims:
            self._claims = dict(claims)
            self._refuted &= claims.keys()

    def is_settled(self, key: InstanceKey) -> bool:
        """False for a name that has to be looked up first; it is among `wanted` from then on."""
        if not self.policy.looks_up or not key.names_a_server or not _can_resolve(key.hostname):
            return True
        if key.hostname in self._hosts or key in self._endpoints or _is_address(key.hostname):
            return True
        if len(self._wanted) < _MOST_NAMES:
            self._wanted.add(key.hostname)
        return False

    def wanted(self, now: float) -> frozenset[str]:
        """Names to be looked up: new ones, and those whose time is over."""
        if not self.policy.looks_up:
            return frozenset()
        return frozenset(self._wanted) | {host for host, known in self._hosts.items() if known.until <= now}

    def found(self, host: str, name: str | None, now: float) -> None:
        """A look-up of ``host`` has ended; None: it failed. What was known of it before then stays."""
        self._wanted.discard(host)
        self._reverse = None
        if name is None or self.policy.rejects(name):
            known = self._hosts.get(host)
            kept = host if known is None or name is not None else known.name
            self._hosts[host] = ResolvedName(kept, now + min(_FAILURE_SECONDS, self.policy.expiry_seconds))
            return
        self._hosts[host] = ResolvedName(name, now + self.policy.expiry_seconds)
        for endpoint, own in self._endpoints.items():  # learned when the name stood for something else
            if endpoint.hostname == host and own.hostname != name:
                self._until[endpoint] = now

    def learn(self, endpoint: InstanceKey, own: InstanceKey, now: float) -> None:
        """The server at ``endpoint`` is the one at ``own``: they were compared."""
        if endpoint == own:
            return
        self._reverse = None
        self._endpoints[endpoint] = own
        self._until[endpoint] = now + self.policy.expiry_seconds
        for other, target in list(self._endpoints.items()):  # names lead to instances, not to names
            if target == endpoint:
                self._endpoints[other] = own
        self._endpoints.pop(own, None)

    def defer(self, endpoint: InstanceKey, until: float) -> None:
        """Believe, or do not believe, for so long what cannot be found out now."""
        if endpoint in self._endpoints or endpoint in self._claims:
            self._until[endpoint] = until

    def unlearn(self, endpoint: InstanceKey) -> bool:
        """It leads elsewhere. False if that it did not was only claimed."""
        self._reverse = None
        self._until.pop(endpoint, None)
        if endpoint in self._claims:
            self._refuted.add(endpoint)
        return self._endpoints.pop(endpoint, None) is not None

    def doubtful(self, now: float) -> Mapping[InstanceKey, InstanceKey]:
        """Endpoints that should be compared, again or for the first time, with what they stand for."""
        open_claims = {
            one: own
            for one, own in self._claims.items()
            if one not in self._endpoints and one not in self._refuted
        }
        known = {**open_claims, **self._endpoints}
        return {one: own for one, own in known.items() if self._until.get(one, 0.0) <= now}

    def names_of(self, own: InstanceKey) -> tuple[InstanceKey, ...]:
        """The other endpoints that lead to an instance: where it was met, and those that are looked up."""
        if self._reverse is None:
            self._reverse = self._reversed()
        endpoints, hosts = self._reverse
        met = endpoints.get(own, ())
        if not hosts:
            return met
        named = {InstanceKey(host, one.port) for one in (own, *met) for host in hosts.get(one.hostname, ())}
        return tuple(sorted({*met, *named} - {own}))

    def _reversed(self) -> _Reverse:
        endpoints: defaultdict[InstanceKey, list[InstanceKey]] = defaultdict(list)
        for endpoint, own in self._endpoints.items():
            endpoints[own].append(endpoint)
        hosts: defaultdict[str, list[str]] = defaultdict(list)
        for host, known in self._hosts.items():
            if known.name != host and self.policy.looks_up:
                hosts[known.name].append(host)
        return {own: tuple(sorted(names)) for own, names in endpoints.items()}, dict(hosts)

    def cache(self, instances: Iterable[InstanceKey], now: float) -> dict[str, ResolvedName]:
        """All names that are known and what they stand for, sorted: what `hostname-resolve-cache` shows."""
        until = now + self.policy.expiry_seconds
        shown = {key.hostname: ResolvedName(key.hostname, until) for key in instances}
        shown |= self._hosts
        shown |= {
            endpoint.hostname: ResolvedName(own.hostname, self._until.get(endpoint, now))
            for endpoint, own in self._endpoints.items()
        }
        return dict(sorted(shown.items()))

    @property
    def is_empty(self) -> bool:
        return not (self._hosts or self._endpoints)

    def reset(self) -> None:
        """Forget all of it; what is still used is learned again."""
        self._hosts.clear()
        self._endpoints.clear()
        self._until.clear()
        self._refuted.clear()
        self._reverse = None


def with_known_names(instance: Instance, table: NameTable) -> Instance:
    """The instance with every server that it speaks of under the name that is known for it."""
    resolve = table.resolve
    changes: dict[str, object] = {"also_known_as": table.names_of(instance.key)}
    for name in ("master_key", "replication_group_primary_key"):
        changes[name] = resolve(getattr(instance, name))
    for name in ("replicas", "replication_group_members"):
        changes[name] = tuple(sorted({resolve(key) for key in getattr(instance, name)}))
    changes["channels"] = tuple(
        replace(channel, master_key=resolve(channel.master_key)) for channel in instance.channels
    )
    changed = {name: value for name, value in changes.items() if getattr(instance, name) != value}
    return replace(instance, **changed) if changed else instance  # type: ignore[arg-type]


def _can_resolve(host: str) -> bool:
    """Lists of names and the marks of detached replicas are no host names."""
    return bool(host) and "," not in host and not host.startswith("//")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host.lower() == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)
