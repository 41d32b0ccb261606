"""HAProxy with the configuration of the documentation, its addresses replaced."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from services.sandbox.ports import free_port, is_free
from services.sandbox.processes import spawn
from tests.servers import wait_until

__all__ = ["HAProxy", "documented"]

_DOCUMENTATION = Path(__file__).parents[1] / "docs" / "deployment.md"
_START_SECONDS = 10


def documented(listener: str) -> str:
    """The section ``listen <listener>`` that the documentation shows."""
    wanted, found = f"    listen {listener}", []
    for line in _DOCUMENTATION.read_text().splitlines():
        if line == wanted or (found and line.startswith("        ")):
            found.append(line.removeprefix("    "))
        elif found:
            break
    assert found, f"{_DOCUMENTATION} shows no listener {listener}"
    return "\n".join(found) + "\n"


class HAProxy:
    """``replaced`` maps each address of the documentation to one of the test; all have to be there."""

    def __init__(self, folder: Path, listener: str, bind: str, replaced: Mapping[str, str]) -> None:
        program = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
        if program is None:
            if os.environ.get("CI") == "true":
                raise AssertionError("there is no haproxy: scripts/install-test-packages")
            pytest.skip("there is no haproxy on PATH (Debian: haproxy)")
        self.port = free_port()
        text = documented(listener)
        for old, new in {bind: f"bind 127.0.0.1:{self.port}", **replaced}.items():
            assert old in text, (old, text)
            text = text.replace(old, new)
        assert "example.com" not in text, text
        self._log = folder / f"{listener}.log"
        file = folder / f"{listener}.cfg"
        file.write_text(text)
        self._process = spawn(
            [program, "-f", str(file), "-db"], log=self._log, directory=folder, die_with_parent=True
        )
        try:
            wait_until(lambda: not self._runs or not is_free(self.port), _START_SECONDS, lambda: self.said)
            assert self._runs, self.said
        except AssertionError:
            self.stop()
            raise

    @property
    def _runs(self) -> bool:
        return self._process.poll() is None

    @property
    def said(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def stop(self) -> None:
        if self._runs:
            self._process.kill()
        self._process.wait(10)
