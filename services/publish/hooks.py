"""Hooks: the commands that the configuration gives for an event, run one after another in their order.

What holds for every one of them: its placeholders are filled in so that no value is read as code; it has the
service's environment without what is secret in it, and the ``ORC_…`` variables; it is bounded in time and in
what is kept of its output; its begin and end are said with exit code, duration and output.

A command that ends with ``&`` is not waited for. It is bounded too, by a longer time, and its end is said
when it comes.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

import structlog

from services.publish.facts import HookFacts
from services.publish.processes import Bounds, run_shell_text
from services.publish.shell_text import UnsafeValueError, shell_text

__all__ = ["HookKind", "HookPolicy", "HookRunner", "Say"]

Say = Callable[[str], Awaitable[None]]
"""Takes one line of the audit; also after the event is over, for what ran on."""

_ASYNCHRONOUS_MAX = 50
_SHOWN_CHARS = 200
_MASKED_CHARS = 4
_NO_SECRETS = frozenset({"HOME", "HOSTNAME", "LANG", "LOGNAME", "PATH", "PWD", "SHELL", "TMPDIR", "USER"})
"""Kept even if somebody chose such a value for a password."""
_log = structlog.get_logger(__name__)


class HookKind(str, Enum):
    """The event; its value is the configuration key that holds its commands."""

    DETECTION = "OnFailureDetectionProcesses"
    PRE_FAILOVER = "PreFailoverProcesses"
    FENCE = "FenceProcesses"
    POST_MASTER_FAILOVER = "PostMasterFailoverProcesses"
    POST_FAILOVER = "PostFailoverProcesses"
    POST_UNSUCCESSFUL_FAILOVER = "PostUnsuccessfulFailoverProcesses"


@dataclass(frozen=True, slots=True, kw_only=True)
class HookPolicy:
    """The settings of hooks. ``secrets`` are texts that no hook is handed and that nobody is shown."""

    commands: Mapping[HookKind, tuple[str, ...]]
    fence_required: bool = True
    interpreter: str = "bash"
    seconds: float = 60.0
    asynchronous_seconds: float = 3600.0
    output_bytes: int = 4096
    secrets: frozenset[str] = field(default=frozenset(), repr=False)

    def environment(self, facts: HookFacts) -> dict[str, str]:
        """The service's, without Ray's variables and without those that hold a secret; and the facts."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("RAY_", "ORC_")) and (value not in self.secrets or name in _NO_SECRETS)
        }
        return {**inherited, **facts.variables()}

    def masked(self, text: str) -> str:
        for secret in self.secrets:
            if len(secret) < _MASKED_CHARS:  # a word of every text
                continue
            text = text.replace(secret, "***")
        return text


class HookRunner:
    """Belongs to one event loop. ``policy`` is asked anew for each event."""

    def __init__(self, policy: Callable[[], HookPolicy]) -> None:
        self._policy = policy
        self._asynchronous: set[asyncio.Task[str]] = set()

    def has(self, kind: HookKind) -> bool:
        """There is something to run for such an event."""
        return any(map(_runnable, self._policy().commands.get(kind, ())))

    @property
    def fence_required(self) -> bool:
        return self._policy().fence_required

    async def run(self, kind: HookKind, facts: HookFacts, say: Say, *, to_the_end: bool) -> tuple[str, ...]:
        """Run the commands of an event; what failed, with reasons.

        The first failure stops the list, unless they are to be run ``to_the_end``.
        """
        event = _Event(self._policy(), facts, say)
        commands = [command for command in event.policy.commands.get(kind, ()) if _runnable(command)]
        failures: list[str] = []
        for number, command in enumerate(commands, 1):
            title = f"{kind.value} {number} of {len(commands)}"
            failure = await self._one(event, title, command.strip())
            if failure:
                failures.append(f"{title}: {failure}")
                if not to_the_end:
                    break
        return tuple(failures)

    async def _one(self, event: _Event, title: str, command: str) -> str:
        """Why it failed, "" if it did not, or if it is not waited for."""
        policy, say = event.policy, event.say
        waits = not command.endswith("&")
        command = command.removesuffix("&").rstrip()
        shown = policy.masked(command if len(command) <= _SHOWN_CHARS else command[:_SHOWN_CHARS] + "…")
        try:
            text = shell_text(command, event.facts.variables(), policy.interpreter)
        except UnsafeValueError as error:
            await say(f"{title} not run: {error}: {shown}")
            return f"not run: {error}"
        await say(f"{title} begins{'' if waits else ', not waited for'}: {shown}")
        if waits:
            return await event.run(title, text, policy.seconds)
        if len(self._asynchronous) >= _ASYNCHRONOUS_MAX:
            await say(f"{title} not run: {_ASYNCHRONOUS_MAX} others that are not waited for still run")
            return ""
        task = asyncio.ensure_future(event.run(title, text, policy.asynchronous_seconds))
        self._asynchronous.add(task)
        task.add_done_callback(self._asynchronous.discard)
        return ""


def _runnable(command: str) -> bool:
    return bool(command.strip().removesuffix("&").strip())


@dataclass(frozen=True, slots=True)
class _Event:
    """What the commands of one event have in common."""

    policy: HookPolicy
    facts: HookFacts
    say: Say

    async def run(self, title: str, text: str, seconds: float) -> str:
        policy = self.policy
        bounds = Bounds(seconds, policy.output_bytes)
        ended = await run_shell_text(policy.interpreter, text, policy.environment(self.facts), bounds)
        output = policy.masked(ended.output)
        said = f"{title} ended in {ended.seconds:.3f} s: {ended.failure or 'exit code 0'}"
        if ended.failure:
            _log.warning("hook failed", hook=title, reason=ended.failure, output=output)
        await self.say(f"{said}; output: {output}" if output else said)
        return ended.failure
