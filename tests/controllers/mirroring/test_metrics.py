"""Rule: spec "controllers" §4.5 (names)."""

from __future__ import annotations

from seaway.controllers.mirroring.metrics import MirrorCounts, MirrorMetrics, count_plan
from seaway.controllers.mirroring.plan import plan_mirror
from seaway.telemetry.metrics import Metrics
from tests.controllers.mirroring.mirrors import apply, endpoints, service, subset

BEFORE = endpoints(subset("192.0.2.1", "192.0.2.2", "192.0.2.3"), subset("2001:db8::1", ports=[]))
AFTER = endpoints(subset("192.0.2.1", rest=["192.0.2.2"]), subset("2001:db8::1", "2001:db8::2", ports=[]))


def test_what_a_plan_adds_changes_and_removes() -> None:
    plan = plan_mirror(BEFORE, service(), [])
    assert count_plan([], plan) == MirrorCounts(added=4, endpoints=4, slices=2)
    existing = apply(BEFORE, [], plan)
    plan = plan_mirror(AFTER, service(), existing)
    assert count_plan(existing, plan) == MirrorCounts(added=1, updated=1, removed=1, endpoints=4, slices=2)
    existing = apply(AFTER, existing, plan)
    assert count_plan(existing, plan_mirror(AFTER, service(), existing)) == MirrorCounts(endpoints=4, slices=2)
    assert count_plan(existing, plan_mirror(None, service(), existing)) == MirrorCounts(removed=4)


def test_sums_follow_all_endpoints() -> None:
    metrics = Metrics()
    counted = MirrorMetrics(metrics)
    plan = plan_mirror(BEFORE, service(), [])
    counted.observe_sync("default/web", [], plan, 0.1)
    counted.observe_sync("default/other", [], plan, 0.1)
    existing = apply(BEFORE, [], plan)
    counted.observe_sync("default/other", existing, plan_mirror(None, service(), existing), 0.1)
    gauges = {f.name.removeprefix("endpoint_slice_mirroring_controller_"): f.rows for f in metrics.collect()}
    for name, value in (("endpoints_desired", 4.0), ("num_endpoint_slices", 2.0), ("desired_endpoint_slices", 2.0)):
        assert gauges[name] == [((), value)]
