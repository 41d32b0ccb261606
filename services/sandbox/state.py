"""What is remembered of the sandbox of ``orchestray sandbox``, and how one that stands is described.

At most one sandbox per user. Its files are readable by that user only:

    sandbox.json            where the servers' folders are, their names, their accounts
    orchestray.conf.json    configuration with which orchestray watches it
    app.cnf                 options with which a MySQL client logs in as the application

Each server's folder says which process runs on it (see ``Process.write``).
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.sandbox.accounts import SCHEMA, Account, Accounts
from services.sandbox.errors import SandboxStateError
from services.sandbox.kinds import DEFAULT_KIND
from services.sandbox.ports import LOOPBACK
from services.sandbox.processes import Process
from services.sandbox.server import PROCESS_FILE
from services.topology.keys import InstanceKey

__all__ = ["Sandbox", "forget", "load", "save", "settings_for", "state_directory", "write_client_options"]

CLIENT_FILE = "app.cnf"
CONFIGURATION_FILE = "orchestray.conf.json"
_STATE_FILE = "sandbox.json"
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A sandbox that is up: names of servers in the order of their making, the first master first.

    While it is being started, and after a start that was cut off, ``servers`` is empty.
    """

    folder: Path
    semi_sync: bool
    accounts: Accounts
    servers: tuple[tuple[str, InstanceKey], ...] = ()
    kind: str = DEFAULT_KIND

    def process(self, name: str) -> Process | None:
        """The process last started on a server's folder, if it still runs."""
        process = Process.read(self.folder / name / PROCESS_FILE)
        return process if process is not None and process.is_alive else None

    def processes(self) -> list[Process]:
        """All that run, those of a start that was cut off included."""
        names = sorted(file.parent.name for file in self.folder.glob(f"*/{PROCESS_FILE}"))
        return [process for name in names if (process := self.process(name)) is not None]


def state_directory() -> Path:
    """Where it is remembered (XDG base directory specification)."""
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "orchestray" / "sandbox"


def settings_for(account: Account, seed: InstanceKey) -> dict[str, Any]:
    """The configuration keys with which orchestray watches a sandbox and recovers its master."""
    return {
        "MySQLTopologyUser": account.user,
        "MySQLTopologyPassword": account.password,
        "DiscoverySeeds": [str(seed)],
        "DiscoverByShowSlaveHosts": True,  # servers differ by port only
        "HostnameResolveMethod": "none",
        "MySQLHostnameResolveMethod": "@@report_host",
        "RecoverMasterClusterFilters": ["*"],
    }


def save(state: Sandbox, directory: Path) -> None:
    """Remember it; once its servers are known, with the files for those who use it."""
    content = {
        "format": _FORMAT,
        "folder": str(state.folder),
        "kind": state.kind,
        "semi_sync": state.semi_sync,
        "accounts": {name: _account(getattr(state.accounts, name)) for name in Accounts.__slots__},
        "servers": [{"name": name, "host": key.hostname, "port": key.port} for name, key in state.servers],
    }
    _write_private(directory / _STATE_FILE, _json(content))
    if state.servers:
        settings = settings_for(state.accounts.orchestray, state.servers[0][1])
        _write_private(directory / CONFIGURATION_FILE, _json(settings))
        write_client_options(state.accounts.application, directory)


def write_client_options(account: Account, directory: Path) -> Path:
    """Options that log a MySQL client in, so that nobody has to be shown a password."""
    file = directory / CLIENT_FILE
    client = f"[client]\nuser={account.user}\npassword={account.password}\nhost={LOOPBACK}\n"
    _write_private(file, f"{client}[mysql]\ndatabase={SCHEMA}\n")
    return file


def load(directory: Path) -> Sandbox | None:
    """What was saved, if anything. Raises SandboxStateError for a file that is not ours."""
    file = directory / _STATE_FILE
    try:
        content = json.loads(file.read_text())
        if content["format"] != _FORMAT:
            raise SandboxStateError(f"{file} was written by another version of orchestray; remove it")
        accounts = {name: Account(**account) for name, account in content["accounts"].items()}
        servers = tuple((s["name"], InstanceKey(s["host"], int(s["port"]))) for s in content["servers"])
        kind = content.get("kind", DEFAULT_KIND)
        semi_sync = bool(content["semi_sync"])
        return Sandbox(Path(content["folder"]), semi_sync, Accounts(**accounts), servers, kind)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise SandboxStateError(f"{file} cannot be read ({type(error).__name__}); remove it") from error


def forget(state: Sandbox, directory: Path) -> None:
    """Remove the servers' data and what is remembered. Nothing of it may run."""
    shutil.rmtree(state.folder, ignore_errors=True)
    for file in (_STATE_FILE, CONFIGURATION_FILE, CLIENT_FILE):
        (directory / file).unlink(missing_ok=True)


def _account(account: Account) -> dict[str, str]:
    return {"user": account.user, "password": account.password}


def _json(content: object) -> str:
    return json.dumps(content, indent=2) + "\n"


def _write_private(file: Path, text: str) -> None:
    """Replace a file at once by one that only its user may read."""
    descriptor, partial = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")  # mode 0600
    try:
        with os.fdopen(descriptor, "w") as stream:
            stream.write(text)
        Path(partial).replace(file)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
