"""Columns of Ingresses. Rule: spec "service-api" §11."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from seaway.api.machinery.columns import AGE, MAX_SHOWN, NAME, NONE, Column, render_age

Json = dict[str, Any]
COLUMNS = (
    NAME,
    Column(name="Class", description="The class of controller that serves it."),
    Column(name="Hosts", description="The hosts of its rules; * for any."),
    Column(name="Address", description="Where its load balancer answers."),
    Column(name="Ports", description="80, and 443 when it has certificates."),
    AGE,
)


def cells(obj: Json, wall_now: datetime) -> list[Any]:
    """The row of an Ingress."""
    spec = obj.get("spec", {})
    entries = obj.get("status", {}).get("loadBalancer", {}).get("ingress", ())
    return [
        obj["metadata"].get("name", ""),
        spec.get("ingressClassName", NONE),
        _render_hosts(spec.get("rules", [])),
        ",".join(sorted({entry.get("ip") or entry.get("hostname") or "" for entry in entries} - {""})),
        "80, 443" if spec.get("tls") else "80",
        render_age(obj, wall_now),
    ]


def _render_hosts(rules: list[Json]) -> str:
    """At most three, and how many rules there are beyond three, with a host or without."""
    hosts = [rule["host"] for rule in rules if rule.get("host")]
    shown = ",".join(hosts[:MAX_SHOWN]) or "*"
    return f"{shown} + {len(rules) - MAX_SHOWN} more..." if len(hosts) > MAX_SHOWN else shown
