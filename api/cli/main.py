"""The command ``orchestray``: finds out what is asked for and imports only that.

orchestray serve [--config FILE] …      run a node here, with its own Ray, in the foreground
orchestray up|down|status|reload …      the same node inside a running Ray cluster
orchestray sandbox up|down|status       a real MySQL or MariaDB topology on this machine
orchestray analyze FILE                 what is wrong in a topology that is in a file
orchestray -c COMMAND …                 client of a running node
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from services import VERSION

__all__ = ["main"]


_COMMANDS = {
    "analyze": "api.cli.analyze",
    "sandbox": "api.cli.sandbox",
    "serve": "api.cli.serve",
    "up": "api.cli.cluster",
    "down": "api.cli.cluster",
    "status": "api.cli.cluster",
    "reload": "api.cli.cluster",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    command = words[0] if words else "--help"
    if command == "--version":
        print(f"orchestray {VERSION}")
    elif command == "--help":
        print(__doc__)
    elif command in _COMMANDS:
        module = importlib.import_module(_COMMANDS[command])
        status: int = module.run(words if _COMMANDS[command].endswith("cluster") else words[1:])
        return status
    elif command.startswith("-"):
        client = importlib.import_module("api.cli.client")
        answered: int = client.run(words)
        return answered
    else:
        print(f"orchestray: no command {command!r}\n{__doc__}", file=sys.stderr)
        return 1
    return 0 if words else 1


if __name__ == "__main__":
    sys.exit(main())
