"""One poll of one server: everything that is asked, in one round trip."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from services.mysql.cells import named_values
from services.mysql.channel_facts import apply_ciphersuites, apply_replica_status
from services.mysql.connection import Connection, Login, Row
from services.mysql.dialect import Dialect, dialect_for
from services.mysql.errors import StatementError
from services.mysql.facts import apply_group, apply_semi_sync, apply_settings, apply_variables
from services.mysql.found import found_replicas
from services.mysql.privileges import lacking
from services.mysql.questions import Question, Topic, questions
from services.topology.coordinates import BinlogCoordinates
from services.topology.instance import Instance
from services.topology.keys import InstanceKey

__all__ = ["HELLO", "DiscoveryPolicy", "PartialPollError", "PolledServer", "instance_of", "poll_statements"]

HELLO = "SELECT @@global.version AS version, @@global.performance_schema AS performance_schema"
"""Asked first on a connection: it decides which statements follow."""

RARE_SECONDS = 60.0
_DUMP = "Binlog Dump"
_MOVING = (Topic.VARIABLES, Topic.CHANNELS, Topic.LOG)
Answers = Mapping[Topic, list[Row]]


class PartialPollError(Exception):
    """The server answered, and refused statements without which a poll is none.

    ``basics_read`` tells whether its variables were among what it answered.
    """

    def __init__(self, errors: list[StatementError], *, basics_read: bool) -> None:
        super().__init__("; ".join(error.reason for error in errors))
        self.basics_read = basics_read


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoveryPolicy:
    """What the configuration says of how a server's replicas are found. Travels between processes."""

    registered_first: bool = False
    ignored_users: tuple[str, ...] = ()
    """Regular expressions. Not a function: what a probe is told must not bring the whole program with it."""
    has_credentials: bool = False
    """A query of the configuration gives replication credentials."""

    def ignores_user(self, user: str) -> bool:
        return bool(user) and any(re.search(pattern, user) for pattern in self.ignored_users)


_DEFAULT = DiscoveryPolicy()


def poll_statements(dialect: Dialect, *, performance_schema: bool) -> tuple[str, ...]:
    """All statements that a poll may consist of."""
    return tuple(each.statement for each in questions(dialect, performance_schema=performance_schema))


