"""Columns of NetworkPolicies. Rule: spec "api-machinery" §2.3."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from seaway.api.machinery.columns import AGE, NAME, Column, render_age
from seaway.api.machinery.labelselectors import render_label_selector

COLUMNS = (NAME, Column(name="Pod-Selector", description="The Pods that it is about; <none> means all."), AGE)


def cells(obj: dict[str, Any], wall_now: datetime) -> list[Any]:
    """The row of a NetworkPolicy."""
    selector = render_label_selector(obj.get("spec", {}).get("podSelector"))
    return [obj["metadata"].get("name", ""), selector, render_age(obj, wall_now)]
