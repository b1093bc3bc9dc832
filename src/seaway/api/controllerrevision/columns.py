"""Columns of ControllerRevisions. Rule: spec "api-machinery" §2.3."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from seaway.api.machinery.columns import AGE, NAME, NONE, Column, render_age

COLUMNS = (
    NAME,
    Column(name="Controller", description="Whose past state it is."),
    Column(name="Revision", description="The number of the state."),
    AGE,
)


def cells(obj: dict[str, Any], wall_now: datetime) -> list[Any]:
    """The row of a ControllerRevision."""
    owners = obj["metadata"].get("ownerReferences", ())
    controller = next((owner for owner in owners if owner.get("controller")), None)
    return [
        obj["metadata"].get("name", ""),
        _render_owner(controller) if controller else NONE,
        obj.get("revision", 0),
        render_age(obj, wall_now),
    ]


def _render_owner(owner: dict[str, Any]) -> str:
    """`statefulset.apps/web`."""
    kind, group = owner.get("kind", "").lower(), owner.get("apiVersion", "").rpartition("/")[0]
    return f"{kind}.{group}/{owner.get('name', '')}" if group else f"{kind}/{owner.get('name', '')}"
