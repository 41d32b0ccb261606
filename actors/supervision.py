"""Watching over another actor: who is not there is started, who hangs is ended.

Ray restarts an actor whose process has died. It does not notice one that was stopped, and does not
recreate one that it has given up: that is what this is for.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from actors.handles import NoAnswerError, Peer
from services.node_errors import OutcomeUnknownError, UnavailableError

__all__ = ["ORPHAN_SECONDS", "Started", "watch_over"]

_START_SECONDS = 30.0
ORPHAN_SECONDS = 10.0
"""Who has an actor's name and waits for its lock for so long ends who holds it: an earlier one that Ray, and
so the rest of the node, has lost sight of."""


async def watch_over(
    peer: Peer,
    *,
    patience: float,
    start: Callable[[], Awaitable[None]],
    replace: Callable[[], Awaitable[None]],
) -> bool:
    """One liveness call of ``patience`` seconds, and what follows from it. Whether it was answered."""
    try:
        await peer.call("ping", timeout=patience)
    except UnavailableError:
        await start()
    except NoAnswerError:
        await replace()
    except OutcomeUnknownError:  # Ray is restarting it
        pass
    else:
        return True
    return False


class Started:
    """When something was last started, and whether it has worked since.

    A call of one that is only being started waits: ending it for that would begin it all over again.
    """

    def __init__(self) -> None:
        self._at = time.monotonic()
        self.worked = False

    @property
    def may_be_ended(self) -> bool:
        return self.worked or time.monotonic() - self._at > _START_SECONDS
