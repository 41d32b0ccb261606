"""A recovery's transactions, run through once and rolled back.

The first run of a statement composes and compiles it, which took 40 ms where the second took 4. A Leader
rehearses when it starts, so that its first failover does not pay for that.
"""

from __future__ import annotations

import contextlib

from sqlalchemy import Connection

from services.store.detections import detect_in
from services.store.engine import Database
from services.store.journal import append_in
from services.store.recoveries import Outcome, end_in, register_in
from services.store.rows import key_columns
from services.store.schema import RECOVERY_JOURNAL, RECOVERY_STEPS
from services.topology.keys import InstanceKey
from services.topology.records import AnalysisEntry, FailureDetection, JournalPhase, Recovery

__all__ = ["rehearse"]

_AT = "2000-01-01T00:00:00Z"
_TERM = 2**62  # no election has come so far: nothing is refused as stale
_NOBODY = InstanceKey("rehearsal.invalid", 1)


class _RolledBackError(Exception):
    """Ends the transaction without a trace."""


async def rehearse(database: Database) -> None:
    """Raises StoreError."""
    with contextlib.suppress(_RolledBackError):
        await database.write(_run_through)


def _run_through(connection: Connection) -> None:
    entry = AnalysisEntry(
        analyzed_instance_key=_NOBODY, analysis="DeadMaster", cluster_name="rehearsal", cluster_id="rehearsal"
    )
    recovery = Recovery(uid="rehearsal", analysis_entry=entry, recovery_start_timestamp=_AT, term=_TERM)
    registered = register_in(connection, recovery, True)
    assert isinstance(registered, Recovery)
    line = {
        "recovery_uid": recovery.uid,
        "term": _TERM,
        "step_no": 1,
        "kind": "rehearsal",
        **key_columns(_NOBODY),
        "phase": JournalPhase.INTENT.value,
        "detail": "",
        "at": _AT,
    }
    for lines in ([line], [line, line]):  # one and several are two statements
        append_in(connection, RECOVERY_JOURNAL, lines)
    append_in(connection, RECOVERY_STEPS, [{"recovery_uid": recovery.uid, "at": _AT, "message": ""}])
    detection = FailureDetection(analysis_entry=entry, is_actionable=True, recovery_start_timestamp=_AT)
    detect_in(connection, detection, 60.0)
    end_in(connection, registered, Outcome(is_successful=True, successor_key=_NOBODY), _AT, 60.0)
    raise _RolledBackError
