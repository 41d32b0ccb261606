"""The analysis of a snapshot: one entry per server that has something to tell (failure-detection.md 3.4)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone

from services.analysis.codes import AnalysisCode, Emergency, RecoveryKind
from services.analysis.evidence import weigh
from services.analysis.facts import Facts, observe
from services.analysis.policy import AnalysisPolicy
from services.analysis.problems import NO_PROBLEM, Problem, as_disputed, problem_of
from services.analysis.structure import structure_problems_of
from services.topology.coordinates import BinlogCoordinates
from services.topology.instance import CheckOutcome, Instance
from services.topology.keys import InstanceKey
from services.topology.tree import Topology

__all__ = ["ClusterDetails", "ReplicationAnalysis", "analyze"]

_NOTHING: Mapping[InstanceKey, tuple[str, ...]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterDetails:
    """The cluster of an analysed server (http-api.md 6.4)."""

    cluster_name: str
    cluster_alias: str
    cluster_domain: str
    has_automated_master_recovery: bool = False
    has_automated_intermediate_master_recovery: bool = False
    count_instances: int = 0  # not counted in an analysis
    heuristic_lag: int = 0
    cluster_id: str = ""  # ours: survives the cluster's masters
    is_fragment: bool = False  # ours


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicationAnalysis:
    """What is wrong with one server (http-api.md 6.5, same names). The last group is ours."""

    analyzed_instance_key: InstanceKey
    analyzed_instance_master_key: InstanceKey
    cluster_details: ClusterDetails
    analyzed_instance_data_center: str
    analyzed_instance_region: str
    analyzed_instance_physical_environment: str
    analyzed_instance_binlog_coordinates: BinlogCoordinates
    is_master: bool
    is_replication_group_member: bool
    is_co_master: bool
    last_check_valid: bool
    last_check_partial_success: bool
    count_replicas: int
    count_valid_replicas: int
    count_valid_replicating_replicas: int
    count_replicas_failing_to_connect_to_master: int
    count_downtimed_replicas: int
    replication_depth: int
    replicas: tuple[InstanceKey, ...]
    is_failing_to_connect_to_master: bool
    analysis: AnalysisCode
    description: str
    structure_analysis: tuple[AnalysisCode, ...]
    is_downtimed: bool
    is_replicas_downtimed: bool
    downtime_end_timestamp: str
    downtime_remaining_seconds: int
    """With the reference's sign: negative while the downtime lasts."""
    is_binlog_server: bool
    pseudo_gtid_immediate_topology: bool
    oracle_gtid_immediate_topology: bool
    mariadb_gtid_immediate_topology: bool
    binlog_server_immediate_topology: bool
    semi_sync_master_enabled: bool
    semi_sync_master_status: bool
    semi_sync_master_wait_for_replica_count: int
    semi_sync_master_clients: int
    count_semi_sync_replicas_enabled: int
    count_logging_replicas: int
    count_statement_based_logging_replicas: int
    count_mixed_based_logging_replicas: int
    count_row_based_logging_replicas: int
    count_distinct_major_versions_logging_replicas: int
    count_delayed_replicas: int
    count_lagging_replicas: int
    is_actionable_recovery: bool = False  # in listings as the reference: set where a recovery is handed it
    processing_node_hostname: str = ""
    processing_node_token: str = ""
    count_additional_agreeing_nodes: int = 0
    start_active_period: str = ""
    skippable_due_to_downtime: bool
    gtid_mode: str
    min_replica_gtid_mode: str
    max_replica_gtid_mode: str
    max_replica_gtid_errant: str
    command_hint: str = ""
    is_read_only: bool

    actionable: bool
    """A recovery is asked for and the evidence is complete: see `services.analysis.evidence`."""
    reasons: tuple[str, ...]
    """The facts that led to it, and what is missing for acting upon it."""
    emergency: Emergency
    is_detected: bool
    """A detection of it is recorded, and hooks are told."""
    recovery: RecoveryKind

    @property
    def text(self) -> str:
        """The word that the client prints: the code, else the first structure finding."""
        if self.analysis is AnalysisCode.NO_PROBLEM and self.structure_analysis:
            return self.structure_analysis[0].value
        return self.analysis.value


