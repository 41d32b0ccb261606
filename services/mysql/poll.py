"""One poll of one server: everything that is asked, in one round trip."""

from __future__ import annotations

from dataclasses import replace

from services.mysql.connection import Connection, Login, Row
from services.mysql.dialect import Dialect, dialect_for
from services.mysql.errors import StatementError
from services.mysql.facts import apply_replica_status, apply_semi_sync, apply_variables, found_replicas
from services.mysql.privileges import SHOW_GRANTS, lacking
from services.topology.coordinates import BinlogCoordinates
from services.topology.instance import Instance
from services.topology.keys import InstanceKey

__all__ = ["HELLO", "SEMI_SYNC_VARIABLES", "PartialPollError", "PolledServer", "poll_statements"]

HELLO = "SELECT @@global.version AS version, @@global.performance_schema AS performance_schema"
"""Asked first on a connection: it decides which statements follow."""

_DUMP = "Binlog Dump"
SEMI_SYNC_VARIABLES = r"SHOW GLOBAL VARIABLES LIKE 'rpl\_semi\_sync\_%'"
_STATUS = r"SHOW GLOBAL STATUS WHERE Variable_name = 'Uptime' OR Variable_name LIKE 'Rpl\_semi\_sync\_%'"


class PartialPollError(Exception):
    """The server answered, and refused some statements of the poll.

    ``basics_read`` tells whether its variables were among what it answered.
    """

    def __init__(self, errors: list[StatementError], *, basics_read: bool) -> None:
        super().__init__("; ".join(error.reason for error in errors))
        self.basics_read = basics_read


def poll_statements(dialect: Dialect, *, performance_schema: bool) -> tuple[str, ...]:
    """The statements of a poll, in the order in which ``PolledServer`` reads their results."""
    variables = ", ".join(f"{expression} AS {name}" for name, expression in dialect.variables.items())
    return (
        f"SELECT {variables}",
        dialect.replica_status,
        dialect.binary_log_status,
        SEMI_SYNC_VARIABLES,
        _STATUS,
        dialect.registered_replicas,
        dialect.dump_threads(performance_schema=performance_schema),
        dialect.registered_replicas,  # a replica that connects meanwhile must not seem to have no name
        SHOW_GRANTS,
    )


class PolledServer:
    """A kept connection to one server, with the statements that fit its version."""

    def __init__(self, connection: Connection, dialect: Dialect, statements: tuple[str, ...]) -> None:
        self.connection = connection
        self.dialect = dialect
        self._statements = statements
        self._batch = "; ".join(statements)

    @classmethod
    async def connect(cls, key: InstanceKey, login: Login, *, timeout: float) -> PolledServer:
        """Log in and learn version and flavour. ``timeout`` in seconds, for each of the two.

        Raises ConnectError, StatementError or LostError.
        """
        connection = await Connection.open(key, login, timeout=timeout)
        try:
            rows = await connection.query(HELLO, timeout=timeout)
        except BaseException:
            connection.abort()
            raise
        return cls.on(connection, rows[0][0])

    @classmethod
    def on(cls, connection: Connection, hello: Row) -> PolledServer:
        """Over a connection that is open already; ``hello`` is the row that ``HELLO`` gave."""
        dialect = dialect_for(str(hello["version"]))
        statements = poll_statements(dialect, performance_schema=str(hello["performance_schema"]) == "1")
        return cls(connection, dialect, statements)

    async def poll(self, *, timeout: float) -> Instance:
        """Ask everything at once. Raises PartialPollError, LostError or ConnectError."""
        try:
            results = await self.connection.query(self._batch, timeout=timeout)
        except StatementError:
            results = await self._one_by_one(timeout)
        return self._instance(results)

    async def poll_replica(self, known: Instance, *, timeout: float) -> Instance:
        """``known`` with what moves read afresh: its variables, its channel and where its binary log ends.

        Raises StatementError too.
        """
        results = await self.connection.query("; ".join(self._statements[:3]), timeout=timeout)
        instance = apply_replica_status(apply_variables(known, results[0][0]), results[1])
        return _with_log(instance, results[2])

    async def _one_by_one(self, timeout: float) -> list[list[Row]]:
        """Find out which statement of the batch was refused."""
        errors: list[StatementError] = []
        results: list[list[Row]] = []
        basics_read = False
        for number, statement in enumerate(self._statements):
            try:
                results += await self.connection.query(statement, timeout=timeout)
                basics_read = basics_read or number == 0
            except StatementError as error:
                if statement == SHOW_GRANTS:  # a server without grant tables: then nothing is known of them
                    results.append([])
                    continue
                if statement in self._statements[:number]:
                    continue  # told already
                text = f"{statement.split(' FROM ')[0][:60]}: {error.text}"
                errors.append(StatementError(error.key, text, error.errno))
        if errors:
            raise PartialPollError(errors, basics_read=basics_read)
        return results

    def _instance(self, results: list[list[Row]]) -> Instance:
        variables, channel, log, semi_variables, status, before, dumps, after, grants = results
        instance = apply_variables(Instance(key=self.connection.key), variables[0])
        instance = apply_replica_status(instance, channel)
        instance = apply_semi_sync(instance, semi_variables, status)
        instance = _with_log(instance, log)
        dumps = [row for row in dumps if str(row.get("Command", _DUMP)).startswith(_DUMP)]
        return replace(
            instance,
            replicas=found_replicas([*before, *after], dumps, instance.key.port),
            lacking_privileges=lacking(instance.version, grants),
        )


def _with_log(instance: Instance, log: list[Row]) -> Instance:
    if not log:
        return instance
    return replace(instance, self_coordinates=BinlogCoordinates(str(log[0]["File"]), int(log[0]["Position"])))
