"""Requests about single servers: promotion rule, downtime, maintenance, the name of a host."""

from __future__ import annotations

from dataclasses import dataclass

from services.registering.request import Book, Request, checked_host, checked_key, checked_name, checked_text
from services.store.times import shifted
from services.topology.keys import InstanceKey
from services.topology.registrations import CandidateRule, Downtime, HostnameUnresolve, Maintenance

__all__ = [
    "DEFAULT_SECONDS",
    "BeginDowntime",
    "BeginMaintenance",
    "DeregisterUnresolve",
    "EndDowntime",
    "EndMaintenance",
    "EndMaintenanceNumbered",
    "RegisterCandidate",
    "RegisterUnresolve",
]

DEFAULT_SECONDS = 600
"""Maintenance lasts so long, and a downtime of which nothing else is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterCandidate(Request[None]):
    """``rule``: prefer, neutral, prefer_not or must_not; for CandidateInstanceExpireMinutes."""

    key: InstanceKey
    rule: str

    async def carry_out(self, book: Book) -> None:
        rule = CandidateRule(
            key=checked_key(self.key),
            promotion_rule=self.rule,
            last_suggested=book.now,
            expires_at=shifted(book.now, book.settings.CandidateInstanceExpireMinutes * 60.0),
        )
        entry = book.entry("register-candidate", self.rule, key=self.key, by=self.by)
        await book.store.registrations.register_candidate(rule, entry)
        book.told.append(entry)


@dataclass(frozen=True, slots=True, kw_only=True)
class BeginDowntime(Request[None]):
    """In place of one that lasts. ``seconds`` 0: as long as maintenance."""

    key: InstanceKey
    owner: str
    reason: str
    seconds: int = 0

    async def carry_out(self, book: Book) -> None:
        downtime = Downtime(
            key=checked_key(self.key),
            owner=checked_name(self.owner, "the owner"),
            reason=checked_text(self.reason, "the reason"),
            begins_at=book.now,
            ends_at=shifted(book.now, self.seconds or DEFAULT_SECONDS),
        )
        entry = book.entry("begin-downtime", downtime.said, key=self.key, by=self.by)
        await book.store.registrations.begin_downtime(downtime, entry)
        book.told.append(entry)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndDowntime(Request[bool]):
    """True if there was one."""

    key: InstanceKey

    async def carry_out(self, book: Book) -> bool:
        entry = book.entry("end-downtime", "downtime ended", key=self.key, by=self.by)
        return book.tell(entry, if_true=await book.store.registrations.end_downtime(self.key, entry))


@dataclass(frozen=True, slots=True, kw_only=True)
class BeginMaintenance(Request[int]):
    """Its number; 0 if the server is in maintenance already."""

    key: InstanceKey
    owner: str
    reason: str

    async def carry_out(self, book: Book) -> int:
        maintenance = Maintenance(
            key=checked_key(self.key),
            owner=checked_name(self.owner, "the owner"),
            reason=checked_text(self.reason, "the reason"),
            begins_at=book.now,
            ends_at=shifted(book.now, DEFAULT_SECONDS),
        )
        said = f"owner: {self.owner}, reason: {self.reason}"
        entry = book.entry("begin-maintenance", said, key=self.key, by=self.by)
        number = await book.store.registrations.begin_maintenance(maintenance, entry)
        return book.tell(entry, if_true=number)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndMaintenance(Request[bool]):
    """True if there was one."""

    key: InstanceKey

    async def carry_out(self, book: Book) -> bool:
        return await _end_maintenance(book, self.key, self.by)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndMaintenanceNumbered(Request[bool]):
    """True if there was one."""

    number: int

    async def carry_out(self, book: Book) -> bool:
        lasting = await book.store.registrations.maintenances(book.now)
        key = next((one.key for one in lasting if one.id == self.number), None)
        return key is not None and await _end_maintenance(book, key, self.by, self.number)


async def _end_maintenance(book: Book, key: InstanceKey, by: str, number: int | None = None) -> bool:
    entry = book.entry("end-maintenance", "maintenance ended", key=key, by=by)
    there_was = await book.store.registrations.end_maintenance(key, entry, number=number)
    return book.tell(entry, if_true=there_was)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterUnresolve(Request[None]):
    """Have replicas know the host of ``key`` by ``hostname``, for ExpiryHostnameResolvesMinutes."""

    key: InstanceKey
    hostname: str

    async def carry_out(self, book: Book) -> None:
        unresolve = HostnameUnresolve(
            hostname=checked_key(self.key).hostname,
            unresolved_hostname=checked_host(self.hostname, "the virtual name"),
            registered_at=book.now,
            expires_at=shifted(book.now, 60.0 * max(1, book.settings.ExpiryHostnameResolvesMinutes)),
        )
        entry = book.entry("register-hostname-unresolve", self.hostname, key=self.key, by=self.by)
        await book.store.registrations.register_unresolve(unresolve, entry)
        book.told.append(entry)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeregisterUnresolve(Request[bool]):
    """True if there was one."""

    key: InstanceKey

    async def carry_out(self, book: Book) -> bool:
        host = self.key.hostname
        said = f"{host} goes by its own name"
        entry = book.entry("deregister-hostname-unresolve", said, key=self.key, by=self.by)
        return book.tell(entry, if_true=await book.store.registrations.deregister_unresolve(host, entry))
