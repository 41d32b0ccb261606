"""Where a server stands (discovery.md 3, steps 10 and 15)."""

from __future__ import annotations

from services.topology.instance import Instance
from services.topology.keys import InstanceKey
from services.topology.places import PlacePatterns, placed

SERVER = Instance(key=InstanceKey("db-7.east.example.com", 3306))
BY_NAME = PlacePatterns(
    data_center=r"[.]([^.]+)[.]example[.]com", region=r"^db-(\d)", physical_environment="(staging)?$"
)


def test_a_pattern_takes_the_first_group_from_the_host_name() -> None:
    found = placed(SERVER, BY_NAME)
    assert (found.data_center, found.region, found.physical_environment) == ("east", "7", "")


def test_what_matches_nothing_stands_nowhere() -> None:
    assert placed(Instance(key=InstanceKey("10.0.0.1", 3306)), BY_NAME).data_center == ""


def test_what_a_query_told_goes_before_the_pattern_and_stays() -> None:
    asked = PlacePatterns(data_center=BY_NAME.data_center, asked=frozenset({"data_center"}))
    assert placed(SERVER, asked).data_center == "east", "nothing told yet"
    told = Instance(key=SERVER.key, data_center="west")
    assert placed(told, asked) is told


def test_a_place_that_nothing_tells_any_more_is_forgotten() -> None:
    assert placed(Instance(key=SERVER.key, data_center="west"), PlacePatterns()).data_center == ""


def test_a_rule_that_was_told_makes_a_candidate() -> None:
    patterns = PlacePatterns(asked=frozenset({"detected_promotion_rule"}))
    told = placed(Instance(key=SERVER.key, detected_promotion_rule="prefer"), patterns)
    assert (told.promotion_rule, told.is_candidate) == ("prefer", True)
