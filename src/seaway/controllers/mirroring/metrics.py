"""What the mirroring loop counts, under upstream's names. Rule: spec "controllers" §4.5."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeAlias

from seaway.api.endpointslice.types import Endpoint, EndpointSlice
from seaway.controllers.endpointslice.pack import EndpointKey, identify_endpoint, is_same_endpoint
from seaway.controllers.mirroring.plan import MirrorPlan, MirrorWrite, SliceKey
from seaway.telemetry.metrics import Metrics, exponential_bounds

PREFIX = "endpoint_slice_mirroring_controller_"
_BOUNDS = exponential_bounds(2, 2, 15)
_SECONDS = exponential_bounds(0.001, 2, 15)

Endpoints: TypeAlias = dict[tuple[SliceKey, EndpointKey], Endpoint]


@dataclass(frozen=True, slots=True)
class MirrorCounts:
    """Endpoints that one plan changes, and what there is when it is carried out."""

    added: int = 0
    updated: int = 0
    removed: int = 0
    endpoints: int = 0
    slices: int = 0


def count_plan(existing: Iterable[EndpointSlice], plan: MirrorPlan) -> MirrorCounts:
    """The counts of a plan for the slices that exist."""
    slices = list(existing)
    gone = {slice_.metadata.name for slice_ in plan.delete}
    replaced = {write.replaces.metadata.name for write in plan.update if write.replaces is not None}
    kept = [slice_ for slice_ in slices if slice_.metadata.name not in gone | replaced]
    before = _collect(slice_ for slice_ in slices if slice_ not in kept)
    after = _collect(plan.create + plan.update)
    both = before.keys() & after.keys()
    return MirrorCounts(
        added=len(after.keys() - both),
        updated=sum(not is_same_endpoint(before[key], after[key]) for key in both),
        removed=len(before.keys() - both),
        endpoints=len(after) + len(_collect(kept)),
        slices=len(kept) + len(plan.create) + len(plan.update),
    )


class MirrorMetrics:
    """Sums over all Endpoints are kept up by differences: no page costs a walk over them."""

    def __init__(self, metrics: Metrics) -> None:
        self._counts: dict[str, MirrorCounts] = {}
        self._endpoints = self._slices = 0
        text = "Endpoints that a sync {} mirrored slices."
        self._added = metrics.histogram(PREFIX + "endpoints_added_per_sync", text.format("added to"), bounds=_BOUNDS)
        self._updated = metrics.histogram(
            PREFIX + "endpoints_updated_per_sync", text.format("changed in"), bounds=_BOUNDS
        )
        self._removed = metrics.histogram(
            PREFIX + "endpoints_removed_per_sync", text.format("removed from"), bounds=_BOUNDS
        )
        self._skipped = metrics.histogram(
            PREFIX + "addresses_skipped_per_sync", "Addresses that a sync did not mirror.", bounds=_BOUNDS
        )
        self._duration = metrics.histogram(
            PREFIX + "endpoints_sync_duration", "Seconds that a sync took.", bounds=_SECONDS
        )
        self._changes = metrics.counter(PREFIX + "changes", "Mirrored slices written.", "operation")
        for name, said, read in (
            ("endpoints_desired", "Endpoints that are mirrored.", lambda: float(self._endpoints)),
            ("num_endpoint_slices", "Mirrored slices that there are.", lambda: float(self._slices)),
            ("desired_endpoint_slices", "Mirrored slices that there should be.", lambda: float(self._slices)),
        ):
            metrics.gauge(PREFIX + name, said).read(read)

    def observe_sync(self, key: str, existing: Iterable[EndpointSlice], plan: MirrorPlan, seconds: float) -> None:
        """The plan was carried out."""
        counts = count_plan(existing, plan)
        for histogram, value in (
            (self._added, counts.added), (self._updated, counts.updated), (self._removed, counts.removed),
            (self._skipped, plan.skipped), (self._duration, seconds),
        ):  # fmt: skip
            histogram.observe(value)
        self._account(key, counts)

    def observe_write(self, operation: str) -> None:
        """A slice was written: create, update or delete."""
        self._changes.inc(operation)

    def _account(self, key: str, counts: MirrorCounts) -> None:
        before = self._counts.pop(key, MirrorCounts())
        self._endpoints += counts.endpoints - before.endpoints
        self._slices += counts.slices - before.slices
        if counts.slices:
            self._counts[key] = replace(counts, added=0, updated=0, removed=0)


def _collect(slices: Iterable[EndpointSlice | MirrorWrite]) -> Endpoints:
    return {
        ((slice_.address_type, frozenset(slice_.ports or ())), identify_endpoint(endpoint)): endpoint
        for slice_ in slices
        for endpoint in slice_.endpoints or ()
    }
