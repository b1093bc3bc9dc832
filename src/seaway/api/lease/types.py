"""Lease as readers see it."""

from __future__ import annotations

from seaway.api.machinery.meta import ObjectMeta, Reader


class LeaseSpec(Reader, frozen=True):
    holder_identity: str = ""
    lease_duration_seconds: int = 0
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int = 0


class Lease(Reader, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: LeaseSpec = LeaseSpec()
