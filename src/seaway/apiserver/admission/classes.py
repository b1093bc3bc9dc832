"""What objects get from classes that they name, or that are the default: an Ingress its class, a Pod its priority.

Rule: spec "service-api" §10 (admission DefaultIngressClass); upstream's Priority admission.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from seaway.api.ingress.validation import CLASS_ANNOTATION
from seaway.api.ingressclass.columns import IS_DEFAULT
from seaway.api.priorityclass.strategy import SYSTEM_CLASSES
from seaway.apiserver.access.rbac import make_forbidden

Json = dict[str, Any]


def choose_ingress_class(ingress: Json, classes: Iterable[Json]) -> Json:
    """The Ingress with the default class when it names none, in either way. `ingress` is not modified.

    Of several defaults the newest counts, of equally new ones the first by name.
    """
    spec, meta = ingress.get("spec") or {}, ingress.get("metadata") or {}
    if spec.get("ingressClassName") is not None or CLASS_ANNOTATION in (meta.get("annotations") or {}):
        return ingress
    found = [c["metadata"] for c in classes if (c["metadata"].get("annotations") or {}).get(IS_DEFAULT) == "true"]
    if not found:
        return ingress
    newest = max(meta["creationTimestamp"] for meta in found)
    name = min(meta["name"] for meta in found if meta["creationTimestamp"] == newest)
    return {**ingress, "spec": {**spec, "ingressClassName": name}}


def admit_priority(pod: Json, classes: Iterable[Json]) -> Json:
    """The Pod with the priority of its class, or of the one that all have that name none. `pod` is not modified.

    Raises Forbidden for a class that is not there, and for a number that the class does not say.
    """
    spec = pod["spec"]
    by_name = {c["metadata"]["name"]: c for c in classes}
    name = spec.get("priorityClassName") or ""
    if not name:
        defaults = [(c.get("value") or 0, own) for own, c in by_name.items() if c.get("globalDefault")]
        if not defaults:
            return pod
        _, name = min(defaults)
    found = by_name.get(name)
    if found is None:
        raise _refuse(pod, f"no PriorityClass with name {name} was found")
    given, value = spec.get("priority") or 0, found.get("value") or 0
    if given not in (0, value):
        why = f"the integer value of priority ({given}) must not be provided in pod spec; "
        raise _refuse(pod, f"{why}priority admission controller computed {value} from the given PriorityClass name")
    policy = found.get("preemptionPolicy") or spec.get("preemptionPolicy")
    return {**pod, "spec": {**spec, "priorityClassName": name, "priority": value, "preemptionPolicy": policy}}


def make_system_classes() -> list[Json]:
    """The two that every cluster has: what it cannot do without names them."""
    texts = {
        "system-cluster-critical": "Used for system critical pods that must run in the cluster, but can be moved to "
        "another node if necessary.",
        "system-node-critical": "Used for system critical pods that must not be moved from their current node.",
    }
    head = {"kind": "PriorityClass", "apiVersion": "scheduling.k8s.io/v1"}
    return [
        {**head, "metadata": {"name": name}, "value": value, "description": texts[name]}
        for name, value in SYSTEM_CLASSES.items()
    ]


def _refuse(pod: Json, why: str) -> Exception:
    meta = pod.get("metadata") or {}
    return make_forbidden("", "pods", meta.get("name") or meta.get("generateName") or "", why)
