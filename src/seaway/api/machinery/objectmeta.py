"""The rules that all metadata keeps, whatever the kind.

Rule: spec "service-api" §0.5 (META, META-U), "api-machinery" §4.1, §4.2.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from seaway.api.machinery.field import FieldError, forbidden, invalid, required, too_long
from seaway.api.machinery.names import (
    invalid_by,
    validate_label,
    validate_label_value,
    validate_qualified_name,
    validate_subdomain,
)
from seaway.api.machinery.strategy import Json

if TYPE_CHECKING:
    from seaway.api.registry import Resource

MAX_ANNOTATION_BYTES = 262144
ORPHAN = "orphan"
FOREGROUND_DELETION = "foregroundDeletion"
_STANDARD_FINALIZERS = frozenset(("kubernetes", ORPHAN, FOREGROUND_DELETION))
_IMMUTABLE = ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")


def validate_create_meta(obj: Json, resource: Resource) -> list[FieldError]:
    """What is wrong with the metadata of a new object. A generated name has been filled in already."""
    meta: Mapping[str, Any] = obj.get("metadata") or {}
    rule: Callable[[str], Sequence[str]] = resource.strategy.validate_name or validate_subdomain
    errors: list[FieldError] = []
    if prefix := meta.get("generateName"):
        errors += [invalid("metadata.generateName", prefix, text) for text in rule(_mask_dash(prefix))]
    if name := meta.get("name"):
        errors += invalid_by(rule, "metadata.name", name)
    else:
        errors.append(required("metadata.name", "name or generateName is required"))
    errors += _validate_namespace(meta.get("namespace") or "", resource.namespaced)
    if (meta.get("generation") or 0) < 0:
        errors.append(invalid("metadata.generation", meta["generation"], "must be greater than or equal to 0"))
    return errors + validate_meta_forms(meta) + validate_finalizers(meta.get("finalizers") or ())


def validate_update_meta(new: Json, old: Json) -> list[FieldError]:
    """What is wrong with the metadata of a changed object. The name is not judged again: it was good once.

    The server has filled what a client may leave out (uid, creationTimestamp, deletion fields) before.
    """
    after: Mapping[str, Any] = new.get("metadata") or {}
    before: Mapping[str, Any] = old.get("metadata") or {}
    errors: list[FieldError] = []
    if before.get("deletionTimestamp"):
        had = before.get("finalizers") or ()
        added = sorted(set(after.get("finalizers") or ()).difference(had))
        if added:
            listed = ", ".join(json.dumps(name, ensure_ascii=False) for name in added)
            detail = "no new finalizers can be added if the object is being deleted, found new finalizers "
            errors.append(forbidden("metadata.finalizers", f"{detail}[]string{{{listed}}}"))
    for field in _IMMUTABLE:
        if (after.get(field) or None) != (before.get(field) or None):
            errors.append(invalid(f"metadata.{field}", after.get(field), "field is immutable"))
    return errors + validate_meta_forms(after) + validate_finalizers(after.get("finalizers") or ())


def validate_labels(labels: Mapping[str, str] | None, path: str) -> list[FieldError]:
    """Keys and values; errors carry the path of the map, without the key."""
    errors: list[FieldError] = []
    for key in sorted(labels or ()):
        errors += invalid_by(validate_qualified_name, path, key)
        errors += invalid_by(validate_label_value, path, (labels or {})[key] or "")
    return errors


def validate_annotations(annotations: Mapping[str, str] | None) -> list[FieldError]:
    """Keys, whose case does not count, and the total size."""
    path = "metadata.annotations"
    errors: list[FieldError] = []
    for key in sorted(annotations or ()):
        errors += [invalid(path, key, text) for text in validate_qualified_name(key.lower())]
    size = sum(len(k.encode()) + len((v or "").encode()) for k, v in (annotations or {}).items())
    if size > MAX_ANNOTATION_BYTES:
        errors.append(too_long(path, MAX_ANNOTATION_BYTES))
    return errors


def validate_finalizers(finalizers: Sequence[str]) -> list[FieldError]:
    """Form, the two that exclude each other, and the names that no domain vouches for."""
    path = "metadata.finalizers"
    errors: list[FieldError] = []
    for name in finalizers:
        errors += invalid_by(validate_qualified_name, path, name)
    if ORPHAN in finalizers and FOREGROUND_DELETION in finalizers:
        text = "finalizer orphan and foregroundDeletion cannot be both set"
        errors.append(invalid(path, list(finalizers), text))
    for index, name in enumerate(finalizers):
        if "/" not in name and name not in _STANDARD_FINALIZERS:
            text = "name is neither a standard finalizer name nor is it fully qualified"
            errors.append(invalid(f"{path}[{index}]", name, text))
    return errors


def validate_owner_references(references: Sequence[Mapping[str, Any]]) -> list[FieldError]:
    """Complete references, at most one of them the controller. Existence is not looked at."""
    path = "metadata.ownerReferences"
    errors: list[FieldError] = []
    controllers = []
    for reference in references:
        api_version = reference.get("apiVersion") or ""
        if not api_version.rpartition("/")[2]:
            errors.append(invalid(f"{path}.apiVersion", api_version, "version must not be empty"))
        for field in ("kind", "name", "uid"):
            if not reference.get(field):
                errors.append(invalid(f"{path}.{field}", "", "must not be empty"))
        if api_version == "v1" and reference.get("kind") == "Event":
            text = "/v1, Kind=Event is disallowed from being an owner"
            errors.append(invalid(path, dict(reference), text))
        if reference.get("controller"):
            controllers.append(f"{reference.get('kind') or ''}/{reference.get('name') or ''}")
    for other in controllers[1:]:
        text = (
            "Only one reference can have Controller set to true. "
            f'Found "true" in references for {controllers[0]} and {other}'
        )
        errors.append(invalid(path, [dict(r) for r in references], text))
    return errors


def _validate_namespace(namespace: str, namespaced: bool) -> list[FieldError]:
    path = "metadata.namespace"
    if not namespaced:
        return [forbidden(path, "not allowed on this type")] if namespace else []
    return invalid_by(validate_label, path, namespace) if namespace else [required(path)]


def validate_meta_forms(meta: Mapping[str, Any]) -> list[FieldError]:
    """What labels, annotations and owner references must look like, on create and on update."""
    return [
        *validate_labels(meta.get("labels"), "metadata.labels"),
        *validate_annotations(meta.get("annotations")),
        *validate_owner_references(meta.get("ownerReferences") or ()),
    ]


def _mask_dash(prefix: str) -> str:
    """A trailing dash is fine in a prefix: random characters follow."""
    return prefix[:-2] + "a" if len(prefix) > 1 and prefix.endswith("-") else prefix
