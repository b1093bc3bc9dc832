"""What is wrong with a StatefulSet. Rule: upstream's StatefulSet validation."""

from __future__ import annotations

from seaway.api.machinery.counts import invalid_counts, invalid_share_of_all
from seaway.api.machinery.field import FieldError, forbidden, invalid, not_supported, required
from seaway.api.machinery.strategy import Json
from seaway.api.workload.validation import list_changes, validate_selector_and_template

_COUNTS = ("replicas", "minReadySeconds", "revisionHistoryLimit")
_RETENTIONS = ("Delete", "Retain")
_MANAGEMENT = ("OrderedReady", "Parallel")
_FREE = (
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)
_FIXED_TEXT = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)


def validate_stateful_set(obj: Json) -> list[FieldError]:
    """The create rules."""
    spec = obj.get("spec") or {}
    management = spec.get("podManagementPolicy") or ""
    errors: list[FieldError] = []
    if management not in _MANAGEMENT:
        text = f"must be '{_MANAGEMENT[0]}' or '{_MANAGEMENT[1]}'"
        errors.append(invalid("spec.podManagementPolicy", management, text))
    errors += _validate_strategy(spec.get("updateStrategy") or {})
    retention = spec.get("persistentVolumeClaimRetentionPolicy") or {}
    for field in ("whenScaled", "whenDeleted"):
        if (policy := retention.get(field)) not in (None, *_RETENTIONS):
            path = f"spec.persistentVolumeClaimRetentionPolicy.{field}"
            errors.append(not_supported(path, policy, _RETENTIONS))
    errors += invalid_counts("spec", spec, *_COUNTS)
    errors += invalid_counts("spec.ordinals", spec.get("ordinals") or {}, "start")
    return errors + validate_selector_and_template(spec, "StatefulSet")


def validate_stateful_set_update(obj: Json, old: Json) -> list[FieldError]:
    """The create rules; identity and storage of the Pods stay."""
    errors = validate_stateful_set(obj)
    if list_changes(obj.get("spec") or {}, old.get("spec") or {}, _FREE):
        errors.append(forbidden("spec", _FIXED_TEXT))
    return errors


def validate_stateful_set_status(obj: Json, old: Json) -> list[FieldError]:
    """Counts are counts."""
    counts = ("replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas")
    return invalid_counts("status", obj.get("status") or {}, *counts, "observedGeneration", "collisionCount")


def _validate_strategy(strategy: Json) -> list[FieldError]:
    kind, rolling, path = strategy.get("type") or "", strategy.get("rollingUpdate"), "spec.updateStrategy"
    if not kind:
        return [required(path)]
    if kind == "OnDelete":
        text = "only allowed for updateStrategy 'RollingUpdate'"
        return [] if rolling is None else [invalid(f"{path}.rollingUpdate", rolling, text)]
    if kind != "RollingUpdate":
        return [invalid(path, strategy, "must be 'RollingUpdate' or 'OnDelete'")]
    errors = invalid_counts(f"{path}.rollingUpdate", rolling or {}, "partition")
    if (share := (rolling or {}).get("maxUnavailable")) is not None:
        errors += invalid_share_of_all(f"{path}.rollingUpdate.maxUnavailable", share)
    return errors
