"""Columns of Services. Rule: spec "service-api" §11."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from seaway.api.machinery.columns import AGE, NAME, NONE, UNKNOWN, Column, join_or_none, render_age, render_labels, wide

Json = dict[str, Any]

COLUMNS = (
    NAME,
    Column(name="Type", description="How the Service is exposed."),
    Column(name="Cluster-IP", description="The virtual IP inside the cluster; None for a headless Service."),
    Column(name="External-IP", description="Where clients outside the cluster reach the Service."),
    Column(name="Port(s)", description="port[:nodePort]/protocol of each port."),
    AGE,
    wide("Selector", "The labels of the Pods behind the Service."),
)


def cells(obj: Json, wall_now: datetime) -> list[Any]:
    """The row of a Service."""
    spec = obj.get("spec", {})
    return [
        obj["metadata"].get("name", ""),
        spec.get("type", "ClusterIP"),
        next(iter(spec.get("clusterIPs", ())), NONE),
        _render_external(spec, obj.get("status", {})),
        join_or_none(_render_port(port) for port in spec.get("ports", ())),
        render_age(obj, wall_now),
        render_labels(spec.get("selector", {})),
    ]


def _render_port(port: Json) -> str:
    number = f"{port['port']}:{port['nodePort']}" if port.get("nodePort") else port["port"]
    return f"{number}/{port.get('protocol', 'TCP')}"


def _render_external(spec: Json, status: Json) -> str:
    kind = spec.get("type", "ClusterIP")
    external_ips = spec.get("externalIPs", [])
    if kind in ("ClusterIP", "NodePort"):
        return join_or_none(external_ips)
    if kind == "LoadBalancer":
        ingress = status.get("loadBalancer", {}).get("ingress", ())
        addresses = sorted({item.get("ip") or item.get("hostname") or "" for item in ingress} - {""})
        return ",".join([*addresses, *external_ips]) or "<pending>"
    if kind == "ExternalName":
        return str(spec.get("externalName", ""))
    return UNKNOWN
