"""Columns of Leases. Rule: spec "api-machinery" §2.3."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from seaway.api.machinery.columns import AGE, NAME, Column, render_age

COLUMNS = (NAME, Column(name="Holder", description="Who holds the lease."), AGE)


def cells(obj: dict[str, Any], wall_now: datetime) -> list[Any]:
    """The row of a Lease."""
    return [obj["metadata"].get("name", ""), obj.get("spec", {}).get("holderIdentity", ""), render_age(obj, wall_now)]
