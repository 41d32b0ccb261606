"""``orchestray analyze [--config FILE] [--json] FILE``: the analysis of a topology that is in a file.

The file is what ``/api/all-instances`` answers: a JSON array of instances, or an envelope with that array
in ``Details``. It is all that is needed. What it says of places, clusters and checks is taken as
given; what it leaves out is derived from who replicates from whom. The answer is that of
``orchestray -c replication-analysis``.

Exit status: 0 if the file could be analysed, whatever was found; 1 if not, with one line on stderr that says
why; 2 for a wrong command line.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from api.wire import WireError, analysis_to_wire, dumps, instance_from_wire
from services.analysis import AnalysisPolicy, ReplicationAnalysis, analyze
from services.topology.instance import Instance
from services.topology.keys import InstanceKey
from services.topology.tree import Cluster, Topology, TreePolicy, derive, suggested_alias

__all__ = ["AnalyzeError", "analyze_text", "run"]

MAX_FILE_BYTES = 512 * 1024 * 1024
"""Some 100,000 instances. A larger file is refused rather than read into memory."""

_PROGRAM = "orchestray analyze"

_DERIVED = {
    "ClusterName": "cluster_name",
    "ReplicationDepth": "replication_depth",
    "IsCoMaster": "is_co_master",
    "AncestryUUID": "ancestry_uuid",
    "GtidErrant": "gtid_errant",
    "IsLastCheckValid": "is_last_check_valid",
    "IsUpToDate": "is_up_to_date",
    "IsRecentlyChecked": "is_recently_checked",
    "SecondsSinceLastSeen": "seconds_since_last_seen",
}
"""What is taken from the file if it is there, and derived if not."""


class AnalyzeError(Exception):
    """The file, or the configuration, cannot be used; the message says what is wrong with it."""


def run(argv: Sequence[str]) -> int:
    """Carry out ``argv``, the words after ``analyze``; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog=_PROGRAM, description="Say what is wrong with a topology that was saved from /api/all-instances."
    )
    parser.add_argument("--config", metavar="FILE", help="configuration with thresholds and filters")
    parser.add_argument("--json", action="store_true", help="print the objects of the API, not lines")
    parser.add_argument("file", metavar="FILE", help='instances as JSON; "-" reads standard input')
    try:
        options = parser.parse_args(argv)
    except SystemExit as stop:  # it has said why; 0 after --help
        return stop.code if isinstance(stop.code, int) else 2
    try:
        entries = analyze_text(_read(options.file), _policy(options.config))
        _print(entries, as_json=options.json)
    except (AnalyzeError, WireError) as error:
        print(f"{_PROGRAM}: {options.file}: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of our output has gone
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - for the flush at exit
        return 1
    return 0


def analyze_text(text: bytes, policy: AnalysisPolicy) -> tuple[ReplicationAnalysis, ...]:
    """Analyse the instances in a JSON text. Raises AnalyzeError or WireError."""
    topology = _topology(_elements(text))
    return analyze(topology, policy, topology.now, unix_now=time.time())


def _print(entries: Iterable[ReplicationAnalysis], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(dumps([analysis_to_wire(entry) for entry in entries]) + "\n")
    else:
        for entry in entries:
            name = entry.cluster_details.cluster_name
            sys.stdout.write(f"{entry.analyzed_instance_key} (cluster {name}): {entry.text}\n")
    sys.stdout.flush()


def _policy(config: str | None) -> AnalysisPolicy:
    if config is None:
        return AnalysisPolicy()
    # Lazily: most calls need no configuration, and the tool is to start in an instant.
    from services.config import ConfigurationError, load
    from services.deciding_policies import analysis_policy

    try:
        loaded = load([Path(config)])
    except ConfigurationError as error:
        problems = "; ".join(str(error).splitlines())
        raise AnalyzeError(f"not analysed, because of the configuration: {problems}") from None
    for warning in loaded.warnings:
        print(f"{_PROGRAM}: {warning}", file=sys.stderr)
    return analysis_policy(loaded.settings)


def _read(file: str) -> bytes:
    try:
        if file == "-":
            text = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
        else:
            with Path(file).open("rb") as stream:
                text = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise AnalyzeError(f"cannot be read: {error.strerror or error}") from None
    if len(text) > MAX_FILE_BYTES:
        raise AnalyzeError(f"is larger than the {MAX_FILE_BYTES} bytes that are read")
    return text


def _elements(text: bytes) -> list[Any]:
    """The array of instances, not yet looked into."""
    try:
        value = json.loads(text.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise AnalyzeError(f"is not UTF-8 text (byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise AnalyzeError(f"is not JSON: {error.msg} (line {error.lineno}, column {error.colno})") from None
    except (ValueError, RecursionError) as error:
        raise AnalyzeError(f"is not JSON that can be read: {error}") from None
    if isinstance(value, dict):
        if value.get("Code") == "ERROR":
            raise AnalyzeError(f"holds an error reply of the API, not instances: {value.get('Message')}")
        value = value.get("Details")
    if not isinstance(value, list):
        raise AnalyzeError("expected a JSON array of instances, or an object with one in Details")
    return value


def _topology(elements: list[Any]) -> Topology:
    read: dict[InstanceKey, Instance] = {}
    places: dict[InstanceKey, int] = {}
    given: dict[InstanceKey, Mapping[str, Any]] = {}
    for index, element in enumerate(elements):
        instance = instance_from_wire(element, index)
        key = instance.key
        if key in places:
            raise AnalyzeError(f"instance {index} ({key}) is there already, as instance {places[key]}")
        read[key], places[key] = instance, index
        given[key] = {attribute: getattr(instance, attribute) for attribute in _given(element)}
    derived = derive(read.values(), (), TreePolicy(), now=0.0)
    instances = {key: replace(each, **given[key]) for key, each in derived.instances.items()}
    return Topology(instances, tuple(_clusters(instances)), derived.now, is_live=False)


def _given(element: Mapping[str, Any]) -> Iterator[str]:
    for name, attribute in _DERIVED.items():
        value = element.get(name)
        if value is not None and (value != "" or name != "ClusterName"):
            yield attribute


def _clusters(instances: Mapping[InstanceKey, Instance]) -> Iterator[Cluster]:
    """The clusters that the instances themselves name, as the reference groups them."""
    members: defaultdict[str, list[Instance]] = defaultdict(list)
    counts: defaultdict[InstanceKey, int] = defaultdict(int)
    for instance in instances.values():
        members[instance.cluster_name].append(instance)
        counts[instance.master_key] += 1
    for name, found in members.items():
        top = min(found, key=lambda instance: (str(instance.key) != name, instance.replication_depth))
        yield Cluster(
            id="",
            name=name,
            alias=suggested_alias(found, counts) or name,
            domain="",
            master_key=top.key,
            instance_keys=tuple(instance.key for instance in found),
        )
