"""Rule: spec "proxy" §6.1."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from seaway.api.endpointslice.types import EndpointSlice
from seaway.api.service.types import Service
from seaway.net.family import Family
from seaway.proxy.claims import Claims
from seaway.proxy.config import NodeView
from seaway.proxy.flows.plan import (
    Flow,
    FlowDuties,
    Resettable,
    choose_stale,
    collect_duties,
    collect_resettable,
    merge_duties,
    plan_resets,
)
from seaway.proxy.forwarding import ServiceForwarding, Target, forward_service
from seaway.testing.builders import make_service, make_slice

VIP, NODE_PORT = Target("10.96.0.10", 53), Target("", 30053)
HOST = ("192.0.2.1", "198.51.100.7")
ONE, TWO = Target("10.244.0.2", 5353), Target("10.244.0.3", 5353)


def forward(
    *ready: str, serving: tuple[str, ...] = (), protocol: str = "UDP", annotations: dict[str, str] | None = None
) -> ServiceForwarding:
    """One Service on VIP and node port; `serving` are endpoints that terminate and still answer."""
    wire = make_service(
        "dns",
        meta={"annotations": annotations or {}},
        clusterIP=VIP.address,
        ports=[{"port": 53, "protocol": protocol, "nodePort": 30053}],
    )
    ports = [{"name": "", "port": 5353, "protocol": protocol}]
    piece: dict[str, Any] = make_slice("dns-1", "dns", list(ready), ports=ports)
    piece["endpoints"] += [
        {"addresses": [address], "conditions": {"ready": False, "serving": True, "terminating": True}}
        for address in serving
    ]
    slices = [msgspec.convert(piece, EndpointSlice)]
    found = forward_service(msgspec.convert(wire, Service), slices, family=Family.IPV4, node=NodeView("n"))
    assert found is not None
    return found


def flow(destination: Target, answering: Target, protocol: str = "UDP") -> Flow:
    return Flow(destination, answering, protocol, Target("10.244.0.9", 40000))


def stale(before: ServiceForwarding | None, after: ServiceForwarding | None, *flows: Flow) -> list[Flow]:
    return list(choose_stale(flows, collect_duties([(before, after)]), HOST))


ONLY_TWO = forward("10.244.0.3")
CASES: dict[str, tuple[ServiceForwarding | None, ServiceForwarding | None, Flow, bool]] = {
    "the endpoint has gone": (forward("10.244.0.2"), ONLY_TWO, flow(VIP, ONE), True),
    "the endpoint is still there": (forward("10.244.0.2", "10.244.0.3"), ONLY_TWO, flow(VIP, TWO), False),
    "128 the endpoint terminates and still answers": (
        forward("10.244.0.2"), forward("10.244.0.3", serving=("10.244.0.2",)), flow(VIP, ONE), False,
    ),
    "129 the endpoint has another port now": (
        forward("10.244.0.2"), ONLY_TWO, flow(VIP, Target("10.244.0.3", 53)), True,
    ),
    "it was never translated, and there is an endpoint now": (forward(), ONLY_TWO, flow(VIP, VIP), True),
    "it was never translated, and there still is no endpoint": (ONLY_TWO, forward(), flow(VIP, VIP), False),
    "131 the last endpoint has gone": (ONLY_TWO, forward(), flow(VIP, TWO), True),
    "the Service has gone": (ONLY_TWO, None, flow(VIP, TWO), True),
    "the Service has gone, and its node port": (ONLY_TWO, None, flow(Target(HOST[1], 30053), TWO), True),
    "the Service has come": (None, ONLY_TWO, flow(VIP, VIP), True),
    "a node port of this host": (forward("10.244.0.2"), ONLY_TWO, flow(Target(HOST[0], 30053), ONE), True),
    "132 the same number elsewhere": (
        forward("10.244.0.2"), ONLY_TWO, flow(Target("203.0.113.1", 30053), Target("203.0.113.1", 30053)), False,
    ),
    "another port of the Service": (forward("10.244.0.2"), ONLY_TWO, flow(Target(VIP.address, 54), ONE), False),
    "133 TCP": (forward("10.244.0.2"), ONLY_TWO, flow(VIP, ONE, "TCP"), False),
    "nothing has changed": (ONLY_TWO, ONLY_TWO, flow(VIP, ONE), False),
}  # fmt: skip


@pytest.mark.parametrize(("before", "after", "one", "is_stale"), CASES.values(), ids=CASES.keys())
def test_stale_flows(
    before: ServiceForwarding | None, after: ServiceForwarding | None, one: Flow, is_stale: bool
) -> None:
    assert stale(before, after, one) == ([one] if is_stale else [])


def test_at_the_start_flows_to_addresses_that_no_service_has_are_stale_if_they_were_translated() -> None:
    duties = collect_duties([(None, ONLY_TWO)], unclaimed=("10.96.0.0/16",))
    lost = Target("10.96.0.99", 53)
    flows = (flow(lost, ONE), flow(lost, lost), flow(Target("8.8.8.8", 53), ONE), flow(VIP, TWO))
    assert choose_stale(flows, duties, HOST) == (flow(lost, ONE),)


def test_duties_add_up_and_the_later_ones_are_right() -> None:
    first = FlowDuties({VIP: frozenset({ONE}), NODE_PORT: frozenset()}, ("10.96.0.0/16",))
    later = FlowDuties({VIP: frozenset({TWO})})
    merged = merge_duties(first, later)
    assert merged == FlowDuties({VIP: frozenset({TWO}), NODE_PORT: frozenset()}, ("10.96.0.0/16",))
    assert merge_duties(None, later) == later
    assert FlowDuties().is_empty and not merged.is_empty


# TCP: `seaway.dev/reset-after`.

RESET = {"seaway.dev/reset-after": "30s"}
ANNOTATIONS = {
    "none": ({}, None),
    "a duration": (RESET, 30.0),
    "at once": ({"seaway.dev/reset-after": "0s"}, 0.0),
    "at most a day": ({"seaway.dev/reset-after": "100h"}, 86400.0),
    "not before it happened": ({"seaway.dev/reset-after": "-1s"}, None),
    "no duration": ({"seaway.dev/reset-after": "soon"}, None),
}


@pytest.mark.parametrize(("annotations", "seconds"), ANNOTATIONS.values(), ids=ANNOTATIONS.keys())
def test_the_annotation(annotations: dict[str, str], seconds: float | None) -> None:
    found = forward("10.244.0.2", protocol="TCP", annotations=annotations)
    assert found.reset_after_seconds == seconds
    table = collect_resettable(found)
    wanted = {} if seconds is None else dict.fromkeys((VIP, NODE_PORT), Resettable(frozenset({ONE}), seconds))
    assert table == wanted


TABLE = {VIP: Resettable(frozenset({TWO}), 30.0)}
GONE, KEPT = flow(VIP, ONE, "TCP"), flow(VIP, TWO, "TCP")


def test_a_flow_ends_its_time_after_its_endpoint_has_gone() -> None:
    due, waiting = plan_resets([GONE, KEPT], TABLE, {}, now=100)
    assert (due, waiting) == ((), {GONE: 130})
    due, waiting = plan_resets([GONE, KEPT], TABLE, waiting, now=120)
    assert (due, waiting) == ((), {GONE: 130})
    assert plan_resets([GONE, KEPT], TABLE, waiting, now=130) == ((GONE,), {})


def test_a_flow_whose_endpoint_came_back_waits_no_longer() -> None:
    both = {VIP: Resettable(frozenset({ONE, TWO}), 30.0)}
    assert plan_resets([GONE], both, {GONE: 130}, now=120) == ((), {})
    assert plan_resets([GONE], TABLE, {}, now=125) == ((), {GONE: 155})


def test_a_shorter_time_counts_at_once() -> None:
    assert plan_resets([GONE], {VIP: Resettable(frozenset(), 0.0)}, {GONE: 130}, now=101) == ((GONE,), {})


def test_only_translated_flows_of_services_that_want_it_are_reset() -> None:
    others = [flow(Target("10.96.0.11", 80), ONE, "TCP"), flow(VIP, VIP, "TCP"), flow(VIP, ONE)]
    assert plan_resets(others, TABLE, {}, now=0) == ((), {})


def test_flows_to_a_node_port_are_reset_too() -> None:
    one = flow(Target(HOST[0], 30053), ONE, "TCP")
    table = {NODE_PORT: Resettable(frozenset(), 0.0)}
    assert plan_resets([one], table, {}, now=0, local_addresses=HOST) == ((one,), {})
    assert plan_resets([one], table, {}, now=0) == ((), {})


def forward_range(*ready: str, last: int = 60, protocol: str = "UDP") -> ServiceForwarding:
    """The ports 53 to `last` of VIP, without what Claims takes away."""
    meta = {"annotations": {"seaway.dev/port-range": f"53-{last}", "seaway.dev/reset-after": "5s"}}
    wire = make_service("r", meta=meta, clusterIP=VIP.address, ports=[{"port": 53, "protocol": protocol}])
    piece = make_slice("r-1", "r", list(ready), ports=[{"name": "", "port": 53, "protocol": protocol}])
    slices = [msgspec.convert(piece, EndpointSlice)]
    found = forward_service(msgspec.convert(wire, Service), slices, family=Family.IPV4, node=NodeView("n"))
    assert found is not None
    claims = Claims()
    claims.update(found.service, found)
    return claims.settle(found)


def test_stale_flows_to_any_port_of_a_range_are_found_and_no_others() -> None:
    def to(port: int, address: str, answering: int = 0) -> Flow:
        return flow(Target(VIP.address, port), Target(address, answering or port))

    before, after = forward_range(ONE.address, TWO.address), forward_range(TWO.address)
    flows = [
        to(53, ONE.address),
        to(60, ONE.address),
        to(60, TWO.address),
        to(61, ONE.address),
        to(55, TWO.address, 56),
    ]
    assert stale(before, after, *flows) == [flows[0], flows[1], flows[4]]
    assert stale(after, None, to(60, TWO.address)) == [to(60, TWO.address)]
    shorter = forward_range(TWO.address, last=55)
    assert stale(after, shorter, to(55, TWO.address), to(60, TWO.address)) == [to(60, TWO.address)]


def test_tcp_flows_to_any_port_of_a_range_are_reset() -> None:
    table = collect_resettable(forward_range(TWO.address, protocol="TCP"))
    gone = flow(Target(VIP.address, 60), Target(ONE.address, 60), "TCP")
    stays = flow(Target(VIP.address, 60), Target(TWO.address, 60), "TCP")
    assert plan_resets([gone, stays], table, {}, now=10.0) == ((), {gone: 15.0})
    assert plan_resets([gone, stays], table, {gone: 15.0}, now=15.0) == ((gone,), {})


def test_what_the_userspace_plane_holds_is_not_the_kernels_to_reset() -> None:
    asking = {**RESET, "seaway.dev/plane": "userspace"}
    assert collect_resettable(forward("10.244.0.2", protocol="TCP", annotations=asking)) == {}
