"""Requests about tags, pools, aliases of clusters and attributes of hosts."""

from __future__ import annotations

from dataclasses import dataclass, replace

from services.node_errors import RefusedError
from services.registering.request import (
    AGREED_CHARACTERS_MAX,
    Book,
    Request,
    checked_host,
    checked_key,
    checked_name,
    checked_text,
    checked_word,
)
from services.store.times import shifted
from services.topology.keys import NO_KEY, InstanceKey
from services.topology.registrations import HostAttribute, InstanceTag
from services.topology.tags import TagTerm

__all__ = ["PutAttribute", "PutTag", "RemoveTag", "SetClusterAlias", "SubmitPool"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PutTag(Request[None]):
    shows = False

    key: InstanceKey
    name: str
    value: str = ""

    async def carry_out(self, book: Book) -> None:
        tag = InstanceTag(
            key=checked_key(self.key),
            name=checked_word(self.name, "the tag's name"),
            value=checked_name(self.value, "the tag's value"),
        )
        said = f"{tag.name}={tag.value}"
        entry = book.entry("put-instance-tag", said, key=self.key, by=self.by)
        await book.store.tags.put(tag, entry)
        book.told.append(entry)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveTag(Request[tuple[InstanceKey, ...]]):
    """From one server, or with NO_KEY from all. Returns those that had it."""

    shows = False

    term: TagTerm
    key: InstanceKey = NO_KEY

    async def carry_out(self, book: Book) -> tuple[InstanceKey, ...]:
        if self.term.negated:
            raise RefusedError(f"untag: ~{self.term.name} is no tag that could be removed")
        if self.key == NO_KEY and self.term.value is None:
            raise RefusedError(f"untag: give an instance, or a value: {self.term.name}=value")
        value = "" if self.term.value is None else f"={self.term.value}"
        entry = book.entry("delete-instance-tag", f"{self.term.name}{value}", by=self.by)
        removed = await book.store.tags.remove(self.term, key=self.key, audit=entry)
        if removed:
            said = f"{entry.message} removed from {len(removed)} instances"
            book.told.append(replace(entry, message=said))
        return removed


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitPool(Request[None]):
    """The whole content of a pool, for InstancePoolExpiryMinutes."""

    shows = False

    pool: str
    members: tuple[InstanceKey, ...]

    async def carry_out(self, book: Book) -> None:
        pool = checked_word(self.pool, "the pool's name")
        keys = sorted({checked_key(key) for key in self.members})
        if sum(len(str(key)) + 30 for key in keys) > AGREED_CHARACTERS_MAX:
            raise RefusedError(f"pool {pool}: {len(keys)} instances are too many for one pool")
        expiry = shifted(book.now, book.settings.InstancePoolExpiryMinutes * 60.0)
        entry = book.entry("submit-pool-instances", f"pool {pool}: {len(keys)} instances", by=self.by)
        await book.store.pools.submit(pool, keys, at=book.now, expires_at=expiry, audit=entry)
        book.told.append(entry)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetClusterAlias(Request[None]):
    """It stays with the cluster, whichever master that has. An empty one leaves it to the servers again."""

    cluster_id: str
    cluster_name: str
    alias: str

    async def carry_out(self, book: Book) -> None:
        alias = checked_name(self.alias.strip(), "the alias")
        said = f"cluster {self.cluster_name}: {alias or 'the alias that its servers suggest'}"
        entry = book.entry("set-cluster-alias", said, by=self.by)
        if not await book.store.clusters.set_alias(self.cluster_id, alias, entry):
            raise RefusedError(f"cluster {self.cluster_name} has no identity yet: ask again in some seconds")
        book.told.append(entry)


@dataclass(frozen=True, slots=True, kw_only=True)
class PutAttribute(Request[None]):
    """A named value of a host."""

    shows = False

    hostname: str
    name: str
    value: str

    async def carry_out(self, book: Book) -> None:
        attribute = HostAttribute(
            hostname=checked_host(self.hostname),
            name=checked_word(self.name, "the attribute's name"),
            value=checked_text(self.value, "the attribute's value"),
            submitted_at=book.now,
        )
        entry = book.entry("host-attribute", f"{self.hostname}: {attribute.name}={self.value}", by=self.by)
        await book.store.attributes.put(attribute, entry)
        book.told.append(entry)
