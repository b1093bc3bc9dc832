"""Columns of Endpoints. Rule: spec "service-api" §11."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from seaway.api.machinery.columns import AGE, NAME, NONE, Column, join_some, render_age

Json = dict[str, Any]

COLUMNS = (NAME, Column(name="Endpoints", description="Ready addresses with their ports."), AGE)


def cells(obj: Json, wall_now: datetime) -> list[Any]:
    """The row of an Endpoints object."""
    return [obj["metadata"].get("name", ""), _render_endpoints(obj.get("subsets", [])), render_age(obj, wall_now)]


def _render_endpoints(subsets: list[Json]) -> str:
    if not subsets:
        return NONE
    found: list[str] = []
    for subset in subsets:
        addresses = [address.get("ip", "") for address in subset.get("addresses", ())]
        ports = subset.get("ports", ())
        if not ports:
            found += addresses
        for port in ports:
            number = port.get("port", 0)
            found += [f"[{ip}]:{number}" if ":" in ip else f"{ip}:{number}" for ip in addresses]
    return join_some(found)
