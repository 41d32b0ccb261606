"""Says in the terminal what a running node sees: follows its events over the API."""

from __future__ import annotations

import base64
import http.client
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from services.config import Settings

__all__ = ["Narrator"]

_WAIT_SECONDS = 20
_LONGEST_REPLY = 16 * 1024 * 1024


class Narrator:
    """A daemon thread that polls; it ends with the process."""

    def __init__(self, url: str, settings: Settings, say: Callable[[str], None]) -> None:
        self._url = url
        self._say = say
        self._headers = {}
        if settings.AuthenticationMethod in ("basic", "multi"):
            pair = f"{settings.HTTPAuthUser}:{settings.HTTPAuthPassword.reveal()}"
            self._headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        self._seen = 0

    def start(self) -> None:
        threading.Thread(target=self._run, name="narrator", daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                events = self._get(f"events?since={self._seen}&wait={_WAIT_SECONDS}", _WAIT_SECONDS + 5)
            except (OSError, ValueError, http.client.HTTPException):
                time.sleep(0.5)
                continue
            for event in events:
                self._seen = event["Seq"]
                self._say(f"{event['At'][11:19]} {event['Kind']:<10} {event['Message']}")
            time.sleep(0.05)

    def _get(self, path: str, timeout: float) -> Any:
        request = urllib.request.Request(f"{self._url}/api/{path}", headers=self._headers)  # noqa: S310
        with urllib.request.urlopen(request, timeout=timeout) as reply:  # noqa: S310
            return json.loads(reply.read(_LONGEST_REPLY))
