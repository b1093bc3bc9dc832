"""Columns of RoleBindings and ClusterRoleBindings. Rule: spec "api-machinery" §2.3."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from seaway.api.machinery.columns import AGE, NAME, Column, render_age, wide

Json = dict[str, Any]

COLUMNS = (
    NAME,
    Column(name="Role", description="The role that is granted."),
    AGE,
    wide("Users", "Users that have it."),
    wide("Groups", "Groups that have it."),
    wide("ServiceAccounts", "Service accounts that have it."),
)


def cells(obj: Json, wall_now: datetime) -> list[Any]:
    """The row of a binding."""
    role = obj.get("roleRef", {})
    subjects = obj.get("subjects", [])
    return [
        obj["metadata"].get("name", ""),
        f"{role.get('kind', '')}/{role.get('name', '')}",
        render_age(obj, wall_now),
        ", ".join(s.get("name", "") for s in subjects if s.get("kind") == "User"),
        ", ".join(s.get("name", "") for s in subjects if s.get("kind") == "Group"),
        ", ".join(
            f"{s.get('namespace', '')}/{s.get('name', '')}" for s in subjects if s.get("kind") == "ServiceAccount"
        ),
    ]
