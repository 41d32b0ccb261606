"""A replica with several sources: what is done about one of them leaves the other alone."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pymysql
import pytest

from services.execution.receivers import _is_stopping
from services.mysql.dialect import dialect_for, modern_columns
from services.mysql.session import ActingSession
from services.planning.candidates import PromotionPolicy
from services.planning.plan import StepKind
from services.sandbox.topology import MySQLTopology
from services.topology.records import JournalPhase
from tests.conftest import MakeTopology
from tests.recovery_world import World, login_of
from tests.servers import general_log, start_general_log, wait_until

ASIDE = "aside"
_CHANGING = re.compile(r"\*/ (STOP|START|CHANGE|RESET) ")


class _LeaderDiedError(BaseException):
    """Nothing handles it."""


class Both:
    """``world`` and a server beside it, from which two of four replicas replicate through ``aside``."""

    def __init__(self, world: World, other: MySQLTopology, main: str) -> None:
        self.world = world
        self.other = other.master
        self.replica = world.replicas[-1]
        self.several = world.replicas[2:]
        self.main = main
        self.dialect = dialect_for(str(self.replica.query("SELECT VERSION() AS version")[0]["version"]))
        # It has the database that every topology begins with.
        self.other.execute("RESET MASTER" if self.dialect.mariadb else "RESET BINARY LOGS AND GTIDS")
        side = "slave" if self.dialect.mariadb else "replica"
        for replica in self.several:  # it would be on for all receivers, and that of ``other`` would break
            replica.execute(f"SET GLOBAL rpl_semi_sync_{side}_enabled = OFF")
        account, change = other.accounts.replication, world.topology.flavour.change_source
        to_other = change.format(
            host=self.other.host, port=self.other.port, user=account.user, password=account.password
        )
        account = world.topology.accounts.replication
        to_master = change.format(
            host=world.master.host, port=world.master.port, user=account.user, password=account.password
        )
        for replica in self.several:
            replica.execute(
                self.dialect.stop_replica,
                self.dialect.reset_replica_all,
                self._of(main, to_master),
                self._of(ASIDE, to_other),
                *(self.dialect.of_channel(name).start_replica for name in (main, ASIDE)),
            )
        self.other.execute("CREATE DATABASE beside", "CREATE TABLE beside.t (id INT PRIMARY KEY)")
        wait_until(lambda: self.runs(ASIDE) and self.runs(main), 20, self.channels)

    def _of(self, name: str, change: str) -> str:
        if not self.dialect.mariadb:
            return f"{change} FOR CHANNEL '{name}'"
        return change.replace("CHANGE MASTER", f"CHANGE MASTER '{name}'") if name else change

    def channels(self) -> dict[str, dict[str, Any]]:
        rows = [modern_columns(row) for row in self.replica.query(self.dialect.channels)]
        return {str(row.get("Channel_Name", row.get("Connection_name"))): row for row in rows}

    def runs(self, name: str) -> bool:
        channel = self.channels().get(name, {})
        return (channel.get("Replica_IO_Running"), channel.get("Replica_SQL_Running")) == ("Yes", "Yes")

    def receives_from_other(self, row: int) -> bool:
        self.other.execute(f"INSERT INTO beside.t VALUES ({row})")

        def arrived() -> bool:
            with suppress(pymysql.MySQLError):  # the table itself may be on its way
                return {"id": row} in self.replica.query("SELECT id FROM beside.t")
            return False

        wait_until(arrived, 10, self.channels)
        return True

    def restart_channels(self) -> None:
        """After which each may have what came through the other in its position (MariaDB)."""
        for name in (self.main, ASIDE):
            channel = self.dialect.of_channel(name)
            self.replica.execute(channel.stop_replica, channel.start_replica)
        wait_until(lambda: self.runs(ASIDE) and self.runs(self.main), 20, self.channels)

    def threads(self) -> list[int]:
        """Which sessions of the other server send it its binary log: another one after a reconnect."""
        rows = self.other.query("SHOW PROCESSLIST")
        return [row["Id"] for row in rows if str(row["Command"]).startswith("Binlog Dump")]


@pytest.fixture(params=["mysql", "mariadb", "mariadb-named"])
def both(
    request: pytest.FixtureRequest, make_topology: MakeTopology, make_mariadb_topology: MakeTopology
) -> Both:
    mysql = request.param == "mysql"
    make = make_topology if mysql else make_mariadb_topology
    world = World(make(replicas=4))
    world.create_table()
    options = {} if mysql else {"gtid-domain-id": "7"}
    other = make(replicas=0, semi_sync=None, options=options)
    return Both(world, other, "" if request.param == "mariadb" else "main")


async def test_it_is_put_under_the_new_master_and_goes_on_with_the_other(both: Both) -> None:
    world = both.world
    world.write(1, 2)
    assert both.receives_from_other(1)
    both.restart_channels()
    start_general_log(both.replica)
    before = both.threads()
    await world.look()
    world.register(both.replica, promotion_rule="must")
    world.master.kill()
    outcome = await world.recover()
    assert outcome.succeeded, (outcome, world.journal.said)
    assert not outcome.lost
    assert outcome.successor not in {one.key for one in both.several}, "not one to which others write"
    promoted = world.server(outcome.successor)
    wait_until(lambda: both.runs(both.main), 10, both.channels)
    assert both.channels()[both.main]["Source_Port"] == promoted.port
    assert promoted.query("SHOW DATABASES LIKE 'beside'") == []
    promoted.execute("INSERT INTO app.t VALUES (3)")
    wait_until(lambda: world.rows(both.replica) == {1, 2, 3}, 10)
    _assert_untouched(both, before)


async def test_it_is_put_back_when_nobody_is_promoted(both: Both) -> None:
    world = both.world
    world.write(1)
    start_general_log(both.replica)
    before, threads = both.channels(), both.threads()
    await world.look()
    for server in world.replicas:
        world.register(server, promotion_rule="must_not")
    world.master.kill()
    outcome = await world.recover(PromotionPolicy())
    assert outcome.refusal is not None, outcome
    after = both.channels()
    assert after.keys() == before.keys()
    assert after[both.main]["Source_Port"] == world.master.port
    assert after[both.main]["Replica_IO_Running"] in ("Connecting", "Preparing")
    assert after[both.main]["Replica_SQL_Running"] == "Yes"
    _assert_untouched(both, threads)


async def test_a_later_term_puts_it_back(both: Both) -> None:
    """What it needs for that is in the journal."""
    world = both.world
    world.write(1)
    threads = both.threads()
    await world.look()
    await _interrupted_recovery(world)
    start_general_log(both.replica)
    world.mandate.term += 1
    outcome = await world.resume(world.mandate)
    assert not outcome.succeeded
    assert both.channels()[both.main]["Replica_IO_Running"] in ("Connecting", "Preparing")
    _assert_untouched(both, threads)


async def test_one_that_somebody_removed_meanwhile_is_left_so(both: Both) -> None:
    """There is nothing to start any more, which the servers say with an error of their own each."""
    world = both.world
    world.write(1)
    await world.look()
    await _interrupted_recovery(world)
    main = both.dialect.of_channel(both.main)
    both.replica.execute(main.stop_replica, main.reset_replica_all)
    world.mandate.term += 1
    said = len(world.journal.said)
    outcome = await world.resume(world.mandate)
    assert not outcome.succeeded
    assert world.journal.said[said:] == ["its node stopped in the middle; nobody had been promoted"]
    assert list(both.channels()) == [ASIDE]
    assert both.runs(ASIDE)
    assert both.receives_from_other(4711)


@pytest.mark.parametrize("both", ["mysql"], indirect=True)  # a MariaDB that is as quick shows nothing
async def test_a_stop_of_the_other_channel_is_not_taken_for_ours(both: Both) -> None:
    """It waits in the server as ours would, and tells nothing of the receiver that must not acknowledge."""
    await both.world.look()
    aside = both.dialect.of_channel(ASIDE)
    both.other.pause()
    both.replica.execute(aside.stop_receiver, aside.start_receiver)
    wait_until(lambda: both.channels()[ASIDE]["Replica_IO_Running"] == "Connecting", 10, both.channels)
    login, mandate = login_of(both.world.topology), both.world.mandate
    ours = await ActingSession.open(both.replica.key, login, mandate)
    ours.speak_of_channel(both.world.seen[both.replica.key])
    theirs = await ours.beside()
    theirs.dialect = aside
    taken_for_ours = []
    with ThreadPoolExecutor(1) as pool:
        stop = pool.submit(both.replica.execute, aside.stop_receiver)
        try:
            while not await _is_stopping(theirs):
                assert not stop.done(), "it did not wait: nothing was shown"
                taken_for_ours.append(await _is_stopping(ours))
            taken_for_ours.append(await _is_stopping(ours))
        finally:
            both.other.resume()
    await theirs.close()
    await ours.close()
    assert not any(taken_for_ours)


async def _interrupted_recovery(world: World) -> None:
    """The master is dead, the receivers are stopped, and so is whoever did that."""
    world.master.kill()

    async def interrupted() -> None:
        raise _LeaderDiedError

    world.journal.at(StepKind.SEMI_SYNC_SOURCE, JournalPhase.INTENT, interrupted)
    with pytest.raises(_LeaderDiedError):
        await world.recover()


def _assert_untouched(both: Both, threads: list[int]) -> None:
    assert both.threads() == threads, "its receiver was not stopped"
    assert both.runs(ASIDE)
    assert both.receives_from_other(4711)
    ours = [entry.text for entry in general_log(both.replica, "orchestray term=")]
    changing = [text for text in ours if _CHANGING.search(text)]
    assert changing
    assert not [text for text in changing if f"'{ASIDE}'" in text]
    if not both.dialect.mariadb:  # which takes the unnamed one where none is named
        assert all(f"'{both.main}'" in text for text in changing), changing
