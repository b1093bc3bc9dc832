"""What the numbered scenarios of spec "proxy" §13 say about packets, beyond the one Service of test_packets.py."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from seaway.api.node.types import Node
from seaway.net.family import Family
from seaway.testing.builders import make_node, make_slice
from seaway.testing.packets import Fate, Packet
from tests.proxy.scene import (
    BALANCED,
    BALANCED6,
    EXTERNAL,
    HOST,
    LOCAL_IN,
    LOCAL_OUT,
    NODE,
    NODE6,
    OTHER6,
    PLACES,
    RANGES,
    SOURCES,
    VIP,
    VIP6,
    Scene,
)

POD, OUTSIDER, BLOCKED = (SOURCES[Family.IPV4][name] for name in "PCB")
POD6, OUTSIDER6 = (SOURCES[Family.IPV6][name] for name in "PC")
TCP_80 = [{"port": 80, "protocol": "TCP"}]
WIDE = {"settings": {"node_port_addresses": ("192.168.0.0/16",)}}
NARROW = {"settings": {"node_port_addresses": ("192.168.0.0/24",)}}
OWN_RANGE = {"settings": {"cluster_cidrs": ("10.0.0.0/24",)}}
HIDE_ALL = {"settings": {"masquerade_all": True}}
PROXY_MODE = {"status": {"loadBalancer": {"ingress": [{"ip": BALANCED, "ipMode": "Proxy"}]}}}
BY_NAME = {"status": {"loadBalancer": {"ingress": [{"hostname": "lb.example"}]}}}
CLUSTER_TYPE = {"type": "ClusterIP", "ports": TCP_80}
NO_NODE_PORT = {"ports": TCP_80, "allocateLoadBalancerNodePorts": False}
EVERYBODY = {"loadBalancerSourceRanges": ["192.168.0.0/24", "0.0.0.0/0"]}


def make(endpoints: str = "L+ R+", *, settings: dict[str, Any] | None = None, zone: str = "", **spec: Any) -> Scene:
    scene = Scene(zone=zone, **(settings or {}))
    scene.serve(**spec)
    scene.endpoints(endpoints)
    return scene


TABLE: list[tuple[str, str, str, str, dict[str, Any], str]] = [
    ("25 masquerade all hides the node too", "N", "cluster", "L+ R+", HIDE_ALL, "L1 m R2 m"),
    ("34 internal Local, two here", "P", "cluster", "L+ L+ R+", LOCAL_IN, "L1 p L2 p"),
    ("37 internal Local, only remote, node", "N", "cluster", "R+", LOCAL_IN, "DROP"),
    ("37 internal Local, only remote, outside", "C", "cluster", "R+", LOCAL_IN, "DROP"),
    ("41 internal Local does not touch load balancer IPs", "P", "lb", "R+", LOCAL_IN, "R1 m"),
    ("42 a host-network Pod counts as the node", "N", "cluster", "L+ R+", LOCAL_IN, "L1 m"),
    ("48 an address in the selected ranges", "C", "other", "L+", WIDE, "L1 m"),
    ("48 an address outside of the selected ranges", "C", "other", "L+", NARROW, "untouched"),
    ("62 external Local, from a pod, external IP", "P", "external", "L+ R+", LOCAL_OUT, "L1 p R2 p"),
    ("63 external Local, from the node, external IP", "N", "external", "L+ R+", LOCAL_OUT, "L1 m R2 m"),
    ("65 external Local, only remote, external IP", "C", "external", "R+", LOCAL_OUT, "DROP"),
    ("66 the same from a pod, load balancer IP", "P", "lb", "R+", LOCAL_OUT, "R1 p"),
    ("66 the same from a pod, external IP", "P", "external", "R+", LOCAL_OUT, "R1 p"),
    ("67 the same from the node, node port", "N", "node", "R+", LOCAL_OUT, "R1 m"),
    ("67 the same from the node, load balancer IP", "N", "lb", "R+", LOCAL_OUT, "R1 m"),
    ("71 external IPs of type ClusterIP", "C", "external", "L+ R+", {**CLUSTER_TYPE, **LOCAL_OUT}, "L1 p"),
    ("73 a Pod of another node, by the cluster's range", "Q", "lb", "L+ R+", LOCAL_OUT, "L1 p R2 p"),
    ("74 a Pod of another node, by this node's range", "Q", "lb", "L+ R+", {**OWN_RANGE, **LOCAL_OUT}, "L1 p"),
    ("75 load balancer IP, node", "N", "lb", "L+ R+", {}, "L1 m R2 m"),
    ("76 load balancer IP of mode Proxy", "C", "lb", "L+", PROXY_MODE, "untouched"),
    ("77 a host name only", "C", "lb", "L+", BY_NAME, "untouched"),
    ("77 and its node port works", "C", "node", "L+", BY_NAME, "L1 m"),
    ("87 ranges of the other family only", "B", "lb", "L+", {"loadBalancerSourceRanges": ["2001:db8::/32"]}, "L1 m"),
    ("88 ranges with everything in them", "B", "lb", "L+", EVERYBODY, "L1 m"),
    ("86 ranges do not guard the cluster IP", "B", "cluster", "L+", RANGES, "L1 m"),
    ("91 no node port", "C", "lb", "L+", NO_NODE_PORT, "L1 m"),
    ("93 external IP, pod", "P", "external", "L+ R+", {}, "L1 m R2 m"),
    ("98 external Local, ready ones here", "C", "lb", "L+ L+ Lt Lx R+", LOCAL_OUT, "L1 p L2 p"),
    ("97 ready ones only, others terminate", "P", "cluster", "L+ L+ Lt Lx R+", {}, "L1 p L2 p R5 p"),
    ("99 external Local does not touch the cluster IP's readiness", "P", "cluster", "Lt Lt L- R+", LOCAL_OUT, "R4 p"),
    ("102 terminating ones by the load balancer IP", "C", "lb", "Lt Lt R- Rt", {}, "L1 m L2 m R4 m"),
    ("103 remote terminating, pod to the cluster IP", "P", "cluster", "Rt", LOCAL_OUT, "R1 p"),
    ("103 remote terminating, pod to the load balancer IP", "P", "lb", "Rt", LOCAL_OUT, "R1 p"),
    ("104 nothing serves any more, cluster IP", "P", "cluster", "Lx Rx", {}, "REJECT"),
    ("104 nothing serves any more, load balancer IP", "C", "lb", "Lx Rx", LOCAL_OUT, "REJECT"),
    ("106 hints for this zone", "P", "cluster", "L+:a R+:b R+:c", {"zone": "a"}, "L1 p"),
    ("107 an endpoint without a hint", "P", "cluster", "L+:a R+:b R+", {"zone": "a"}, "L1 p R2 p R3 p"),
    ("108 a node without a zone", "P", "cluster", "L+:a R+:b", {"zone": ""}, "L1 p R2 p"),
    ("109 no hint for this zone", "P", "cluster", "L+:a R+:b", {"zone": "z"}, "L1 p R2 p"),
    ("110 hints for this node", "P", "cluster", "L+:a:N R+:b:M R+:a:M", {"zone": "a"}, "L1 p"),
    ("111 hints for other nodes, then zones", "P", "cluster", "L+:a:K R+:b:M R+:a:M", {"zone": "a"}, "L1 p R3 p"),
    ("113 external Local ignores hints", "C", "lb", "L+:b R+:a", {"zone": "a", **LOCAL_OUT}, "L1 p"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "place", "endpoints", "more", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_fate(source: str, place: str, endpoints: str, more: dict[str, Any], expected: str) -> None:
    assert make(endpoints, **more).ask(source, place) == expected


def test_scenario_7_the_target_port_is_the_slices() -> None:
    scene = Scene()
    scene.serve(ports=[{"port": 443, "protocol": "TCP", "targetPort": 1}])
    scene.endpoints("L+ R+", ports=[{"name": "", "port": 8443, "protocol": "TCP"}])
    assert scene.send(POD, VIP, 443) == "L1:8443 p R2:8443 p"


def test_scenario_8_each_protocol_goes_to_its_own_port() -> None:
    scene = Scene()
    kinds = {"TCP": 5301, "UDP": 5302, "SCTP": 5303}
    scene.serve(ports=[{"name": kind.lower(), "port": 53, "protocol": kind} for kind in kinds])
    scene.endpoints("L+", ports=[{"name": k.lower(), "port": port, "protocol": k} for k, port in kinds.items()])
    assert [scene.send(POD, VIP, 53, kind) for kind in kinds] == [f"L1:{port} p" for port in kinds.values()]


def test_scenario_10_the_port_of_another_service_is_refused() -> None:
    scene = make("L+")
    scene.serve("other", clusterIP="172.30.0.11", clusterIPs=["172.30.0.11"], ipFamilies=["IPv4"], status={},
                externalIPs=[], ports=[{"port": 443, "protocol": "TCP"}])  # fmt: skip
    scene.endpoints("L+", "other")
    assert scene.send(POD, VIP, 443) == "REJECT"
    assert scene.send(POD, "172.30.0.11", 443) == "L1 p"


def test_scenario_12_without_a_known_range_other_addresses_are_left_alone() -> None:
    assert make("L+", settings={"service_cidrs": ()}).send(POD, "172.30.0.50", 80) == "untouched"


@pytest.mark.parametrize("source", ["P", "N"])
def test_scenario_13_icmp_echo_to_a_cluster_ip_is_refused(source: str) -> None:
    assert make("L+").send(SOURCES[Family.IPV4][source], VIP, 0, "ICMP") == "REJECT"


BAD_PORTS = {
    "18 another port name": [{"name": "other", "port": 8080, "protocol": "TCP"}],
    "18 another protocol": [{"name": "", "port": 8080, "protocol": "UDP"}],
    "18 no ports": [],
    "19 no port number": [{"name": "", "protocol": "TCP"}],
    "19 port number 0": [{"name": "", "port": 0, "protocol": "TCP"}],
    "19 port number over 65535": [{"name": "", "port": 65536, "protocol": "TCP"}],
}


@pytest.mark.parametrize("ports", BAD_PORTS.values(), ids=BAD_PORTS.keys())
def test_a_slice_whose_port_does_not_match_serves_nothing(ports: Any) -> None:
    scene = Scene()
    scene.serve()
    scene.endpoints("L+", ports=ports)
    assert scene.ask("P", "cluster") == "REJECT"


@pytest.mark.parametrize(("service", "piece"), [("", "http"), ("http", "")], ids=["slice named", "Service named"])
def test_scenario_20_a_named_port_is_not_the_unnamed_one(service: str, piece: str) -> None:
    scene = Scene()
    scene.serve(ports=[{"name": service, "port": 80, "protocol": "TCP"}])
    scene.endpoints("L+", ports=[{"name": piece, "port": 8080, "protocol": "TCP"}])
    assert scene.ask("P", "cluster") == "REJECT"


def test_scenario_21_each_slice_has_its_own_number_for_a_named_port() -> None:
    scene = Scene()
    scene.serve()
    scene.slice("web-1", ["10.0.0.11"], nodeName="N")
    scene.slice("web-2", ["10.0.1.22"], nodeName="M", ports=[{"name": "", "port": 9090, "protocol": "TCP"}])
    assert scene.ask("P", "cluster") == "L1 p R2:9090 p"


@pytest.mark.parametrize("order", [("web-1", "web-2"), ("web-2", "web-1")], ids=["first", "last"])
def test_scenario_22_an_endpoint_in_two_slices_is_ready_if_one_says_so(order: tuple[str, str]) -> None:
    scene = Scene()
    scene.serve()
    scene.slice(order[0], ["10.0.0.11"], nodeName="N")
    scene.slice(order[1], ["10.0.0.11"], nodeName="N", conditions={"ready": False, "terminating": True})
    scene.slice("web-3", ["10.0.1.22"], nodeName="M")
    assert scene.ask("P", "cluster") == "L1 p R2 p"


def test_scenario_23_every_address_of_an_endpoint_is_served() -> None:
    """Stock proxies take the first; the concept page's slice by hand has two in one endpoint, and both are to serve."""
    scene = Scene()
    scene.serve()
    wire = make_slice("web-1", "web", [])
    wire["endpoints"] = [{"addresses": ["10.0.0.11", "10.0.0.12"], "nodeName": "N"}]
    scene.put("web-1", wire)
    assert scene.ask("P", "cluster") == "L1 p L2 p"
    assert scene.ask("L", "cluster") == "L1 m L2 p"


