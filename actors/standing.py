"""How this node stands in its setup, from what the Leader last told: who acts, and who else lives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from actors.leadership import Lead, LeaderClock
from actors.spec import NodeSpec
from services import VERSION
from services.config import LoadedConfiguration
from services.election.clock import boottime
from services.node_view import Acting, NodeIdentity, NodeStatus
from services.raft.from_settings import raft_config
from services.raft.view import RaftView
from services.store.backend import backend_of
from services.store.nodes import NodeRow
from services.store.times import utc_now

__all__ = ["STALE_SECONDS", "Standing"]

STALE_SECONDS = 10.0  # without news for so long, the node is not healthy
_TOLD_SECONDS = 3.0  # the Leader tells of its seat each second, at least


class Standing:
    """Belongs to the gateway. Whether this node acts is computed from a deadline each time it is asked."""

    def __init__(
        self, spec: NodeSpec, configuration: Callable[[], LoadedConfiguration], clock: LeaderClock
    ) -> None:
        """``configuration`` gives the one that is in force; ``clock`` is what the Leader's says."""
        self._spec = spec
        self._configuration = configuration
        self._clock = clock
        self._lead = Lead()
        self._lead_at = boottime()  # it is to be heard from within some time
        self._began = self._led_since = self._led_at = utc_now()
        self._first_seen: dict[str, str] = {}
        """By token, of the other nodes that live: since when that is known here."""

    def told(self, lead: Lead) -> None:
        self._led_at = utc_now()
        if (lead.term, lead.holder) != (self._lead.term, self._lead.holder):
            self._led_since = self._led_at
        self._lead, self._lead_at = lead, boottime()
        self._first_seen = {row.token: self._first_seen.get(row.token, self._led_at) for row in lead.others}

    @property
    def acts(self) -> bool:
        return boottime() < self._clock.here(self._lead)

    @property
    def _hears(self) -> bool:
        """One whose Leader is silent takes no part."""
        return boottime() - self._lead_at < _TOLD_SECONDS

    def acting(self) -> Acting:
        raft = self.raft()
        me = raft.advertise if raft is not None else self._spec.node_id
        if self.acts:
            return Acting(me=me, node=me, term=self._lead.term)
        if not self._hears:
            return Acting(me=me, term=self._lead.holder_term)
        node = raft.leader if raft is not None else self._lead.holder
        return Acting(me=me, node=node, uri=self._lead.uri, term=self._lead.holder_term)

    def raft(self) -> RaftView | None:
        """This node as a raft member; None without raft."""
        settings = self._configuration().settings
        if not settings.RaftEnabled:
            return None
        if self._lead.raft is not None and self._hears:
            return self._lead.raft
        config = raft_config(settings)
        return RaftView(bind=str(config.bind), advertise=config.node_id, peers=tuple(sorted(config.members)))

    def status(self, problems: list[str]) -> NodeStatus:
        """``problems`` are those that are known beside what the Leader told."""
        silent = boottime() - self._lead_at
        if silent > STALE_SECONDS:
            problems = [*problems, f"no news from the Leader for {silent:.0f} s"]
        if self._lead.error and not any(self._lead.error in one for one in problems):
            problems = [*problems, self._lead.error]
        backend = backend_of(self._configuration().settings).endpoint
        me = NodeIdentity(
            hostname=self._spec.hostname,
            token=self._spec.token,
            app_version=VERSION,
            db_backend=backend,
            first_seen_active=self._began,
            last_seen_active=utc_now(),
        )
        raft = self.raft()
        return NodeStatus(
            hostname=self._spec.hostname,
            token=self._spec.token,
            app_version=VERSION,
            db_backend=backend,
            is_leader=self.acts,
            active_node=self._active(me, raft),
            available_nodes=(me, *self._others(raft)),
            healthy=not problems,
            error="; ".join(problems),
            warnings=(*self._configuration().warnings, *([raft.note] if raft and raft.note else [])),
            raft=raft,
        )

    def _active(self, me: NodeIdentity, raft: RaftView | None) -> NodeIdentity:
        """Since when this node has heard that it leads, and when last."""
        if raft is not None:
            active = NodeIdentity(hostname=raft.leader)
        elif self.acts:
            active = me
        elif self._lead.holder_row is not None:
            active = _identity(self._lead.holder_row)
        else:
            active = NodeIdentity(hostname=self._lead.holder.partition(":")[0], token=self._lead.holder)
        if not active.hostname:
            return active
        return replace(active, first_seen_active=self._led_since, last_seen_active=self._led_at)

    def _others(self, raft: RaftView | None) -> tuple[NodeIdentity, ...]:
        if raft is not None:
            return tuple(NodeIdentity(hostname=one) for one in raft.reached if one != raft.advertise)
        if not self._hears:
            return ()
        return tuple(
            replace(
                _identity(row), first_seen_active=self._first_seen[row.token], last_seen_active=self._led_at
            )
            for row in self._lead.others
        )


def _identity(row: NodeRow) -> NodeIdentity:
    return NodeIdentity(hostname=row.host, token=row.token, app_version=row.version, db_backend=row.backend)
