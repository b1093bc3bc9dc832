"""Rule: spec "controllers" §1.14."""

from __future__ import annotations

from seaway.controllers.endpointslice.metrics import SliceMetrics
from seaway.controllers.endpointslice.plan import plan_slices
from seaway.telemetry.exposition import render_families
from seaway.telemetry.metrics import Metrics
from tests.controllers.endpointslice.slices import apply, nodes, pods, service


def read(metrics: Metrics) -> dict[str, float]:
    """The page without the prefix, and without bounds of histograms."""
    lines = render_families(metrics.collect()).decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#") and "_bucket" not in line)
    return {name.removeprefix("endpoint_slice_controller_"): float(value) for name, _, value in pairs}


def test_sums_are_of_all_services_and_follow_each() -> None:
    metrics = Metrics()
    counted = SliceMetrics(metrics)
    close = service(trafficDistribution="PreferClose")
    plan = plan_slices(close, pods(150), nodes(), [])
    counted.observe_sync("default/web", close, plan)
    counted.observe_sync("default/other", service(), plan_slices(service(), [], nodes(), []))
    page = read(metrics)
    assert (page["endpoints_desired"], page["num_endpoint_slices"], page["desired_endpoint_slices"]) == (150, 3, 3)
    assert page['services_count_by_traffic_distribution{traffic_distribution="PreferClose"}'] == 1
    assert page["endpoints_added_per_sync_sum"] == 150
    labels = '{topology="Disabled",traffic_distribution="PreferClose"}'
    assert page[f"endpointslices_changed_per_sync_sum{labels}"] == 2
    existing = apply(close, [], plan)
    counted.observe_sync("default/web", service(), plan_slices(service(), pods(20), nodes(), existing))
    page = read(metrics)
    assert (page["endpoints_desired"], page["num_endpoint_slices"], page["desired_endpoint_slices"]) == (20, 2, 2)
    assert page['services_count_by_traffic_distribution{traffic_distribution="PreferClose"}'] == 0
    counted.forget("default/web")
    counted.forget("default/never-seen")
    page = read(metrics)
    assert (page["endpoints_desired"], page["num_endpoint_slices"], page["desired_endpoint_slices"]) == (0, 1, 1)


def test_the_annotation_is_its_own_topology() -> None:
    metrics = Metrics()
    auto = service(
        meta={"annotations": {"service.kubernetes.io/topology-mode": "Auto"}}, trafficDistribution="PreferClose"
    )
    SliceMetrics(metrics).observe_sync("default/web", auto, plan_slices(auto, pods(1), nodes(), []))
    labels = '{topology="Auto",traffic_distribution=""}'
    assert read(metrics)[f"endpointslices_changed_per_sync_count{labels}"] == 1


def test_writes_and_results_are_counted() -> None:
    metrics = Metrics()
    counted = SliceMetrics(metrics)
    for operation in ("create", "update", "update"):
        counted.observe_write(operation)
    for result in ("success", "stale", "error"):
        counted.observe_result(result)
    page = read(metrics)
    assert page['changes{operation="update"}'] == 2 and page['changes{operation="create"}'] == 1
    assert [page[f'syncs{{result="{result}"}}'] for result in ("success", "stale", "error")] == [1, 1, 1]
