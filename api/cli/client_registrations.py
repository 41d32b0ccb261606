"""Commands that register something about servers, pools and clusters, or show what is registered."""

from __future__ import annotations

from api.cli import client_printing as show
from api.cli.client_rows import HINT, ask, change

__all__ = ["REGISTRATIONS"]

REGISTRATIONS = (
    ask("tags", "tags/{instance}", show.texts, "instance", "List tags for a given instance"),
    ask(
        "tag-value",
        "tag-value/{instance}?tag={tag}",
        show.text,
        "instance tag",
        "Get the value of a tag (-t) of an instance",
    ),
    change(
        "tag",
        "tag/{instance}?tag={tag}",
        show.details_key,
        "instance tag",
        "Add a tag (-t name or name=value) to an instance",
    ),
    change(
        "untag",
        "untag/{instance}?tag={tag}",
        show.details_keys,
        "instance tag",
        "Remove a tag (-t) from an instance",
    ),
    change(
        "untag-all",
        "untag-all?tag={tag}",
        show.details_keys,
        "tag",
        "Remove a tag (-t name=value) from all instances that have it with this value",
    ),
    ask(
        "tagged",
        "tagged?tag={tag}",
        show.bare_keys,
        "tag",
        "List instances by tags (-t): a,b  a=value  ~a  ~a=value",
    ),
    change(
        "submit-pool-instances",
        "submit-pool-instances/{pool}?instances={instances}",
        show.details_text,
        "instance pool",
        "Submit the whole content of a pool (-l): instances (-i) with commas between them",
    ),
    ask(
        "which-heuristic-cluster-pool-instances",
        "heuristic-cluster-pool-instances/{hint}/{pool}",
        show.details_instances,
        HINT,
        "List instances of a cluster which are in a pool (-l) or in any",
    ),
    change(
        "begin-downtime",
        "begin-downtime/{instance}/{owner}/{reason}/{duration}",
        show.details_key,
        "instance owner reason duration",
        "Mark an instance as downtimed, for a duration (-u)",
    ),
    change("end-downtime", "end-downtime/{instance}", show.details_key, "instance", "End a downtime"),
    change(
        "begin-maintenance",
        "begin-maintenance/{instance}/{owner}/{reason}",
        show.details_key,
        "instance owner reason",
        "Request a maintenance lock on an instance",
    ),
    change(
        "end-maintenance",
        "end-maintenance/{instance}",
        show.details_key,
        "instance",
        "Remove the maintenance lock from an instance",
    ),
    change(
        "register-candidate",
        "register-candidate/{instance}/{promotion_rule}",
        show.details_key,
        "instance promotion_rule",
        "Set the promotion rule (-R) of an instance",
    ),
    change(
        "register-hostname-unresolve",
        "register-hostname-unresolve/{instance}/{hostname}",
        show.details_key,
        "instance hostname",
        "Have replicas know the host of an instance by another name (-H)",
    ),
    change(
        "deregister-hostname-unresolve",
        "deregister-hostname-unresolve/{instance}",
        show.details_key,
        "instance",
        "Have replicas know the host of an instance by its own name again",
    ),
)
