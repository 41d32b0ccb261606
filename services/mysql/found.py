"""Which replicas a server has, as it sees them. Pure: rows in, keys out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from services.mysql.connection import Row
from services.topology.keys import InstanceKey

__all__ = ["found_replicas"]


def _nobody(_user: str) -> bool:
    return False


def found_replicas(
    registered: Iterable[Row],
    dump_threads: Sequence[Row],
    own_port: int,
    *,
    registered_first: bool = False,
    ignores_user: Callable[[str], bool] = _nobody,
) -> tuple[InstanceKey, ...]:
    """Replicas from SHOW REPLICAS and from the dump threads.

    A replica that reports host and port is named by these. One that reports only its port is named by
    the address from which all unnamed dump threads come, if that is one. What is left of the dump
    threads is assumed to listen on this server's own port, as the reference does. Names and addresses cannot
    be compared: where no more threads are left than there are names, or nobody can tell whose is whose, none
    is left; nor is a second thread from an address that has a name: a replica that has just reconnected has
    two. A server found under a second name would be two endpoints with one uuid, which bars both.

    ``registered_first`` (`DiscoverByShowSlaveHosts`): dump threads count only where nothing is registered.
    Those of an ignored user are left out; SHOW REPLICAS shows users only on a source that is told to.
    """
    named: set[InstanceKey] = set()
    ports: set[int] = set()
    for row in registered:
        host, port = str(row.get("Host") or ""), int(row.get("Port") or 0)
        if ignores_user(str(row.get("User") or "")):
            continue
        if host and port:
            named.add(InstanceKey(host, port))
        elif port:
            ports.add(port)
    if registered_first and named and not ports:
        return tuple(sorted(named))
    hosts = [_client_host(row) for row in dump_threads if not ignores_user(str(row.get("User") or ""))]
    named_hosts = [key.hostname for key in named]
    spare = [host for host in hosts if host and host not in named_hosts]
    unnamed = max(0, len(hosts) - len(named))
    if not spare and ports:
        spare = hosts[len(named) :]
    elif len(spare) > unnamed:
        spare = []
    origins = set(spare)
    if ports and len(origins) == 1:
        origin = origins.pop()
        return tuple(sorted(named | {InstanceKey(origin, port) for port in ports}))
    return tuple(sorted(named | {InstanceKey(host, own_port) for host in origins}))


def _client_host(row: Row) -> str:
    return str(row.get("Host") or "").rsplit(":", 1)[0]
