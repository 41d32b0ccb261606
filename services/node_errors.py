"""How a request to a node ends other than well. Light, because every probe imports it.

Errors (each carries the text that the caller is shown)::

    NodeError
    |-- NotLeaderError          another node acts: nothing was done here
    |-- UnknownInstanceError    no such instance is known
    |-- UnknownClusterError     no such cluster is known
    |-- RefusedError            a rule forbids it, or it was tried and failed; `details` for the reply
    |-- OutcomeUnknownError     no answer in time: it may or may not have been done
    `-- UnavailableError        the part of the node that does this is not there now
"""

from __future__ import annotations

from services.topology.keys import InstanceKey

__all__ = [
    "NodeError",
    "NotLeaderError",
    "OutcomeUnknownError",
    "RefusedError",
    "UnavailableError",
    "UnknownClusterError",
    "UnknownInstanceError",
]


class NodeError(Exception):
    """A change that did not happen as asked. ``str(error)`` is what the caller is shown.

    Pickled between actors, so everything stands in ``args``.
    """

    def __init__(self, message: str, details: InstanceKey | None = None) -> None:
        super().__init__(message, details)

    def __str__(self) -> str:
        return str(self.args[0])

    @property
    def details(self) -> InstanceKey | None:
        """What the enveloped reply carries as ``Details``."""
        details: InstanceKey | None = self.args[1]
        return details


class NotLeaderError(NodeError):
    """This node does not lead; nothing was done."""


class UnknownInstanceError(NodeError):
    """No such instance is known here."""


class UnknownClusterError(NodeError):
    """No such cluster is known here."""


class RefusedError(NodeError):
    """A rule forbids what was asked, or it was tried and did not succeed; the text says which."""


class OutcomeUnknownError(NodeError):
    """There was no answer in time. It may have been done: look before asking again."""


class UnavailableError(NodeError):
    """The actor or backend that does this does not answer now; nothing was done."""
