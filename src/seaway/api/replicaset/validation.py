"""What is wrong with a ReplicaSet. Rule: upstream's ReplicaSet validation; spec "controllers" §7.4."""

from __future__ import annotations

from seaway.api.machinery.counts import invalid_counts
from seaway.api.machinery.field import FieldError
from seaway.api.machinery.strategy import Json
from seaway.api.workload.validation import validate_immutable, validate_selector_and_template

STATUS_COUNTS = ("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration")


def validate_replica_set(obj: Json) -> list[FieldError]:
    """The create rules."""
    spec = obj.get("spec") or {}
    counts = invalid_counts("spec", spec, "replicas", "minReadySeconds")
    return counts + validate_selector_and_template(spec, "ReplicaSet")


def validate_replica_set_update(obj: Json, old: Json) -> list[FieldError]:
    """The create rules, and Pods stay whose they are."""
    return [*validate_replica_set(obj), *validate_immutable(obj, old, "selector")]


def validate_replica_status(obj: Json, old: Json) -> list[FieldError]:
    """Counts are counts, and a part is no more than the whole."""
    status = obj.get("status") or {}
    return invalid_counts("status", status, *STATUS_COUNTS)
