"""What people registered, in the JSON of the API (http-api.md 5.8, 6.7, 6.11)."""

from __future__ import annotations

from api import wire_types
from api.wire import key_to_wire
from services.store.times import seconds_until
from services.topology.registrations import CandidateRule, HostAttribute, InstanceTag, Maintenance

__all__ = ["attribute_to_wire", "candidate_to_wire", "maintenance_to_wire", "tag_to_wire"]


def maintenance_to_wire(maintenance: Maintenance) -> wire_types.Maintenance:
    return {
        "MaintenanceId": maintenance.id,
        "Key": key_to_wire(maintenance.key),
        "BeginTimestamp": maintenance.begins_at,
        "SecondsElapsed": max(0, int(-seconds_until(maintenance.begins_at))),
        "IsActive": True,
        "Owner": maintenance.owner,
        "Reason": maintenance.reason,
    }


def candidate_to_wire(rule: CandidateRule) -> wire_types.CandidateDatabaseInstance:
    """``CandidateDatabaseInstance``."""
    return {
        "Hostname": rule.key.hostname,
        "Port": rule.key.port,
        "PromotionRule": rule.promotion_rule,
        "LastSuggestedString": rule.last_suggested,
        "PromotionRuleExpiry": rule.expires_at,
    }


def attribute_to_wire(attribute: HostAttribute) -> wire_types.HostAttributes:
    """``HostAttributes``. They do not expire."""
    return {
        "Hostname": attribute.hostname,
        "AttributeName": attribute.name,
        "AttributeValue": attribute.value,
        "SubmitTimestamp": attribute.submitted_at,
        "ExpireTimestamp": "",
    }


def tag_to_wire(tag: InstanceTag) -> str:
    """Of a tag without value a trailing ``=`` is left."""
    return f"{tag.name}={tag.value}"
