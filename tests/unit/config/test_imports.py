"""The command line client imports the configuration: it must stay light."""

from __future__ import annotations

import subprocess
import sys

LIGHT = "import sys; import services.config; print('\\n'.join(sys.modules))"


def test_importing_the_configuration_imports_only_the_standard_library() -> None:
    command = [sys.executable, "-c", LIGHT]
    run = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    packages = {name.partition(".")[0] for name in run.stdout.split()}
    known = set(sys.stdlib_module_names) | {"services", "__main__"}
    ours = {
        name for name in packages if not name.startswith(("__editable__", "_distutils_hack", "sitecustomize"))
    }
    assert ours <= known, sorted(ours - known)
    assert not packages & {"asyncio", "socket", "logging", "http", "subprocess", "multiprocessing"}
    assert {name for name in run.stdout.split() if name.startswith("services.")} <= {
        name for name in run.stdout.split() if name.startswith(("services.config", "services.topology"))
    }
