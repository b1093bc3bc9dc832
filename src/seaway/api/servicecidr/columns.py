"""Columns of ServiceCIDRs. Rule: spec "service-api" §11."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from seaway.api.machinery.columns import AGE, NAME, Column, render_age

COLUMNS = (NAME, Column(name="CIDRs", description="The ranges that cluster IPs are taken from."), AGE)


def cells(obj: dict[str, Any], wall_now: datetime) -> list[Any]:
    """The row of a ServiceCIDR."""
    return [obj["metadata"].get("name", ""), ",".join(obj.get("spec", {}).get("cidrs", ())), render_age(obj, wall_now)]
