"""The text forms of a topology: client-commands.md 6, to the byte."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from services.topology.coordinates import BinlogCoordinates
from services.topology.instance import Instance, ThreadState
from services.topology.keys import NO_KEY, InstanceKey
from services.topology.render import RenderPolicy, tokens, topology_tabulated, topology_tags, topology_text

POLICY = RenderPolicy()


def key(number: int) -> InstanceKey:
    return InstanceKey(f"10.0.0.{number}", 3306)


def master(number: int = 1) -> Instance:
    return Instance(
        key=key(number),
        version="8.0.36",
        binlog_format="ROW",
        log_bin_enabled=True,
        log_replica_updates_enabled=True,
        gtid_mode="ON",
        is_last_check_valid=True,
        is_recently_checked=True,
    )


def replica(number: int, of: int | InstanceKey = 1, lag: int | None = 0) -> Instance:
    return replace(
        master(number),
        read_only=True,
        master_key=of if isinstance(of, InstanceKey) else key(of),
        receiver_state=ThreadState.RUNNING,
        applier_state=ThreadState.RUNNING,
        read_coordinates=BinlogCoordinates("bin.000001", 4),
        exec_coordinates=BinlogCoordinates("bin.000001", 4),
        using_oracle_gtid=True,
        seconds_behind_master=lag,
        replication_lag_seconds=lag,
    )


def broken(instance: Instance) -> Instance:
    return replace(
        instance,
        applier_state=ThreadState.STOPPED,
        seconds_behind_master=None,
        replication_lag_seconds=None,
    )


REFERENCE_CLUSTER = (
    replace(broken(replica(3)), gtid_errant="3e11fa47-71ca-11e1-9e33-c80aa9429562:1"),
    replace(replica(4, of=2, lag=7), is_downtimed=True),
    master(1),
    replica(2),
)


def test_text_is_the_example_of_the_reference() -> None:
    assert topology_text(REFERENCE_CLUSTER, POLICY).split("\n") == [
        "10.0.0.1:3306     [0s,ok,8.0.36,rw,ROW,>>,GTID]",
        "+ 10.0.0.2:3306   [0s,ok,8.0.36,ro,ROW,>>,GTID]",
        "  + 10.0.0.4:3306 [7s,ok,8.0.36,ro,ROW,>>,GTID,downtimed]",
        "- 10.0.0.3:3306   [null,nonreplicating,8.0.36,ro,ROW,>>,GTID:errant]",
    ]


def test_tags_stand_behind_the_lines_by_name() -> None:
    tags = {key(1): [("role", "primary"), ("backup", "")], key(4): [("rack", "7")]}
    assert topology_tags(REFERENCE_CLUSTER, POLICY, tags).split("\n") == [
        "10.0.0.1:3306     [0s,ok,8.0.36,rw,ROW,>>,GTID] [backup,role=primary]",
        "+ 10.0.0.2:3306   [0s,ok,8.0.36,ro,ROW,>>,GTID] []",
        "  + 10.0.0.4:3306 [7s,ok,8.0.36,ro,ROW,>>,GTID,downtimed] [rack=7]",
        "- 10.0.0.3:3306   [null,nonreplicating,8.0.36,ro,ROW,>>,GTID:errant] []",
    ]


def test_tabulated_is_the_example_of_the_reference() -> None:
    cluster = (
        master(1),
        replica(2),
        replace(broken(replica(3)), gtid_mode="OFF", using_oracle_gtid=False),
    )
    assert topology_tabulated(cluster, POLICY).split("\n") == [
        "10.0.0.1:3306  |  0s|ok            |8.0.36|rw|ROW|>>,GTID",
        "+ 10.0.0.2:3306|  0s|ok            |8.0.36|ro|ROW|>>,GTID",
        "- 10.0.0.3:3306|null|nonreplicating|8.0.36|ro|ROW|>>     ",
    ]


def test_nothing_known_prints_nothing() -> None:
    assert topology_text((), POLICY) == ""
    assert topology_tabulated((), POLICY) == ""


def test_an_empty_last_cell_still_has_its_column() -> None:
    bare = Instance(key=key(1), version="8.4.0", is_last_check_valid=True, is_recently_checked=True)
    assert topology_tabulated([bare], POLICY) == "10.0.0.1:3306|0s|ok|8.4.0|rw|nobinlog|"
    assert topology_text([bare], POLICY) == "10.0.0.1:3306 [0s,ok,8.4.0,rw,nobinlog]"


def test_alias_stands_behind_the_name() -> None:
    assert topology_text([replace(master(1), instance_alias="first")], POLICY).startswith(
        "10.0.0.1:3306 (first) ["
    )


def test_widths_are_bytes_so_a_group_marker_shifts_its_row_by_two() -> None:
    primary = replace(
        master(1),
        replication_group_name="g",
        replication_group_member_role="PRIMARY",
        replication_group_member_state="ONLINE",
    )
    secondary = replace(
        primary,
        key=key(2),
        replication_group_member_role="SECONDARY",
        replication_group_primary_key=key(1),
    )
    assert topology_text([primary, secondary, replica(3)], POLICY).split("\n") == [
        "10.0.0.1:3306     [0s,ok,8.0.36,rw,ROW,>>,GTID]",
        "‡ 10.0.0.2:3306 [0s,ok,8.0.36,rw,ROW,>>,GTID]",
        "+ 10.0.0.3:3306   [0s,ok,8.0.36,ro,ROW,>>,GTID]",
    ]
    first_cells = [
        line.split("|")[0] for line in topology_tabulated([primary, secondary], POLICY).split("\n")
    ]
    assert len({len(cell.encode()) for cell in first_cells}) == 1


def test_a_group_primary_that_does_not_replicate_hangs_on_nobody() -> None:
    primary = replace(
        master(2),
        replication_group_name="g",
        replication_group_member_role="PRIMARY",
        replication_group_member_state="ONLINE",
        master_key=key(1),  # configured, never started: no position, no GTID
        gtid_mode="OFF",
    )
    assert [
        line.split(" [")[0].rstrip() for line in topology_text([master(1), primary], POLICY).split("\n")
    ] == [
        "10.0.0.1:3306",
        "10.0.0.2:3306",
    ]


def test_every_top_is_shown_not_only_the_last() -> None:
    """known-gaps.md 9.8."""
    lines = topology_text([master(3), replica(4, of=3), master(1), replica(2, of=1)], POLICY).split("\n")
    assert [line.split(" [")[0].rstrip() for line in lines] == [
        "10.0.0.1:3306",
        "+ 10.0.0.2:3306",
        "10.0.0.3:3306",
        "+ 10.0.0.4:3306",
    ]


def test_co_masters_are_branches_of_their_own() -> None:
    first = replace(replica(1, of=2), is_co_master=True, read_only=False)
    second = replace(replica(2, of=1), is_co_master=True)
    lines = topology_text([second, replica(4, of=2), first, replica(3, of=1)], POLICY).split("\n")
    assert [line.split(" [")[0].rstrip() for line in lines] == [
        "+ 10.0.0.1:3306",
        "  + 10.0.0.3:3306",
        "+ 10.0.0.2:3306",
        "  + 10.0.0.4:3306",
    ]


def test_a_ring_of_three_is_shown_and_ends() -> None:
    ring = [replica(1, of=3), replica(2, of=1), replica(3, of=2)]
    lines = topology_text(ring, POLICY).split("\n")
    assert [line.split(" [")[0].rstrip() for line in lines] == [
        "+ 10.0.0.1:3306",
        "  + 10.0.0.2:3306",
        "    + 10.0.0.3:3306",
    ]


def test_siblings_are_sorted_by_host_then_port_not_by_arrival() -> None:
    low = replace(replica(2), key=InstanceKey("10.0.0.2", 3307))
    lines = topology_text([low, replica(2), master(1)], POLICY).split("\n")
    assert [line.split()[1] for line in lines[1:]] == ["10.0.0.2:3306", "10.0.0.2:3307"]


def test_lag_token() -> None:
    def lag(instance: Instance) -> str:
        return tokens(instance, POLICY)[0]

    assert lag(master()) == "0s"
    assert lag(replica(2, lag=7)) == "7s"
    assert lag(broken(replica(2))) == "null"
    assert lag(replace(replica(2), replication_lag_seconds=None)) == "null"
    assert lag(replace(replica(2), is_last_check_valid=False)) == "unknown"
    assert lag(replace(replica(2), is_recently_checked=False)) == "unknown"
    detached = replace(broken(replica(2)), exec_coordinates=BinlogCoordinates("//bin.000001:4", 4))
    assert lag(replace(detached, is_last_check_valid=False)) == "detached"


def test_status_token() -> None:
    def status(instance: Instance) -> str:
        return tokens(instance, POLICY)[1]

    assert (
        status(replace(broken(replica(2)), is_last_check_valid=False, is_recently_checked=False)) == "invalid"
    )
    assert status(replace(broken(replica(2)), is_recently_checked=False)) == "unchecked"
    assert status(broken(replica(2))) == "nonreplicating"
    assert status(replica(2, lag=20)) == "ok"
    assert status(replica(2, lag=21)) == "lag"
    assert status(replace(replica(2, lag=3600), sql_delay_seconds=3600)) == "ok"
    assert status(replace(replica(2, lag=3500), sql_delay_seconds=3600)) == "lag"
    assert status(replace(master(), seconds_behind_master=99)) == "ok"


def test_extras_stand_in_the_order_of_the_reference() -> None:
    everything = replace(
        replica(2),
        using_pseudo_gtid=True,
        semi_sync_master_status=True,
        semi_sync_replica_status=True,
        is_downtimed=True,
    )
    assert tokens(everything, POLICY)[5] == ">>,GTID,P-GTID,semi:master,semi:replica,downtimed"
    assert tokens(replace(master(), gtid_mode="OFF"), POLICY)[5] == ">>"
    mariadb = replace(replica(2), gtid_mode="", using_oracle_gtid=False, using_mariadb_gtid=True)
    assert tokens(mariadb, POLICY)[5] == ">>,GTID"


@given(
    st.lists(st.integers(-1, 7), min_size=8, max_size=8),
    st.lists(st.booleans(), min_size=8, max_size=8),
    st.lists(st.sampled_from(["", "PRIMARY", "SECONDARY"]), min_size=8, max_size=8),
)
def test_every_server_is_shown_once_however_they_hang_together(
    masters: list[int], co_masters: list[bool], roles: list[str]
) -> None:
    cluster = [
        replace(
            replica(number, of=key(of) if of >= 0 else NO_KEY),
            is_co_master=co_master,
            replication_group_name="g" if role else "",
            replication_group_member_role=role,
            replication_group_primary_key=key(of) if of >= 0 else NO_KEY,
        )
        for number, (of, co_master, role) in enumerate(zip(masters, co_masters, roles, strict=True))
    ]
    lines = topology_text(cluster, POLICY).split("\n")
    names = [line.split(" [")[0].strip().rpartition(" ")[2] for line in lines]
    assert sorted(names) == sorted(str(instance.key) for instance in cluster)
    assert len({len(line[: line.index("[")].encode()) for line in lines}) == 1
    assert len(topology_tabulated(cluster, POLICY).split("\n")) == len(cluster)


def test_a_chain_longer_than_python_recursion() -> None:
    chain = [master(0), *(replica(number, of=number - 1) for number in range(1, 2000))]
    assert len(topology_text(chain, POLICY).split("\n")) == 2000
