"""The short form of ``scripts/chaos``: a few minutes of random faults for each setup; no rule is broken."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.world import SETUPS

MINUTES = 2
SEED = 20261128
_START_AND_END_SECONDS = 900

pytestmark = [pytest.mark.long, pytest.mark.timeout(MINUTES * 60 + _START_AND_END_SECONDS)]


@pytest.mark.parametrize("setup", SETUPS)
def test_random_faults(setup: str, tmp_path: Path) -> None:
    """In a process of its own, which moves into a network of its own."""
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "tests.chaos", "--minutes", str(MINUTES), "--seed", str(SEED)]
    with subprocess.Popen(
        [*command, "--setup", setup, "--json", str(report)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            said, _ = process.communicate(timeout=MINUTES * 60 + _START_AND_END_SECONDS - 60)
        finally:
            process.terminate()  # it ends what it started
    print(said)
    assert process.returncode == 0, said
    found = json.loads(report.read_text())
    assert found["violations"] == []
    assert found["faults_total"] > 0
    assert found["registrations"]["acknowledged"] > 0
    assert found["writes_acknowledged"] > 0
