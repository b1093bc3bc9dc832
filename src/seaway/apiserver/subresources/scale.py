"""The `/scale` of a workload: how many copies are wanted, in one form for all kinds. Pure.

Rule: spec "api-machinery" §9.1 (autoscaling/v1 Scale); the object's own rules judge what the scale made of it.
"""

from __future__ import annotations

from typing import Any

from seaway.api.machinery.codec import Decoded
from seaway.api.machinery.errors import make_conflict, make_invalid
from seaway.api.machinery.field import invalid
from seaway.api.machinery.objectmeta import validate_create_meta
from seaway.api.machinery.selectors import SelectorError, render_label_selector, selector_from_object
from seaway.api.registry import SCALES, Resource
from seaway.apiserver.forms import Make
from seaway.apiserver.managedfields import (
    choose_entries,
    narrow_to_scale,
    read_entries,
    render_entries,
    widen_from_scale,
)
from seaway.apiserver.writing.systemfields import check_identity

Json = dict[str, Any]
_SHOWN_META = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def read_scale(obj: Json) -> Json:
    """The Scale of a workload. `obj` is not modified."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    meta = {key: obj["metadata"][key] for key in _SHOWN_META if key in obj["metadata"]}
    replicas = spec.get("replicas", 1)
    scale: Json = {
        "kind": SCALES.kind,
        "apiVersion": SCALES.api_version,
        "metadata": meta,
        "spec": {"replicas": replicas} if replicas else {},
        "status": {"replicas": status.get("replicas", 0)},
    }
    if selector := _render_selector(spec.get("selector")):
        scale["status"]["selector"] = selector
    return scale


def make_scaler(resource: Resource, namespace: str, name: str, change: Make) -> Make:
    """PUT and PATCH of a scale, as a change of the workload. change: from the Scale to the Scale as wanted, with its
    owners in it where they are its to decide (an apply).

    Raises BadRequest, Conflict for another uid, Invalid.
    """

    def make(current: Json) -> Decoded:
        stored = current["metadata"]
        owners = read_entries(stored.get("managedFields", ()))
        shown = read_scale(current)
        shown["metadata"]["managedFields"] = render_entries(narrow_to_scale(owners, SCALES.api_version))
        decoded = change(shown)
        scale = decoded.obj
        check_identity(scale, SCALES, namespace=namespace, name=name)
        _validate(scale, name)
        uid = scale["metadata"].get("uid") or ""
        if uid not in ("", stored["uid"]):
            why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {stored['uid']}"
            raise make_conflict(f"{resource.plural}/scale", resource.group, name, why)
        meta = {**stored, "resourceVersion": scale["metadata"].get("resourceVersion", "")}
        if applied := choose_entries(scale["metadata"].get("managedFields"), {}, subresource=""):
            meta["managedFields"] = render_entries(widen_from_scale(owners, applied, resource.api_version))
        spec = {**(current.get("spec") or {}), "replicas": (scale.get("spec") or {}).get("replicas", 0)}
        return Decoded({**current, "metadata": meta, "spec": spec}, decoded.warnings)

    return make


def _validate(scale: Json, name: str) -> None:
    errors = validate_create_meta(scale, SCALES)
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    if replicas < 0:
        errors.append(invalid("spec.replicas", replicas, "must be greater than or equal to 0"))
    if errors:
        raise make_invalid(SCALES.kind, SCALES.group, name, errors)


def _render_selector(selector: Json | None) -> str:
    """A LabelSelector, or the plain labels of a ReplicationController; empty for one that cannot be read."""
    if not selector:
        return ""
    is_plain = not selector.keys() & {"matchLabels", "matchExpressions"}
    try:
        parsed = selector_from_object({"matchLabels": selector} if is_plain else selector)
    except SelectorError:
        return ""
    return "" if parsed is None else render_label_selector(parsed)