def analyze(
    topology: Topology,
    policy: AnalysisPolicy,
    now: float,
    include_no_problem: bool = False,
    *,
    failed_witnesses: Collection[InstanceKey] = frozenset(),
    disputed: Mapping[InstanceKey, tuple[str, ...]] = _NOTHING,
    unix_now: float | None = None,
) -> tuple[ReplicationAnalysis, ...]:
    """Analyse every server of a snapshot; masters first, then clusters' tops, then by replicas.

    ``now`` is on the clock of ``topology.now``. ``failed_witnesses`` are servers of which a replica
    had its receiver restarted and could not connect. ``disputed`` are masters of which the raft members do
    not agree that they are dead, with who saw what. ``unix_now`` is in seconds since 1970: how long a
    downtime lasts is told only if it is given. With ``include_no_problem`` servers that have nothing to
    tell are listed too, except those that are not analysed at all (2.3).
    """
    found: list[ReplicationAnalysis] = []
    for instance in topology.instances.values():
        if policy.ignores_hostname(instance.key.hostname) or _is_not_known_yet(instance, topology):
            continue
        replicas = tuple(
            each for each in topology.replicas_of(instance.key) if not _is_not_known_yet(each, topology)
        )
        failed_witness = instance.key in failed_witnesses
        facts = observe(instance, replicas, policy, now, failed_witness=failed_witness)
        gap = _privilege_gap(instance, topology, policy)
        if policy.reduce_analysis_count and not gap and _is_reduced_away(facts):
            continue
        problem, structure = problem_of(facts), structure_problems_of(facts)
        if instance.key in disputed:
            problem = as_disputed(problem, disputed[instance.key])
        if gap:
            structure = (*structure, AnalysisCode.MISSING_PRIVILEGES)
        if problem is not NO_PROBLEM or structure or include_no_problem:
            entry = _entry(
                facts,
                problem,
                structure,
                gap,
                topology=topology,
                policy=policy,
                failed_witness=failed_witness,
                unix_now=unix_now,
            )
            found.append(entry)
    return tuple(sorted(found, key=_order))


def _is_not_known_yet(instance: Instance, topology: Topology) -> bool:
    """No check of it has ended since it became known, or since the start: nothing can be said of it."""
    return topology.is_live and instance.last_check_outcome is CheckOutcome.UNKNOWN


def _privilege_gap(instance: Instance, topology: Topology, policy: AnalysisPolicy) -> str:
    """What would make a recovery fail that nobody is asked about; "" where there is to be none."""
    cluster = topology.cluster_of(instance.key)
    if not instance.lacking_privileges or cluster is None:
        return ""
    recovers = policy.recovers_master, policy.recovers_intermediate_master
    if not any(asks(cluster.name, cluster.alias) for asks in recovers):
        return ""
    return f"a recovery would fail at {instance.key}: the account lacks {instance.lacking_privileges}"


def _is_reduced_away(facts: Facts) -> bool:
    return facts.count_replicas == 0 and facts.is_valid and not facts.is_failing_to_connect


def _order(entry: ReplicationAnalysis) -> tuple[bool, bool, int, InstanceKey]:
    is_top = str(entry.analyzed_instance_key) == entry.cluster_details.cluster_name
    return not entry.is_master, not is_top, -entry.count_replicas, entry.analyzed_instance_key


