"""Structure findings: what is not a failure, but would make one worse (failure-detection.md 3.3).

They are independent of the problem that a server has, and of each other.
"""

from __future__ import annotations

from collections.abc import Callable

from services.analysis.codes import AnalysisCode
from services.analysis.facts import Facts

__all__ = ["STRUCTURE_PROBLEMS", "structure_problems_of"]

STRUCTURE_PROBLEMS: tuple[tuple[AnalysisCode, Callable[[Facts], bool]], ...] = (
    (
        AnalysisCode.NO_LOGGING_REPLICAS,
        lambda f: f.is_master and f.count_replicas > 1 and f.count_logging == 0,
    ),
    (
        AnalysisCode.NO_FAILOVER_SUPPORT,
        lambda f: (
            f.is_master
            and f.count_replicas > 1
            and not f.all_oracle_gtid
            and not f.all_mariadb_gtid
            and not f.all_binlog_servers
            and not f.instance.using_pseudo_gtid
        ),
    ),
    (
        AnalysisCode.STATEMENT_AND_MIXED_LOGGING_REPLICAS,
        lambda f: f.is_master and f.count_statement > 0 and f.count_mixed > 0,
    ),
    (
        AnalysisCode.STATEMENT_AND_ROW_LOGGING_REPLICAS,
        lambda f: f.is_master and f.count_statement > 0 and f.count_row > 0,
    ),
    (
        AnalysisCode.MIXED_AND_ROW_LOGGING_REPLICAS,
        lambda f: f.is_master and f.count_mixed > 0 and f.count_row > 0,
    ),
    (
        AnalysisCode.MULTIPLE_MAJOR_VERSIONS_LOGGING_REPLICAS,
        lambda f: f.is_master and f.count_major_versions > 1,
    ),
    (
        AnalysisCode.DIFFERENT_GTID_MODES,
        lambda f: f.count_replicas > 0 and not f.min_gtid_mode == f.instance.gtid_mode == f.max_gtid_mode,
    ),
    (AnalysisCode.ERRANT_GTID, lambda f: f.max_gtid_errant != ""),
    (AnalysisCode.NO_WRITEABLE_MASTER, lambda f: f.is_master and f.instance.read_only),
    (
        AnalysisCode.NOT_ENOUGH_VALID_SEMI_SYNC_REPLICAS,
        lambda f: (
            f.is_master
            and f.instance.semi_sync_master_enabled
            and not f.instance.semi_sync_master_status
            and 0 < f.instance.semi_sync_master_wait_count > f.instance.semi_sync_master_clients
        ),
    ),
)
"""Each that holds is listed, in this order."""


def structure_problems_of(facts: Facts) -> tuple[AnalysisCode, ...]:
    return tuple(code for code, condition in STRUCTURE_PROBLEMS if condition(facts))