class PolledServer:
    """A kept connection to one server, with the statements that fit its version."""

    def __init__(
        self, connection: Connection, dialect: Dialect, asked: tuple[Question, ...], policy: DiscoveryPolicy
    ) -> None:
        self.connection = connection
        self.dialect = dialect
        self.complaint = ""
        """What the last poll was refused beside what is vital."""
        self._policy = policy
        self._asked = asked
        self._answers: dict[Topic, list[Row]] = {}
        self._refusals: dict[Topic, str] = {}  # not asked again before the rest is
        self._all_at = float("-inf")

    @classmethod
    async def connect(
        cls, key: InstanceKey, login: Login, *, timeout: float, policy: DiscoveryPolicy = _DEFAULT
    ) -> PolledServer:
        """Log in and learn version and flavour. ``timeout`` in seconds, for each of the two.

        Raises ConnectError, StatementError or LostError.
        """
        connection = await Connection.open(key, login, timeout=timeout)
        try:
            rows = await connection.query(HELLO, timeout=timeout)
        except BaseException:
            connection.abort()
            raise
        return cls.on(connection, rows[0][0], policy)

    @classmethod
    def on(cls, connection: Connection, hello: Row, policy: DiscoveryPolicy = _DEFAULT) -> PolledServer:
        """Over a connection that is open already; ``hello`` is the row that ``HELLO`` gave."""
        dialect = dialect_for(str(hello["version"]))
        asked = questions(dialect, performance_schema=str(hello["performance_schema"]) == "1")
        return cls(connection, dialect, asked, policy)

    async def poll(self, *, timeout: float) -> Instance:
        """Ask everything at once, what changes rarely once a minute.

        Raises PartialPollError, LostError or ConnectError.
        """
        began = time.monotonic()
        everything = began - self._all_at >= RARE_SECONDS
        due = [
            each for each in self._asked if everything or not (each.is_rare or each.topic in self._refusals)
        ]
        try:
            results = await self.connection.query("; ".join(each.statement for each in due), timeout=timeout)
        except StatementError:
            await self._one_by_one(due, timeout)
        else:
            self._answers.update(zip((each.topic for each in due), results, strict=True))
            for each in due:
                self._refusals.pop(each.topic, None)
        if everything:
            self._all_at = began
        self.complaint = "; ".join(why for topic, why in self._refusals.items() if self._is_told(topic))
        return instance_of(self.connection.key, self._answers, self._policy)

    async def poll_replica(self, known: Instance, *, timeout: float) -> Instance:
        """``known`` with what moves read afresh: its variables, its channels and where its binary log ends.

        Raises StatementError too.
        """
        asked = {each.topic: each.statement for each in self._asked}
        results = await self.connection.query("; ".join(asked[each] for each in _MOVING), timeout=timeout)
        variables, channels, log = results
        instance = apply_replica_status(apply_variables(known, variables[0]), channels)
        return _with_log(instance, log)

    def _is_told(self, topic: Topic) -> bool:
        """A member of a group whose group is not shown would pass for a server that stands alone."""
        if topic is Topic.GROUP:
            values = named_values(self._answers.get(Topic.PLUGINS, []))
            return bool(values.get("group_replication_group_name"))
        return not any(each.is_quiet for each in self._asked if each.topic is topic)

    async def _one_by_one(self, due: list[Question], timeout: float) -> None:
        """Find out which statements of the batch are refused. Raises PartialPollError if a vital one is."""
        errors: list[StatementError] = []
        basics_read = False
        for each in due:
            try:
                (self._answers[each.topic],) = await self.connection.query(each.statement, timeout=timeout)
                basics_read = basics_read or each.topic is Topic.VARIABLES
                self._refusals.pop(each.topic, None)
            except StatementError as error:
                text = f"{each.statement.split(' FROM ')[0][:60]}: {error.text}"
                refusal = StatementError(error.key, text, error.errno)
                if each.is_vital:
                    errors.append(refusal)
                else:
                    self._answers.setdefault(each.topic, [])
                    self._refusals[each.topic] = refusal.reason
        if errors:
            raise PartialPollError(errors, basics_read=basics_read)


def instance_of(key: InstanceKey, answers: Answers, policy: DiscoveryPolicy = _DEFAULT) -> Instance:
    """What the answers to a poll's questions tell. Pure. Those that are vital must be there."""

    def rows(topic: Topic) -> list[Row]:
        return answers.get(topic, [])

    instance = apply_settings(Instance(key=key), answers[Topic.SETTINGS][0])
    instance = apply_variables(instance, answers[Topic.VARIABLES][0])
    instance = apply_replica_status(instance, answers[Topic.CHANNELS])
    instance = apply_ciphersuites(instance, rows(Topic.SOURCES))
    instance = apply_semi_sync(instance, rows(Topic.PLUGINS), rows(Topic.STATUS))
    instance = apply_group(instance, rows(Topic.PLUGINS), rows(Topic.GROUP))
    instance = _with_log(instance, answers[Topic.LOG])
    dumps = [row for row in rows(Topic.DUMPS) if str(row.get("Command", _DUMP)).startswith(_DUMP)]
    kept = any(int(row["has_account"] or 0) for row in rows(Topic.SOURCES))
    return replace(
        instance,
        replicas=found_replicas(
            [*rows(Topic.REGISTERED), *rows(Topic.REGISTERED_SINCE)],
            dumps,
            key.port,
            registered_first=policy.registered_first,
            ignores_user=policy.ignores_user,
        ),
        replication_credentials_available=policy.has_credentials or kept,
        lacking_privileges=lacking(instance.version, rows(Topic.GRANTS)),
    )


def _with_log(instance: Instance, log: list[Row]) -> Instance:
    if not log:
        return instance
    return replace(instance, self_coordinates=BinlogCoordinates(str(log[0]["File"]), int(log[0]["Position"])))
