"""Calling other actors: every call has a bound, and says what its failure means.

`UnavailableError`: nothing was done. `OutcomeUnknownError`: it may have been done, so only what may be
repeated is called again. An exception of the callee's own comes through as it was raised.
"""

from __future__ import annotations

import asyncio
from typing import Any

import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayActorError, RayTaskError

from actors.names import NAMESPACE
from services.node_view import OutcomeUnknownError, UnavailableError

__all__ = ["NoAnswerError", "Peer", "create", "end"]

_GCS_SECONDS = 5.0  # finding, creating or ending an actor


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
        except ActorDiedError:
            self._handle = None
            raise UnavailableError(f"{self.name} is not running") from None
        except (ActorUnavailableError, RayActorError):
            raise OutcomeUnknownError(f"{self.name} is being restarted") from None
        except RayTaskError as error:
            cause = error.cause
            raise (cause if isinstance(cause, Exception) else RuntimeError(str(error))) from None

    async def _found(self) -> Any:
        if self._handle is None:
            try:
                self._handle = await asyncio.wait_for(
                    asyncio.to_thread(ray.get_actor, self.name, NAMESPACE), _GCS_SECONDS
                )
            except ValueError:
                raise UnavailableError(f"there is no actor {self.name}") from None
            except asyncio.TimeoutError:
                raise UnavailableError(f"Ray did not find {self.name} within {_GCS_SECONDS:g} s") from None
        return self._handle

    def forget(self) -> None:
        self._handle = None


async def create(actor_class: type, options: dict[str, Any], *arguments: Any) -> None:
    """Start a named actor, or find it running. Returns before its constructor has run."""
    remote = ray.remote(actor_class).options(**options)
    try:
        await asyncio.wait_for(asyncio.to_thread(remote.remote, *arguments), _GCS_SECONDS)
    except asyncio.TimeoutError:
        raise UnavailableError(f"Ray did not start {options['name']} within {_GCS_SECONDS:g} s") from None


async def end(name: str, *, restart: bool = False) -> None:
    """Kill an actor; with ``restart`` Ray starts it again. One that is not there is no error."""

    def kill() -> None:
        try:
            ray.kill(ray.get_actor(name, NAMESPACE), no_restart=not restart)
        except ValueError:
            return

    try:
        await asyncio.wait_for(asyncio.to_thread(kill), _GCS_SECONDS)
    except asyncio.TimeoutError:
        raise UnavailableError(f"Ray did not end {name} within {_GCS_SECONDS:g} s") from None
