"""Whether the Pods of a template may be on a node, resources aside. Rule: spec "controllers" §7.6, §7.7."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from seaway.api.node.types import Node, Taint
from seaway.api.pod.types import Pod

Json = dict[str, Any]
NAME_FIELD = "metadata.name"
_PREFIX = "node.kubernetes.io/"
_TOLERATED = (
    ("not-ready", "NoExecute"),
    ("unreachable", "NoExecute"),
    ("disk-pressure", "NoSchedule"),
    ("memory-pressure", "NoSchedule"),
    ("pid-pressure", "NoSchedule"),
    ("unschedulable", "NoSchedule"),
)


def add_tolerations(spec: Json) -> Json:
    """The Pod's specification with what a daemon puts up with; not modified."""
    wanted = [*_TOLERATED, *((("network-unavailable", "NoSchedule"),) if spec.get("hostNetwork") else ())]
    added = [{"key": _PREFIX + key, "operator": "Exists", "effect": effect} for key, effect in wanted]
    had: list[Json] = spec.get("tolerations") or []
    return {**spec, "tolerations": [*had, *(one for one in added if one not in had)]}


def pin_to_node(spec: Json, node: str) -> Json:
    """The Pod's specification that only that node can take; what it preferred stays. Not modified."""
    affinity = spec.get("affinity") or {}
    requirement = {"key": NAME_FIELD, "operator": "In", "values": [node]}
    required = {"nodeSelectorTerms": [{"matchFields": [requirement]}]}
    of_nodes = {**(affinity.get("nodeAffinity") or {}), "requiredDuringSchedulingIgnoredDuringExecution": required}
    return {**spec, "affinity": {**affinity, "nodeAffinity": of_nodes}}


def find_target_node(pod: Pod) -> str:
    """The node that the Pod is on, or is pinned to; "" for neither."""
    if pod.spec.node_name:
        return pod.spec.node_name
    affinity = pod.spec.affinity.node_affinity if pod.spec.affinity is not None else None
    required = affinity.required_during_scheduling_ignored_during_execution if affinity is not None else None
    for term in required.node_selector_terms if required is not None else ():
        for requirement in term.match_fields:
            if requirement.key == NAME_FIELD and requirement.operator == "In" and len(requirement.values) == 1:
                return requirement.values[0]
    return ""


def matches_node(spec: Json, node: Node) -> bool:
    """The node is the one that is named, if any is, and has what selector and required affinity ask for."""
    if spec.get("nodeName") not in (None, "", node.metadata.name):
        return False
    labels = node.metadata.labels
    if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    of_nodes = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = of_nodes.get("requiredDuringSchedulingIgnoredDuringExecution")
    return required is None or any(_matches_term(term, node) for term in required.get("nodeSelectorTerms") or ())


def find_untolerated(spec: Json, taints: Iterable[Taint], effects: Sequence[str]) -> list[Taint]:
    """The taints of these effects that the Pod does not put up with."""
    tolerations = spec.get("tolerations") or ()
    return [t for t in taints if t.effect in effects and not any(_tolerates(one, t) for one in tolerations)]


def _matches_term(term: Json, node: Node) -> bool:
    """A term without requirements matches nothing."""
    expressions, names = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not names:
        return False
    fields = {NAME_FIELD: node.metadata.name}
    return all(_is_met(one, node.metadata.labels) for one in expressions) and all(_is_met(one, fields) for one in names)


def _is_met(requirement: Json, labels: dict[str, str]) -> bool:
    value, values = labels.get(requirement.get("key") or ""), requirement.get("values") or []
    match requirement.get("operator"):
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt" as operator:
            numbers = [_read_number(text) for text in (value, *values)]
            if len(numbers) != 2 or numbers[0] is None or numbers[1] is None:
                return False
            return numbers[0] > numbers[1] if operator == "Gt" else numbers[0] < numbers[1]
    return False


def _read_number(text: str | None) -> int | None:
    digits = (text or "").removeprefix("-")
    return int(text or "") if digits.isascii() and digits.isdigit() and len(digits) < 19 else None


def _tolerates(toleration: Json, taint: Taint) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint.effect:
        return False
    if toleration.get("key") and toleration["key"] != taint.key:
        return False
    if toleration.get("operator") == "Exists":
        return True
    return bool(toleration.get("key")) and (toleration.get("value") or "") == taint.value
