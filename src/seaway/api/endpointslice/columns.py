"""Columns of EndpointSlices. Rule: spec "service-api" §11."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from seaway.api.machinery.columns import AGE, NAME, Column, join_some, render_age

Json = dict[str, Any]

COLUMNS = (
    NAME,
    Column(name="AddressType", description="IPv4, IPv6 or FQDN."),
    Column(name="Ports", description="The ports that every endpoint of the slice has."),
    Column(name="Endpoints", description="Addresses of the endpoints, ready or not."),
    AGE,
)
_UNSET = "<unset>"


def cells(obj: Json, wall_now: datetime) -> list[Any]:
    """The row of an EndpointSlice."""
    addresses = [a for endpoint in obj.get("endpoints") or () for a in endpoint.get("addresses", ())]
    ports = [_render_port(port) for port in obj.get("ports") or ()]
    return [
        obj["metadata"].get("name", ""),
        obj.get("addressType", ""),
        join_some(ports) or _UNSET,
        join_some(addresses) or _UNSET,
        render_age(obj, wall_now),
    ]


def _render_port(port: Json) -> str:
    if port.get("port") is not None:
        return str(port["port"])
    return str(port.get("name", "*"))
