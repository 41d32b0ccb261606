"""A store on an active-active pair with statement-based replication: what is done is the same on both."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from services.sandbox.binaries import Mysqld
from tests.pairs import WITH_PAIR

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]


def test_all_that_the_store_promises_holds_on_a_pair_and_is_the_same_on_both(mariadbd: Mysqld) -> None:
    """The tests of the store and of the election, once more. After each: no statement that is not safe (by
    the warnings of its session, and by the servers' logs), no error of replication, the same rows on both."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "mariadb"),
            *("tests/unit/store", "tests/unit/election"),
        ],
        cwd=ROOT,
        env={**os.environ, WITH_PAIR: "1"},
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    passed = re.search(r"(\d+) passed", said)
    assert passed is not None
    assert int(passed[1]) > 80, said
