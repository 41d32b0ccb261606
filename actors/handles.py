"""Calling other actors: every call has a bound, and says what its failure means.

`UnavailableError`: nothing was done. `OutcomeUnknownError`: it may have been done, so only what may be
repeated is called again. An exception of the callee's own comes through as it was raised.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import ray
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    ActorUnschedulableError,
    RayActorError,
    RayError,
    RayTaskError,
)

from actors.names import NAMESPACE
from services.node_errors import OutcomeUnknownError, UnavailableError

__all__ = ["NoAnswerError", "Peer", "ask_ray", "create", "end", "end_and_wait", "names_in_use"]

_GCS_SECONDS = 5.0  # finding, creating or ending an actor
_THREADS = ThreadPoolExecutor(max_workers=8, thread_name_prefix="ask-ray")
"""Their own: a Ray head that hangs keeps them, and nothing else that needs a thread waits for it."""


class NoAnswerError(OutcomeUnknownError):
    """The actor is there and did not answer in time: it hangs, or is busy for too long."""


class Peer:
    """Another actor, by name. Its handle is looked up when first needed and after it died."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._handle: Any = None

    async def call(self, method: str, *arguments: Any, timeout: float) -> Any:
        """Call and wait for the reply for ``timeout`` seconds at most."""
        handle = await self._found()
        try:
            reference = getattr(handle, method).remote(*arguments)
            return await asyncio.wait_for(asyncio.wrap_future(reference.future()), timeout)
        except asyncio.TimeoutError:
            raise NoAnswerError(f"{self.name} did not answer within {timeout:g} s") from None
        except (
            ActorDiedError,
            ActorUnschedulableError,
        ):  # the latter: with its Ray node
            self._handle = None
            raise UnavailableError(f"{self.name} is not running") from None
        except (ActorUnavailableError, RayActorError):
            raise OutcomeUnknownError(f"{self.name} is being restarted") from None
        except RayTaskError as error:
            cause = error.cause
            raise (cause if isinstance(cause, Exception) else RuntimeError(str(error))) from None
        except RayError as error:
            raise OutcomeUnknownError(f"{self.name} cannot be called: {error}") from None

    async def _found(self) -> Any:
        if self._handle is None:
            try:
                self._handle = await ask_ray(
                    partial(ray.get_actor, self.name, NAMESPACE), f"find {self.name}"
                )
            except ValueError:
                raise UnavailableError(f"there is no actor {self.name}") from None
        return self._handle


async def create(actor_class: type, options: dict[str, Any], *arguments: Any) -> None:
    """Start a named actor, or find it running. Returns before its constructor has run."""
    remote = ray.remote(actor_class).options(**options)
    await ask_ray(partial(remote.remote, *arguments), f"start {options['name']}")


async def names_in_use() -> list[str]:
    """The names of all actors of the node that live or are being started."""
    return [str(name) for name in await ask_ray(ray.util.list_named_actors, "list the actors")]


async def end(name: str, *, restart: bool = False) -> None:
    """Kill an actor; with ``restart`` Ray starts it again. One that is not there is no error."""

    def kill() -> None:
        try:
            ray.kill(ray.get_actor(name, NAMESPACE), no_restart=not restart)
        except ValueError:
            return

    await ask_ray(kill, f"end {name}")


async def end_and_wait(name: str) -> None:
    """Kill an actor for good, and wait until its name is free. Raises UnavailableError if that takes long."""
    await end(name)
    deadline = time.monotonic() + _GCS_SECONDS
    while name in await names_in_use():
        if time.monotonic() > deadline:
            raise UnavailableError(f"Ray did not end {name} within {_GCS_SECONDS:g} s")
        await asyncio.sleep(0.05)


async def ask_ray(work: Callable[[], Any], what: str) -> Any:
    """Calls that block go to a thread. Raises UnavailableError, or what ``work`` raises of itself."""
    loop, context = asyncio.get_running_loop(), contextvars.copy_context()  # Ray keeps there who calls
    try:
        return await asyncio.wait_for(loop.run_in_executor(_THREADS, context.run, work), _GCS_SECONDS)
    except asyncio.TimeoutError:
        raise UnavailableError(f"Ray did not {what} within {_GCS_SECONDS:g} s") from None
    except RayError as error:
        raise UnavailableError(f"Ray did not {what}: {error}") from None
