"""What is wrong with a PersistentVolume: its size, modes and that it is somewhere. Rule: upstream's core/v1 validation.

Of the sources only hostPath and local are looked into: no other is mounted here.
"""

from __future__ import annotations

from seaway.api.machinery.field import FieldError, forbidden, invalid, not_supported, required
from seaway.api.machinery.names import invalid_by, validate_subdomain
from seaway.api.machinery.scalars import measure_quantity
from seaway.api.machinery.strategy import Json
from seaway.api.workload.validation import IMMUTABLE_TEXT

ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
RECLAIM_POLICIES = ("Delete", "Recycle", "Retain")
VOLUME_MODES = ("Block", "Filesystem")
POSITIVE_TEXT = "must be greater than zero"
_NO_SOURCE = frozenset(
    (
        "accessModes", "capacity", "claimRef", "mountOptions", "nodeAffinity", "persistentVolumeReclaimPolicy",
        "storageClassName", "volumeAttributesClassName", "volumeMode",
    )
)  # fmt: skip


def validate_volume(obj: Json) -> list[FieldError]:
    """The create rules."""
    spec = obj.get("spec") or {}
    errors = validate_access_modes(spec)
    capacity = spec.get("capacity") or {}
    if not capacity:
        errors.append(required("spec.capacity"))
    elif set(capacity) != {"storage"}:
        errors.append(not_supported("spec.capacity", capacity, ("storage",)))
    errors += [
        invalid(f"spec.capacity[{name}]", capacity[name], POSITIVE_TEXT)
        for name in sorted(capacity)
        if measure_quantity(capacity[name]) <= 0
    ]
    policy = spec.get("persistentVolumeReclaimPolicy")
    if policy is not None and policy not in RECLAIM_POLICIES:
        errors.append(not_supported("spec.persistentVolumeReclaimPolicy", policy, RECLAIM_POLICIES))
    errors += _validate_sources(spec)
    if name := spec.get("storageClassName"):
        errors += invalid_by(validate_subdomain, "spec.storageClassName", name)
    return errors + validate_volume_mode(spec)


def validate_volume_update(obj: Json, old: Json) -> list[FieldError]:
    """What the volume is stays."""
    spec, before = obj.get("spec") or {}, old.get("spec") or {}
    errors = validate_volume(obj)
    if _sources(spec) != _sources(before):
        text = "spec.persistentvolumesource is immutable after creation"
        errors.append(forbidden("spec.persistentvolumesource", text))
    if spec.get("volumeMode") != before.get("volumeMode"):
        errors.append(invalid("spec.volumeMode", spec.get("volumeMode"), IMMUTABLE_TEXT))
    if before.get("nodeAffinity") and spec.get("nodeAffinity") != before["nodeAffinity"]:
        errors.append(invalid("spec.nodeAffinity", spec.get("nodeAffinity"), IMMUTABLE_TEXT))
    return errors


def validate_access_modes(spec: Json) -> list[FieldError]:
    """At least one, known, and the exclusive one alone. Volumes and claims alike."""
    modes: list[str] = spec.get("accessModes") or []
    if not modes:
        return [required("spec.accessModes", "at least 1 access mode is required")]
    errors: list[FieldError] = [
        not_supported("spec.accessModes", mode, ACCESS_MODES) for mode in modes if mode not in ACCESS_MODES
    ]
    if "ReadWriteOncePod" in modes and len(modes) > 1:
        text = "may not use ReadWriteOncePod with other access modes"
        errors.append(forbidden("spec.accessModes", text))
    return errors


def validate_volume_mode(spec: Json) -> list[FieldError]:
    """A file system or a bare device."""
    mode = spec.get("volumeMode")
    return [] if mode is None or mode in VOLUME_MODES else [not_supported("spec.volumeMode", mode, VOLUME_MODES)]


def _sources(spec: Json) -> Json:
    return {name: value for name, value in spec.items() if name not in _NO_SOURCE and value is not None}


def _validate_sources(spec: Json) -> list[FieldError]:
    found = sorted(_sources(spec))
    if not found:
        return [required("spec", "must specify a volume type")]
    errors = [forbidden(f"spec.{name}", "may not specify more than 1 volume type") for name in found[1:]]
    for name in ("hostPath", "local"):
        if name in found and not spec[name].get("path"):
            errors.append(required(f"spec.{name}.path"))
    if "local" in found and not (spec.get("nodeAffinity") or {}).get("required"):
        errors.append(required("spec.nodeAffinity", "Local volume requires node affinity"))
    return errors
