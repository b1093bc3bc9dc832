"""What a PersistentVolumeClaim has when the client does not say. Rule: upstream's core/v1 defaults."""

from __future__ import annotations

from seaway.api.machinery.strategy import Json


def default_claim(obj: Json) -> Json:
    """A claim is for a file system. Changes `obj`."""
    obj.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")
    return obj
