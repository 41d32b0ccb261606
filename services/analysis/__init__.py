"""What is wrong: a pure function from a snapshot, settings and the time to findings.

The codes are the reference's, the timing is ours: a table of problems (`problems`, `structure`) is read
against facts that are computed once per server (`facts`), and whether a finding may be acted upon
is weighed apart (`evidence`). Nothing here talks to servers, reads a clock or decides what to do.
"""

from __future__ import annotations

from services.analysis.codes import AnalysisCode, Emergency, Evidence, RecoveryKind
from services.analysis.eyes import Agreement, Saw, Sight, judge
from services.analysis.policy import AnalysisPolicy
from services.analysis.problems import PROBLEMS, Problem
from services.analysis.report import ClusterDetails, ReplicationAnalysis, analyze
from services.analysis.structure import STRUCTURE_PROBLEMS

__all__ = [
    "PROBLEMS",
    "STRUCTURE_PROBLEMS",
    "Agreement",
    "AnalysisCode",
    "AnalysisPolicy",
    "ClusterDetails",
    "Emergency",
    "Evidence",
    "Problem",
    "RecoveryKind",
    "ReplicationAnalysis",
    "Saw",
    "Sight",
    "analyze",
    "judge",
]
