"""Pods and Services as the agent decodes them; a test names only what matters to it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from seaway.api.service.types import Service
from seaway.node.podspec import PodManifest
from seaway.node.state import ContainerRun, ContainerState, PodState, Sandbox
from seaway.testing.builders import make_pod, make_service

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def decode_pod(name: str = "web-1", *, meta: dict[str, Any] | None = None, **changes: Any) -> PodManifest:
    wire = make_pod(name, meta={"uid": "uid-1", "generation": 1, **(meta or {})}, **changes)
    return msgspec.convert(wire, PodManifest)


def decode_service(name: str, cluster_ip: str, *, namespace: str = "default", **spec: Any) -> Service:
    return msgspec.convert(make_service(name, namespace, clusterIP=cluster_ip, **spec), Service)


def make_run(name: str = "main", *, attempt: int = 0, exit_code: int | None = None, age: float = 60.0) -> ContainerRun:
    """A run that began `age` seconds ago; with an exit code it has ended just now."""
    return ContainerRun(
        uid="uid-1", name=name, attempt=attempt, container_id=f"{name}-{attempt}",
        started_at=NOW - timedelta(seconds=age), finished_at=None if exit_code is None else NOW,
        exit_code=exit_code or 0,
    )  # fmt: skip


def make_state(*containers: ContainerState, sandbox: bool = True) -> PodState:
    box = Sandbox("uid-1", ("10.244.0.2",)) if sandbox else None
    return PodState(
        containers={own.name: own for own in containers}, sandbox=box, pod_ips=("10.244.0.2",), start_time=NOW
    )


def running(name: str = "main", *, ready: bool = True, started: bool = True) -> ContainerState:
    return ContainerState(name=name, current=make_run(name), started=started, ready=ready)


def ended(exit_code: int, name: str = "main", **changes: Any) -> ContainerState:
    return ContainerState(name=name, current=make_run(name, exit_code=exit_code), **changes)
