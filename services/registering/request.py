"""What all requests share: where they are written, and the limits of what callers may give."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from services.config import Settings
from services.node_errors import RefusedError
from services.store.schema import LONGEST_NAME, LONGEST_TEXT, LONGEST_WORD
from services.store.store import Store
from services.store.times import utc_now
from services.topology.keys import NO_KEY, InstanceKey
from services.topology.records import AuditEntry

__all__ = [
    "AGREED_CHARACTERS_MAX",
    "Book",
    "Request",
    "checked_host",
    "checked_key",
    "checked_name",
    "checked_text",
    "checked_word",
]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

AGREED_CHARACTERS_MAX = 300_000
"""What is agreed on in raft at once has a limit."""


class Book:
    """The store and the settings at the moment of one request."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store = store
        self.settings = settings
        self.now = utc_now()
        self.told: list[AuditEntry] = []
        """What was changed, for those who watch the events."""

    def entry(self, kind: str, message: str, *, key: InstanceKey = NO_KEY, by: str = "") -> AuditEntry:
        """For the audit; ``by`` is who asked, if that is known."""
        return AuditEntry(
            at=self.now, type=kind, instance=key, message=f"{message}, by {by}" if by else message
        )

    def tell(self, entry: AuditEntry, *, if_true: T) -> T:
        """To those who watch the events, unless nothing was there to be changed. Returns ``if_true``."""
        if if_true:
            self.told.append(entry)
        return if_true


@dataclass(frozen=True, slots=True, kw_only=True)
class Request(ABC, Generic[T_co]):
    """Something to be registered. Asked for twice, nothing is there twice."""

    shows: ClassVar[bool] = True
    """Whether it shows on instances or clusters: then who watches them has to hear of it."""

    by: str = ""
    """Who asks, as the audit shows it."""

    @abstractmethod
    async def carry_out(self, book: Book) -> T_co:
        """Raises RefusedError if it makes no sense, or is not allowed; StoreError."""


def checked_name(text: str, what: str) -> str:
    """An owner, a value, an alias: may be empty."""
    return _within(text, what, LONGEST_NAME)


def checked_word(text: str, what: str) -> str:
    """A name of a tag, a pool or an attribute, without the blanks around it."""
    word = _within(text.strip(), what, LONGEST_WORD)
    if not word:
        raise RefusedError(f"{what} is empty")
    return word


def checked_text(text: str, what: str) -> str:
    return _within(text, what, LONGEST_TEXT)


def checked_host(text: str, what: str = "the host name") -> str:
    host = _within(text, what, LONGEST_NAME)
    if not host or any(character.isspace() for character in host):
        raise RefusedError(f"{what} is empty, or has blanks in it: {host!r}")
    return host


def checked_key(key: InstanceKey) -> InstanceKey:
    checked_host(key.hostname)
    return key


def _within(text: str, what: str, limit: int) -> str:
    if len(text) > limit:
        raise RefusedError(f"{what} has {len(text)} characters: give {limit} at most")
    return text
