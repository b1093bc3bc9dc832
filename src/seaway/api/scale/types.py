"""A workload as readers see it who only want to know how many Pods it is to have. Rule: data/ (types)."""

from __future__ import annotations

from seaway.api.machinery.meta import ObjectMeta, Reader


class ScaledSpec(Reader, frozen=True):
    replicas: int = 1


class Scaled(Reader, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: ScaledSpec = ScaledSpec()
