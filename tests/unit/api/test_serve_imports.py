"""``serve`` only supervises: what happens to Ray does not happen to it, and it stays small beside it."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("ray", "sqlalchemy", "alembic", "fastapi", "pydantic", "uvicorn")


def test_what_serve_imports() -> None:
    command = [sys.executable, "-c", "import sys; import api.cli.serve; print('\\n'.join(sys.modules))"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    packages = {name.partition(".")[0] for name in done.stdout.split()}
    assert "api" in packages
    assert packages & set(HEAVY) == set()