def test_scenario_24_a_thousand_endpoints_are_all_reached() -> None:
    scene = Scene()
    scene.serve()
    addresses = [f"10.1.{i // 250}.{i % 250}" for i in range(1000)]
    for start in range(0, 1000, 100):
        scene.slice(f"web-{start}", addresses[start : start + 100])
    scene.sync()
    pick = scene.ruleset().structure.chains["pick-1000"].rules
    assert pick is not None
    assert len(pick) == 1  # one draw among all, so that each has the same share
    assert {fate.arrives for fate in scene.fates(Packet(POD, VIP, 80))} == {f"{address}:8080" for address in addresses}


def test_scenario_27_an_external_name_is_never_served() -> None:
    assert make("L+", type="ExternalName", externalName="example.org").ask("P", "cluster") == "DROP"
    away = make("L+", type="ExternalName", externalName="example.org", settings={"service_cidrs": ()})
    assert away.ask("P", "cluster") == "untouched"


def test_scenario_28_a_service_that_becomes_an_external_name_and_back() -> None:
    scene = make("L+", type="ClusterIP")
    assert scene.ask("P", "cluster") == "L1 p"
    scene.serve(type="ExternalName", externalName="example.org")
    assert scene.ask("P", "cluster") == "DROP"
    scene.serve(type="ClusterIP")
    assert scene.ask("P", "cluster") == "L1 p"


