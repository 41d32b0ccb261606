"""What the analysis takes from the configuration (configuration.md 9 to 11)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["AnalysisPolicy"]


def _no_cluster(_name: str, _alias: str) -> bool:
    return False


def _no_host(_hostname: str) -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisPolicy:
    """Defaults are those of the reference. ``services.policies`` fills it from the configuration."""

    instance_poll_seconds: int = 5
    reasonable_instance_check_seconds: int = 1
    reasonable_replication_lag_seconds: int = 10
    reasonable_locked_semi_sync_master_seconds: int = 0  # 0: as reasonable_replication_lag_seconds
    reduce_analysis_count: bool = True
    enforce_exact_semi_sync: bool = False
    recover_non_writeable_master: bool = False
    ignores_hostname: Callable[[str], bool] = _no_host
    """Whether findings about this host are dropped (``RecoveryIgnoreHostnameFilters``)."""
    recovers_master: Callable[[str, str], bool] = _no_cluster
    """Whether the masters of a cluster (name, alias) are recovered without being asked."""
    recovers_intermediate_master: Callable[[str, str], bool] = _no_cluster
    processing_node_hostname: str = ""
    processing_node_token: str = ""

    @property
    def locked_semi_sync_seconds(self) -> int:
        """For how long coordinates stand still before a master is taken to be locked."""
        return self.reasonable_locked_semi_sync_master_seconds or self.reasonable_replication_lag_seconds

    @property
    def hung_check_seconds(self) -> int:
        """A server of which no check has ended for longer than this has one that hangs.

        The reference allows one poll interval less, but counts up to the attempt; here only ends of
        checks are known, and a late poll must not look like a hanging one.
        """
        return 2 * self.instance_poll_seconds + self.reasonable_instance_check_seconds
