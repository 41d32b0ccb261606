"""How raft ends other than well.

Errors (each says what failed, and the mend)::

    RaftError
    |-- RaftConfigurationError   it can never work as configured
    |-- StorageError             the file of its log: missing, full, corrupt, another member's; `mendable` in
    |                            place
    |-- MachineUnavailableError  the state machine cannot work now: nothing was done, it is tried again
    |-- PeerError                a connection is refused or broken; tried again by itself
    |-- NotLeadingError          another member leads: nothing was done; `leader` if it is known
    |-- BusyError                more is waiting to be applied than may wait: nothing was done
    |-- ProposalLostError        another leader's entry took its place: it is not done, and never will be
    |-- OutcomeUnknownError      it may or may not be agreed on
    `-- CommandFailedError       it was agreed on, and the state machine could not apply it: recorded, not
    retried
"""

from __future__ import annotations

__all__ = [
    "BusyError",
    "CommandFailedError",
    "MachineUnavailableError",
    "NotLeadingError",
    "OutcomeUnknownError",
    "PeerError",
    "ProposalLostError",
    "RaftConfigurationError",
    "RaftError",
    "StorageError",
]


class RaftError(Exception):
    """``str(error)`` is for people."""


class RaftConfigurationError(RaftError):
    """Settings that contradict each other, or that would be unsafe."""


class StorageError(RaftError):
    """The member neither votes nor answers until this is mended. Not ``mendable``: only by a restart."""

    def __init__(self, message: str, *, mendable: bool = True) -> None:
        super().__init__(message)
        self.mendable = mendable


class MachineUnavailableError(RaftError):
    """What hinders it is of this member only, as a full disk is: no entry may be left out because of it."""


class PeerError(RaftError):
    """One connection to or from one peer."""


class NotLeadingError(RaftError):
    """Ask ``leader`` instead, if there is one."""

    def __init__(self, leader: str | None) -> None:
        super().__init__(
            "there is no raft leader now, try again" if leader is None else f"the raft leader is {leader}"
        )
        self.leader = leader


class BusyError(RaftError):
    """Try again later."""


class ProposalLostError(RaftError):
    """Propose it again, if it is still wanted."""


class OutcomeUnknownError(RaftError):
    """Look before proposing it again."""


class CommandFailedError(RaftError):
    """The same on every member, if the state machine is deterministic."""
