"""All that the reference names is there, with the value that it says (configuration.md 17.2, 17.3)."""

from __future__ import annotations

import pytest

from services.config.hook_commands import PLACEHOLDERS
from services.publish.facts import facts_from_json, facts_to_json
from services.publish.shell_text import shell_text
from tests.unit.publish.samples import facts, promoted

VALUES = {
    "failureType": "DeadMaster",
    "instanceType": "master",
    "isMaster": "true",
    "isCoMaster": "false",
    "command": "",
    "failedHost": "db1",
    "failedPort": "3306",
    "failureCluster": "db1:3306",
    "failureClusterAlias": "orders",
    "failureClusterDomain": "orders.example",
    "countReplicas": "2",
    "countSlaves": "2",
    "replicaHosts": "db2:3306,db3:3307",
    "slaveHosts": "db2:3306,db3:3307",
    "isDowntimed": "false",
    "autoMasterRecovery": "true",
    "autoIntermediateMasterRecovery": "false",
    "orchestratorHost": "node-1",
    "recoveryUID": "1:abc",
    "isSuccessful": "true",
    "lostReplicas": "db3:3307",
    "lostSlaves": "db3:3307",
    "countLostReplicas": "1",
    "successorHost": "db2",
    "successorPort": "3306",
    "successorAlias": "second",
    "successorBinlogCoordinates": "binlog.000007:4711",
}

REFERENCE_VARIABLES = {
    "ORC_FAILURE_TYPE",
    "ORC_INSTANCE_TYPE",
    "ORC_IS_MASTER",
    "ORC_IS_CO_MASTER",
    "ORC_FAILURE_DESCRIPTION",
    "ORC_COMMAND",
    "ORC_FAILED_HOST",
    "ORC_FAILED_PORT",
    "ORC_FAILURE_CLUSTER",
    "ORC_FAILURE_CLUSTER_ALIAS",
    "ORC_FAILURE_CLUSTER_DOMAIN",
    "ORC_COUNT_REPLICAS",
    "ORC_IS_DOWNTIMED",
    "ORC_AUTO_MASTER_RECOVERY",
    "ORC_AUTO_INTERMEDIATE_MASTER_RECOVERY",
    "ORC_ORCHESTRATOR_HOST",
    "ORC_IS_SUCCESSFUL",
    "ORC_LOST_REPLICAS",
    "ORC_REPLICA_HOSTS",
    "ORC_RECOVERY_UID",
}
OF_A_SUCCESSOR = {
    "ORC_SUCCESSOR_HOST",
    "ORC_SUCCESSOR_PORT",
    "ORC_SUCCESSOR_ALIAS",
    "ORC_SUCCESSOR_BINLOG_COORDINATES",
}


def test_the_placeholders_are_those_of_the_reference() -> None:
    assert set(PLACEHOLDERS) == {*VALUES, "failureDescription"}


@pytest.mark.parametrize("name", VALUES)
def test_each_placeholder_has_its_value(name: str) -> None:
    assert shell_text(f"<{{{name}}}>", promoted().variables()) == f"<{VALUES[name]}>"


def test_the_environment_is_that_of_the_reference() -> None:
    ours = {"ORC_COUNT_LOST_REPLICAS"}
    assert set(facts().variables()) == REFERENCE_VARIABLES | ours
    assert set(promoted().variables()) == REFERENCE_VARIABLES | ours | OF_A_SUCCESSOR
    assert facts().variables()["ORC_IS_SUCCESSFUL"] == "false"


def test_coordinates_that_are_not_known_are_not_told() -> None:
    without = promoted(successor_binlog_coordinates="").variables()
    assert "ORC_SUCCESSOR_BINLOG_COORDINATES" not in without
    assert shell_text("{successorBinlogCoordinates}", without) == "{successorBinlogCoordinates}"


def test_without_a_successor_its_placeholders_stay() -> None:
    text = "to {successorHost}:{successorPort} ({successorAlias})"
    assert shell_text(text, facts().variables()) == text


def test_the_journal_gives_back_what_it_was_given() -> None:
    assert facts_from_json(facts_to_json(promoted())) == promoted()


def test_no_variable_holds_a_nul() -> None:
    assert facts(failure_cluster_alias="a\0b").variables()["ORC_FAILURE_CLUSTER_ALIAS"] == "ab"
