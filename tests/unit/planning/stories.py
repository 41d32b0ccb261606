"""Words for stories about plans: a master ``m`` that died, replicas that hold this or that of it.

Transactions are written short: ``"m:1-5 a:3"`` are those that server ``m`` numbered 1 to 5 and the third of
``a``. A server called ``a`` is ``a:3306`` and numbers its transactions under ``UUIDS["a"]``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from services.planning.candidates import PromotionPolicy
from services.planning.master_recovery import Frozen, plan_promotion
from services.planning.plan import Plan, Refusal, Step, StepKind
from services.topology.gtid import GtidSet
from services.topology.instance import Instance, ThreadState
from services.topology.keys import InstanceKey
from services.topology.merging import LOSSLESS_TIMEOUT_MS

UUIDS = {
    name: f"{number:08x}-0000-0000-0000-000000000000"
    for number, name in enumerate(["m", "a", "b", "c", "d", "x"], start=1)
}
LOSSLESS: dict[str, Any] = {
    "semi_sync_master_enabled": True,
    "semi_sync_master_status": True,
    "semi_sync_master_wait_point": "AFTER_SYNC",
    "semi_sync_master_timeout_ms": LOSSLESS_TIMEOUT_MS,
    "semi_sync_master_wait_count": 1,
    "semi_sync_unbroken": True,
}
NEVER_POLICY = PromotionPolicy()


def key(name: str) -> InstanceKey:
    return InstanceKey(name, 3306)


def transactions(short: str) -> str:
    """``"m:1-5 a:3"`` as a server prints it."""
    pieces = (piece.partition(":") for piece in short.split())
    return str(GtidSet.parse(",".join(f"{UUIDS[name]}:{rest}" for name, _, rest in pieces)))


def shown(text: str) -> str:
    """The short form of what a server or a plan prints."""
    for name, uuid in UUIDS.items():
        text = text.replace(uuid, name)
    return text.replace(",\n", " ")


def _server(name: str, facts: dict[str, Any]) -> Instance:
    usual: dict[str, Any] = {
        "server_id": ord(name),
        "server_uuid": UUIDS[name],
        "version": "9.7.0",
        "flavor": "MySQL",
        "binlog_format": "ROW",
        "log_bin_enabled": True,
        "log_replica_updates_enabled": True,
        "gtid_mode": "ON",
        "seen_at": 99.0,
        "last_seen_timestamp": "2026-11-23T08:00:00Z",
        "data_center": "here",
        "semi_sync_available": True,
        "is_last_check_valid": True,
    }
    return Instance(key=key(name), **{**usual, **facts})


def master(executed: str = "m:1-5", **facts: Any) -> Instance:
    """The master as it was last seen alive."""
    return _server("m", {"executed_gtid_set": transactions(executed), **facts})


def replica(name: str, executed: str = "m:1-5", retrieved: str = "", **facts: Any) -> Instance:
    """A replica of ``m`` that was read after its receiver was stopped."""
    usual = {
        "master_key": key("m"),
        "master_uuid": UUIDS["m"],
        "receiver_state": ThreadState.STOPPED,
        "applier_state": ThreadState.RUNNING,
        "using_oracle_gtid": True,
        "read_only": True,
        "super_read_only": True,
        "executed_gtid_set": transactions(executed),
        "retrieved_gtid_set": transactions(retrieved),
    }
    return _server(name, {**usual, **facts})


def acknowledging(name: str, executed: str = "m:1-5", retrieved: str = "", **facts: Any) -> Instance:
    """A replica whose semi-sync side is on."""
    return replica(name, executed, retrieved, **{"semi_sync_replica_enabled": True, **facts})


def decide(
    failed: Instance,
    *reachable: Instance,
    gone: Sequence[Instance] = (),
    policy: PromotionPolicy = NEVER_POLICY,
    forced: bool = False,
) -> Plan | Refusal:
    frozen = Frozen(
        cluster_id="c", failed=failed, reachable=reachable, unreachable=tuple(gone), forced=forced
    )
    return plan_promotion(frozen, policy)


def plan_of(failed: Instance, *reachable: Instance, **more: Any) -> Plan:
    decided = decide(failed, *reachable, **more)
    assert isinstance(decided, Plan), str(decided)
    return decided


def refusal_of(failed: Instance, *reachable: Instance, **more: Any) -> Refusal:
    decided = decide(failed, *reachable, **more)
    assert isinstance(decided, Refusal), f"it would promote {decided.candidate}"
    return decided


def steps(plan: Plan, kind: StepKind) -> list[Step]:
    return [step for step in plan.steps if step.kind is kind]


def one(plan: Plan, kind: StepKind) -> Step:
    (step,) = steps(plan, kind)
    return step


def reasons(decided: Plan | Refusal, name: str) -> str:
    """Why a replica stands where it stands."""
    return "; ".join(next(ranked.reasons for ranked in decided.ranking if ranked.key == key(name)))


def promotable(decided: Plan | Refusal) -> list[str]:
    """Those that may be promoted, the best first."""
    return [ranked.key.hostname for ranked in decided.ranking if ranked.promotable]


def told(plan: Plan) -> list[str]:
    """The plan in short, a line for each stage: what is done side by side."""
    lines: dict[int, list[str]] = {}
    for step in plan.steps:
        of = f" of {step.source.hostname}" if step.source.hostname else ""
        holding = f" ({shown(step.gtid_set)})" if step.kind in (StepKind.DRAIN, StepKind.COVER) else ""
        lines.setdefault(step.stage, []).append(f"{step.kind.value} {step.instance.hostname}{of}{holding}")
    return [", ".join(stage) for _, stage in sorted(lines.items())]
