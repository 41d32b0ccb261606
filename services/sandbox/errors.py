"""What can go wrong in a sandbox.

SandboxError
├── BinaryNotFoundError     no usable ``mysqld``, and none could be fetched
├── ServerFailedError       a server did not start, stop or answer in time; carries its error log's end
├── ReplicationFailedError  servers run, but replication between them does not
└── SandboxStateError       the state file of ``orchestray sandbox`` does not allow what was asked for
"""

from __future__ import annotations

__all__ = [
    "BinaryNotFoundError",
    "ReplicationFailedError",
    "SandboxError",
    "SandboxStateError",
    "ServerFailedError",
]


class SandboxError(Exception):
    """The message says what failed, on which server, and what to do."""


class BinaryNotFoundError(SandboxError):
    """There is no MySQL server program to run."""


class ServerFailedError(SandboxError):
    """A server did not do what its process was told in time."""


class ReplicationFailedError(SandboxError):
    """Replication could not be laid between running servers."""


class SandboxStateError(SandboxError):
    """A sandbox is up where none may be, or the other way round."""