def test_scenario_29_a_service_of_another_proxy() -> None:
    scene = make("L+")
    scene.serve(meta={"labels": {"service.kubernetes.io/service-proxy-name": ""}})
    assert (scene.ask("P", "cluster"), scene.ask("C", "lb")) == ("DROP", "untouched")
    scene.serve()
    assert (scene.ask("P", "cluster"), scene.ask("C", "lb")) == ("L1 p", "L1 m")


def test_scenario_30_a_slice_with_the_headless_label_is_not_looked_at() -> None:
    headless = {"labels": {"service.kubernetes.io/headless": ""}}
    scene = Scene()
    scene.serve(meta=headless)
    scene.slice("web-1", ["10.0.0.11"], nodeName="N")
    assert scene.ask("P", "cluster") == "L1 p"  # on the Service it means nothing
    scene.slice("web-1", ["10.0.0.11"], nodeName="N", meta=headless)
    assert scene.ask("P", "cluster") == "REJECT"
    scene.slice("web-1", ["10.0.0.11"], nodeName="N")
    assert scene.ask("P", "cluster") == "L1 p"


def test_scenario_31_a_service_that_is_made_again_with_the_same_address() -> None:
    scene = make("L+")
    scene.sync()
    scene.remove()
    scene.serve("again")
    scene.endpoints("R+", "again")
    assert scene.ask("P", "cluster") == "R1 p"


