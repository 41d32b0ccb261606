"""Values for the tests, and the little program that stands for another process."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

from services.topology.keys import InstanceKey
from services.topology.records import AnalysisEntry, FailureDetection, Recovery

MASTER, REPLICA, OTHER = (InstanceKey(name, 3306) for name in ("m.example", "r.example", "::1"))
T0 = "2026-11-22T20:00:00Z"
ROOT = Path(__file__).parents[3]


def entry(
    *,
    failed: InstanceKey = MASTER,
    cluster_id: str = "c1",
    cluster_name: str = "m.example:3306",
    alias: str = "shop",
    code: str = "DeadMaster",
) -> AnalysisEntry:
    return AnalysisEntry(
        analyzed_instance_key=failed,
        analysis=code,
        cluster_name=cluster_name,
        cluster_alias=alias,
        cluster_id=cluster_id,
        count_replicas=2,
        replicas=(REPLICA, OTHER),
    )


def recovery(
    uid: str = "1:a", *, about: AnalysisEntry | None = None, at: str = T0, term: int = 1, detection: int = 0
) -> Recovery:
    return Recovery(
        uid=uid,
        analysis_entry=about or entry(),
        recovery_start_timestamp=at,
        term=term,
        processing_node_hostname="node1",
        processing_node_token="token",
        type="MasterRecovery",
        recovery_type="MasterRecoveryGTID",
        last_detection_id=detection,
    )


def detection(
    *, about: AnalysisEntry | None = None, actionable: bool = True, at: str = T0
) -> FailureDetection:
    return FailureDetection(
        analysis_entry=about or entry(),
        is_actionable=actionable,
        recovery_start_timestamp=at,
        processing_node_hostname="node1",
        processing_node_token="token",
    )


def another_process(program: str, *arguments: str) -> subprocess.Popen[str]:
    """Run Python text in a process of its own, its standard streams piped."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program), *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
