"""Hooks run by the Leader of a live node: what they inherit from a Ray actor, and what they do not."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.conftest import MakeTopology
from tests.integration.conftest import MakeNode
from tests.node import settings_of
from tests.servers import wait_until

_LOOK = (
    "env >{folder}/env; ls -l /proc/self/fd >{folder}/fds; grep ^Sig /proc/self/status >{folder}/signals; "
    "touch {folder}/looked"
)


@pytest.mark.long
@pytest.mark.timeout(240)
def test_the_hooks_of_a_live_node(make_node: MakeNode, make_topology: MakeTopology, tmp_path: Path) -> None:
    topology = make_topology(replicas=2)
    account = topology.accounts.orchestray
    noted = tmp_path / "noted"
    hooks = {
        "OnFailureDetectionProcesses": [f"echo 'Detected {{failureType}} on {{failureCluster}}' >>{noted}"],
        "PreFailoverProcesses": [_LOOK.format(folder=tmp_path), f"echo 'pre {{notAPlaceholder}}' >>{noted}"],
        "PostMasterFailoverProcesses": ["sleep 300"],
        "PostFailoverProcesses": [f'echo "now {{successorHost}}:{{successorPort}}" >>{noted}', "exit 9"],
        "HookTimeoutSeconds": 2,
        "MySQLTopologyPassword": "${ORCHESTRAY_PASSWORD}",
    }
    settings = {**settings_of(account, topology.master), **hooks}
    node = make_node(settings, environment={"ORCHESTRAY_PASSWORD": account.password, "WEBHOOK": "http://x"})
    node.start()
    assert "PreFailoverProcesses: entry 2" in node.said
    assert "{notAPlaceholder} is not a placeholder" in node.said
    node.wait_settled(topology.master, topology.replicas, 90)
    topology.master.kill()

    def now() -> str | None:
        lines = noted.read_text().splitlines() if noted.exists() else []
        return next((line for line in lines if line.startswith("now ")), None)

    promoted = wait_until(now, 60, lambda: node.said).removeprefix("now ")
    assert promoted in {str(server.key) for server in topology.replicas}
    detected = f"Detected DeadMaster on {topology.master.key}"
    assert noted.read_text().splitlines() in (
        [detected, "pre {notAPlaceholder}", f"now {promoted}"],
        ["pre {notAPlaceholder}", detected, f"now {promoted}"],
    )
    environment = dict(
        line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines() if "=" in line
    )
    assert environment["WEBHOOK"] == "http://x"
    assert environment["ORC_FAILED_PORT"] == str(topology.master.port)
    assert not [name for name in environment if name.startswith("RAY_")]
    assert account.password not in (tmp_path / "env").read_text()
    descriptors = (tmp_path / "fds").read_text().splitlines()[1:]
    assert [line.split()[8] for line in descriptors] == ["0", "1", "2", "3"], descriptors
    blocked = dict(line.split() for line in (tmp_path / "signals").read_text().splitlines())
    assert int(blocked["SigBlk:"], 16) == 0
    ignored = int(blocked["SigIgn:"], 16)
    for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE, signal.SIGHUP):
        assert not ignored & 1 << (number - 1), number
    (recovery,) = node.api("audit-recovery")

    def steps() -> list[str]:
        return [step["Message"] for step in node.api(f"audit-recovery-steps/{recovery['UID']}")]

    wait_until(lambda: any("PostFailoverProcesses 2 of 2 ended" in step for step in steps()), 20, steps)
    assert any("took longer than 2 s" in step for step in steps() if "PostMaster" in step)
    node.wait_said(r"hook +.*PostFailoverProcesses 2 of 2: exit code 9")
    node.wait_said(r"hook +.*OnFailureDetectionProcesses 1 of 1 ended in .*exit code 0")
    assert account.password not in node.said
