"""A live node: what it finds from a leaf, what the dashboard shows, what the client prints."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.node import Watched


def actors_of(watched: Watched, token: str) -> str:
    """The dashboard's list of actors."""
    found = re.search(r"Ray dashboard (\S+), token in (\S+)", watched.node.said)
    assert found is not None, watched.node.said
    headers = {"Authorization": f"Bearer {token or Path(found[2]).read_text().strip()}"}
    request = urllib.request.Request(f"{found[1]}/api/v0/actors", headers=headers)
    with urllib.request.urlopen(request, timeout=20) as reply:
        return str(reply.read().decode())


def client(watched: Watched, *words: str) -> tuple[int, list[str], float]:
    """Exit status, lines and seconds of ``orchestray -c …``."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "api.cli.main", "-U", watched.node.url, "-c", *words],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout.splitlines(), time.perf_counter() - began


def test_from_a_leaf_every_server_at_any_depth_is_found(watched: Watched) -> None:
    topology, instances = watched.topology, watched.node.instances()
    assert set(instances) == {str(server.key) for server in topology.servers}
    depths = {key: one["ReplicationDepth"] for key, one in instances.items()}
    assert depths[str(topology.master.key)] == 0
    assert {depths[str(server.key)] for server in topology.replicas} == {1}
    assert depths[str(topology.below[0].key)] == 2


@pytest.mark.parametrize("kind", ["leader", "topology", "gateway", "probe"])
def test_actors_run_before_others_no_less_than_the_service_itself(watched: Watched, kind: str) -> None:
    """Ray's own default for workers is a niceness of 15."""
    ours = os.getpriority(os.PRIO_PROCESS, watched.node.pid)
    assert {os.getpriority(os.PRIO_PROCESS, each.pid) for each in watched.node.actors(kind)} == {ours}


def test_the_dashboard_names_the_probe_of_every_server(watched: Watched) -> None:
    shown = actors_of(watched, "")
    for server in watched.topology.servers:
        assert f"Probe({server.key})" in shown


def test_the_dashboard_asks_for_its_token(watched: Watched) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        actors_of(watched, "wrong")
    refused.value.close()
    assert refused.value.code in (401, 403)


def test_the_client_reads_what_the_node_sees(watched: Watched) -> None:
    master = str(watched.topology.master.key)
    leaf, middle = watched.topology.below[0], watched.topology.replicas[-1]
    servers = sorted(str(server.key) for server in watched.topology.servers)
    expected = {
        ("clusters",): [master],
        ("all-instances",): servers,
        ("which-cluster-master", "-i", str(leaf.key)): [master],
        ("which-master", "-i", str(leaf.key)): [str(middle.key)],
        ("which-replicas", "-i", str(middle.key)): [str(leaf.key)],
        ("discover", "-i", str(leaf.key)): [str(leaf.key)],
        ("replication-analysis",): [],
        ("api", "-P", "lb-check"): ['"OK"'],
    }
    for words, lines in expected.items():
        status, said, _ = client(watched, *words)
        assert (words, status, said) == (words, 0, lines)
    status, tree, _ = client(watched, "topology", "-a", master)
    assert status == 0
    assert tree[0].startswith(f"{master} ")
    assert [line.split()[1] for line in tree[1:] if line.startswith("  + ")] == [str(leaf.key)]
    assert client(watched, "recover", "-i", master)[0] == 1


def test_the_client_starts_in_well_under_half_a_second(watched: Watched) -> None:
    assert min(client(watched, "which-api")[2] for _ in range(5)) < 0.5


def test_an_instance_has_every_field_of_the_reference(watched: Watched) -> None:
    leaf = watched.node.instances()[str(watched.topology.below[0].key)]
    assert leaf["SecondsBehindMaster"] == {"Int64": 0, "Valid": True}
    assert leaf["MasterKey"]["Port"] == watched.topology.replicas[-1].port
    assert (leaf["ReplicationIOThreadRuning"], leaf["Slave_IO_Running"], leaf["QSP"]) == (True, True, {})
    assert (leaf["UsingOracleGTID"], leaf["FlavorName"], leaf["LastCheckOutcome"]) == (True, "MySQL", "ok")
    assert len(leaf) > 100, json.dumps(leaf)
