"""What one more check of a server changes, and what a person would want to know of that. Pure."""

from __future__ import annotations

from services.topology.instance import Instance, ThreadState

__all__ = ["has_moved", "is_worse", "note_of", "privileges_note"]


def is_worse(known: Instance, merged: Instance) -> bool:
    """It has just fallen silent, or its receiver has just stopped: reasons to look around at once."""
    if merged.last_check_outcome.is_silence and not known.last_check_outcome.is_silence:
        return True
    return known.receiver_state is ThreadState.RUNNING and merged.receiver_state is not ThreadState.RUNNING


def has_moved(known: Instance, merged: Instance) -> bool:
    return (
        known.master_key != merged.master_key
        or known.receiver_state is not merged.receiver_state
        or known.applier_state is not merged.applier_state
        or known.read_only is not merged.read_only
        or known.last_check_outcome is not merged.last_check_outcome
    )


def _introduction(instance: Instance) -> str:
    role = f"replica of {instance.master_key}" if instance.master_key.names_a_server else "master"
    access = "read-only" if instance.read_only else "writable"
    return f"{instance.key}: {instance.flavor} {instance.version}, {role}, {access}"


def note_of(known: Instance, merged: Instance) -> str:
    if known.last_check_outcome is merged.last_check_outcome:
        return ""
    if merged.last_check_outcome.name != "OK":
        return f"{merged.key}: {merged.last_check_error}"
    return f"{merged.key}: answers again" if known.seen_at else _introduction(merged)


def privileges_note(known: Instance, merged: Instance) -> str:
    if merged.lacking_privileges == known.lacking_privileges:
        return ""
    if not merged.lacking_privileges:
        return f"{merged.key}: the account has all privileges now"
    return f"{merged.key}: a recovery would fail there: the account lacks {merged.lacking_privileges}"