def test_scenario_32_a_headless_service_is_not_the_proxys() -> None:
    scene = Scene()
    scene.serve(clusterIP="None", clusterIPs=["None"], externalIPs=[EXTERNAL])
    scene.endpoints("L+")
    assert scene.send(OUTSIDER, EXTERNAL, 80) == "untouched"
    assert not scene.proxier.forwardings(Family.IPV4)


@pytest.mark.parametrize(("source", "place", "how"), [("P", "cluster", "p"), ("C", "lb", "m")])
def test_scenario_32a_an_endpoint_outside_of_the_cluster(source: str, place: str, how: str) -> None:
    scene = Scene()
    scene.serve(selector={})
    scene.slice("web-1", ["203.0.113.77"])
    (fate,) = _fates(scene, source, place)
    assert (fate.arrives, fate.masqueraded) == ("203.0.113.77:8080", how == "m")


HOST_NETWORK = {
    "32b a Pod to a host-network Pod here": ("P", "cluster", {}, NODE, False),
    "32b a Pod to a host-network Pod elsewhere": ("P", "cluster", {}, "192.168.0.3", False),
    "32b the node to a host-network Pod here": ("N", "cluster", {}, NODE, True),
    "32b the node to a host-network Pod elsewhere": ("N", "cluster", {}, "192.168.0.3", True),
    "43 internal Local, a host-network Pod here": ("P", "cluster", LOCAL_IN, NODE, False),
    "59 outside to a node port, a host-network Pod here": ("C", "node", {}, NODE, False),
    "59 a Pod to a node port, a host-network Pod here": ("P", "node", {}, NODE, False),
    "59 outside to a load balancer IP, a host-network Pod here": ("C", "lb", {}, NODE, False),
    "59 a Pod to a load balancer IP, a host-network Pod here": ("P", "lb", {}, NODE, False),
}


