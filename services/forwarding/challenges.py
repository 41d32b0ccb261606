"""Challenges: each is good once, for some seconds of this process's clock, and in this process only.

One that is handed out costs nothing: it is known again by its own HMAC. Only those that were used are kept,
until their time is over, and only who has the setup's secret can use one.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable

from services.election.clock import boottime

__all__ = ["LASTS_SECONDS", "Challenges"]

LASTS_SECONDS = 10.0
_FORM = re.compile(r"([0-9]{1,15})-([0-9a-f]{32})-([0-9a-f]{64})")


class Challenges:
    def __init__(self, clock: Callable[[], float] = boottime) -> None:
        self._key = secrets.token_bytes(32)
        self._clock = clock
        self._used: dict[str, float] = {}  # until when it would be good

    def issue(self) -> str:
        head = f"{int(self._clock() * 1000)}-{secrets.token_hex(16)}"
        return f"{head}-{self._mac(head)}"

    def redeem(self, challenge: str) -> bool:
        """Whether it is good; from now on it is not any more."""
        now = self._clock()
        self._used = {used: until for used, until in self._used.items() if until >= now}
        form = _FORM.fullmatch(challenge)
        if form is None or not hmac.compare_digest(self._mac(f"{form[1]}-{form[2]}"), form[3]):
            return False
        until = int(form[1]) / 1000 + LASTS_SECONDS
        if challenge in self._used or now > until:
            return False
        self._used[challenge] = until
        return True

    def _mac(self, head: str) -> str:
        return hmac.new(self._key, head.encode(), hashlib.sha256).hexdigest()
