"""Databases with many Services and the Pods behind them, filled fast; and a node's agent that only turns Pods ready.

The server writes one object of each kind, and the rest are its copies in the store, as in `bench.dataset`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

from bench.dataset import ADMINISTRATOR
from seaway.api.registry import NODES, PODS, SERVICES
from seaway.apiserver.run import ServerConfig, open_server
from seaway.client.requests import Client
from seaway.client.transport import InProcessTransport
from seaway.store.contract import Entry, Write
from seaway.store.sqlite import SqliteStore, open_sqlite
from seaway.testing.builders import make_node, make_pod, make_service

NODE_COUNT = 20
WRITES_PER_COMMIT = 500
SINCE = "2026-01-01T00:00:00Z"
_PATTERN, _APP, _NODE, _ADDRESS, _CONTAINER = "pattern-name", "pattern-app", "pattern-node", "192.0.2.1", "a" * 64


def fill_pods(path: Path, *, services: int, pods: int) -> None:
    """A database of Services `web-0` … with `pods` ready Pods each on `node-0` …, and no slices."""
    asyncio.run(_fill(path, services, pods))


def name_pod(service: int, number: int) -> str:
    """A Pod's name, shaped as a ReplicaSet would make it."""
    return f"web-{service}-6c8b7d9f5c-{number:05}"


def choose_pod_address(number: int) -> str:
    """By the Pod's number among all."""
    return f"10.{64 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


def make_status(ip: str, *, ready: bool = True, since: str = SINCE) -> dict[str, Any]:
    """What an agent of Kubernetes writes for a Pod of one container."""
    states = {"Initialized": True, "Ready": ready, "ContainersReady": ready, "PodScheduled": True}
    conditions = [
        {"type": kind, "status": str(is_true), "lastProbeTime": None, "lastTransitionTime": since}
        for kind, is_true in states.items()
    ]
    container = {
        "name": "main",
        "image": "registry.invalid/program:1",
        "imageID": f"registry.invalid/program@sha256:{_CONTAINER}",
        "containerID": f"containerd://{_CONTAINER}",
        "ready": ready,
        "started": True,
        "restartCount": 0,
        "state": {"running": {"startedAt": since}},
    }
    return {
        "phase": "Running",
        "conditions": conditions,
        "hostIP": "192.0.2.200",
        "podIP": ip,
        "podIPs": [{"ip": ip}],
        "startTime": since,
        "containerStatuses": [container],
        "qosClass": "BestEffort",
    }


def make_workload_pod(service: int, number: int, node: int) -> dict[str, Any]:
    """A Pod of the Service that is bound to a node."""
    labels = {"app": f"web-{service}", "pod-template-hash": "6c8b7d9f5c", "tier": "front"}
    return make_pod(name_pod(service, number), labels=labels, nodeName=f"node-{node % NODE_COUNT}")


async def _fill(path: Path, services: int, pods: int) -> None:
    store = await open_sqlite(path)
    try:
        service, pod = await _write_patterns(store)
        writes: list[Write] = []
        for write in _copy_all(service, pod, services, pods):
            writes.append(write)
            if len(writes) == WRITES_PER_COMMIT:
                await store.commit((), writes)
                writes = []
        await store.commit((), [*writes, *(Write(entry.key, None) for entry in (*service, *pod))])
        await store.compact(store.current_revision)
    finally:
        await store.close()


def _copy_all(service: list[Entry], pod: list[Entry], services: int, pods: int) -> Iterator[Write]:
    for number in range(services):
        address = f"10.96.{128 + number // 250}.{1 + number % 250}"
        for entry in service:
            yield _copy(entry, {_PATTERN: f"web-{number}", _APP: f"web-{number}", "10.96.0.200": address})
        for index in range(pods):
            serial = number * pods + index
            replaced = {
                _PATTERN: name_pod(number, index),
                _APP: f"web-{number}",
                _NODE: f"node-{serial % NODE_COUNT}",
                _ADDRESS: choose_pod_address(serial),
            }
            yield from (_copy(entry, replaced) for entry in pod)


async def _write_patterns(store: SqliteStore) -> tuple[list[Entry], list[Entry]]:
    """What one Service and one Pod leave in the store. Makes the nodes."""
    server = await open_server(ServerConfig(), store, runs_loops=False)
    try:
        client = Client(InProcessTransport(server.handle, ADMINISTRATOR))
        for number in range(NODE_COUNT):
            name = f"node-{number}"
            labels = {"topology.kubernetes.io/zone": f"zone-{number % 3}"}
            created = await client.create(NODES, make_node(name, meta={"labels": labels}))
            await client.update(NODES, {**created, "status": make_node(name)["status"]}, subresource="status")
        entries = []
        for resource, body in ((SERVICES, _pattern_service()), (PODS, _pattern_pod())):
            before = store.current_revision
            created = await client.create(resource, body, "default")
            if resource is PODS:
                await client.update(PODS, {**created, "status": make_status(_ADDRESS)}, subresource="status")
            page = await store.list("/registry/")
            entries.append([entry for entry in page.entries if entry.revision > before])
        return entries[0], entries[1]
    finally:
        await server.close()


def _pattern_service() -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}]
    return make_service(_PATTERN, selector={"app": _APP}, ports=ports, clusterIP="10.96.0.200")


def _pattern_pod() -> dict[str, Any]:
    labels = {"app": _APP, "pod-template-hash": "6c8b7d9f5c", "tier": "front"}
    return make_pod(_PATTERN, labels=labels, nodeName=_NODE)


def _copy(entry: Entry, replaced: dict[str, str]) -> Write:
    text, key = entry.value.decode(), entry.key
    start = text.find('"uid":"') + len('"uid":"')
    text = text.replace(text[start : text.index('"', start)], str(uuid4()))
    for old, new in replaced.items():
        text, key = text.replace(old, new), key.replace(old, new)
    return Write(key, text.encode())
