"""What the API takes to answer, with so many instances known; run by ``scripts/bench api``.

The gateway's own application and node in one process, served by uvicorn; another process stands for
Topology: as often as that does, it derives a snapshot, in which those servers have moved that were polled
meanwhile, and pushes it, pickled as Ray does. The store is a SQLite file with recoveries, detections and
audit entries. Each route is asked again and again over one connection, at moments that are not in step with
the pushes and, by default, so far apart that most answers have to be made of a new snapshot.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import multiprocessing
import pickle
import random
import socket
import statistics
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

from sqlalchemy import Connection as DatabaseConnection
from sqlalchemy import insert

from actors.gateway import GatewayNode, Push, listen
from actors.leadership import LeaderClock
from actors.spec import NodeSpec
from api.app import create_app
from services.analysis import AnalysisPolicy, analyze
from services.config import LoadedConfiguration, load
from services.store.schema import AUDIT_LOG, FAILURE_DETECTIONS, RECOVERIES
from services.store.store import Store
from services.store.times import shifted, utc_now
from services.topology.coordinates import BinlogCoordinates
from services.topology.instance import CheckOutcome, Instance, ThreadState
from services.topology.keys import InstanceKey
from services.topology.tree import ClusterIdentity, TreePolicy, derive

_PER_CLUSTER = 10
_PUSH_SECONDS = 0.25
_POLL_PUSHES = 20  # each server is polled every 5 s
_AUDITED = 1000
_LIMIT_MS = 50.0
_ZIP_FROM = 100 * 1024
"""Asked for zipped too, if it has so many bytes."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench api")
    parser.add_argument("--instances", type=int, default=1000, help="how many are known, in tens (1000)")
    parser.add_argument("--requests", type=int, default=40, help="of each route (40)")
    parser.add_argument("--apart", type=float, default=0.3, help="seconds between two, about (0.3)")
    arguments = parser.parse_args()
    if arguments.instances < _PER_CLUSTER or arguments.instances % _PER_CLUSTER:
        parser.error(f"--instances {arguments.instances} is no multiple of {_PER_CLUSTER}")
    with tempfile.TemporaryDirectory(prefix="op-") as folder:
        measure(Path(folder), arguments.instances, arguments.requests, arguments.apart)


def measure(folder: Path, instances: int, requests: int, apart: float) -> None:
    file = folder / "orchestray.json"
    settings = {"BackendDB": "sqlite", "SQLite3DataFile": str(folder / "o.db"), "AuditToBackendDB": True}
    file.write_text(json.dumps(settings))
    file.chmod(0o600)
    pushes, pushed = multiprocessing.Pipe(duplex=False)
    with listen("127.0.0.1", 0) as listening:
        listening.listen(64)
        port = listening.getsockname()[1]
        parts = [
            multiprocessing.Process(target=_serve, args=(folder, listening, pushes), daemon=True),
            multiprocessing.Process(target=_push, args=(instances, load([file]), pushed), daemon=True),
        ]
        for part in parts:
            part.start()
        try:
            _await(port)
            print(f"{instances} instances, {requests} requests of each route, {apart:g} s apart, ms")
            print(f"{'':52}{'KiB':>7}{'median':>8}{'95 %':>8}{'most':>8}")
            for route, path in _routes(instances).items():
                length = 0
                for zipped in (False, True):
                    if zipped and length < _ZIP_FROM:
                        continue
                    times, length = _ask(port, path, requests, apart, zipped=zipped)
                    _report(route, zipped, times, length)
        finally:
            for part in parts:
                part.terminate()
                part.join(10)


