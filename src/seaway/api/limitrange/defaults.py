"""What a LimitRange has when the client does not say: one bound gives another. Rule: upstream's core/v1 defaults."""

from __future__ import annotations

from seaway.api.machinery.strategy import Json


def default_limit_range(obj: Json) -> Json:
    """A container's limit is the most that it may have; it asks for its limit, else for the least. Changes `obj`."""
    for item in obj.setdefault("spec", {}).setdefault("limits", []):
        if item.get("type") != "Container":
            continue
        limits = {**(item.get("max") or {}), **(item.get("default") or {})}
        requests = {**(item.get("min") or {}), **limits, **(item.get("defaultRequest") or {})}
        for field, value in (("default", limits), ("defaultRequest", requests)):
            if value:
                item[field] = value
    return obj
