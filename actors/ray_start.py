"""What ``ray start`` of a head leaves out or puts last: ``RAY_START_HOOK=actors.ray_start.lighten``.

A head that was killed is back when its actors are, and all that starts beside them takes processors from
them.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any

__all__ = ["lighten"]

_NICENESS = 10


def lighten(parameters: Any, head: bool) -> None:
    """Called by Ray with its ``RayParams``, before it starts anything.

    No server for Ray clients: nobody speaks to it, its start takes 1.5 s of a processor, and no option of
    ``ray start`` is without it. The dashboard and its dozen of processes come after all others.
    """
    if not head:
        return
    from ray._private import services

    parameters.ray_client_server_port = None
    start = services.start_api_server

    def start_behind(*arguments: Any, **named: Any) -> Any:
        url, started = start(*arguments, **named)
        if started is not None:
            with contextlib.suppress(ProcessLookupError):
                os.setpriority(os.PRIO_PROCESS, started.process.pid, _NICENESS)
        return url, started

    services.start_api_server = start_behind
