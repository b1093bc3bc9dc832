"""Objects that break other proxies' every sync, on a real kernel: each costs one complaint, and the rest is served.

Rule: issue of the proxy, "bad input"; spec "proxy" §1.5 (ports over 65535), §14.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from seaway.api.endpointslice.types import EndpointSlice
from seaway.api.service.types import Service
from seaway.net.family import Family
from seaway.proxy.forwarding import MAX_STICKY_ENDPOINTS
from seaway.proxy.nftables.render import pack_key
from seaway.testing.builders import make_service, make_slice
from seaway.testing.netns import ask
from tests.kernel.test_proxy import CLIENT_POD, PODS, PODS6, VIP, VIP6, Running, World, proxy, world

__all__ = ["proxy", "world"]
pytestmark = pytest.mark.kernel
OTHER, OTHER6 = "10.96.0.66", "fd10:96::66"
TCP = {"name": "", "port": 8080, "protocol": "TCP"}
FINE = {"ports": [TCP]}
INJECTION = 'x" ; } ; flush ruleset ; # '
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], int, bool]] = {
    "a slice with a port over 65535": ({}, {"ports": [{**TCP, "port": 65536}]}, 1, False),
    "a slice with a port that no 32 bits hold": ({}, {"ports": [{**TCP, "port": 1 << 40}]}, 1, False),
    "a slice with a negative port": ({}, {"ports": [{**TCP, "port": -1}]}, 1, False),
    "a Service port over 65535": ({"spec": {"ports": [{"port": 65536, "protocol": "TCP"}]}}, FINE, 1, False),
    "a protocol that nobody knows": ({"spec": {"ports": [{"port": 80, "protocol": INJECTION}]}}, FINE, 1, False),
    "an address with rules in it": ({}, {**FINE, "addresses": [INJECTION]}, 1, False),
    "an address beside good ones": ({}, {**FINE, "addresses": ["10.244.0.999", PODS[0]]}, 1, True),
    "a name of 253 characters": ({"name": "a" * 253}, FINE, 0, True),
    "a namespace and name with rules in them": ({"name": INJECTION, "namespace": INJECTION}, FINE, 0, True),
    "a name with a line break": ({"name": "a\n}\nflush ruleset\n"}, FINE, 0, True),
    "a name of another script": ({"name": "сервис-服务-\x00"}, FINE, 0, True),
    "a port name of 1000 characters": (
        {"spec": {"ports": [{"name": "p" * 1000, "port": 80, "protocol": "TCP"}]}},
        {"ports": [{**TCP, "name": "p" * 1000}]}, 0, True,
    ),
    "an annotation with rules in it": ({"annotations": {"seaway.dev/balance": INJECTION}}, FINE, 1, True),
    "source ranges with rules in them": (
        {"spec": {"type": "LoadBalancer", "loadBalancerSourceRanges": [INJECTION, "10.0.0.0/8"]}}, FINE, 0, True,
    ),
    "external addresses with rules in them": ({"spec": {"externalIPs": [INJECTION, "203.0.113.66"]}}, FINE, 0, True),
}  # fmt: skip


@pytest.mark.parametrize(("about", "piece", "complaints", "is_served"), CASES.values(), ids=CASES.keys())
def test_what_breaks_others_costs_one_complaint(
    proxy: Running, world: World, about: dict[str, Any], piece: dict[str, Any], complaints: int, is_served: bool
) -> None:
    name, namespace = about.get("name", "hostile"), about.get("namespace", "default")
    spec = {"clusterIP": OTHER, "clusterIPs": [OTHER, OTHER6], "ipFamilies": ["IPv4", "IPv6"], **about.get("spec", {})}
    meta = {"namespace": namespace, "annotations": about.get("annotations", {})}
    wire = make_service(name, meta=meta, **spec)
    made = make_slice("hostile-1", name, piece.get("addresses", [PODS[0]]), ports=piece["ports"])
    made["metadata"]["namespace"] = namespace
    key = f"{namespace}/{name}"
    proxy.proxier.set_service(key, msgspec.convert(wire, Service))
    proxy.proxier.set_slice(f"{namespace}/hostile-1", msgspec.convert(made, EndpointSlice))
    proxy.serve()
    proxy.endpoints([PODS[1]])
    proxy.endpoints([PODS6[1]])
    proxy.sync()
    told = proxy.proxier.complaints(key)
    assert len(told) == complaints and all(len(c.text) < 300 for c in told), told
    for vip in (VIP, VIP6):
        assert ask(world.pods[CLIENT_POD], vip, 80)[0] == f"{PODS[1]}:8080", "the others are served"
    if is_served:
        assert ask(world.pods[CLIENT_POD], OTHER, 80)[0] == f"{PODS[0]}:8080"
    else:
        with pytest.raises(OSError):
            ask(world.pods[CLIENT_POD], OTHER, 80, timeout_seconds=0.3)
    for family in Family:
        want = proxy.planes[family].table.want()
        assert world.kernel.read(family, "seaway").elements == want.elements
        assert not world.kernel.find_altered(want)
    listed = world.node.run("nft", "list", "ruleset")
    assert "flush ruleset" not in listed
    world.node.run("nft", "-c", "-f", "-", stdin=listed)
    proxy.proxier.set_service(key, None)
    proxy.endpoints([PODS[2]])
    proxy.sync()
    assert ask(world.pods[CLIENT_POD], VIP, 80)[0] == f"{PODS[2]}:8080", "and changes go on"


ENORMOUS, IN_A_SLICE = 1000, 100


def test_a_service_of_100_000_endpoints_is_served_by_some_and_the_others_as_before(
    proxy: Running, world: World
) -> None:
    """Those who are served come first in the order of slices; nothing that is sent is too long for the kernel."""
    proxy.serve()
    proxy.endpoints([PODS[1]])
    proxy.serve("hostile", clusterIP=OTHER, clusterIPs=[OTHER], ipFamilies=["IPv4"], sessionAffinity="ClientIP")
    for number in range(ENORMOUS):
        addresses = [f"10.{64 + number // 250}.{number % 250}.{n}" for n in range(IN_A_SLICE)]
        wire = make_slice(f"hostile-{number}", "hostile", addresses, ports=[TCP])
        proxy.proxier.set_slice(f"default/hostile-{number}", msgspec.convert(wire, EndpointSlice))
    proxy.sync()
    (complaint,) = proxy.proxier.complaints("default/hostile")
    assert complaint.reason == "TooManyEndpoints"
    have = world.kernel.read(Family.IPV4, "seaway").elements
    key = pack_key(OTHER, "TCP", 80)
    assert sum(key in pairs for name, pairs in have.items() if name.startswith("slot-")) == MAX_STICKY_ENDPOINTS
    assert ask(world.pods[CLIENT_POD], VIP, 80)[0] == f"{PODS[1]}:8080"
    proxy.endpoints([PODS[2]])
    proxy.sync()
    assert ask(world.pods[CLIENT_POD], VIP, 80)[0] == f"{PODS[2]}:8080", "and changes go on"
