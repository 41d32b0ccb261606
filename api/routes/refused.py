"""Routes of the reference that are refused, each with a text that says why and what to do instead.

Without them a client would be told "404 page not found", which orchestrator-client takes for a server that is
down. They are a table: what is done one day moves from here to a module of its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.responses import Response

from api.described import Reply
from api.routes.call import ToCall, changing_router, route

__all__ = ["REFUSED", "changes"]

changes = changing_router(here=True)

_PAIR = ":host/:port/:below_host/:below_port"
_ONE = ":host/:port"

_MOVES = (
    "orchestray does not change topologies on request yet: use CHANGE REPLICATION SOURCE TO on the server, "
    "which orchestray sees within a poll"
)
_CONTROL = (
    "orchestray does not control replication on request yet: run the statement on the server, whose change "
    "orchestray sees within a poll"
)
_TAKEOVER = "orchestray does not replace a master that lives yet; recover is for one that is dead"
_PSEUDO = "Pseudo-GTID is not supported: use GTID (gtid_mode=ON, or MariaDB's own)"
_BINLOG_SERVERS = "binlog servers are not supported: replicas replicate from a MySQL or MariaDB server"
_EQUIVALENCES = "positions that are equivalent are not recorded: moves by file and position are not made yet"
_STORES = "key-value stores are not supported yet: have PostMasterFailoverProcesses write them"
_AGENTS = "Agents not served: host agents are not supported"
_ALIASES = "reload-cluster-alias is retired: aliases follow DetectClusterAliasQuery and set-cluster-alias"

REFUSED: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        _MOVES,
        (
            f"relocate/{_PAIR}",
            f"relocate-below/{_PAIR}",
            f"relocate-replicas/{_PAIR}",
            f"relocate-slaves/{_PAIR}",
            f"regroup-replicas/{_ONE}",
            f"regroup-slaves/{_ONE}",
            f"move-up/{_ONE}",
            f"move-up-replicas/{_ONE}",
            f"move-up-slaves/{_ONE}",
            "move-below/:host/:port/:sibling_host/:sibling_port",
            f"move-equivalent/{_PAIR}",
            f"repoint/{_PAIR}",
            f"repoint-replicas/{_ONE}",
            f"repoint-slaves/{_ONE}",
            f"make-co-master/{_ONE}",
            f"take-siblings/{_ONE}",
            f"enslave-siblings/{_ONE}",
            f"take-master/{_ONE}",
            f"enslave-master/{_ONE}",
            f"move-below-gtid/{_PAIR}",
            f"move-replicas-gtid/{_PAIR}",
            f"move-slaves-gtid/{_PAIR}",
            f"regroup-replicas-gtid/{_ONE}",
            f"regroup-slaves-gtid/{_ONE}",
        ),
    ),
    (_BINLOG_SERVERS, (f"regroup-replicas-bls/{_ONE}", f"regroup-slaves-bls/{_ONE}")),
    (
        _PSEUDO,
        (
            f"match/{_PAIR}",
            f"match-below/{_PAIR}",
            f"match-up/{_ONE}",
            f"match-replicas/{_PAIR}",
            f"match-slaves/{_PAIR}",
            f"match-up-replicas/{_ONE}",
            f"match-up-slaves/{_ONE}",
            f"regroup-replicas-pgtid/{_ONE}",
            f"regroup-slaves-pgtid/{_ONE}",
            f"make-master/{_ONE}",
            f"make-local-master/{_ONE}",
            f"last-pseudo-gtid/{_ONE}",
        ),
    ),
    (
        _CONTROL,
        (
            *(
                f"{name}/{_ONE}"
                for name in (
                    "enable-gtid", "disable-gtid", "gtid-errant-reset-master", "gtid-errant-inject-empty",
                    "skip-query", "start-replica", "start-slave", "stop-replica", "stop-slave",
                    "restart-replica", "restart-slave", "stop-replica-nice", "stop-slave-nice",
                    "reset-replica", "reset-slave", "change-master-credentials", "detach-replica",
                    "detach-slave", "detach-replica-master-host", "detach-slave-master-host",
                    "reattach-replica", "reattach-slave", "reattach-replica-master-host",
                    "reattach-slave-master-host", "enable-semi-sync-master", "enable-semi-sync-source",
                    "disable-semi-sync-master", "disable-semi-sync-source", "enable-semi-sync-replica",
                    "disable-semi-sync-replica", "flush-binary-logs", "set-read-only", "set-writeable",
                )
            ),
            f"delay-replication/{_ONE}/:seconds",
            f"purge-binary-logs/{_ONE}/:log_file",
            f"kill-query/{_ONE}/:process",
        ),
    ),
    (
        _TAKEOVER,
        (
            *(
                f"{name}{form}"
                for name in ("graceful-master-takeover", "graceful-master-takeover-auto")
                for form in (
                    "/:hint", f"/{_ONE}", "/:hint/:designated_host/:designated_port",
                    f"/{_ONE}/:designated_host/:designated_port",
                )
            ),
            "force-master-failover/:hint",
            f"force-master-failover/{_ONE}",
            "force-master-takeover/:hint/:designated_host/:designated_port",
            f"force-master-takeover/{_ONE}/:designated_host/:designated_port",
        ),
    ),
    (_EQUIVALENCES, (f"master-equivalent/{_ONE}/:log_file/:log_pos",)),
    (_STORES, ("submit-masters-to-kv-stores", "submit-masters-to-kv-stores/:hint")),
    (_ALIASES, ("reload-cluster-alias",)),
    (
        _AGENTS,
        (
            "agents", "agent/:host", "agent-umount/:host", "agent-mount/:host", "agent-create-snapshot/:host",
            "agent-removelv/:host", "agent-mysql-stop/:host", "agent-mysql-start/:host",
            "agent-custom-command/:host/:command", "agent-seed/:target_host/:source_host",
            "agent-active-seeds/:host", "agent-recent-seeds/:host", "agent-seed-details/:seed_id",
            "agent-seed-states/:seed_id", "agent-abort-seed/:seed_id", "seeds",
        ),
    ),
)  # fmt: skip
"""Why, and the routes that are refused for it."""

_NEVER = Reply(None, is_enveloped=True, never=True)


def _refusing(text: str) -> Callable[[ToCall], Awaitable[Response]]:
    async def refuse(call: ToCall) -> Response:
        return call.error(text)

    refuse.__doc__ = f"Refused: {text}."
    return refuse


for _text, _paths in REFUSED:
    route(changes, *_paths, reply=_NEVER)(_refusing(_text))
