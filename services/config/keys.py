"""How one key of the configuration is declared: a dataclass field that carries what is known of the key."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from services.config.kinds import Kind, SecretText

__all__ = ["Key", "declared_keys", "key"]

T = TypeVar("T")
_META = "key"


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of a key besides its value."""

    name: str
    kind: Kind[Any]
    default: Any
    meaning: str
    unit: str
    restart: bool
    """A change takes effect only when the service is restarted."""

    @property
    def is_secret(self) -> bool:
        return isinstance(self.kind, SecretText)


def key(kind: Kind[T], default: T, meaning: str = "", *, unit: str = "", restart: bool = False) -> T:
    """Declare a field of a settings class; typed as its value, so that mypy compares both."""
    metadata = {_META: (kind, default, meaning, unit, restart)}
    return field(default=default, metadata=metadata)


def declared_keys(settings_class: type[Any]) -> tuple[Key, ...]:
    """The keys that a settings class declares, in order."""
    return tuple(Key(entry.name, *entry.metadata[_META]) for entry in fields(settings_class))
