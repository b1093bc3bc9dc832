"""Databases with many Services, filled fast: the server writes one, and the rest are its copies in the store.

So every object is exactly as the API server stores it, without its having to validate ten thousand alike.
"""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

from seaway.api.machinery.http import Identity
from seaway.api.registry import ENDPOINT_SLICES, NAMESPACES, SERVICES
from seaway.apiserver.run import ServerConfig, open_server
from seaway.client.requests import Client
from seaway.client.transport import InProcessTransport
from seaway.store.contract import Entry, Write
from seaway.store.sqlite import SqliteStore, open_sqlite
from seaway.testing.builders import make_service, make_slice

PATTERN = "pattern"
WRITES_PER_COMMIT = 300
ADMINISTRATOR = Identity("bench", ("system:authenticated", "system:masters"))


async def fill_database(path: Path, *, services: int, endpoints: int, per_namespace: int = 0) -> None:
    """A database of Services `web-0` … with one EndpointSlice of `endpoints` addresses each.

    per_namespace: how many are in `default`, then in `part-1`, `part-2` …; 0: all are in `default`.
    """
    parts = [_name_namespace(number, per_namespace) for number in range(0, services, per_namespace or services)]
    store = await open_sqlite(path)
    try:
        pattern, cluster_ip = await _write_pattern(store, endpoints, parts[1:])
        writes: list[Write] = []
        for number in range(services):
            namespace = _name_namespace(number, per_namespace)
            writes.extend(_copy(entry, number, cluster_ip, endpoints, namespace) for entry in pattern)
            if len(writes) >= WRITES_PER_COMMIT or number == services - 1:
                await store.commit((), writes)
                writes = []
        await store.commit((), [Write(entry.key, None) for entry in pattern])
        await store.compact(store.current_revision)
    finally:
        await store.close()


def name_service(number: int) -> str:
    """The Service's name, and its slice's."""
    return f"web-{number}"


def choose_cluster_ip(number: int) -> str:
    """The Service's address, in the upper half of 10.96.0.0/16."""
    return f"10.96.{128 + number // 250}.{1 + number % 250}"


def choose_address(number: int) -> str:
    """The address of an endpoint, by its number among all."""
    return f"10.{128 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


async def _write_pattern(store: SqliteStore, endpoints: int, namespaces: list[str]) -> tuple[list[Entry], str]:
    """What one Service and its slice leave in the store, and the Service's address. Makes the namespaces."""
    server = await open_server(ServerConfig(), store, runs_loops=False)
    try:
        client = Client(InProcessTransport(server.handle, ADMINISTRATOR))
        for name in namespaces:
            await client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        before = store.current_revision
        service = make_service(PATTERN, ports=[{"port": 80, "protocol": "TCP", "targetPort": 8080}])
        created = await client.create(SERVICES, service, "default")
        addresses = [_placeholder(number) for number in range(endpoints)]
        await client.create(ENDPOINT_SLICES, make_slice(PATTERN, PATTERN, addresses), "default")
        page = await store.list("/registry/")
        return [entry for entry in page.entries if entry.revision > before], str(created["spec"]["clusterIP"])
    finally:
        await server.close()


def _name_namespace(number: int, per_namespace: int) -> str:
    part = number // per_namespace if per_namespace else 0
    return f"part-{part}" if part else "default"


def _copy(entry: Entry, number: int, cluster_ip: str, endpoints: int, namespace: str) -> Write:
    text = entry.value.decode()
    start = text.find('"uid":"') + len('"uid":"')
    replacements = [(PATTERN, name_service(number)), (cluster_ip, choose_cluster_ip(number)), ("default", namespace)]
    replacements.append((text[start : text.index('"', start)], str(uuid4())))
    replacements += [(_placeholder(n), choose_address(number * endpoints + n)) for n in range(endpoints)]
    key = entry.key.replace(PATTERN, name_service(number)).replace(cluster_ip, choose_cluster_ip(number))
    key = key.replace("/default/", f"/{namespace}/")
    for old, new in replacements:
        text = text.replace(f'"{old}"', f'"{new}"').replace(f"/{old}", f"/{new}")
    return Write(key, text.encode())


def _placeholder(number: int) -> str:
    return f"192.0.{2 + number // 200}.{1 + number % 200}"
