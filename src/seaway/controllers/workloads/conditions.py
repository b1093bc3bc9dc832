"""Conditions of workloads as lists of the wire form. Rule: spec "controllers" §7.5 (which times move when)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]


def find_condition(conditions: Sequence[Json], kind: str) -> Json | None:
    """The condition of the type."""
    return next((condition for condition in conditions if condition["type"] == kind), None)


def drop_condition(conditions: Sequence[Json], kind: str) -> list[Json]:
    """The others."""
    return [condition for condition in conditions if condition["type"] != kind]


def set_condition(conditions: Sequence[Json], wanted: Json) -> list[Json]:
    """With the condition in it, last. The same status and reason is no change; the same status keeps its time."""
    current = find_condition(conditions, wanted["type"])
    if current and (current["status"], current.get("reason")) == (wanted["status"], wanted.get("reason")):
        return list(conditions)
    if current and current["status"] == wanted["status"] and current.get("lastTransitionTime"):
        wanted = {**wanted, "lastTransitionTime": current["lastTransitionTime"]}
    return [*drop_condition(conditions, wanted["type"]), wanted]


def drop_zeros(status: Json, keep: Sequence[str] = ()) -> Json:
    """The status as it is sent: no zero counts, no empty lists, but for those to keep."""
    return {key: value for key, value in status.items() if value or key in keep}
