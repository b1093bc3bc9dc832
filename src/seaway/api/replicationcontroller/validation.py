"""What is wrong with a ReplicationController. Rule: upstream's validation; spec "controllers" §7.4."""

from __future__ import annotations

from seaway.api.machinery.counts import invalid_counts
from seaway.api.machinery.field import FieldError, required
from seaway.api.machinery.objectmeta import validate_labels
from seaway.api.machinery.strategy import Json
from seaway.api.workload.validation import validate_lasting_template


def validate_replication_controller(obj: Json, old: Json | None = None) -> list[FieldError]:
    """Create and update alike: its selector may change. The selector is a plain map of labels."""
    spec = obj.get("spec") or {}
    selector = spec.get("selector") or {}
    errors = invalid_counts("spec", spec, "minReadySeconds")
    if not selector:
        errors.append(required("spec.selector"))
    errors += validate_labels(selector, "spec.selector")
    errors += invalid_counts("spec", spec, "replicas")
    if spec.get("template") is None:
        return [*errors, required("spec.template")]
    return errors + validate_lasting_template({**spec, "selector": {"matchLabels": selector}}, "ReplicationController")