def _entry(
    facts: Facts,
    problem: Problem,
    structure: tuple[AnalysisCode, ...],
    gap: str,
    *,
    topology: Topology,
    policy: AnalysisPolicy,
    failed_witness: bool,
    unix_now: float | None,
) -> ReplicationAnalysis:
    instance = facts.instance
    details = _cluster_details(instance, topology, policy)
    verdict = weigh(problem, facts, failed_witness, details.is_fragment)
    is_replicas_downtimed = problem.is_skipped_with_replicas and facts.count_downtimed == facts.count_replicas
    return ReplicationAnalysis(
        analyzed_instance_key=instance.key,
        analyzed_instance_master_key=instance.master_key,
        cluster_details=details,
        analyzed_instance_data_center=instance.data_center,
        analyzed_instance_region=instance.region,
        analyzed_instance_physical_environment=instance.physical_environment,
        analyzed_instance_binlog_coordinates=instance.self_coordinates,
        is_master=facts.is_master,
        is_replication_group_member=facts.is_group_member,
        is_co_master=facts.is_co_master,
        last_check_valid=facts.is_valid,
        last_check_partial_success=instance.last_check_partial_success,
        count_replicas=facts.count_replicas,
        count_valid_replicas=facts.count_valid,
        count_valid_replicating_replicas=facts.count_replicating,
        count_replicas_failing_to_connect_to_master=facts.count_failing,
        count_downtimed_replicas=facts.count_downtimed,
        replication_depth=instance.replication_depth,
        replicas=tuple(replica.key for replica in facts.replicas),
        is_failing_to_connect_to_master=facts.is_failing_to_connect,
        analysis=problem.code,
        description=gap if gap and problem is NO_PROBLEM else problem.description,
        structure_analysis=structure,
        is_downtimed=instance.is_downtimed,
        is_replicas_downtimed=is_replicas_downtimed,
        downtime_end_timestamp=instance.downtime_end_timestamp,
        downtime_remaining_seconds=_seconds_after_downtime(instance, unix_now),
        is_binlog_server=facts.is_binlog_server,
        pseudo_gtid_immediate_topology=instance.using_pseudo_gtid,
        oracle_gtid_immediate_topology=facts.all_oracle_gtid,
        mariadb_gtid_immediate_topology=facts.all_mariadb_gtid,
        binlog_server_immediate_topology=facts.all_binlog_servers,
        semi_sync_master_enabled=instance.semi_sync_master_enabled,
        semi_sync_master_status=instance.semi_sync_master_status,
        semi_sync_master_wait_for_replica_count=instance.semi_sync_master_wait_count,
        semi_sync_master_clients=instance.semi_sync_master_clients,
        count_semi_sync_replicas_enabled=facts.count_semi_sync,
        count_logging_replicas=facts.count_logging,
        count_statement_based_logging_replicas=facts.count_statement,
        count_mixed_based_logging_replicas=facts.count_mixed,
        count_row_based_logging_replicas=facts.count_row,
        count_distinct_major_versions_logging_replicas=facts.count_major_versions,
        count_delayed_replicas=facts.count_delayed,
        count_lagging_replicas=facts.count_lagging,
        processing_node_hostname=policy.processing_node_hostname,
        processing_node_token=policy.processing_node_token,
        skippable_due_to_downtime=instance.is_downtimed or is_replicas_downtimed,
        gtid_mode=instance.gtid_mode,
        min_replica_gtid_mode=facts.min_gtid_mode,
        max_replica_gtid_mode=facts.max_gtid_mode,
        max_replica_gtid_errant=facts.max_gtid_errant,
        is_read_only=instance.read_only,
        actionable=verdict.actionable,
        reasons=(*verdict.reasons, *problem.facts, *((gap,) if gap else ())),
        emergency=problem.emergency,
        is_detected=problem.is_detected and not instance.maintenance,
        recovery=problem.recovery,
    )


def _cluster_details(instance: Instance, topology: Topology, policy: AnalysisPolicy) -> ClusterDetails:
    cluster = topology.cluster_of(instance.key)
    assert cluster is not None, f"{instance.key} is in no cluster"
    return ClusterDetails(
        cluster_name=cluster.name,
        cluster_alias=cluster.alias,
        cluster_domain=cluster.domain or cluster.name,  # as the reference shows it in an analysis
        has_automated_master_recovery=policy.recovers_master(cluster.name, cluster.alias),
        has_automated_intermediate_master_recovery=policy.recovers_intermediate_master(
            cluster.name, cluster.alias
        ),
        cluster_id=cluster.id,
        is_fragment=cluster.is_fragment,
    )


def _seconds_after_downtime(instance: Instance, unix_now: float | None) -> int:
    """Negative while it lasts; 0 if there is none, or the end cannot be read."""
    if unix_now is None or not instance.is_downtimed:
        return 0
    try:
        end = datetime.fromisoformat(instance.downtime_end_timestamp.removesuffix("Z"))
    except ValueError:
        return 0
    return int(unix_now - end.replace(tzinfo=end.tzinfo or timezone.utc).timestamp())
