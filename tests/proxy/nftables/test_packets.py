"""Packets through the rendered rules; `m` masqueraded, `p` not. Ids carry the numbers of spec "proxy" §13."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from seaway.api.node.types import Node
from seaway.proxy.config import DetectLocal
from seaway.proxy.nftables.objects import Ruleset
from seaway.proxy.nftables.text import render_text
from seaway.testing.packets import DROPPED, REJECTED, Fate, Packet, trace
from tests.proxy.scene import HOST, LOCAL_IN, LOCAL_OUT, NODE, RANGES, VIP, Scene, describe


def build(endpoints: str, spec: dict[str, Any], config: dict[str, Any], guarded_links: tuple[str, ...] = ()) -> Ruleset:
    """The ruleset of a node with one Service of every class."""
    scene = make(endpoints, spec, config, guarded_links)
    scene.sync()
    return scene.ruleset()


def make(endpoints: str, spec: dict[str, Any], config: dict[str, Any], guarded_links: tuple[str, ...] = ()) -> Scene:
    scene = Scene(guarded_links=guarded_links, **config)
    scene.serve(**spec)
    scene.endpoints(endpoints)
    return scene


NO_DETECTOR, ALL = {"cluster_cidrs": ()}, {"masquerade_all": True}

TABLE: list[tuple[str, str, str, str, dict[str, Any], dict[str, Any], str]] = [
    ("1 pod to cluster IP", "P", "cluster", "L+", {}, {}, "L1 p"),
    ("2 pod to cluster IP, two endpoints", "P", "cluster", "L+ R+", {}, {}, "L1 p R2 p"),
    ("3 endpoint to itself", "L", "cluster", "L+", {}, {}, "L1 m"),
    ("4 endpoint to itself or another", "L", "cluster", "L+ R+", {}, {}, "L1 m R2 p"),
    ("5 node to cluster IP", "N", "cluster", "L+ R+", {}, {}, "L1 m R2 m"),
    ("5a remote endpoint to itself through this node", "R", "cluster", "R+", {}, {}, "R1 p"),
    ("6 outside to cluster IP", "C", "cluster", "L+ R+", {}, {}, "L1 m R2 m"),
    ("14 no endpoints, from a pod", "P", "cluster", "", {}, {}, "REJECT"),
    ("15 no endpoints, from the node", "N", "cluster", "", {}, {}, "REJECT"),
    ("16 no endpoints, from outside", "C", "cluster", "", {}, {}, "REJECT"),
    ("17 only unready endpoints", "P", "cluster", "L-", {}, {}, "REJECT"),
    ("25 masquerade all", "P", "cluster", "L+ R+", {}, ALL, "L1 m R2 m"),
    ("26 node to cluster IP without a detector", "N", "cluster", "L+ R+", {}, NO_DETECTOR, "L1 p R2 p"),
    ("26 outside to cluster IP without a detector", "C", "cluster", "L+ R+", {}, NO_DETECTOR, "L1 p R2 p"),
    ("33 internal Local, pod", "P", "cluster", "L+ R+", LOCAL_IN, {}, "L1 p"),
    ("35 internal Local, node", "N", "cluster", "L+ R+", LOCAL_IN, {}, "L1 m"),
    ("36 internal Local, outside", "C", "cluster", "L+ R+", LOCAL_IN, {}, "L1 m"),
    ("37 internal Local, only remote", "P", "cluster", "R+", LOCAL_IN, {}, "DROP"),
    ("38 internal Local, none", "P", "cluster", "", LOCAL_IN, {}, "REJECT"),
    ("39 internal Local, local terminating", "P", "cluster", "Lt R+", LOCAL_IN, {}, "L1 p"),
    ("40 internal Local, remote terminating", "P", "cluster", "Rt", LOCAL_IN, {}, "DROP"),
    ("41 internal Local does not touch node ports", "P", "node", "R+", LOCAL_IN, {}, "R1 m"),
    ("44 outside to node port", "C", "node", "L+ R+", {}, {}, "L1 m R2 m"),
    ("45 pod to node port", "P", "node", "L+ R+", {}, {}, "L1 m R2 m"),
    ("46 node to its own node port", "N", "node", "L+ R+", {}, {}, "L1 m R2 m"),
    ("47 another address of the node", "C", "other", "L+", {}, {}, "untouched"),
    ("49 any address of the node", "C", "other", "L+", {}, {"node_port_addresses": ("0.0.0.0/0",)}, "L1 m"),
    ("54 node port, no endpoints", "C", "node", "", {}, {}, "REJECT"),
    ("55 node port, no endpoints, from a pod", "P", "node", "", {}, {}, "REJECT"),
    ("node port of the node itself, no endpoints", "N", "node", "", {}, {}, "REJECT"),
    ("60 external Local keeps the source", "C", "node", "L+ R+", LOCAL_OUT, {}, "L1 p"),
    ("61 external Local, load balancer IP", "C", "lb", "L+ R+", LOCAL_OUT, {}, "L1 p"),
    ("61 external Local, external IP", "C", "external", "L+ R+", LOCAL_OUT, {}, "L1 p"),
    ("62 external Local, from a pod", "P", "lb", "L+ R+", LOCAL_OUT, {}, "L1 p R2 p"),
    ("62 external Local, from a pod, node port", "P", "node", "L+ R+", LOCAL_OUT, {}, "L1 p R2 p"),
    ("63 external Local, from the node", "N", "lb", "L+ R+", LOCAL_OUT, {}, "L1 m R2 m"),
    ("63 external Local, from the node, node port", "N", "node", "L+ R+", LOCAL_OUT, {}, "L1 m R2 m"),
    ("64 external Local does not touch the cluster IP", "P", "cluster", "L+ R+", LOCAL_OUT, {}, "L1 p R2 p"),
    ("65 external Local, only remote", "C", "lb", "R+", LOCAL_OUT, {}, "DROP"),
    ("65 external Local, only remote, node port", "C", "node", "R+", LOCAL_OUT, {}, "DROP"),
    ("66 the same from a pod", "P", "node", "R+", LOCAL_OUT, {}, "R1 p"),
    ("67 the same from the node", "N", "external", "R+", LOCAL_OUT, {}, "R1 m"),
    ("68 external Local, none", "C", "lb", "", LOCAL_OUT, {}, "REJECT"),
    ("69 external Local, pod without a detector", "P", "lb", "L+ R+", LOCAL_OUT, NO_DETECTOR, "L1 p"),
    ("70 the same, only remote", "P", "lb", "R+", LOCAL_OUT, NO_DETECTOR, "DROP"),
    ("72 endpoint to itself by a Local address", "L", "lb", "L+", LOCAL_OUT, {}, "L1 m"),
    ("75 load balancer IP, outside", "C", "lb", "L+ R+", {}, {}, "L1 m R2 m"),
    ("75 load balancer IP, pod", "P", "lb", "L+ R+", {}, {}, "L1 m R2 m"),
    ("79 a source in the ranges", "C", "lb", "L+", RANGES, {}, "L1 m"),
    ("80 a source outside the ranges", "B", "lb", "L+", RANGES, {}, "DROP"),
    ("81 a pod outside the ranges", "P", "lb", "L+", RANGES, {}, "DROP"),
    ("82 the node inside the ranges", "N", "lb", "L+", RANGES, {}, "L1 m"),
    ("85 ranges do not guard node ports", "B", "node", "L+", RANGES, {}, "L1 m"),
    ("86 nor external IPs", "B", "external", "L+", RANGES, {}, "L1 m"),
    ("89 ranges without endpoints, outside", "B", "lb", "", RANGES, {}, "DROP"),
    ("89 ranges without endpoints, inside", "C", "lb", "", RANGES, {}, "REJECT"),
    ("92 external IP", "C", "external", "L+ R+", {}, {}, "L1 m R2 m"),
    ("94 external IP, no endpoints", "C", "external", "", {}, {}, "REJECT"),
    ("97 ready ones only", "P", "cluster", "L+ L+ Lt L- R+", {}, {}, "L1 p L2 p R5 p"),
    ("100 local terminating ones", "C", "lb", "Lt Lt L- R+", LOCAL_OUT, {}, "L1 p L2 p"),
    ("101 terminating ones everywhere", "P", "cluster", "Lt Lt R- Rt", {}, {}, "L1 p L2 p R4 p"),
    ("103 remote terminating, external Local", "C", "lb", "Rt", LOCAL_OUT, {}, "DROP"),
    ("104 nothing usable", "C", "node", "L- R-", {}, {}, "REJECT"),
]


@pytest.mark.parametrize(
    ("source", "place", "endpoints", "spec", "config", "expected"),
    [row[1:] for row in TABLE],
    ids=[r[0] for r in TABLE],
)
def test_fate(
    source: str, place: str, endpoints: str, spec: dict[str, Any], config: dict[str, Any], expected: str
) -> None:
    assert make(endpoints, spec, config).ask(source, place) == expected


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (Packet("10.0.0.2", VIP, 443), REJECTED),
        (Packet("10.0.0.2", VIP, 80, "UDP"), REJECTED),
        (Packet("10.0.0.2", "172.30.0.50", 80), DROPPED),
        (Packet(NODE, "172.30.0.50", 80), DROPPED),
        (Packet("203.0.113.2", NODE, 3001, "UDP"), Fate(f"{NODE}:3001")),
        (Packet("203.0.113.2", NODE, 22), Fate(f"{NODE}:22")),
        (Packet("10.0.0.2", "192.168.9.9", 3001), Fate("192.168.9.9:3001")),
        (Packet("10.0.0.2", "1.1.1.1", 80, mark=0x1), Fate("1.1.1.1:80", mark=0x1)),
        (Packet("203.0.113.2", VIP, 80, mark=0x1), Fate("10.0.0.11:8080", True, mark=0x1)),
        (Packet(NODE, "127.0.0.1", 3001), Fate("127.0.0.1:3001")),
    ],
    ids=[
        "10 another port of a cluster IP",
        "9 another protocol of a cluster IP",
        "11 an address that no Service has",
        "11 the same from the node",
        "52 another protocol of a node port",
        "another port of the node",
        "57 another node's port",
        "traffic that is not ours keeps its mark",
        "traffic that is ours keeps others' marks",
        "50 loopback is never a node port",
    ],
)
def test_the_neighbourhood(packet: Packet, expected: Fate) -> None:
    assert trace(build("L+", {}, {}), packet, host=HOST) == {expected}


POD, OUTSIDER, ELSEWHERE = "10.0.0.2", "203.0.113.2", "198.51.100.77"


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (Packet(POD, ELSEWHERE, 443, leaves_by="up0"), Fate(f"{ELSEWHERE}:443", masqueraded=True)),
        (Packet(POD, ELSEWHERE, 53, "UDP", 0x1, leaves_by="up0"), Fate(f"{ELSEWHERE}:53", True, mark=0x1)),
        (Packet(POD, "10.0.1.2", 443, leaves_by="up0"), Fate("10.0.1.2:443")),
        (Packet(POD, NODE, 22), Fate(f"{NODE}:22")),
        (Packet(POD, "224.0.0.251", 5353, "UDP", leaves_by="up0"), Fate("224.0.0.251:5353")),
        (Packet(OUTSIDER, "10.0.0.11", 8080, arrives_by="up0", leaves_by="veth1"), Fate("10.0.0.11:8080")),
        (Packet(OUTSIDER, ELSEWHERE, 443, arrives_by="eth9", leaves_by="up0"), Fate(f"{ELSEWHERE}:443")),
        (Packet(NODE, ELSEWHERE, 443, leaves_by="up0"), Fate(f"{ELSEWHERE}:443")),
        (Packet("10.0.0.1", "10.0.0.1", 443, leaves_by="lo"), Fate("10.0.0.1:443")),
        (Packet("10.0.0.1", ELSEWHERE, 443, leaves_by="lo"), Fate(f"{ELSEWHERE}:443")),
        (Packet(POD, VIP, 80, leaves_by="veth1"), Fate("10.0.0.11:8080")),
        (Packet("10.0.0.11", VIP, 80, leaves_by="veth1"), Fate("10.0.0.11:8080", masqueraded=True)),
        (Packet(POD, "172.30.0.50", 80, leaves_by="up0"), DROPPED),
    ],
    ids=[
        "a pod to another machine is masqueraded",
        "and keeps the marks of others",
        "a pod to a pod of another node keeps its address",
        "a pod to the node keeps its address",
        "multicast keeps its address",
        "another machine to a pod keeps its address",
        "traffic that is not a pod's keeps its address",
        "the node's own traffic keeps its address",
        "the node to itself by the gateway's address",
        "what leaves by the loopback link keeps its address",
        "a pod to an endpoint in the cluster keeps its address",
        "a hairpin is masqueraded as before",
        "an address that no Service has is dropped as before",
    ],
)
def test_what_leaves_the_cluster_is_masqueraded(packet: Packet, expected: Fate) -> None:
    """Rule: spec "node" §4.4."""
    assert trace(build("L+", {}, {"masquerade_outgoing": True}), packet, host=HOST | {"10.0.0.1"}) == {expected}


def test_an_endpoint_outside_the_cluster_sees_the_node() -> None:
    outside = {"cluster_cidrs": ("10.0.0.0/24",), "masquerade_outgoing": True}
    fates = trace(build("R+", {}, outside), Packet(POD, VIP, 80, leaves_by="up0"), host=HOST)
    assert describe(fates) == "R1 m"


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (Packet(OUTSIDER, ELSEWHERE, 443, arrives_by="up0", leaves_by="up1"), DROPPED),
        (Packet(OUTSIDER, ELSEWHERE, 443, arrives_by="up1", leaves_by="up0"), DROPPED),
        (Packet(OUTSIDER, ELSEWHERE, 443, arrives_by="up0", leaves_by="up0"), DROPPED),
        (Packet(OUTSIDER, NODE, 3001, arrives_by="up0"), Fate("10.0.0.11:8080", masqueraded=True)),
        (Packet(OUTSIDER, VIP, 80, arrives_by="up0"), Fate("10.0.0.11:8080", masqueraded=True)),
        (Packet(OUTSIDER, "10.0.0.11", 8080, arrives_by="up0"), Fate("10.0.0.11:8080")),
        (Packet(OUTSIDER, NODE, 22, arrives_by="up0"), Fate(f"{NODE}:22")),
        (Packet(OUTSIDER, ELSEWHERE, 443, arrives_by="eth9"), Fate(f"{ELSEWHERE}:443")),
        (Packet(POD, ELSEWHERE, 443, arrives_by="veth1", leaves_by="up0"), Fate(f"{ELSEWHERE}:443")),
        (Packet(NODE, ELSEWHERE, 443, leaves_by="up0"), Fate(f"{ELSEWHERE}:443")),
        (Packet(OUTSIDER, VIP, 443, arrives_by="up0"), REJECTED),
    ],
    ids=[
        "another machine cannot use the node as a router",
        "nor by another uplink",
        "nor back to where it came from",
        "a node port is forwarded to its endpoint",
        "a cluster IP is forwarded to its endpoint",
        "a pod is reached by its address",
        "the node is reached as before",
        "a link that forwarded before is left alone",
        "a pod reaches another machine",
        "the node reaches another machine",
        "what a Service refuses is refused, not dropped",
    ],
)
def test_a_guarded_link_forwards_for_the_cluster_only(packet: Packet, expected: Fate) -> None:
    """Rule: design.md §12."""
    assert trace(build("L+", {}, {}, ("up0", "up1")), packet, host=HOST) == {expected}


BRIDGE = {"detect_local": DetectLocal.BRIDGE_INTERFACE, "pod_link": "cbr0", "cluster_cidrs": ()}
PREFIX = {"detect_local": DetectLocal.INTERFACE_NAME_PREFIX, "pod_link": "veth", "cluster_cidrs": ()}
BY_LINK: dict[str, tuple[dict[str, Any], str, str, dict[str, Any], str]] = {
    "what comes in by the bridge is a Pod": (BRIDGE, "cbr0", "cluster", {}, "L1 p R2 p"),
    "what comes in by another link is none": (BRIDGE, "eth0", "cluster", {}, "L1 m R2 m"),
    "a bridge's name is no prefix": (BRIDGE, "cbr01", "cluster", {}, "L1 m R2 m"),
    "what the node sends comes in by none": (BRIDGE, "", "cluster", {}, "L1 m R2 m"),
    "a link whose name starts so": (PREFIX, "veth7a", "cluster", {}, "L1 p R2 p"),
    "a link whose name does not": (PREFIX, "eth0", "cluster", {}, "L1 m R2 m"),
    "a Pod is short-circuited under the external Local policy": (PREFIX, "veth1", "node", LOCAL_OUT, "L1 p R2 p"),
    "others are not": (PREFIX, "eth0", "node", LOCAL_OUT, "L1 p"),
}


@pytest.mark.parametrize(("config", "link", "target", "spec", "fates"), BY_LINK.values(), ids=BY_LINK.keys())
def test_pods_are_known_by_their_link(
    config: dict[str, Any], link: str, target: str, spec: dict[str, Any], fates: str
) -> None:
    """Rule: spec "proxy" §3.5. The source is no Pod's by its address."""
    address, port = (VIP, 80) if target == "cluster" else (NODE, 3001)
    packet = Packet("198.51.100.7", address, port, arrives_by=link)
    found = trace(build("L+ R+", spec, config), packet, host=HOST)
    assert describe(frozenset(found)) == fates


def test_pods_of_this_node_are_known_by_what_the_node_object_says() -> None:
    scene = make("L+ R+", {}, {"detect_local": DetectLocal.NODE_CIDR})
    scene.sync()
    packet = Packet("198.51.100.7", VIP, 80)

    def fates() -> str:
        return describe(frozenset(trace(scene.ruleset(), packet, host=HOST)))

    assert fates() == "L1 p R2 p", "nobody is known to be from outside yet"
    wire = {"metadata": {"name": "N"}, "spec": {"podCIDRs": ["203.0.113.0/24", "nonsense"]}}
    scene.proxier.set_node(msgspec.convert(wire, Node))
    scene.sync()
    assert fates() == "L1 m R2 m"
    wire["spec"] = {"podCIDR": "198.51.100.0/24"}
    scene.proxier.set_node(msgspec.convert(wire, Node))
    scene.sync()
    assert fates() == "L1 p R2 p"


def test_the_mark_is_the_configured_bit() -> None:
    text = render_text(build("L+", {}, {"masquerade_bit": 4}))
    assert "meta mark | 0x00000010" in text
    assert "0x00004000" not in text
