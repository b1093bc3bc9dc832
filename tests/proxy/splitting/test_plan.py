"""What the kernel leads to a listener. Rule: issue of the userspace plane, part 3."""

from __future__ import annotations

from typing import Any

import msgspec

from seaway.api.endpointslice.types import EndpointSlice
from seaway.api.service.types import Service
from seaway.net.family import Family
from seaway.proxy.balance import Balance
from seaway.proxy.config import NodeView
from seaway.proxy.forwarding import Frontend, Masquerade, Refusal, ServiceForwarding, Target, forward_service
from seaway.proxy.splitting.plan import is_split, plan_redirected, redirect, retire, select_userspace
from seaway.proxy.userspace.plan import Place
from seaway.testing.builders import make_service, make_slice

NODE = NodeView("node-1", "", ("192.0.2.1",))
LISTENER = Target("192.0.2.1", 40000)
LOCAL = make_slice("web-1", "web", ["10.244.0.2"], nodeName="node-1")
REMOTE = make_slice("web-2", "web", ["10.244.1.2"], nodeName="node-2")
TWO = ({"name": "", "port": 80, "nodePort": 30080}, {"name": "dns", "port": 53, "protocol": "UDP", "nodePort": 30053})


def forward(*slices: dict[str, Any], plane: str = "userspace", extra: Any = None, **spec: Any) -> ServiceForwarding:
    annotations = {**({"seaway.dev/plane": plane} if plane else {}), **(extra or {})}
    wire = make_service("web", meta={"annotations": annotations}, **{"clusterIP": "10.96.0.10", **spec})
    pieces = [msgspec.convert(piece, EndpointSlice) for piece in slices]
    found = forward_service(msgspec.convert(wire, Service), pieces, family=Family.IPV4, node=NODE)
    assert found is not None
    return found


def everywhere(frontend: Frontend) -> Target:
    return LISTENER


def test_tcp_alone_is_for_the_userspace_plane() -> None:
    service = forward(LOCAL, type="NodePort", ports=list(TWO))
    part = select_userspace(service)
    assert part is not None
    assert {f.frontend.protocol for f in part.forwardings} == {"TCP"}
    assert len(part.forwardings) == 2
    assert part.policy == service.policy


def test_a_service_that_does_not_ask_or_has_no_tcp_is_not_for_it() -> None:
    assert select_userspace(None) is None
    assert select_userspace(forward(LOCAL, plane="")) is None
    assert select_userspace(forward(LOCAL, ports=[{"name": "dns", "port": 53, "protocol": "UDP"}])) is None


def test_a_range_of_ports_stays_with_the_kernel() -> None:
    ranged = {"seaway.dev/port-range": "8080-8090"}
    service = forward(LOCAL, ports=[{"name": "", "port": 8080, "protocol": "TCP"}], extra=ranged)
    assert [is_split(f) for f in service.forwardings] == [True, False]
    ours, theirs = redirect(service, everywhere).forwardings
    assert ours.endpoints == (LISTENER,)
    assert theirs == service.forwardings[1]


def test_the_listener_stands_in_the_place_of_all_endpoints_once() -> None:
    service = forward(
        LOCAL, REMOTE, sessionAffinity="ClientIP", extra={"seaway.dev/balance": "round-robin"}, type="NodePort",
        ports=list(TWO),
    )  # fmt: skip
    for before, after in zip(service.forwardings, redirect(service, everywhere).forwardings, strict=True):
        if before.frontend.protocol == "UDP":
            assert after == before
        else:
            assert after.endpoints == (LISTENER,)
            assert after.affinity_seconds is None
            assert after.balance is Balance.RANDOM
            assert after.masquerade is not Masquerade.ALWAYS
            assert (after.frontend, after.refusal, after.source_ranges) == (
                before.frontend, before.refusal, before.source_ranges,
            )  # fmt: skip


def test_who_is_refused_by_the_policy_is_refused_by_the_kernel_still() -> None:
    service = forward(REMOTE, type="NodePort", externalTrafficPolicy="Local", ports=list(TWO))
    node_port = redirect(service, everywhere).forwardings[1]
    assert (node_port.endpoints, node_port.outside, node_port.refusal) == ((LISTENER,), (), Refusal.DROP)


def test_where_nobody_serves_nobody_listens() -> None:
    assert all(not f.endpoints and f.refusal is Refusal.REJECT for f in redirect(forward(), everywhere).forwardings)


def test_what_has_no_listener_is_served_by_the_kernel() -> None:
    service = forward(LOCAL)
    assert redirect(service, lambda frontend: None) == service


def test_what_the_rules_decide_is_not_decided_twice() -> None:
    service = forward(
        REMOTE, type="LoadBalancer", externalTrafficPolicy="Local", ports=list(TWO),
        externalIPs=["203.0.113.10"], loadBalancerSourceRanges=["203.0.113.0/24"],
    )  # fmt: skip
    part = select_userspace(service)
    assert part is not None
    assert any(f.outside == () for f in service.forwardings)
    assert all(f.outside is None and not f.source_ranges for f in part.forwardings)


def test_a_listener_for_each_frontend_is_on_the_nodes_address_at_any_port() -> None:
    part = select_userspace(forward(LOCAL, type="NodePort", ports=list(TWO)))
    assert part is not None
    wanted, unserved = plan_redirected(part, NODE)
    assert unserved == ()
    assert [listening.frontend for listening in wanted] == [f.frontend for f in part.forwardings]
    assert {want.places for want in wanted.values()} == {(Place("192.0.2.1", 0),)}


def test_where_nobody_serves_there_is_no_listener() -> None:
    part = select_userspace(forward())
    assert part is not None
    assert plan_redirected(part, NODE) == ({}, ())


def test_a_node_without_an_address_of_the_family_says_so() -> None:
    part = select_userspace(forward(LOCAL))
    assert part is not None
    assert plan_redirected(part, NodeView("node-1", "", ("2001:db8::1",))) == (
        {}, ("the node has no address of IPv4 to listen on: the kernel serves the Service",),
    )  # fmt: skip


def test_who_retires_takes_nobody_and_keeps_what_may_stay() -> None:
    service = forward(LOCAL, REMOTE, type="NodePort", externalTrafficPolicy="Local", ports=list(TWO))
    retired = retire(service)
    assert {f.frontend.protocol for f in retired.forwardings} == {"TCP"}
    for f in retired.forwardings:
        assert (f.endpoints, f.outside, f.refusal) == ((), None, Refusal.REJECT)
        assert f.serving == (Target("10.244.0.2", 8080), Target("10.244.1.2", 8080))
