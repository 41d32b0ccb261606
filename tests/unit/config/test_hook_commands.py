"""Hook commands that cannot work are warned of, by key and command."""

from __future__ import annotations

import pytest

from services.config.hook_commands import HOOK_KEYS, PLACEHOLDERS
from services.publish.hooks import HookKind
from tests.unit.config.helpers import loaded


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("", '"": is empty and is passed over; remove it'),
        (" & ", '" & ": is empty and is passed over; remove it'),
        ("x {failedhost}", '"x {failedhost}": {failedhost} is not a placeholder; did you mean {failedHost}?'),
        ("x {failedName}", '"x {failedName}": {failedName} is not a placeholder and stays as it is'),
    ],
)
@pytest.mark.parametrize("key", HOOK_KEYS)
def test_one_that_cannot_work(key: str, command: str, complaint: str) -> None:
    assert loaded(**{key: ["true", command]}).warnings == (f"x: {key}: entry 2, {complaint}",)


@pytest.mark.parametrize(
    "command",
    [
        *(f"echo {{{name}}}" for name in PLACEHOLDERS),
        'echo ${HOME} "${x}" %{status} {a,b} {1..3} \'{"text": 1}\' \\{x} { x; } 2>&1 &',
        "awk '{print $1}' file",
    ],
)
def test_one_that_may_work(command: str) -> None:
    assert loaded(PreFailoverProcesses=[command]).warnings == ()


@pytest.mark.parametrize(
    "key",
    [
        "PostIntermediateMasterFailoverProcesses",
        "PreGracefulTakeoverProcesses",
        "PostGracefulTakeoverProcesses",
        "PostTakeMasterProcesses",
    ],
)
def test_hooks_of_what_is_to_come_have_no_effect_yet(key: str) -> None:
    (warning,) = loaded(**{key: ["true"]}).warnings
    assert warning.startswith(f"x: {key}: has no effect yet")


def test_every_key_is_an_event() -> None:
    assert tuple(kind.value for kind in HookKind) == HOOK_KEYS