@pytest.mark.parametrize(
    ("source", "place", "spec", "endpoint", "masqueraded"), HOST_NETWORK.values(), ids=HOST_NETWORK.keys()
)
def test_host_network_endpoints(source: str, place: str, spec: Any, endpoint: str, masqueraded: bool) -> None:
    """What arrives at the node itself passes no postrouting, so it keeps its source. Rule: spec "proxy" §8.4."""
    scene = Scene()
    scene.serve(**spec)
    scene.slice("web-1", [endpoint], nodeName="N" if endpoint == NODE else "M")
    (fate,) = _fates(scene, source, place)
    assert (fate.arrives, fate.masqueraded) == (f"{endpoint}:8080", masqueraded)


def _fates(scene: Scene, source: str, place: str) -> frozenset[Fate]:
    return scene.fates(Packet(SOURCES[Family.IPV4][source], *PLACES[Family.IPV4][place]))


def test_scenario_32c_the_addresses_of_a_deleted_service() -> None:
    scene = make("L+")
    scene.sync()
    scene.remove()
    assert scene.ask("P", "cluster") == "DROP"
    assert [scene.ask("C", place) for place in ("node", "lb", "external")] == ["untouched"] * 3


@pytest.mark.parametrize("addresses", [None, ("0.0.0.0/0", "::/0"), ("127.0.0.0/8", "::1/128")])
def test_scenarios_50_51_loopback_is_never_a_node_port(addresses: tuple[str, ...] | None) -> None:
    scene = make("L+", settings={"node_port_addresses": addresses})
    assert scene.send("127.0.0.1", "127.0.0.1", 3001) == "untouched"
    assert scene.send("::1", "::1", 3001) == "untouched"


