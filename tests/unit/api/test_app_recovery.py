"""Routes about failures and recoveries, over a real store: http-api.md 5.10 and 6.6."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.wire import analysis_to_wire
from services.store.errors import ClusterBlockedError
from services.store.recoveries import Outcome
from services.store.times import shifted, utc_now
from services.topology.instance import CheckOutcome, ThreadState
from services.topology.keys import InstanceKey
from services.topology.records import AnalysisEntry, FailureDetection, Recovery
from tests.reference_shapes import names_of
from tests.unit.api.app_client import client_of, memory_node
from tests.unit.api.memory_node import ALONE, R1, R2, TOKEN, M, MemoryNode, fleet, settings

UID = f"1790000000000000000:{TOKEN}"
START = "2026-11-22T20:46:24Z"
END = "2026-11-22T20:46:26Z"


def entry(key: InstanceKey = M, **facts: Any) -> AnalysisEntry:
    given = {
        "analyzed_instance_key": key,
        "analysis": "DeadMaster",
        "cluster_name": str(key),
        "cluster_alias": "orders",
        "cluster_id": "c-orders",
        "count_replicas": 2,
        "replicas": (R1, R2),
    }
    return AnalysisEntry(**{**given, **facts})


async def recovered(
    node: MemoryNode, uid: str, *, start: str = START, end: str = END, what: AnalysisEntry | None = None,
    outcome: Outcome | None = None,
) -> Recovery:  # fmt: skip
    """Put a recovery that has ended into the store (one without ``end`` runs)."""
    recovery = Recovery(
        uid=uid,
        analysis_entry=what or entry(),
        recovery_start_timestamp=start,
        term=0,
        processing_node_hostname="node-1",
        processing_node_token=TOKEN,
        type="MasterRecovery",
    )
    recovery = await node.store.recoveries.register(recovery, automatic=False)
    if end:
        outcome = outcome or Outcome(
            is_successful=True, successor_key=R1, participating_instance_keys=(R2, R1)
        )
        recovery = await node.store.recoveries.resolve(uid, outcome, at=end, term=0, block_seconds=3600)
    return recovery


async def listed(http: httpx.AsyncClient, path: str) -> list[dict[str, Any]]:
    reply = await http.get(f"/api/{path}")
    assert reply.status_code == 200, reply.text
    answer = reply.json()
    assert isinstance(answer, list)
    return answer


async def error_of(http: httpx.AsyncClient, path: str) -> dict[str, Any]:
    reply = await http.get(f"/api/{path}")
    assert reply.status_code == 500, reply.text
    answer: dict[str, Any] = reply.json()
    assert answer["Code"] == "ERROR"
    return answer


# analysis


@pytest.fixture
def dead(node: MemoryNode) -> MemoryNode:
    """The master of the fleet is dead."""
    lost = {
        "receiver_state": ThreadState.OTHER,
        "last_io_error": "error connecting to master",
        "last_io_errno": 2003,
    }
    first, *replicas, alone = fleet()
    gone = replace(first, last_check_outcome=CheckOutcome.REFUSED)
    node.show([gone, *(replace(each, **lost) for each in replicas), alone])  # type: ignore[arg-type]
    return node


@pytest.mark.parametrize(
    "path", ["", "/orders", f"/{M}", "/instance/orders-1/3306", "/instance/orders-1.example.com/3306"]
)
async def test_analysis_forms(dead: MemoryNode, http: httpx.AsyncClient, path: str) -> None:
    reply = (await http.get(f"/api/replication-analysis{path}")).json()
    assert reply["Code"] == "OK"
    meant = [found for found in dead.analysis if "instance" not in path or found.analyzed_instance_key == M]
    assert reply["Details"] == [analysis_to_wire(found) for found in meant]
    assert reply["Details"][0]["Analysis"] == "DeadMaster"


@pytest.mark.parametrize("path", ["/users.example.com:3306", "/nowhere", "/instance/users/3306"])
async def test_analysis_of_what_is_well_is_empty(
    dead: MemoryNode, http: httpx.AsyncClient, path: str
) -> None:
    assert (await http.get(f"/api/replication-analysis{path}")).json()["Details"] == []


# recovering


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("recover/orders-1/3306", (None, False)),
        ("recover/orders-1/3306?skipProcesses=true", (None, True)),
        ("recover/orders-1/3306?candidate_host=x&candidate_port=1", (None, False)),
        ("recover/orders-1/3306/orders-2/3306", (R1, False)),
        ("recover/orders-1/3306/orders-2/3306?skipProcesses=true", (R1, True)),
        ("recover-lite/orders-1/3306", (None, True)),
        ("recover-lite/orders-1/3306/orders-3/3307", (R2, True)),
    ],
)
async def test_recover_forms(
    node: MemoryNode, http: httpx.AsyncClient, path: str, asked: tuple[InstanceKey | None, bool]
) -> None:
    node.promotes = R1
    reply = (await http.get(f"/api/{path}")).json()
    promoted = asked[0] or R1
    assert (reply["Code"], reply["Details"]) == ("OK", {"Hostname": promoted.hostname, "Port": promoted.port})
    assert node.done == [("recover", M, *asked, "node-1")]


async def test_a_refused_recovery_names_the_failed(http: httpx.AsyncClient) -> None:
    error = await error_of(http, "recover/orders-1/3306")
    assert error["Message"] == "Recovery not attempted"
    assert error["Details"] == {"Hostname": M.hostname, "Port": M.port}


async def test_who_asks_twice_is_told_how_the_first_ended(node: MemoryNode, http: httpx.AsyncClient) -> None:
    """As orchestrator-client does: its second request must not fail because the first one worked."""
    now = utc_now()
    await recovered(node, UID, start=shifted(now, -5), end=shifted(now, -3))
    reply = (await http.get("/api/recover/orders-1/3306")).json()
    assert (reply["Code"], reply["Details"]["Hostname"]) == ("OK", R1.hostname)
    again = (await http.get("/api/recover/orders-1/3306/orders-2/3306")).json()
    assert (again["Code"], again["Details"]["Hostname"]) == ("OK", R1.hostname)
    # another candidate than the promoted one was not granted, and another server was not recovered
    await error_of(http, "recover/orders-1/3306/orders-3/3307")
    await error_of(http, "recover/orders-2/3306")


async def test_an_old_or_failed_recovery_is_not_the_answer(node: MemoryNode, http: httpx.AsyncClient) -> None:
    await recovered(node, "1:old")
    await error_of(http, "recover/orders-1/3306")
    now = utc_now()
    await recovered(node, "2:failed", start=now, end=now, outcome=Outcome(is_successful=False))
    await error_of(http, "recover/orders-1/3306")


# the audit


async def test_a_recovery_as_the_audit_has_it(node: MemoryNode, http: httpx.AsyncClient) -> None:
    stored = await recovered(node, UID)
    [found] = await listed(http, "audit-recovery")
    assert list(found) == names_of("Recovery")
    analysis = found.pop("AnalysisEntry")
    assert found == {
        "Id": stored.id,
        "UID": UID,
        "SuccessorKey": {"Hostname": R1.hostname, "Port": 3306},
        "SuccessorAlias": "",
        "SuccessorBinlogCoordinates": None,
        "IsActive": False,
        "IsSuccessful": True,
        "LostReplicas": [],
        "ParticipatingInstanceKeys": [
            {"Hostname": R1.hostname, "Port": 3306},
            {"Hostname": R2.hostname, "Port": 3307},
        ],
        "AllErrors": [""],
        "RecoveryStartTimestamp": START,
        "RecoveryEndTimestamp": "2026-11-22 20:46:26",
        "ProcessingNodeHostname": "node-1",
        "ProcessingNodeToken": TOKEN,
        "Acknowledged": False,
        "AcknowledgedAt": "",
        "AcknowledgedBy": "",
        "AcknowledgedComment": "",
        "LastDetectionId": 0,
        "RelatedRecoveryId": 0,
        "Type": "",
        "RecoveryType": "NotMasterRecovery",
    }
    assert analysis["AnalyzedInstanceKey"] == {"Hostname": M.hostname, "Port": 3306}
    assert analysis["Analysis"] == "DeadMaster"
    assert (analysis["ClusterDetails"]["ClusterName"], analysis["ClusterDetails"]["ClusterAlias"]) == (
        str(M),
        "orders",
    )
    assert analysis["CountReplicas"] == 2
    assert [key["Hostname"] for key in analysis["Replicas"]] == [R1.hostname, R2.hostname]
    assert analysis["SlaveHosts"] == analysis["Replicas"]


async def test_what_the_audit_does_not_keep_of_an_analysis_is_empty(
    dead: MemoryNode, http: httpx.AsyncClient
) -> None:
    await recovered(dead, UID)
    [found] = await listed(http, "audit-recovery")
    live = analysis_to_wire(dead.analysis[0])
    kept = {"AnalyzedInstanceKey", "Analysis", "ClusterDetails", "CountReplicas", "Replicas", "SlaveHosts"}
    assert list(found["AnalysisEntry"]) == list(live)
    for name, value in found["AnalysisEntry"].items():
        if name not in kept:
            empty = value in (0, False, "", None) or value == [] or not any(value.values())
            assert empty, f"{name} is {value!r}"
            assert value is None or isinstance(value, type(live[name])) or live[name] is None, name


async def test_a_running_recovery_has_no_end(node: MemoryNode, http: httpx.AsyncClient) -> None:
    await recovered(node, UID, end="")
    [found] = await listed(http, "audit-recovery")
    assert (found["RecoveryEndTimestamp"], found["IsActive"]) == ("", True)
    assert found["SuccessorKey"] == {"Hostname": "", "Port": 0}


async def test_errors_are_listed(node: MemoryNode, http: httpx.AsyncClient) -> None:
    failed = Outcome(is_successful=False, all_errors=("no candidate", "too late"), lost_replicas=(R2,))
    await recovered(node, UID, outcome=failed)
    [found] = await listed(http, "audit-recovery")
    assert found["AllErrors"] == ["no candidate", "too late"]
    assert found["LostReplicas"] == [{"Hostname": R2.hostname, "Port": 3307}]


async def test_audit_recovery_forms(node: MemoryNode, http: httpx.AsyncClient) -> None:
    ids = [(await recovered(node, f"{number}:{TOKEN}")).id for number in range(23)]
    other = entry(ALONE, cluster_alias="users", cluster_id="c-users")
    last = await recovered(node, f"99:{TOKEN}", what=other)
    newest_first = [last.id, *reversed(ids)]

    async def found(path: str) -> list[int]:
        return [recovery["Id"] for recovery in await listed(http, path)]

    assert await found("audit-recovery") == newest_first[:20]
    assert await found("audit-recovery/0") == newest_first[:20]
    assert await found("audit-recovery/1") == newest_first[20:]
    assert await found("audit-recovery/2") == []
    assert await found("audit-recovery/x") == newest_first[:20]  # as the reference
    assert await found(f"audit-recovery/id/{ids[3]}") == [ids[3]]
    assert await found(f"audit-recovery/uid/3:{TOKEN}") == [ids[3]]
    assert await found("audit-recovery/uid/none") == []
    assert await found(f"audit-recovery/cluster/{ALONE}") == [last.id]
    assert await found(f"audit-recovery/cluster/{M}/1") == newest_first[21:]
    assert await found("audit-recovery/alias/users") == [last.id]
    assert await found("audit-recovery/alias/orders/1") == newest_first[21:]
    # a recovery by hand acknowledges the earlier ones of the server
    assert await found("audit-recovery?unacknowledged=true") == [last.id, ids[-1]]
    assert await found("audit-recovery/alias/orders?unacknowledged=true") == [ids[-1]]
    assert (await error_of(http, "audit-recovery/id/x"))["Message"] == "Not an id: x"


async def test_steps_oldest_first(node: MemoryNode, http: httpx.AsyncClient) -> None:
    await recovered(node, UID, end="")
    await node.store.journal.add_step(UID, "ranking", at=START)
    await node.store.journal.add_step(UID, "promoting", at=END)
    first, second = await listed(http, f"audit-recovery-steps/{UID}")
    assert first == {"Id": first["Id"], "RecoveryUID": UID, "AuditAt": START, "Message": "ranking"}
    assert second["Message"] == "promoting"
    assert await listed(http, "audit-recovery-steps/none") == []


async def test_times_are_written_as_the_backend_writes_them(tmp_path: Path) -> None:
    backend = {"BackendDB": "mysql", "MySQLOrchestratorHost": "db", "MySQLOrchestratorDatabase": "orc"}
    account = {"MySQLOrchestratorUser": "orc"}
    async with memory_node(tmp_path, **backend, **account) as node, client_of(node) as http:
        await recovered(node, UID)
        shown = START.replace("T", " ").replace("Z", "")
        [found] = await listed(http, "audit-recovery")
        assert found["RecoveryStartTimestamp"] == shown
        for path in ("all-instances", "search?s=orders", "cluster/orders"):  # kept ready, and not
            seen = {one["LastSeenTimestamp"] for one in await listed(http, path)}
            assert seen == {"2026-11-22 20:46:24"}, path
        own = (await http.get("/api/health")).json()["Details"]["ActiveNode"]
        assert own["LastReported"] == "0001-01-01T00:00:00Z"  # is not the backend's


async def test_detections(node: MemoryNode, http: httpx.AsyncClient) -> None:
    detection = FailureDetection(
        analysis_entry=entry(),
        is_actionable=True,
        recovery_start_timestamp=START,
        processing_node_hostname="node-1",
        processing_node_token=TOKEN,
    )
    stored = (await node.store.detections.register(detection, active_seconds=1)).detection
    for path in ("", "/0", f"/id/{stored.id}", "/alias/orders", "/alias/orders/0"):
        [found] = await listed(http, f"audit-failure-detection{path}")
        assert found["Id"] == stored.id
    assert list(found) == names_of("Detection")
    assert (found["UID"], found["SuccessorKey"], found["AllErrors"]) == ("", None, None)
    assert (found["RecoveryType"], found["RelatedRecoveryId"]) == ("", 0)
    assert found["RecoveryStartTimestamp"] == found["AnalysisEntry"]["StartActivePeriod"] == START
    assert found["AnalysisEntry"]["Analysis"] == "DeadMaster"
    for path in ("/1", "/id/999", "/alias/users"):
        assert await listed(http, f"audit-failure-detection{path}") == []
    await error_of(http, "audit-failure-detection/id/x")


async def test_active_and_recent_recoveries(node: MemoryNode, http: httpx.AsyncClient) -> None:
    now = utc_now()
    await recovered(node, "1:old")
    await recovered(node, "2:recent", start=START, end=shifted(now, -240))
    await recovered(node, "3:running", start=now, end="")

    async def found(path: str) -> list[str]:
        return [recovery["UID"] for recovery in await listed(http, path)]

    assert await found(f"active-cluster-recovery/{M}") == ["3:running"]
    assert await found("active-cluster-recovery/other") == []
    assert await found(f"recently-active-cluster-recovery/{M}") == ["2:recent"]
    assert await found("recently-active-cluster-recovery/other") == []
    assert await found("recently-active-instance-recovery/orders-2/3306") == ["2:recent"]
    assert await found("recently-active-instance-recovery/orders-1/3306") == []


async def test_blocked_recoveries(node: MemoryNode, http: httpx.AsyncClient) -> None:
    now = utc_now()
    blocking = await recovered(node, "1:a", start=now, end=now)
    second = Recovery(uid="2:b", analysis_entry=entry(), recovery_start_timestamp=now, term=0)
    with pytest.raises(ClusterBlockedError):
        await node.store.recoveries.register(second)
    for path in ("blocked-recoveries", f"blocked-recoveries/cluster/{M}"):
        assert await listed(http, path) == [
            {
                "FailedInstanceKey": {"Hostname": M.hostname, "Port": 3306},
                "ClusterName": str(M),
                "Analysis": "DeadMaster",
                "LastBlockedTimestamp": now,
                "BlockingRecoveryId": blocking.id,
            }
        ]
    assert await listed(http, "blocked-recoveries/cluster/other") == []


# acknowledging


async def acknowledged(http: httpx.AsyncClient) -> dict[str, bool]:
    return {found["UID"]: found["Acknowledged"] for found in await listed(http, "audit-recovery")}


@pytest.fixture
async def three(node: MemoryNode) -> AsyncIterator[list[Recovery]]:
    """Of the cluster under its name of today, under an earlier one, and of another cluster."""
    yield [
        await recovered(node, "1:now", what=entry(cluster_alias="")),
        await recovered(node, "2:earlier", what=entry(InstanceKey("before", 3306), cluster_alias="")),
        await recovered(node, "3:other", what=entry(ALONE, cluster_alias="", cluster_id="c-users")),
    ]


@pytest.mark.parametrize(
    ("path", "details", "meant"),
    [
        ("cluster/orders", str(M), {"1:now", "2:earlier"}),
        (f"cluster/{M}", str(M), {"1:now", "2:earlier"}),
        ("cluster/orders-2:3306", str(M), {"1:now", "2:earlier"}),
        ("cluster/alias/orders", str(M), {"1:now", "2:earlier"}),
        ("instance/orders-1/3306", {"Hostname": M.hostname, "Port": 3306}, {"1:now"}),
        ("1", "1", {"1:now"}),
        ("uid/3:other", "3:other", {"3:other"}),
        ("4711", "4711", set()),  # unknown ones still answer OK
        ("uid/none", "none", set()),
    ],
)
async def test_acknowledging_forms(
    three: list[Recovery], http: httpx.AsyncClient, path: str, details: object, meant: set[str]
) -> None:
    assert three[0].id == 1
    reply = (await http.get(f"/api/ack-recovery/{path}", params={"comment": "was the disk"})).json()
    assert (reply["Code"], reply["Details"]) == ("OK", details)
    assert {uid for uid, is_done in (await acknowledged(http)).items() if is_done} == meant


async def test_acknowledging_all(three: list[Recovery], http: httpx.AsyncClient) -> None:
    reply = (await http.get("/api/ack-all-recoveries?comment=all%20seen%0A")).json()
    assert (reply["Code"], reply["Details"]) == ("OK", "all seen")
    assert set((await acknowledged(http)).values()) == {True}
    [newest, *_] = await listed(http, "audit-recovery")
    assert (newest["AcknowledgedBy"], newest["AcknowledgedComment"]) == ("node-1", "all seen")
    assert newest["AcknowledgedAt"]


@pytest.mark.parametrize(
    "path",
    [
        "ack-all-recoveries",
        "ack-recovery/1",
        "ack-recovery/uid/1:now",
        "ack-recovery/cluster/orders",
        "ack-recovery/instance/a/1",
    ],
)
@pytest.mark.parametrize("query", ["", "?comment=", "?comment=%20%0A"])
async def test_a_comment_is_needed(
    three: list[Recovery], http: httpx.AsyncClient, path: str, query: str
) -> None:
    assert (await error_of(http, path + query))["Message"] == "No acknowledge comment given"
    assert not any((await acknowledged(http)).values())


async def test_acknowledging_what_is_none(http: httpx.AsyncClient) -> None:
    assert (await error_of(http, "ack-recovery/x?comment=c"))["Message"] == "Not a recovery id: x"
    await error_of(http, "ack-recovery/cluster/nowhere?comment=c")
    assert (await http.get(f"/api/ack-recovery/{'9' * 40}?comment=c")).status_code in (200, 500)


# switches


async def test_global_recoveries(node: MemoryNode, http: httpx.AsyncClient) -> None:
    async def details(path: str) -> object:
        reply = (await http.get(f"/api/{path}-global-recoveries")).json()
        return reply["Code"], reply["Details"]

    assert await details("check") == ("OK", "enabled")
    assert await details("disable") == ("OK", "disabled")
    assert await details("check") == ("OK", "disabled")
    assert await details("enable") == ("OK", "enabled")
    assert node.done == [("set-global-recoveries", False), ("set-global-recoveries", True)]


async def test_automated_recovery_filters(node: MemoryNode, http: httpx.AsyncClient) -> None:
    node.settings = settings(
        RecoverMasterClusterFilters=["orders", "*"], RecoveryIgnoreHostnameFilters=["^x"]
    )
    reply = (await http.get("/api/automated-recovery-filters")).json()
    assert reply["Details"] == {
        "RecoverMasterClusterFilters": ["orders", "*"],
        "RecoverIntermediateMasterClusterFilters": [],
        "RecoveryIgnoreHostnameFilters": ["^x"],
    }


async def test_end_deposal(node: MemoryNode, http: httpx.AsyncClient) -> None:
    reply = await http.get("/api/end-deposal/orders-2/3306")
    assert reply.json()["Code"] == "OK"
    assert [done[:2] for done in node.done] == [("end-deposal", R1)]
