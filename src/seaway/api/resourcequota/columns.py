"""Columns of ResourceQuotas. Rule: spec "api-machinery" §2.3 (form); the columns are kubectl's."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from seaway.api.machinery.columns import AGE, NAME, Column, render_age

Json = dict[str, Any]
COLUMNS = (
    NAME,
    Column(name="Request", description="Used and allowed, of counts and of what Pods ask for."),
    Column(name="Limit", description="Used and allowed, of what Pods may have at most."),
    AGE,
)
_LIMIT = "limits."


def cells(obj: Json, wall_now: datetime) -> list[Any]:
    """The row of a ResourceQuota: `cpu: 1/2, pods: 0/10`."""
    status = obj.get("status", {})
    hard, used = status.get("hard", {}), status.get("used", {})
    shown = {name: f"{name}: {used.get(name, '0')}/{hard[name]}" for name in sorted(hard)}
    requests = [text for name, text in shown.items() if not name.startswith(_LIMIT)]
    limits = [text for name, text in shown.items() if name.startswith(_LIMIT)]
    return [obj["metadata"].get("name", ""), ", ".join(requests), ", ".join(limits), render_age(obj, wall_now)]
