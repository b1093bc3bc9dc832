"""Templates of Pods: the Pod that one makes, the hash that names one. Rule: spec "controllers" §7.4, §7.5."""

from __future__ import annotations

import copy
import hashlib
import json
from typing import Any

Json = dict[str, Any]

HASH_LENGTH = 10
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""No vowels and nothing that looks like another: no word comes out by chance (as upstream's names)."""


def render_pod(template: Json, reference: Json, *, namespace: str, name: str = "", generate_name: str = "") -> Json:
    """The Pod of the template, managed by whom the reference names. `template` is not modified."""
    meta: Json = {"namespace": namespace, "ownerReferences": [reference]}
    meta |= {"name": name} if name else {"generateName": generate_name}
    for field in ("labels", "annotations", "finalizers"):
        if value := (template.get("metadata") or {}).get(field):
            meta[field] = copy.copy(value)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": copy.deepcopy(template.get("spec") or {})}


def compute_hash(value: Json, collisions: int = 0) -> str:
    """A short text that two values share by accident only; another one for each count of such accidents."""
    text = json.dumps([value, collisions], sort_keys=True, separators=(",", ":"))
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    letters = []
    for _ in range(HASH_LENGTH):
        number, index = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[index])
    return "".join(letters)


def without_label(template: Json, label: str) -> Json:
    """The template as it is without the label; not modified."""
    meta = template.get("metadata") or {}
    labels = meta.get("labels") or {}
    if label not in labels:
        return template
    kept = {key: value for key, value in labels.items() if key != label}
    rest = {key: value for key, value in meta.items() if key != "labels"}
    return {**template, "metadata": {**rest, "labels": kept} if kept else rest}


def add_labels(template: Json, labels: dict[str, str]) -> Json:
    """The template with the labels; not modified."""
    meta = template.get("metadata") or {}
    return {**template, "metadata": {**meta, "labels": {**(meta.get("labels") or {}), **labels}}}
