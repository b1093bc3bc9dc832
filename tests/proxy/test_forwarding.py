"""Services and slices to forwardings. Rule: spec "proxy" §1.2 to §1.5, §2.3."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from seaway.api.endpointslice.types import EndpointSlice
from seaway.api.service.types import Service
from seaway.net.family import Family
from seaway.proxy.config import NodeView
from seaway.proxy.connectionpolicy import ConnectionPolicy
from seaway.proxy.forwarding import (
    Forwarding,
    Masquerade,
    Refusal,
    ServiceForwarding,
    Target,
    TrafficClass,
    forward_service,
    group_endpoints,
    parse_address,
)
from seaway.testing.builders import make_service, make_slice

NODE = NodeView("node-1", "", ("192.0.2.1",))
VIP = "10.96.0.10"


def read_slice(*args: Any, **kwargs: Any) -> EndpointSlice:
    return msgspec.convert(make_slice(*args, **kwargs), EndpointSlice)


def forward(
    *slices: EndpointSlice, family: Family = Family.IPV4, meta: Any = None, status: Any = None, **spec: Any
) -> ServiceForwarding | None:
    wire = make_service("web", meta=meta, **{"clusterIP": VIP, **spec}) | {"status": status or {}}
    return forward_service(msgspec.convert(wire, Service), slices, family=family, node=NODE)


def by_class(forwarding: ServiceForwarding | None) -> dict[TrafficClass, Forwarding]:
    assert forwarding is not None
    return {f.frontend.traffic_class: f for f in forwarding.forwardings}


LOCAL = read_slice("web-1", "web", ["10.244.0.2"], nodeName="node-1")
REMOTE = read_slice("web-2", "web", ["10.244.1.2"], nodeName="node-2")


@pytest.mark.parametrize(
    "spec",
    [
        {"clusterIP": "None"},
        {"clusterIP": ""},
        {"type": "ExternalName", "clusterIP": VIP},
        {"meta": {"labels": {"service.kubernetes.io/service-proxy-name": ""}}},
        {"clusterIPs": ["fd10:96::1"], "ipFamilies": ["IPv6"], "clusterIP": "fd10:96::1"},
        {"clusterIP": "fd10:96::1", "externalIPs": ["203.0.113.1"]},
    ],
    ids=[
        "headless",
        "not allocated yet",
        "ExternalName with a stale cluster IP",
        "another proxy's",
        "of the other family",
        "external IP of the family without a cluster IP of it",
    ],
)
def test_these_services_forward_nothing(spec: dict[str, Any]) -> None:
    assert forward(LOCAL, **spec) is None


def test_a_cluster_ip_is_forwarded_to_every_endpoint() -> None:
    forwarding = by_class(forward(REMOTE, LOCAL))[TrafficClass.CLUSTER_IP]
    assert forwarding.endpoints == (Target("10.244.0.2", 8080), Target("10.244.1.2", 8080))
    assert (forwarding.masquerade, forwarding.refusal, forwarding.outside) == (Masquerade.OFF_CLUSTER, None, None)


def test_hairpins_are_the_endpoints_of_this_node() -> None:
    forwarding = forward(REMOTE, LOCAL)
    assert forwarding is not None
    assert forwarding.hairpins == (("TCP", Target("10.244.0.2", 8080)),)


def test_external_frontends_are_not_gated_on_the_type() -> None:
    ingress = [{"ip": "203.0.113.2"}, {"ip": "203.0.113.3", "ipMode": "Proxy"}, {"hostname": "x"}]
    status = {"loadBalancer": {"ingress": ingress}}
    found = forward(
        LOCAL, externalIPs=["203.0.113.001", "", "x"], ports=[{"port": 80, "nodePort": 30080}], status=status
    )
    assert found is not None
    assert [(f.frontend.traffic_class, f.frontend.address, f.frontend.port) for f in found.forwardings] == [
        (TrafficClass.CLUSTER_IP, VIP, 80),
        (TrafficClass.EXTERNAL_IP, "203.0.113.1", 80),
        (TrafficClass.LOAD_BALANCER_IP, "203.0.113.2", 80),
        (TrafficClass.NODE_PORT, "", 30080),
    ]
    assert {f.masquerade for f in found.forwardings[1:]} == {Masquerade.ALWAYS}


@pytest.mark.parametrize(
    ("slices", "spec", "internal", "external"),
    [
        ((), {}, Refusal.REJECT, Refusal.REJECT),
        ((REMOTE,), {"internalTrafficPolicy": "Local"}, Refusal.DROP, None),
        ((REMOTE,), {"externalTrafficPolicy": "Local"}, None, Refusal.DROP),
        ((LOCAL,), {"internalTrafficPolicy": "Local", "externalTrafficPolicy": "Local"}, None, None),
        ((), {"internalTrafficPolicy": "Local", "externalTrafficPolicy": "Local"}, Refusal.REJECT, Refusal.REJECT),
    ],
    ids=["none", "internal Local, only remote", "external Local, only remote", "both Local, local", "both Local, none"],
)
def test_refusals(
    slices: tuple[EndpointSlice, ...], spec: dict[str, Any], internal: Refusal | None, external: Refusal | None
) -> None:
    found = by_class(forward(*slices, type="NodePort", ports=[{"port": 80, "nodePort": 30080}], **spec))
    assert found[TrafficClass.CLUSTER_IP].refusal == internal
    assert found[TrafficClass.NODE_PORT].refusal == external


def test_the_local_policy_parts_outside_from_the_cluster() -> None:
    found = by_class(
        forward(LOCAL, REMOTE, type="NodePort", externalTrafficPolicy="Local", ports=[{"port": 80, "nodePort": 30080}])
    )
    port = found[TrafficClass.NODE_PORT]
    assert (len(port.endpoints), port.outside, port.masquerade) == (2, (Target("10.244.0.2", 8080),), Masquerade.NODE)


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [
        ([], ()),
        ([" 203.0.113.0/25 ", "192.0.2.0/24"], ("192.0.2.0/24", "203.0.113.0/25", "203.0.113.130/32")),
        (["203.0.113.0/25"], ("203.0.113.0/25",)),
        (["10.0.0.0/8", "10.1.0.0/16"], ("10.0.0.0/8",)),
        (["10.0.0.0/8", "0.0.0.0/0"], ()),
        (["2001:db8::/32"], ()),
    ],
    ids=[
        "none: unrestricted",
        "a range with the node lets the VIP itself in",
        "one without does not",
        "nested ranges are one",
        "a range of everything unrestricts",
        "ranges of the other family do not count",
    ],
)
def test_source_ranges(ranges: list[str], expected: tuple[str, ...]) -> None:
    found = by_class(
        forward(
            LOCAL,
            type="LoadBalancer",
            loadBalancerSourceRanges=ranges,
            status={"loadBalancer": {"ingress": [{"ip": "203.0.113.130"}]}},
        )
    )
    assert found[TrafficClass.LOAD_BALANCER_IP].source_ranges == expected
    assert found[TrafficClass.CLUSTER_IP].source_ranges == ()


@pytest.mark.parametrize(
    ("spec", "seconds"),
    [
        ({}, None),
        ({"sessionAffinity": "ClientIP"}, 10800),
        ({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 5}}}, 5),
    ],
    ids=["none", "ClientIP without a timeout", "ClientIP"],
)
def test_affinity(spec: dict[str, Any], seconds: int | None) -> None:
    assert by_class(forward(LOCAL, **spec))[TrafficClass.CLUSTER_IP].affinity_seconds == seconds


def port(**fields: Any) -> list[dict[str, Any]]:
    return [{"name": "", "port": 8080, "protocol": "TCP"} | fields]


@pytest.mark.parametrize(
    ("slices", "targets"),
    [
        ([("a", ["10.0.0.1"], {"ports": port(port=None)})], []),
        ([("a", ["10.0.0.1"], {"ports": port(port=0)})], []),
        ([("a", ["10.0.0.1"], {"ports": port(port=70000)})], []),
        ([("a", ["10.0.0.1"], {"ports": port(name="http")})], []),
        ([("a", ["10.0.0.1"], {"ports": port(protocol="UDP")})], []),
        ([("a", ["10.0.0.1"], {"address_type": "FQDN"})], []),
        ([("a", ["10.0.0.1"], {"ports": []})], []),
        ([("a", ["10.0.0.1", "10.0.0.2"], {}), ("b", ["10.0.0.2"], {})], ["10.0.0.1", "10.0.0.2"]),
        ([("a", ["nonsense"], {})], []),
        ([("a", ["10.00.0.041"], {})], ["10.0.0.41"]),
    ],
    ids=[
        "a port without number",
        "port 0",
        "a port that is none",
        "another port name",
        "another protocol",
        "names instead of addresses",
        "no ports",
        "two slices are united",
        "an address that is none",
        "leading zeros are decimal",
    ],
)
def test_endpoints_of_slices(slices: list[Any], targets: list[str]) -> None:
    read = [read_slice(name, "web", addresses, **rest) for name, addresses, rest in slices]
    found = group_endpoints(read, Family.IPV4).get(("", "TCP"), {})
    assert sorted(t.address for t in found) == targets


def test_every_address_of_an_endpoint_is_served() -> None:
    wire = make_slice("a", "web", ["10.0.0.1"])
    wire["endpoints"][0]["addresses"] = ["10.0.0.1", "10.0.0.2"]
    found = group_endpoints([msgspec.convert(wire, EndpointSlice)], Family.IPV4)
    assert list(found["", "TCP"]) == [Target("10.0.0.1", 8080), Target("10.0.0.2", 8080)]


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_a_duplicate_that_is_not_terminating_wins(order: tuple[str, str]) -> None:
    conditions = {"ready": False, "serving": True, "terminating": True}
    dying = read_slice(order[0], "web", ["10.0.0.1"], conditions=conditions)
    found = group_endpoints([dying, read_slice(order[1], "web", ["10.0.0.1"])], Family.IPV4)
    assert found["", "TCP"][Target("10.0.0.1", 8080)].ready


@pytest.mark.parametrize(
    ("text", "family", "address"),
    [
        ("172.30.0.041", Family.IPV4, "172.30.0.41"),
        ("10.0.0.0", Family.IPV4, "10.0.0.0"),
        ("FD10::00A", Family.IPV6, "fd10::a"),
        ("10.0.0.1", Family.IPV6, None),
        ("fd10::1", Family.IPV4, None),
        ("", Family.IPV4, None),
        ("10.0.0.256", Family.IPV4, None),
    ],
)
def test_parse_address(text: str, family: Family, address: str | None) -> None:
    assert parse_address(text, family) == address


def test_what_a_service_asks_of_the_userspace_plane_is_in_its_forwarding() -> None:
    asked = {"seaway.dev/plane": "userspace", "seaway.dev/proxy-protocol": "v2", "seaway.dev/connect-retries": "?"}
    plain, special = forward(LOCAL), forward(LOCAL, meta={"annotations": asked})
    assert plain is not None
    assert special is not None
    assert (plain.asks_userspace, plain.policy) == (False, ConnectionPolicy())
    assert (special.asks_userspace, special.policy) == (True, ConnectionPolicy(proxy_protocol="v2"))