def _routes(instances: int) -> dict[str, str]:
    leaf, master = _keys(instances // _PER_CLUSTER // 2)[-1], _keys(instances // _PER_CLUSTER // 2)[0]
    return {
        "all-instances": "all-instances",
        "search, all": "search?s=",
        "search, a tenth": "search?s=-7.",
        "search, one": f"search?s={leaf.hostname}",
        "problems": "problems",
        "masters": "masters",
        "clusters-info": "clusters-info",
        "cluster of a member": f"cluster/{leaf}",
        "instance": f"instance/{leaf.hostname}/{leaf.port}",
        "topology": f"topology/{master}",
        "replication-analysis": "replication-analysis",
        "audit": "audit/3",
        "audit of an instance": f"audit/instance/{master.hostname}/{master.port}",
        "audit-recovery": "audit-recovery/3",
        "audit-failure-detection": "audit-failure-detection/3",
        "bulk-instances": "bulk-instances",
    }


def _ask(port: int, path: str, requests: int, apart: float, *, zipped: bool) -> tuple[list[float], int]:
    """Milliseconds of each, and bytes of the last."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    times, length = [], 0
    headers = {"Accept-Encoding": "gzip"} if zipped else {}
    chance = random.Random(7)
    for _ in range(requests):
        time.sleep(chance.uniform(0.0, 2 * apart))
        began = time.perf_counter()
        connection.request("GET", f"/api/{path}", headers=headers)
        reply = connection.getresponse()
        body = reply.read()
        times.append((time.perf_counter() - began) * 1000)
        if reply.status != 200:
            raise SystemExit(f"{path}: {reply.status} {body[:200]!r}")
        length = len(body)
    connection.close()
    return times, length


def _report(route: str, zipped: bool, times: list[float], length: int) -> None:
    ordered = sorted(times)
    p95 = ordered[int(0.95 * (len(ordered) - 1))]
    mark = "" if p95 < _LIMIT_MS else f"   over {_LIMIT_MS:g}"
    label = f"{route}{', gzip' if zipped else ''}"
    print(
        f"{label:52}{length / 1024:7.1f}{statistics.median(times):8.1f}{p95:8.1f}{ordered[-1]:8.1f}{mark}",
        flush=True,
    )


def _await(port: int) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/api/all-instances")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        time.sleep(0.2)
    raise SystemExit("the gateway did not answer within a minute")


# the gateway


def _serve(folder: Path, listening: socket.socket, pushes: Connection) -> None:
    asyncio.run(_serving(folder, listening, pushes))


async def _serving(folder: Path, listening: socket.socket, pushes: Connection) -> None:
    import uvicorn

    store = await Store.open(folder / "o.db")
    await _fill(store)
    spec = NodeSpec.make(folder / "node", strict=False)
    loop = asyncio.get_running_loop()
    first: Push = pickle.loads(await asyncio.to_thread(pushes.recv_bytes))
    node = GatewayNode(spec, first, store, LeaderClock())

    def receive() -> None:
        while True:
            loop.call_soon_threadsafe(accept, pushes.recv_bytes())

    def accept(pushed: bytes) -> None:
        node.accept(pickle.loads(pushed))

    threading.Thread(target=receive, daemon=True).start()
    config = uvicorn.Config(create_app(node), log_config=None, access_log=False, lifespan="off")
    await uvicorn.Server(config).serve(sockets=[listening])


async def _fill(store: Store) -> None:
    """A thousand rows each, in one transaction."""
    now = utc_now()
    rows = [
        {
            "uid": f"{number}:bench", "cluster_id": f"c{number % 100}",
            "cluster_name": str(_keys(number % 100)[0]),
            "host": _keys(number % 100)[0].hostname, "port": 3306, "analysis": "DeadMaster", "at": now,
            "type": "bench", "message": f"entry {number}", "started_at": now, "ended_at": now,
            "detected_at": now, "active_until": now, "blocked_until": now, "replicas": "[]",
            "lost_replicas": "[]", "participants": "[]", "errors": "[]", "is_successful": True,
        }
        for number in range(_AUDITED)
    ]  # fmt: skip

    def work(connection: DatabaseConnection) -> None:
        for table in (AUDIT_LOG, RECOVERIES, FAILURE_DETECTIONS):
            blank = {
                column.name: column.type.python_type()
                for column in table.c
                if column.name not in ("id", "active_slot")
            }
            connection.execute(
                insert(table),
                [{name: row.get(name, value) for name, value in blank.items()} for row in rows],
            )

    await store.database.write(work)


# Topology


def _push(instances: int, configuration: LoadedConfiguration, pushed: Connection) -> None:
    identities = [
        ClusterIdentity(id=f"c{cluster}", master_key=_keys(cluster)[0])
        for cluster in range(instances // _PER_CLUSTER)
    ]
    for number in range(1, 1_000_000):
        now = time.monotonic()
        topology = derive(_instances(instances, number, now), identities, TreePolicy(), now)
        push = Push(
            configuration=configuration,
            topology=topology,
            analysis=analyze(topology, AnalysisPolicy(), now),
            recoveries_enabled=True,
            store_error="",
            events=(),
            run="bench",
            number=number,
        )
        pushed.send_bytes(pickle.dumps(push, protocol=5))
        time.sleep(max(0.0, _PUSH_SECONDS - (time.monotonic() - now)))


def _keys(cluster: int) -> list[InstanceKey]:
    return [
        InstanceKey(f"db-{cluster:03}-{number}.dc{number % 3}.example.com", 3306)
        for number in range(_PER_CLUSTER)
    ]


def _instances(instances: int, pushes: int, now: float) -> Iterator[Instance]:
    for cluster in range(instances // _PER_CLUSTER):
        keys = _keys(cluster)
        uuids = [str(uuid.UUID(int=cluster * 1000 + number)) for number in range(3)]
        # A cluster is polled at one time: what its servers show was true of all of them.
        ago = (pushes - cluster) % _POLL_PUSHES
        polled, moved = now - ago * _PUSH_SECONDS, max(0, pushes - ago)
        executed = ",\n".join(f"{each}:1-{100_000 + moved}" for each in uuids)
        master = Instance(
            key=keys[0], version="8.4.6", version_comment="MySQL Community Server", flavor="MySQL",
            server_id=cluster * 10, server_uuid=uuids[0], binlog_format="ROW", log_bin_enabled=True,
            log_replica_updates_enabled=True, gtid_mode="ON", executed_gtid_set=executed,
            self_coordinates=BinlogCoordinates("binlog.000017", 4096 + moved), replicas=tuple(keys[1:]),
            last_check_outcome=CheckOutcome.OK, checked_at=polled, seen_at=polled,
            last_seen_timestamp=shifted("2026-11-22T20:46:24Z", int(moved * _PUSH_SECONDS)),
            suggested_cluster_alias=f"shop-{cluster}", data_center="dc0", semi_sync_available=True,
            semi_sync_master_enabled=True, uptime_seconds=moved,
        )  # fmt: skip
        yield master
        for number, key in enumerate(keys[1:], 1):
            lags = number == 7 and cluster % 2 == 0
            yield replace(
                master, key=key, server_id=cluster * 10 + number,
                server_uuid=str(uuid.UUID(int=cluster * 1000 + 500 + number)),
                read_only=True, replicas=(), master_key=keys[0], master_uuid=uuids[0],
                receiver_state=ThreadState.RUNNING, applier_state=ThreadState.RUNNING,
                read_coordinates=BinlogCoordinates("binlog.000017", 4096 + moved),
                exec_coordinates=BinlogCoordinates("binlog.000017", 4000 + moved), using_oracle_gtid=True,
                seconds_behind_master=600 if lags else 0, replication_lag_seconds=600 if lags else 0,
                semi_sync_replica_enabled=True, data_center=f"dc{number % 3}",
            )  # fmt: skip


if __name__ == "__main__":
    main()
