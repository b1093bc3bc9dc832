"""Namespace as readers see it."""

from __future__ import annotations

from seaway.api.machinery.meta import ObjectMeta, Reader


class NamespaceSpec(Reader, frozen=True):
    finalizers: tuple[str, ...] = ()


class NamespaceStatus(Reader, frozen=True):
    phase: str = ""


class Namespace(Reader, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: NamespaceSpec = NamespaceSpec()
    status: NamespaceStatus = NamespaceStatus()