def test_scenario_53_a_port_number_belongs_to_a_protocol() -> None:
    scene = make("L+", status={}, externalIPs=[])
    scene.serve("dns", clusterIP="172.30.0.11", clusterIPs=["172.30.0.11"], ipFamilies=["IPv4"], status={},
                externalIPs=[], ports=[{"port": 53, "protocol": "UDP", "nodePort": 3001}])  # fmt: skip
    scene.endpoints("R+", "dns", ports=[{"name": "", "port": 5353, "protocol": "UDP"}])
    assert scene.send(OUTSIDER, NODE, 3001) == "L1 m"
    assert scene.send(OUTSIDER, NODE, 3001, "UDP") == "R1:5353 m"


def test_scenario_56_ranges_of_the_other_family_only_select_every_address() -> None:
    scene = make("L+", settings={"node_port_addresses": ("192.168.0.0/24",)})
    assert scene.send(OUTSIDER6, NODE6, 3001) == "L1 m"
    assert scene.send(OUTSIDER6, OTHER6, 3001) == "L1 m"


def test_scenario_78_every_load_balancer_ip_is_served() -> None:
    second = "198.51.100.3"
    scene = make("L+", status={"loadBalancer": {"ingress": [{"ip": BALANCED}, {"ip": second}]}})
    assert [scene.send(OUTSIDER, ip, 80) for ip in (BALANCED, second)] == ["L1 m", "L1 m"]


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [(RANGES, "L1 m"), ({"loadBalancerSourceRanges": ["203.0.113.0/25"]}, "DROP")],
    ids=["83 the node is in the ranges", "84 the node is not in the ranges"],
)
def test_a_load_balancer_ip_on_the_node_as_the_source(ranges: Any, expected: str) -> None:
    scene = Scene(host=HOST | {BALANCED})
    scene.serve(**ranges)
    scene.endpoints("L+")
    assert scene.ask("VIP", "lb") == expected


def test_scenario_90_a_range_that_is_added_later_drops_new_connections() -> None:
    """Established ones are not looked at: the kernel test of the same number."""
    scene = make("L+")
    assert scene.ask("B", "lb") == "L1 m"
    scene.serve(**RANGES)
    assert (scene.ask("B", "lb"), scene.ask("C", "lb")) == ("DROP", "L1 m")


def test_scenario_95_an_external_ip_that_is_the_nodes() -> None:
    scene = make("L+", externalIPs=[NODE])
    assert scene.send(OUTSIDER, NODE, 80) == "L1 m"
    assert scene.send(OUTSIDER, NODE, 3001) == "L1 m"
    assert scene.send(OUTSIDER, NODE, 22) == "untouched"
    scene.serve(externalIPs=[NODE], ports=[{"port": 3001, "protocol": "TCP", "nodePort": 3001}], **LOCAL_IN)
    scene.endpoints("R+")
    assert scene.send(OUTSIDER, NODE, 3001) == "R1 m"  # the address wins over the node port; here both lead there


def test_scenario_112_a_hinted_endpoint_leaves_and_returns() -> None:
    scene = make("L+:a:N R+:a:M R+:b:M", zone="a")
    assert scene.ask("P", "cluster") == "L1 p"
    scene.endpoints("L-:a:N R+:a:M R+:b:M")
    assert scene.ask("P", "cluster") == "R2 p"
    scene.endpoints("L+:a:N R+:a:M R+:b:M")
    assert scene.ask("P", "cluster") == "L1 p"


def test_scenario_114_the_zone_of_the_node_changes() -> None:
    scene = make("L+:a R+:b", zone="a")
    assert scene.ask("P", "cluster") == "L1 p"
    wire = make_node("N", meta={"labels": {"topology.kubernetes.io/zone": "b"}})
    assert scene.proxier.set_node(msgspec.convert(wire, Node))
    assert scene.ask("P", "cluster") == "R2 p"


def test_scenario_135_both_families_each_by_its_own_slices() -> None:
    scene = Scene()
    scene.serve()
    scene.slice("web-4", ["10.0.0.11"], nodeName="N")
    scene.slice("web-6", ["fd10::1:22"], nodeName="M")
    assert scene.send(POD, VIP, 80) == "L1 p"
    assert scene.send(POD6, VIP6, 80) == "R2 p"


