"""Which binary logs have given transactions, from the sets at their beginnings."""

from __future__ import annotations

from services.topology.binlog_files import files_with
from services.topology.gtid import GtidSet

A = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
B = "4e11fa47-71ca-11e1-9e33-c80aa9429562"


def gtids(text: str) -> GtidSet:
    return GtidSet.parse(text)


PREVIOUS = [
    ("log.1", gtids("")),
    ("log.2", gtids(f"{A}:1-10")),
    ("log.3", gtids(f"{A}:1-20,{B}:1-2")),
]
EXECUTED = gtids(f"{A}:1-20,{B}:1-3")


def test_each_file_in_which_a_part_is() -> None:
    assert files_with(gtids(f"{B}:1-3"), PREVIOUS, EXECUTED) == ("log.2", "log.3")
    assert files_with(gtids(f"{B}:2"), PREVIOUS, EXECUTED) == ("log.2",)
    assert files_with(gtids(f"{B}:3"), PREVIOUS, EXECUTED) == ("log.3",)
    assert files_with(gtids(f"{A}:5-15"), PREVIOUS, EXECUTED) == ("log.1", "log.2")


def test_of_what_is_nowhere_there_is_no_file() -> None:
    assert files_with(gtids(f"{B}:9"), PREVIOUS, EXECUTED) == ()
    assert files_with(gtids(f"{B}:1"), [], EXECUTED) == ()
