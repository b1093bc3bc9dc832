"""Every column of the kinds around Services, as the table says it. Rule: spec "service-api" §11."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from seaway.api.registry import RESOURCES
from seaway.apiserver.reading.tables import render_table

NOW = datetime(2026, 1, 1, 1, 0, tzinfo=UTC)
SPEC = """
Service: Name, Type, Cluster-IP, External-IP, Port(s), Age, Selector (p1)
Endpoints: Name, Endpoints, Age
EndpointSlice: Name, AddressType, Ports, Endpoints, Age
ServiceCIDR: Name, CIDRs, Age
IPAddress: Name, ParentRef
Ingress: Name, Class, Hosts, Address, Ports, Age
IngressClass: Name, Controller, Parameters, Age
Namespace: Name, Status, Age
Node: Name, Status, Roles, Age, Version, Internal-IP (p1), External-IP (p1), OS-Image (p1), Kernel-Version (p1), \
Container-Runtime (p1)
Pod: Name, Ready, Status, Restarts, Age, IP (p1), Node (p1), Nominated Node (p1), Readiness Gates (p1)
"""
ROWS = dict(line.split(": ", 1) for line in SPEC.strip().splitlines())


def find_definitions(kind: str) -> tuple[list[dict[str, Any]], list[Any]]:
    resource = next(resource for resource in RESOURCES if resource.kind == kind)
    bare = {"metadata": {"name": "x"}}
    table = render_table(resource, [bare], version="v1", include_object="", wall_now=NOW, list_meta={})
    return table["columnDefinitions"], table["rows"][0]["cells"]


@pytest.mark.parametrize("kind", ROWS)
def test_columns(kind: str) -> None:
    columns, cells = find_definitions(kind)
    shown = [column["name"] + (" (p1)" if column["priority"] == 1 else "") for column in columns]
    assert ", ".join(shown) == ROWS[kind]
    assert {column["type"] for column in columns} == {"string"}
    assert [column["format"] for column in columns] == ["name", *([""] * (len(columns) - 1))]
    assert {column["priority"] for column in columns} <= {0, 1}
    assert len({column["description"] for column in columns} - {""}) == len(columns), "each says something of its own"
    assert all(column.keys() == {"name", "type", "format", "description", "priority"} for column in columns)
    surplus = 1 if kind == "IPAddress" else 0
    assert len(cells) == len(columns) + surplus
    assert all(isinstance(cell, str) for cell in cells)
