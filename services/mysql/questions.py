"""What a poll asks of a server, as a table: which statement, how often, and whether it may be refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from services.mysql.dialect import Dialect
from services.mysql.privileges import SHOW_GRANTS

__all__ = ["SEMI_SYNC_VARIABLES", "Question", "Topic", "questions"]

SEMI_SYNC_VARIABLES = r"SHOW GLOBAL VARIABLES LIKE 'rpl\_semi\_sync\_%'"
_PLUGIN_VARIABLES = (
    r"SHOW GLOBAL VARIABLES WHERE Variable_name LIKE 'rpl\_semi\_sync\_%' OR Variable_name IN "
    "('group_replication_group_name', 'group_replication_single_primary_mode')"
)
_STATUS = r"SHOW GLOBAL STATUS WHERE Variable_name = 'Uptime' OR Variable_name LIKE 'Rpl\_semi\_sync\_%'"


class Topic(str, Enum):
    """What a statement's rows tell of."""

    VARIABLES = "variables"
    CHANNELS = "channels"
    LOG = "log"
    PLUGINS = "plugins"
    STATUS = "status"
    REGISTERED = "registered"
    DUMPS = "dumps"
    REGISTERED_SINCE = "registered since"
    GROUP = "group"
    SETTINGS = "settings"
    GRANTS = "grants"
    SOURCES = "sources"


@dataclass(frozen=True, slots=True)
class Question:
    topic: Topic
    statement: str
    is_rare: bool = False
    """Asked on a new connection and then once a minute, in the same round trip as the rest."""
    is_vital: bool = False
    """Without the answer the check has failed. What else is refused stays as it was, and is told."""
    is_quiet: bool = False
    """A refusal is not told: there are servers where it is normal. Of a group's members it is, in a group."""


def questions(dialect: Dialect, *, performance_schema: bool) -> tuple[Question, ...]:
    """All that a poll of such a server asks; what replication moves first."""
    table = (
        Question(Topic.VARIABLES, f"SELECT {_selected(dialect.variables)}", is_vital=True),
        Question(Topic.CHANNELS, dialect.channels, is_vital=True),
        Question(Topic.LOG, dialect.binary_log_status, is_vital=True),
        Question(Topic.PLUGINS, SEMI_SYNC_VARIABLES if dialect.mariadb else _PLUGIN_VARIABLES),
        Question(Topic.STATUS, _STATUS),
        Question(Topic.REGISTERED, dialect.registered_replicas, is_vital=True),
        Question(Topic.DUMPS, dialect.dump_threads(performance_schema=performance_schema)),
        # a replica that connects meanwhile must not seem to have no name
        Question(Topic.REGISTERED_SINCE, dialect.registered_replicas, is_quiet=True),
        Question(Topic.GROUP, dialect.group_members if performance_schema else "", is_quiet=True),
        Question(Topic.SETTINGS, f"SELECT {_selected(dialect.settings)}", is_rare=True, is_vital=True),
        Question(Topic.GRANTS, SHOW_GRANTS, is_rare=True, is_quiet=True),  # refused without grant tables
        Question(Topic.SOURCES, dialect.kept_sources, is_rare=True, is_quiet=True),
    )
    return tuple(question for question in table if question.statement)


def _selected(expressions: Mapping[str, str]) -> str:
    return ", ".join(f"{expression} AS {name}" for name, expression in expressions.items())
