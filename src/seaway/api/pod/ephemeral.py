"""Ephemeral containers: what a debugger adds to a running Pod. None changes, none goes.

Rule: spec "api-machinery" §9.6; upstream's `pods/ephemeralcontainers`.
"""

from __future__ import annotations

from seaway.api.machinery.field import FieldError, forbidden
from seaway.api.machinery.strategy import Json
from seaway.api.pod.containers import validate_ephemeral_containers

FIELD = "ephemeralContainers"


def take_ephemeral_containers(obj: Json, current: Json) -> Json:
    """The current Pod with the ephemeral containers of `obj` and its claim on version and uid. Neither is modified."""
    meta = {**current["metadata"]}
    for field in ("resourceVersion", "uid"):
        meta[field] = obj["metadata"].get(field) or ("" if field == "resourceVersion" else meta[field])
    spec = {key: value for key, value in (current.get("spec") or {}).items() if key != FIELD}
    containers = (obj.get("spec") or {}).get(FIELD)
    return {**current, "metadata": meta, "spec": {**spec, FIELD: containers} if containers else spec}


def validate_no_ephemeral_containers(obj: Json) -> list[FieldError]:
    """A new Pod has none."""
    has_any = (obj.get("spec") or {}).get(FIELD)
    return [forbidden(f"spec.{FIELD}", "cannot be set on create")] if has_any else []


def validate_ephemeral_update(obj: Json, old: Json) -> list[FieldError]:
    """Those that are there stay as they are, and new ones are good."""
    spec, before = obj.get("spec") or {}, old.get("spec") or {}
    errors = validate_ephemeral_containers(spec)
    by_name = {container.get("name"): container for container in spec.get(FIELD) or ()}
    for container in before.get(FIELD) or ():
        name = container["name"]
        if name not in by_name:
            text = f'existing ephemeral containers "{name}" may not be removed\n'
        elif by_name[name] != container:
            text = f'existing ephemeral containers "{name}" may not be changed\n'
        else:
            continue
        errors.append(forbidden(f"spec.{FIELD}", text))
    return errors
