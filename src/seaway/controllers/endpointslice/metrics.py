"""What the EndpointSlice loop counts, under upstream's names. Rule: spec "controllers" §1.14."""

from __future__ import annotations

from collections import Counter as Tally

from seaway.api.service.types import Service
from seaway.controllers.endpointslice.hints import Hinting, choose_hinting
from seaway.controllers.endpointslice.plan import SliceCounts, SlicePlan
from seaway.telemetry.metrics import Metrics, exponential_bounds

PREFIX = "endpoint_slice_controller_"
_BOUNDS = exponential_bounds(2, 2, 15)


class SliceMetrics:
    """Sums over all Services are kept up by differences: no page costs a walk over them."""

    def __init__(self, metrics: Metrics) -> None:
        self._counts: dict[str, tuple[int, int, int]] = {}
        self._distributions: dict[str, str] = {}
        self._tally: Tally[str] = Tally()
        self._endpoints = self._slices = self._wanted_slices = 0
        text = "Endpoints that a sync {} slices."
        self._added = metrics.histogram(PREFIX + "endpoints_added_per_sync", text.format("added to"), bounds=_BOUNDS)
        self._removed = metrics.histogram(
            PREFIX + "endpoints_removed_per_sync", text.format("removed from"), bounds=_BOUNDS
        )
        metrics.gauge(PREFIX + "endpoints_desired", "Endpoints that all Services should have.").read(
            lambda: float(self._endpoints)
        )
        metrics.gauge(PREFIX + "num_endpoint_slices", "Slices that there are.").read(lambda: float(self._slices))
        metrics.gauge(PREFIX + "desired_endpoint_slices", "Slices that full ones would need.").read(
            lambda: float(self._wanted_slices)
        )
        self._changes = metrics.counter(PREFIX + "changes", "Slices written.", "operation")
        self._changed = metrics.histogram(
            PREFIX + "endpointslices_changed_per_sync",
            "Slices that a sync wrote.",
            "topology",
            "traffic_distribution",
            bounds=_BOUNDS,
        )
        self._syncs = metrics.counter(PREFIX + "syncs", "Syncs of Services.", "result")
        self._services = metrics.gauge(
            PREFIX + "services_count_by_traffic_distribution", "Services with this value.", "traffic_distribution"
        )

    def observe_sync(self, key: str, service: Service, plan: SlicePlan) -> None:
        """The Service was planned for. What the plan wants is counted before it is carried out, as upstream."""
        counts = plan.counts
        self._added.observe(counts.added)
        self._removed.observe(counts.removed)
        is_auto = choose_hinting(service) is Hinting.TOPOLOGY
        writes = len(plan.create) + len(plan.update) + len(plan.delete)
        # API validation keeps the values of the field few.
        distribution = "" if is_auto else service.spec.traffic_distribution or ""
        self._changed.observe(writes, "Auto" if is_auto else "Disabled", distribution)
        self._account(key, counts)
        self._count_distribution(key, service.spec.traffic_distribution or "")

    def observe_write(self, operation: str) -> None:
        """A slice was written: create, update or delete."""
        self._changes.inc(operation)

    def observe_result(self, result: str) -> None:
        """A sync has ended: success, error, or stale when the cache was found behind the server."""
        self._syncs.inc(result)

    def forget(self, key: str) -> None:
        """The Service is gone."""
        self._account(key, SliceCounts())
        self._counts.pop(key, None)
        self._count_distribution(key, "")

    def _account(self, key: str, counts: SliceCounts) -> None:
        before = self._counts.get(key, (0, 0, 0))
        after = (counts.desired_endpoints, counts.actual_slices, counts.desired_slices)
        self._endpoints += after[0] - before[0]
        self._slices += after[1] - before[1]
        self._wanted_slices += after[2] - before[2]
        self._counts[key] = after

    def _count_distribution(self, key: str, value: str) -> None:
        before = self._distributions.get(key, "")
        if value == before:
            return
        self._tally[value] += 1
        self._tally[before] -= 1
        if value:
            self._distributions[key] = value
        else:
            self._distributions.pop(key, None)
        for name in (before, value):
            if name:
                self._services.set(float(self._tally[name]), name)
