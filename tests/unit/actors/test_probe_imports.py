"""A probe stays small: neither its code nor what it is told brings the rest of the program with it."""

from __future__ import annotations

import pickle
import subprocess
import sys

from actors.probe import Assignment
from services.config import from_mapping
from services.policies import login, watch_policy
from services.topology.keys import InstanceKey

HEAVY = ("sqlalchemy", "alembic", "aiosqlite", "fastapi", "starlette", "uvicorn", "pydantic.main")
OURS = (
    "api",
    "services.config",
    "services.store",
    "services.registry",
    "services.analysis",
    "services.planning",
)
_LOADING = """
import pickle, sys
import actors.probe
pickle.loads(sys.stdin.buffer.read())
print("\\n".join(sys.modules))
"""


def test_what_a_probe_imports() -> None:
    loaded = from_mapping(
        {
            "BackendDB": "sqlite",
            "SQLite3DataFile": "x",
            "DiscoveryIgnoreReplicationUsernameFilters": ["cdc"],
            "DetectDataCenterQuery": "SELECT 1",
        }
    )
    settings = loaded.settings
    told = Assignment(login(settings), watch_policy(settings), (InstanceKey("a", 1),))
    done = subprocess.run(
        [sys.executable, "-c", _LOADING],
        input=pickle.dumps(told),
        capture_output=True,
        check=True,
        timeout=60,
    )
    modules = set(done.stdout.decode().split())
    assert "services.mysql.watcher" in modules
    assert {name for name in modules if name.startswith(HEAVY)} == set()
    assert {name for name in modules if name.startswith(OURS)} == set()
