"""How the client prints replies (client-commands.md 4). A key that is not there prints as ``:null``."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

__all__ = [
    "Printer",
    "allowed",
    "analysis",
    "bare_keys",
    "broken",
    "details_hostname",
    "details_instance",
    "details_instances",
    "details_json",
    "details_key",
    "details_keys",
    "details_pairs",
    "details_relation",
    "details_successor",
    "details_text",
    "details_texts",
    "dominant_data_center",
    "field",
    "field_key",
    "if_threads_are",
    "keys",
    "nothing",
    "one_line",
    "running",
    "text",
    "texts",
]

Printer = Callable[[Any], Iterator[str]]
"""Takes the whole response (of an envelope the whole too) and gives the lines to print."""


def _key(key: Any) -> str:
    key = key if isinstance(key, dict) else {}
    port = key.get("Port")
    return f"{key.get('Hostname') or ''}:{'null' if port is None else port}"


def _details(response: Any) -> Any:
    return response.get("Details") if isinstance(response, dict) else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _raw(value: Any) -> str:
    """As ``jq -r``: a text without quotes, all else as JSON."""
    return value if isinstance(value, str) else one_line(value)


def one_line(value: Any) -> str:
    """JSON as the old client's shell echoes it: jq's lines, with one blank for each line break."""
    lines = json.dumps(value, indent=2, ensure_ascii=False).splitlines()
    return " ".join(line.strip() for line in lines)


def nothing(_response: Any) -> Iterator[str]:
    return iter(())


def text(response: Any) -> Iterator[str]:
    yield _raw(response)


def details_text(response: Any) -> Iterator[str]:
    yield _raw(_details(response))


def details_key(response: Any) -> Iterator[str]:
    yield _key(_details(response))


def details_instance(response: Any) -> Iterator[str]:
    details = _details(response)
    yield _key(details.get("Key") if isinstance(details, dict) else None)


def keys(response: Any) -> Iterator[str]:
    return (_key(instance["Key"]) for instance in _list(response))


def field(*names: str) -> Printer:
    """One field of the response, or of each element; several are joined with commas."""

    def show(response: Any) -> Iterator[str]:
        for value in response if isinstance(response, list) else [response]:
            yield ",".join(_raw(value.get(name)) for name in names)

    return show


def field_key(name: str) -> Printer:
    def show(response: Any) -> Iterator[str]:
        yield _key(response.get(name))

    return show


def if_threads_are(state: int) -> Printer:
    def show(instance: Any) -> Iterator[str]:
        threads = (instance["ReplicationSQLThreadState"], instance["ReplicationIOThreadState"])
        if threads == (state, state):
            yield _key(instance["Key"])

    return show


def broken(response: Any) -> Iterator[str]:
    for instance in _list(response):
        runs = instance["ReplicationSQLThreadRuning"] and instance["ReplicationIOThreadRuning"]
        if not runs and (instance["LastSQLError"] or instance["LastIOError"]):
            yield _key(instance["Key"])


def dominant_data_center(response: Any) -> Iterator[str]:
    counts = Counter(str(instance["DataCenter"]) for instance in _list(response))
    if counts:
        yield max(counts, key=lambda name: (counts[name], name))


def analysis(response: Any) -> Iterator[str]:
    for entry in _list(_details(response)):
        text = entry["Analysis"]
        if text == "NoProblem" and entry.get("StructureAnalysis"):
            text = entry["StructureAnalysis"][0]
        cluster = entry["ClusterDetails"]["ClusterName"]
        yield f"{_key(entry['AnalyzedInstanceKey'])} (cluster {cluster}): {text}"


def details_hostname(response: Any) -> Iterator[str]:
    details = _details(response)
    yield _raw(details.get("Hostname") if isinstance(details, dict) else None)


def details_keys(response: Any) -> Iterator[str]:
    return (_key(key) for key in _list(_details(response)))


def details_instances(response: Any) -> Iterator[str]:
    return (_key(instance["Key"]) for instance in _list(_details(response)))


def bare_keys(response: Any) -> Iterator[str]:
    return (_key(key) for key in _list(response))


def texts(response: Any) -> Iterator[str]:
    return (_raw(each) for each in _list(response))


def details_texts(response: Any) -> Iterator[str]:
    return (_raw(each) for each in _list(_details(response)))


def details_json(response: Any) -> Iterator[str]:
    yield one_line(_details(response))


def details_relation(response: Any) -> Iterator[str]:
    """An instance and its master, ``replica:3306<master:3306``."""
    details = _details(response)
    instance = details if isinstance(details, dict) else {}
    yield f"{_key(instance.get('Key'))}<{_key(instance.get('MasterKey'))}"


def details_successor(response: Any) -> Iterator[str]:
    details = _details(response)
    yield _key(details.get("SuccessorKey") if isinstance(details, dict) else None)


def details_pairs(response: Any) -> Iterator[str]:
    return (f"{_raw(pair['Key'])}:{_raw(pair['Value'])}" for pair in _list(_details(response)))


def running(response: Any) -> Iterator[str]:
    for instance in _list(response):
        if instance["ReplicationSQLThreadRuning"] and instance["ReplicationIOThreadRuning"]:
            yield _key(instance["Key"])


def allowed(response: Any) -> Iterator[str]:
    """The key in ``Details`` if the message says that it is so."""
    if "true" in str(response.get("Message", "")):
        yield _key(_details(response))
