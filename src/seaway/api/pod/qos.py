"""The quality-of-service class of a Pod. Rule: spec "node" §2.17."""

from __future__ import annotations

from collections.abc import Mapping

from seaway.api.machinery.strategy import Json

_COUNTED = ("cpu", "memory")


def choose_qos_class(spec: Json) -> str:
    """BestEffort, Guaranteed or Burstable. Quantities are in canonical form, requests default to limits."""
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    sides = [
        (_counted(resources.get("requests")), _counted(resources.get("limits")))
        for resources in ((spec.get("resources") or {}), *(c.get("resources") or {} for c in containers))
    ]
    whole, parts = sides[0], sides[1:]
    if not any(requests or limits for requests, limits in sides):
        return "BestEffort"
    judged = [whole] if any(whole) else parts
    same = all(len(limits) == len(_COUNTED) and requests == limits for requests, limits in judged)
    return "Guaranteed" if same else "Burstable"


def _counted(quantities: Mapping[str, object] | None) -> dict[str, str]:
    """What counts for the class: cpu and memory that are not zero."""
    return {name: str(value) for name, value in (quantities or {}).items() if name in _COUNTED and str(value) != "0"}
