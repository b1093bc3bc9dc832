"""Builders of decoded objects, and a server of two lines: what a plan leads to."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from seaway.api.endpointslice.types import Endpoint, EndpointSlice
from seaway.api.node.types import Node
from seaway.api.pod.types import Pod
from seaway.api.service.types import Service
from seaway.controllers.endpointslice.plan import SlicePlan
from seaway.controllers.endpointslice.render import render_slice
from seaway.testing.builders import make_node, make_pod, make_service

UID = "11111111-1111-4111-8111-111111111111"
LABELS = {
    "kubernetes.io/service-name": "web",
    "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
}
OWNER = {"apiVersion": "v1", "kind": "Service", "name": "web", "uid": UID, "controller": True}


def service(*, meta: dict[str, Any] | None = None, **spec: Any) -> Service:
    spec = {"clusterIP": "10.96.0.1", "ipFamilies": ["IPv4"], "ports": [{"port": 80, "targetPort": 8080}], **spec}
    meta = {"uid": UID, "creationTimestamp": "2026-01-01T00:00:00Z", **(meta or {})}
    return msgspec.convert(make_service("web", meta=meta, **spec), Service)


def pod(name: str, *ips: str, ready: bool = True, **rest: Any) -> Pod:
    raw = make_pod(name, ip=ips[0] if ips else "", ready=ready, labels={"app": "web"}, **{"nodeName": "n1", **rest})
    raw["metadata"].setdefault("uid", f"uid-{name}")
    if ips:
        raw["status"]["podIPs"] = [{"ip": ip} for ip in ips]
    return msgspec.convert(raw, Pod)


def pods(count: int, start: int = 0) -> list[Pod]:
    return [pod(f"p{n:04}", f"10.244.{n // 250}.{n % 250 + 1}") for n in range(start, start + count)]


def nodes(*names: str, zone: str = "") -> dict[str, Node]:
    labels = {"topology.kubernetes.io/zone": zone} if zone else {}
    return {n: msgspec.convert(make_node(n, meta={"labels": labels}), Node) for n in names or ("n1",)}


def make_existing(name: str, endpoints: Sequence[Endpoint], **rest: Any) -> EndpointSlice:
    raw = {
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": f"uid-{name}",
            "resourceVersion": "7",
            "generation": 1,
            "labels": LABELS,
            "ownerReferences": [OWNER],
        },
        "addressType": "IPv4",
        "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
        **rest,
    }
    return msgspec.structs.replace(msgspec.convert(raw, EndpointSlice), endpoints=tuple(endpoints))


def apply(svc: Service, existing: Iterable[EndpointSlice], plan: SlicePlan) -> list[EndpointSlice]:
    """The slices after the plan, as a server would keep them."""
    result = {s.metadata.name: s for s in existing}
    names = (f"new-{n}" for n in itertools.count() if f"new-{n}" not in result)
    for write in plan.create + plan.update:
        body = render_slice(svc, write, None)
        body["metadata"].setdefault("name", next(names))
        name = body["metadata"]["name"]
        old = result.get(name)
        body["metadata"]["uid"] = f"uid-{name}"
        body["metadata"]["generation"] = old.metadata.generation + 1 if old else 1
        result[name] = msgspec.convert(body, EndpointSlice)
    for slice_ in plan.delete:
        del result[slice_.metadata.name]
    return list(result.values())
