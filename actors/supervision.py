"""Watching over another actor: who is not there is started, who hangs is ended.

Ray restarts an actor whose process has died. It does not notice one that was stopped, and does not
recreate one that it has given up: that is what this is for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from actors.handles import NoAnswerError, Peer
from services.node_errors import OutcomeUnknownError, UnavailableError

__all__ = ["watch_over"]


async def watch_over(
    peer: Peer,
    *,
    patience: float,
    start: Callable[[], Awaitable[None]],
    replace: Callable[[], Awaitable[None]],
) -> None:
    """One liveness call of ``patience`` seconds, and what follows from it."""
    try:
        await peer.call("ping", timeout=patience)
    except UnavailableError:
        await start()
    except NoAnswerError:
        await replace()
    except OutcomeUnknownError:  # Ray is restarting it
        return
