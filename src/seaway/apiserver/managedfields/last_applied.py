"""What kubectl's own apply gets beyond others', because its client-side apply came before.

Objects that `kubectl apply` once made carry the applied configuration in an annotation. The manager `kubectl` may take
over what that annotation proves to be its own, and keeps the annotation true for older clients.
Rule: spec "api-machinery" §5.5 (kubectl specials).
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from seaway.api.machinery.json_codec import JsonError, parse_json
from seaway.api.machinery.objectmeta import validate_annotations
from seaway.apiserver.managedfields.apply import (
    Applied,
    ApplyConflicts,
    apply_config,
    check_config,
    sort_conflicts,
)
from seaway.apiserver.managedfields.entries import Entries
from seaway.apiserver.managedfields.fieldsets import Tree, difference
from seaway.apiserver.managedfields.schema import OwnedSchema
from seaway.apiserver.managedfields.tracking import Writer
from seaway.apiserver.managedfields.typed import TypedError

Json = dict[str, Any]
KUBECTL = "kubectl"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def apply_as(
    schema: OwnedSchema, live: Json, config: Json, entries: Entries, writer: Writer, *, force: bool
) -> Applied:
    """`apply_config`, with what kubectl may do. Raises ApplyConflicts, TypedError."""
    try:
        applied = apply_config(schema, live, config, entries, writer, force=force)
    except ApplyConflicts as refusal:
        if writer.manager != KUBECTL:
            raise
        _allow_own(schema, live, writer, refusal)
        applied = apply_config(schema, live, config, entries, writer, force=True)
    if writer.manager != KUBECTL or not find_last_applied(applied.obj):
        return applied
    return replace(applied, obj=_renew_annotation(applied.obj, config))


def find_last_applied(obj: Json) -> str:
    """The annotation's text, empty when there is none."""
    annotations = (obj.get("metadata") or {}).get("annotations") or {}
    text = annotations.get(LAST_APPLIED)
    return text if isinstance(text, str) else ""


def _allow_own(schema: OwnedSchema, live: Json, writer: Writer, refusal: ApplyConflicts) -> None:
    """Raises what is left of the refusal."""
    allowed = _find_unchanged(schema, live, writer)
    if allowed is None:
        raise refusal
    left = [replace(conflict, fields=difference(conflict.fields, allowed)) for conflict in refusal.conflicts]
    left = [conflict for conflict in left if conflict.fields]
    if left:
        raise ApplyConflicts(sort_conflicts(left)) from None


def _find_unchanged(schema: OwnedSchema, live: Json, writer: Writer) -> Tree | None:
    """What the annotation names and the live object still has; None without an annotation that can be read."""
    text = find_last_applied(live)
    if not text:
        return None
    try:
        config = parse_json(text.encode())[0]
        if not isinstance(config, dict) or config.get("apiVersion") != writer.api_version:
            return None
        if check_config(schema, config):
            return None
        changed, removed = schema.owned.compare(config, live)
        return difference(difference(schema.owned.own(config) or {}, changed or {}), removed or {})
    except (JsonError, TypedError):
        return None


def _renew_annotation(obj: Json, config: Json) -> Json:
    """The annotation says what was applied now. One that has become too long goes: an old one would be a lie."""
    meta = {**obj["metadata"]}
    annotations = {**meta["annotations"], LAST_APPLIED: _encode_config(config)}
    if validate_annotations({LAST_APPLIED: "", **_texts_only(annotations)}):
        del annotations[LAST_APPLIED]
    meta["annotations"] = annotations
    return {**obj, "metadata": meta}


def _texts_only(annotations: Json) -> dict[str, str]:
    return {key: value for key, value in annotations.items() if isinstance(value, str)}


def _encode_config(config: Json) -> str:
    """As kubectl writes it: sorted, compact, `<>&` escaped as Go does, with a final newline, without itself."""
    meta = config.get("metadata") or {}
    annotations = {key: value for key, value in (meta.get("annotations") or {}).items() if key != LAST_APPLIED}
    meta = {key: value for key, value in meta.items() if key != "annotations"}
    shown = {**config, "metadata": {**meta, "annotations": annotations} if annotations else meta}
    text = json.dumps(shown, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text + "\n"
