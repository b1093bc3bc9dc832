"""Columns of IPAddresses. Rule: spec "service-api" §11 (the third cell has no column; clients ignore it)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from seaway.api.machinery.columns import NAME, NONE, Column, render_age

COLUMNS = (NAME, Column(name="ParentRef", description="The object that the address belongs to."))


def cells(obj: dict[str, Any], wall_now: datetime) -> list[Any]:
    """The row of an IPAddress."""
    parent = obj.get("spec", {}).get("parentRef")
    return [obj["metadata"].get("name", ""), _render_parent(parent) if parent else NONE, render_age(obj, wall_now)]


def _render_parent(parent: dict[str, str]) -> str:
    resource = parent.get("resource", "").lower()
    qualified = f"{resource}.{parent['group']}" if parent.get("group") else resource
    return "/".join(part for part in (qualified, parent.get("namespace", ""), parent.get("name", "")) if part)
