"""What an account lacks, from texts as MySQL 9.7 and MariaDB 10.11 print them."""

from __future__ import annotations

import pytest

from services.mysql.privileges import MARIADB_PRIVILEGES, MYSQL_PRIVILEGES, lacking, wanted_by

MYSQL = "9.7.4"
MARIADB = "10.11.18-MariaDB-0+deb12u1"
HASH = "*7B9EBEED26AA52ED10C0F549FA863F13C39E0209"

MYSQL_ALL = (
    "GRANT RELOAD, PROCESS, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO `o`@`%`",
    "GRANT CONNECTION_ADMIN,REPLICATION_SLAVE_ADMIN,SYSTEM_VARIABLES_ADMIN ON *.* TO `o`@`%`",
)
MARIADB_ALL = (
    "GRANT RELOAD, PROCESS, BINLOG MONITOR, CONNECTION ADMIN, READ_ONLY ADMIN, REPLICATION SLAVE ADMIN,"
    f" REPLICATION MASTER ADMIN, SLAVE MONITOR ON *.* TO `o`@`%` IDENTIFIED BY PASSWORD '{HASH}'",
)


def told(version: str, *texts: str) -> str:
    return lacking(version, [{"Grants for o@%": text} for text in texts])


@pytest.mark.parametrize(
    ("version", "texts"),
    [
        (MYSQL, MYSQL_ALL),
        (MYSQL, ("GRANT ALL PRIVILEGES ON *.* TO 'o'@'%'",)),
        (MYSQL, ("GRANT RELOAD, PROCESS, SUPER, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO `o`@`%`",)),
        (MARIADB, MARIADB_ALL),
        (MARIADB, ('GRANT ALL PRIVILEGES ON *.* TO "o"@"%" WITH GRANT OPTION',)),
        ("10.6.20-MariaDB", ("GRANT RELOAD, PROCESS, SUPER ON *.* TO `o`@`%`",)),  # SUPER was more then
        (
            MARIADB,
            (
                "GRANT `r2` TO `o`@`%`",
                f"GRANT USAGE ON *.* TO `o`@`%` IDENTIFIED BY PASSWORD '{HASH}'",
                "GRANT `r` TO `r2`",
                MARIADB_ALL[0].replace("`o`@`%`", "`r`"),
                "SET DEFAULT ROLE `r2` FOR `o`@`%`",
            ),
        ),
    ],
)
def test_nothing_is_missing(version: str, texts: tuple[str, ...]) -> None:
    assert told(version, *texts) == ""


@pytest.mark.parametrize("version", ["8.0.41", "5.7.44", "10.4.34-MariaDB"])
def test_nothing_is_said_of_servers_that_are_not_acted_upon(version: str) -> None:
    assert told(version, "GRANT USAGE ON *.* TO `o`@`%`") == ""


def test_nothing_is_said_where_nothing_is_known() -> None:
    assert told(MYSQL) == ""
    assert told(MYSQL, "what some proxy says") == ""


def test_what_is_missing_is_named_with_the_mend() -> None:
    without = MYSQL_ALL[1].replace("REPLICATION_SLAVE_ADMIN,", "")
    name = "REPLICATION_SLAVE_ADMIN"
    assert told(MYSQL, MYSQL_ALL[0], without) == f"{name}: GRANT {name} ON *.* TO `o`@`%`"
    every = ", ".join(each.name for each in MYSQL_PRIVILEGES)
    assert told(MYSQL, "GRANT USAGE ON *.* TO `o`@`%`") == f"{every}: GRANT {every} ON *.* TO `o`@`%`"


def test_a_grant_on_less_than_everything_does_not_count() -> None:
    assert "RELOAD" in told(MYSQL, "GRANT ALL PRIVILEGES ON `app`.* TO `o`@`%`", MYSQL_ALL[1])


def test_super_of_mariadb_is_not_everything_any_more() -> None:
    missing = "REPLICATION MASTER ADMIN, READ_ONLY ADMIN"
    said = told(MARIADB, "GRANT RELOAD, PROCESS, SUPER ON *.* TO `o`@`%`")
    assert said == f"{missing}: GRANT {missing} ON *.* TO `o`@`%`"


def test_a_role_that_is_not_active_is_mentioned() -> None:
    said = told(MYSQL, *MYSQL_ALL[:1], "GRANT `r`@`%` TO `o`@`%`")
    assert said.startswith("REPLICATION_SLAVE_ADMIN, SYSTEM_VARIABLES_ADMIN, CONNECTION_ADMIN: GRANT ")
    assert said.endswith(" (or make the role default that grants it)")


def test_the_hash_of_the_password_is_not_passed_on() -> None:
    said = told(MARIADB, f"GRANT USAGE ON *.* TO `o`@`%` IDENTIFIED BY PASSWORD '{HASH}'")
    assert all(each.name in said for each in MARIADB_PRIVILEGES)
    assert HASH not in said


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        ("SUPER, SLAVE MONITOR", "SLAVE MONITOR"),
        ("SUPER or SYSTEM_VARIABLES_ADMIN", "SYSTEM_VARIABLES_ADMIN"),
        ("REPLICATION SLAVE", "REPLICATION SLAVE"),
        ("SUPER", "SUPER"),
    ],
)
def test_what_a_refusal_asks_for(names: str, wanted: str) -> None:
    text = f"Access denied; you need (at least one of) the {names} privilege(s) for this operation"
    assert wanted_by(text) == wanted


def test_a_refusal_may_ask_for_nothing() -> None:
    assert wanted_by("Access denied") == ""
