"""ConfigMap as readers see it."""

from __future__ import annotations

from seaway.api.machinery.meta import ObjectMeta, Reader


class ConfigMap(Reader, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    data: dict[str, str] = {}
