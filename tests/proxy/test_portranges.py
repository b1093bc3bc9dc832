"""Ranges of ports that a Service asks for. Rule: issue of the proxy, part 3."""

from __future__ import annotations

import msgspec
import pytest

from seaway.api.service.types import ServicePort
from seaway.proxy.portranges import ANNOTATION_PORT_RANGE, parse_port_ranges
from seaway.testing.packets import Packet
from tests.proxy.scene import BALANCED, LOCAL_OUT, VIP, Scene

PORTS = [
    {"name": "rtp", "port": 30000, "protocol": "UDP"},
    {"name": "sip", "port": 5060, "protocol": "UDP"},
    {"name": "web", "port": 80, "protocol": "TCP"},
]
UNNAMED = [{"port": 8080, "protocol": "TCP"}]


@pytest.mark.parametrize(
    ("text", "ports", "ranges", "problem"),
    [
        ("rtp=30000-30100", PORTS, {"rtp": 30100}, ""),
        ("rtp=30000-30100, web=80-90", PORTS, {"rtp": 30100, "web": 90}, ""),
        ("8080-8090", UNNAMED, {"": 8090}, ""),
        ("8080-8080", UNNAMED, {"": 8080}, ""),
        ("8080-65535", UNNAMED, {"": 65535}, ""),
        ("8080-65536", UNNAMED, {}, "the last port must be"),
        ("8080-8079", UNNAMED, {}, "the last port must be"),
        ("8081-8090", UNNAMED, {}, "must start at the Service's port 8080"),
        ("ftp=21-30", PORTS, {}, "no port 'ftp'"),
        ("80-90", PORTS, {}, "no port without a name"),
        ("rtp=30000-30100,sip=5060-5070", PORTS, {"rtp": 30100}, "has a range of UDP already"),
        ("rtp=30000-30100,nonsense", PORTS, {"rtp": 30100}, "NAME=FIRST-LAST or FIRST-LAST allowed"),
        ("rtp=\u0663-\u0664", PORTS, {}, "allowed"),
        ("", PORTS, {}, "allowed"),
    ],
    ids=[
        "a named port", "two protocols", "the port without a name", "one port long", "up to the last port",
        "beyond the last port", "backwards", "another first port", "a name that is no port's", "no name among names",
        "two of one protocol", "a good one beside nonsense", "digits are ASCII", "nothing",
    ],
)  # fmt: skip
def test_parse(text: str, ports: list[dict[str, object]], ranges: dict[str, int], problem: str) -> None:
    found, refusals = parse_port_ranges({ANNOTATION_PORT_RANGE: text}, msgspec.convert(ports, list[ServicePort]))
    assert found == ranges
    assert (len(refusals) == 1 and problem in refusals[0]) if problem else refusals == ()


def make(endpoints: str, last: int = 8090, *, listen: int = 8080, **spec: object) -> Scene:
    scene = Scene()
    meta = {"annotations": {ANNOTATION_PORT_RANGE: f"8080-{last}"}}
    scene.serve(meta=meta, **{"ports": [{"port": 8080, "protocol": "TCP", "nodePort": 3001}], **spec})
    scene.endpoints(endpoints, ports=[{"name": "", "port": listen, "protocol": "TCP"}])
    return scene


POD, OUTSIDER = "10.0.0.2", "203.0.113.2"


@pytest.mark.parametrize(
    ("scene", "packet", "expected"),
    [
        (make("L+ R+"), Packet(POD, VIP, 8080), "L1 p R2 p"),
        (make("L+ R+"), Packet(POD, VIP, 8090), "L1:8090 p R2:8090 p"),
        (make("L+"), Packet(POD, VIP, 8091), "REJECT"),
        (make("L+"), Packet(POD, VIP, 8085, "UDP"), "REJECT"),
        (make("L+"), Packet("10.0.0.11", VIP, 8085), "L1:8085 m"),
        (make("L+ R+"), Packet(OUTSIDER, BALANCED, 8085), "L1:8085 m R2:8085 m"),
        (make("L+ R+", **LOCAL_OUT), Packet(OUTSIDER, BALANCED, 8085), "L1:8085 p"),
        (make("R+", **LOCAL_OUT), Packet(OUTSIDER, BALANCED, 8085), "DROP"),
        (make("R+", **LOCAL_OUT), Packet(POD, BALANCED, 8085), "R1:8085 p"),
        (make(""), Packet(POD, VIP, 8085), "REJECT"),
        (make("L+", listen=9090), Packet(POD, VIP, 8085), "REJECT"),
        (make("L+", listen=9090), Packet(POD, VIP, 8080), "L1:9090 p"),
        (make("L+", loadBalancerSourceRanges=["203.0.113.0/25"]), Packet(OUTSIDER, BALANCED, 8085), "L1:8085 m"),
        (make("L+", loadBalancerSourceRanges=["203.0.113.0/25"]), Packet(POD, BALANCED, 8085), "DROP"),
    ],
    ids=[
        "the first port", "the last port keeps its number", "beyond the range", "another protocol", "a hairpin",
        "a load balancer IP", "external Local keeps the source", "external Local without a local endpoint",
        "external Local from a pod", "no endpoints", "no endpoint that listens on the first port",
        "the first port alone is served wherever endpoints listen", "a source in the ranges of sources",
        "a source outside of them",
    ],
)  # fmt: skip
def test_fate(scene: Scene, packet: Packet, expected: str) -> None:
    assert scene.send(packet.source, packet.destination, packet.port, packet.protocol) == expected


def test_a_single_port_of_another_service_wins_inside_the_range_and_leaves_it_whole_again() -> None:
    scene = make("L+")
    meta = {"creationTimestamp": "2031-01-01T00:00:00Z"}
    scene.serve("other", meta=meta, clusterIP="172.30.0.11", clusterIPs=["172.30.0.11"], ipFamilies=["IPv4"],
                ports=[{"port": 8085, "protocol": "TCP"}])  # fmt: skip
    assert scene.send(OUTSIDER, BALANCED, 8085) == "REJECT"
    assert scene.send(OUTSIDER, BALANCED, 8086) == "L1:8086 m"
    scene.remove("other")
    assert scene.send(OUTSIDER, BALANCED, 8085) == "L1:8085 m"


def test_a_table_without_ranges_has_nothing_of_them() -> None:
    scene = make("L+ R+")
    scene.sync()
    assert any("range-" in name for name in scene.ruleset().structure.sets)
    scene.serve(ports=[{"port": 8080, "protocol": "TCP", "nodePort": 3001}])
    scene.sync()
    structure = scene.ruleset().structure
    assert not [name for name in (*structure.sets, *structure.chains) if "range" in name and name != "source-ranges"]


def test_a_refused_range_is_a_complaint_and_the_rest_of_the_service_is_served() -> None:
    scene = make("L+", last=8000)
    scene.sync()
    (complaint,) = scene.proxier.complaints("default/web")
    assert complaint.reason == "InvalidAnnotation"
    assert "the last port must be from 8080 to 65535" in complaint.text
    assert scene.send(POD, VIP, 8080) == "L1 p"
