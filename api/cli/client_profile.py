"""``/etc/profile.d/orchestrator-client.sh``: what orchestrator-client sources before anything else.

It is a shell script, so a shell reads it; only the variables that the client knows are taken over.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from api.cli.client_options import ClientError

__all__ = ["PROFILE", "environment_with_profile"]

PROFILE = Path("/etc/profile.d/orchestrator-client.sh")
_SECONDS = 5.0
_VARIABLES = (
    "ORCHESTRATOR_API",
    "ORCHESTRATOR_INSTANCE",
    "ORCHESTRATOR_AUTH_USER",
    "ORCHESTRATOR_AUTH_PASSWORD",
    "ORCHESTRATOR_AUTH_USER_HEADER",
)
_SCRIPT = '. "$0" >&2 </dev/null; printf "%s\\0" ' + " ".join(f'"${{{name}-}}"' for name in _VARIABLES)


def environment_with_profile(environment: Mapping[str, str], profile: Path = PROFILE) -> Mapping[str, str]:
    """``environment`` as the profile leaves it. Raises ClientError if the profile does not come to an end."""
    if not profile.is_file():
        return environment
    try:
        done = subprocess.run(
            ["bash", "-c", _SCRIPT, str(profile)],
            env=dict(environment),
            stdout=subprocess.PIPE,
            timeout=_SECONDS,
            check=False,
        )
    except FileNotFoundError:  # no shell: then nothing else reads it either
        return environment
    except subprocess.TimeoutExpired:
        raise ClientError(
            f"{profile} does not come to an end within {_SECONDS:g} s: mend or remove it"
        ) from None
    values = done.stdout.decode("utf-8", "surrogateescape").split("\0")[:-1]
    if len(values) != len(_VARIABLES):  # it ended the shell
        raise ClientError(
            f"{profile} ends with status {done.returncode} instead of setting variables: mend it"
        )
    return {**environment, **dict(zip(_VARIABLES, values, strict=True))}
