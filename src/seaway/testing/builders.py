"""Valid objects of the wire form; a test names only what matters to it."""

from __future__ import annotations

import copy
from typing import Any

Json = dict[str, Any]


def merge(base: Json, changes: Json) -> Json:
    """`base` with `changes` merged in, maps recursively, everything else replaced. Neither is modified."""
    result = copy.deepcopy(base)
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merge(result[key], value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def make_service(name: str = "web", namespace: str = "default", *, meta: Json | None = None, **spec: Any) -> Json:
    """A ClusterIP Service on port 80 with selector app=NAME; `spec` keys as on the wire."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": merge({"name": name, "namespace": namespace}, meta or {}),
        "spec": {"selector": {"app": name}, "ports": [{"port": 80, "protocol": "TCP"}], **spec},
    }


def make_pod(
    name: str = "web-1",
    namespace: str = "default",
    *,
    ip: str = "",
    ready: bool = False,
    labels: Json | None = None,
    meta: Json | None = None,
    status: Json | None = None,
    **spec: Any,
) -> Json:
    """A Pod of one container; with `ip` it is Running, with `ready` its Ready condition is True."""
    state: Json = {"phase": "Running" if ip else "Pending"}
    if ip:
        state |= {"podIP": ip, "podIPs": [{"ip": ip}]}
        state["conditions"] = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": merge({"name": name, "namespace": namespace, "labels": labels or {}}, meta or {}),
        "spec": {"containers": [{"name": "main", "image": "program"}], **spec},
        "status": merge(state, status or {}),
    }


def make_slice(
    name: str,
    service: str,
    addresses: list[str],
    *,
    namespace: str = "default",
    ports: list[Json] | None = None,
    address_type: str = "IPv4",
    ready: bool = True,
    **endpoint: Any,
) -> Json:
    """An EndpointSlice of the Service, one endpoint per address, all alike."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": namespace, "labels": {"kubernetes.io/service-name": service}},
        "addressType": address_type,
        "ports": [{"name": "", "port": 8080, "protocol": "TCP"}] if ports is None else ports,
        "endpoints": [{"addresses": [a], "conditions": {"ready": ready}, **endpoint} for a in addresses],
    }


def make_node(name: str = "node-1", *, ready: bool = True, meta: Json | None = None, **spec: Any) -> Json:
    """A Node that is ready."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": merge({"name": name}, meta or {}),
        "spec": spec,
        "status": {"conditions": [{"type": "Ready", "status": "True" if ready else "False"}]},
    }