def test_scenario_136_a_family_without_a_slice_is_refused() -> None:
    scene = Scene()
    scene.serve()
    scene.slice("web-4", ["10.0.0.11"], nodeName="N")
    assert scene.send(POD6, VIP6, 80) == "REJECT"


def test_scenarios_137_138_a_family_without_a_cluster_ip_has_nothing_else_either() -> None:
    only4 = make("L+", clusterIPs=[VIP], ipFamilies=["IPv4"])
    assert [only4.send(OUTSIDER6, *to) for to in ((BALANCED6, 80), (NODE6, 3001))] == ["untouched"] * 2
    only6 = make("L+", clusterIP=VIP6, clusterIPs=[VIP6], ipFamilies=["IPv6"])
    assert [only6.send(OUTSIDER, *to) for to in ((BALANCED, 80), (NODE, 3001))] == ["untouched"] * 2


def test_scenario_139_a_slice_of_names_is_not_looked_at() -> None:
    scene = Scene()
    scene.serve()
    wire = make_slice("web-1", "web", ["example.org"], address_type="FQDN")
    scene.put("web-1", wire)
    assert scene.ask("P", "cluster") == "REJECT"


@pytest.mark.parametrize("address", ["fe80::1", "::1"])
def test_scenario_140_no_ipv6_endpoint_is_a_special_case(address: str) -> None:
    scene = Scene(host=HOST - {"::1"})
    scene.serve()
    scene.slice("web-6", [address])
    (fate,) = scene.fates(Packet(OUTSIDER6, BALANCED6, 80))
    assert fate.arrives == f"{address}:8080"


@pytest.mark.parametrize("order", [("a-old", "b-young"), ("b-young", "a-old")], ids=["old first", "young first"])
def test_scenario_146_two_services_claim_one_external_ip(order: tuple[str, str]) -> None:
    scene = Scene()
    ages = {"a-old": ("2026-01-01T00:00:00Z", "172.30.0.11", "L+"), "b-young": ("2026-01-02T00:00:00Z", VIP, "R+")}
    for name in order:
        age, vip, words = ages[name]
        scene.serve(name, meta={"creationTimestamp": age}, clusterIP=vip, clusterIPs=[vip], ipFamilies=["IPv4"],
                    status={}, ports=TCP_80)  # fmt: skip
        scene.endpoints(words, name)
    assert scene.ask("C", "external") == "L1 m"
    writes = len(scene.kernel.applied)
    for name in order:  # a sync for whatever reason moves nothing
        scene.endpoints(ages[name][2], name)
    assert scene.ask("C", "external") == "L1 m"
    assert len(scene.kernel.applied) == writes


def test_scenarios_147_147a_what_is_metadata_only_writes_nothing() -> None:
    scene = make("L+")
    scene.sync()
    writes = len(scene.kernel.applied)
    scene.serve(meta={"annotations": {"note": "x"}, "resourceVersion": "2"})
    scene.slice("web-ipv4", ["10.0.0.11"], nodeName="N", meta={"annotations": {"note": "x"}})
    scene.sync()
    assert len(scene.kernel.applied) == writes


def test_scenario_148_a_port_is_renamed_at_two_times() -> None:
    scene = Scene()
    scene.serve(ports=[{"name": "a", "port": 80, "protocol": "TCP"}])
    scene.endpoints("L+", ports=[{"name": "a", "port": 8080, "protocol": "TCP"}])
    assert scene.ask("P", "cluster") == "L1 p"
    scene.serve(ports=[{"name": "b", "port": 80, "protocol": "TCP"}])
    assert scene.ask("P", "cluster") == "REJECT"
    scene.endpoints("L+", ports=[{"name": "b", "port": 8080, "protocol": "TCP"}])
    assert scene.ask("P", "cluster") == "L1 p"
