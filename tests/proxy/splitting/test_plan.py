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
from seaway.proxy.splitting.plan import is_split, redirect, select_userspace
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
