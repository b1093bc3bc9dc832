"""Which objects a quota with scopes is about: Pods of a sort, or claims of a class; never anything else.

Rule: upstream's pod evaluator. All requirements must hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seaway.api.pod.qos import choose_qos_class
from seaway.api.registry import PERSISTENT_VOLUME_CLAIMS, PODS, Resource

Json = Mapping[str, Any]
_AFFINITIES = ("podAffinity", "podAntiAffinity")


def is_in_scope(spec: Json, resource: Resource, obj: Json) -> bool:
    """Whether a quota with this spec counts the object."""
    wanted = [{"scopeName": scope, "operator": "Exists"} for scope in spec.get("scopes") or ()]
    wanted += (spec.get("scopeSelector") or {}).get("matchExpressions") or ()
    return all(_holds(requirement, resource, obj) for requirement in wanted)


def _holds(requirement: Json, resource: Resource, obj: Json) -> bool:
    spec, scope = obj.get("spec") or {}, requirement.get("scopeName")
    if scope == "VolumeAttributesClass":
        is_claim = resource is PERSISTENT_VOLUME_CLAIMS
        return is_claim and _is_selected(requirement, spec.get("volumeAttributesClassName"))
    if resource is not PODS:
        return False
    match scope:
        case "Terminating" | "NotTerminating":
            return (spec.get("activeDeadlineSeconds") is not None) is (scope == "Terminating")
        case "BestEffort" | "NotBestEffort":
            return (choose_qos_class(spec) == "BestEffort") is (scope == "BestEffort")
        case "PriorityClass":
            return _is_selected(requirement, spec.get("priorityClassName"))
        case "CrossNamespacePodAffinity":
            return _looks_elsewhere(spec)
    return False


def _is_selected(requirement: Json, value: str | None) -> bool:
    """As of a label that may be absent."""
    values = requirement.get("values") or ()
    match requirement.get("operator"):
        case "Exists":
            return bool(value)
        case "DoesNotExist":
            return not value
        case "In":
            return bool(value) and value in values
        case "NotIn":
            return not value or value not in values
    return False


def _looks_elsewhere(spec: Json) -> bool:
    """A term of (anti-)affinity names namespaces, or selects them."""
    for name in _AFFINITIES:
        terms = (spec.get("affinity") or {}).get(name) or {}
        hard = terms.get("requiredDuringSchedulingIgnoredDuringExecution") or ()
        soft = terms.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        for term in (*hard, *(weighted.get("podAffinityTerm") or {} for weighted in soft)):
            if term.get("namespaces") or term.get("namespaceSelector") is not None:
                return True
    return False
