"""How instances are named: ``host:port``."""

from __future__ import annotations

from dataclasses import dataclass

from services.topology.travelling import travelling

__all__ = ["NO_KEY", "InstanceKey", "InvalidInstanceKeyError"]

_LONGEST_NUMBER = 18
"""Digits; of some thousands Python makes no number."""


class InvalidInstanceKeyError(ValueError):
    """A text that should name an instance does not; the message says why."""


@travelling
@dataclass(frozen=True, slots=True, order=True)
class InstanceKey:
    """The name of one MySQL server. Sorted by hostname, then port, as the API lists them."""

    hostname: str
    port: int

    def __str__(self) -> str:
        return f"{self.hostname}:{self.port}"

    @classmethod
    def parse(cls, text: str, default_port: int = 3306) -> InstanceKey:
        """Read ``host``, ``host:port`` or ``[v6]:port``.

        Raises InvalidInstanceKeyError if the host is empty or the port is not within 1..65535.
        """
        text = text.strip()
        if text.startswith("[") and "]" in text:
            host, _, rest = text[1:].partition("]")
            port_text = rest.removeprefix(":")
        elif text.count(":") > 1:  # a bare IPv6 address
            host, port_text = text, ""
        else:
            host, _, port_text = text.partition(":")
        if not host:
            raise InvalidInstanceKeyError(f"no host name in {text!r}: write host:port")
        if not port_text:
            return cls(host, default_port)
        is_number = port_text.isascii() and port_text.isdigit() and len(port_text) <= _LONGEST_NUMBER
        if not is_number or not 1 <= int(port_text) <= 65535:
            raise InvalidInstanceKeyError(f"the port in {text!r} is not a number within 1..65535")
        return cls(host, int(port_text))

    @property
    def is_detached(self) -> bool:
        """A replica whose source host was made unusable on purpose carries ``//host``."""
        return self.hostname.startswith("//")

    @property
    def names_a_server(self) -> bool:
        """False for the absent key, ``_`` (replication was reset) and detached names."""
        return self.hostname not in ("", "_") and not self.is_detached and self.port != 0


NO_KEY = InstanceKey("", 0)
"""The absent key: the master of a master."""
