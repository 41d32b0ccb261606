"""The options that say what a sandbox is to be: the same for ``serve --sandbox`` and ``sandbox up``."""

from __future__ import annotations

import argparse

from services.sandbox.containers import DEFAULT_IMAGE
from services.sandbox.topology import TopologySpec

__all__ = ["add_sandbox_options", "given_options", "sandbox_image", "sandbox_spec"]

_REPLICAS = 3
_NAMES = ("replicas", "intermediate", "semi_sync", "image")


def add_sandbox_options(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--replicas", type=int, metavar="N", help=f"replicas of the master ({_REPLICAS})")
    parser.add_argument(
        "--intermediate",
        action="store_true",
        default=None,
        help="one more replica, below the last of them, which is an intermediate master then",
    )
    parser.add_argument(
        "--semi-sync",
        action=argparse.BooleanOptionalAction,
        help="lossless semi-synchronous replication, one acknowledgement (yes, if there is a replica)",
    )
    parser.add_argument(
        "--image", metavar="IMAGE", help=f"for docker: an image with MySQL 8.4 or newer ({DEFAULT_IMAGE})"
    )


def given_options(arguments: argparse.Namespace) -> list[str]:
    """Those that were given, as they are written."""
    return [f"--{name.replace('_', '-')}" for name in _NAMES if getattr(arguments, name) is not None]


def sandbox_spec(arguments: argparse.Namespace) -> TopologySpec:
    """Raises SandboxError for what cannot be set up."""
    replicas = _REPLICAS if arguments.replicas is None else arguments.replicas
    semi_sync = replicas > 0 if arguments.semi_sync is None else arguments.semi_sync
    return TopologySpec(
        replicas=replicas,
        below_last=int(bool(arguments.intermediate)),
        semi_sync="lossless" if semi_sync else None,
    )


def sandbox_image(arguments: argparse.Namespace) -> str:
    return arguments.image or DEFAULT_IMAGE
