"""What is said of a packet. That it is true, `Scene.fates` compares with the rules for every scenario of spec §13."""

from __future__ import annotations

from typing import Any

import pytest

from seaway.api.endpointslice.types import Endpoint, EndpointPort, EndpointSlice
from seaway.api.machinery.meta import ObjectMeta
from seaway.api.service.types import Service, ServicePort, ServiceSpec
from seaway.net.family import Family
from seaway.net.loopback import LoopbackMap
from seaway.proxy.config import DetectLocal, NodeView, PodLinks, ProxyConfig
from seaway.proxy.forwarding import Target
from seaway.proxy.tracing.text import QuestionError, parse_question, render_walk
from seaway.proxy.tracing.walk import Cluster, Question, Source, Walk, explain
from seaway.testing.packets import Packet
from tests.proxy.scene import LOCAL_IN, LOCAL_OUT, PLACES, RANGES, SOURCES, VIP, Scene


def walk(source: str, place: str, endpoints: str, *, zone: str = "", **spec: Any) -> Walk:
    scene = Scene(zone=zone)
    scene.serve(**spec)
    scene.endpoints(endpoints)
    packet = Packet(SOURCES[Family.IPV4][source], *PLACES[Family.IPV4][place])
    scene.fates(packet)  # compares
    return scene.walk(packet)


def test_a_walk_reads_like_this() -> None:
    found = walk("P", "cluster", "L+ R+ R- Rt")
    assert render_walk(found, "N") == (
        """\
TCP from 10.0.0.2 to 172.30.0.10:80, as N handles it
 1. The source 10.0.0.2 is a Pod: it is in 10.0.0.0/8.
 2. 172.30.0.10:80/tcp is the cluster IP of Service default/web.
 3. Internal traffic policy Cluster: endpoints on any node.
 4. Each connection goes to one of 2 endpoints, at random.
 5. The source keeps its address: Pods reach each other.
 Endpoints:
    10.0.0.11:8080  N  may serve
    10.0.1.22:8080  M  may serve
    10.0.1.23:8080  M  left out: neither ready nor serving
    10.0.1.24:8080  M  left out: terminating, while others are ready
 => It is forwarded to 10.0.0.11:8080 or 10.0.1.22:8080."""
    )


@pytest.mark.parametrize(
    ("endpoints", "zone", "spec", "place", "reason"),
    [
        ("L+ R+", "", LOCAL_OUT, "lb", "on another node"),
        ("R+:b L+:a", "a", {}, "cluster", "hinted to zone b"),
        ("Rt L+", "", {}, "cluster", "terminating, while others are ready"),
        ("R- L+", "", {}, "cluster", "neither ready nor serving"),
    ],
    ids=["Local policy", "another zone", "terminating", "unready"],
)
def test_why_an_endpoint_is_left_out(endpoints: str, zone: str, spec: Any, place: str, reason: str) -> None:
    found = walk("C", place, endpoints, zone=zone, **spec)
    assert [verdict.reason for verdict in found.endpoints if verdict.reason] == [reason]


def test_a_drained_endpoint_is_left_out() -> None:
    scene = Scene()
    scene.serve()
    scene.slice("web-1", ["10.0.0.11"], meta={"annotations": {"seaway.dev/weight": "0"}})
    found = scene.walk(Packet(SOURCES[Family.IPV4]["P"], VIP, 80))
    assert [verdict.reason for verdict in found.endpoints] == ["drained: its weight is 0"]


def test_what_the_proxy_holds_itself_is_told() -> None:
    asked = {"plane": "userspace", "balance": "least-connections", "proxy-protocol": "v2"}
    annotations = {f"seaway.dev/{name}": value for name, value in asked.items()}
    scene = Scene()
    scene.serve(meta={"annotations": annotations})
    scene.endpoints("L+ R+")
    found = scene.walk(Packet(SOURCES[Family.IPV4]["P"], VIP, 80))
    assert found.masqueraded
    assert found.steps[-4:] == (
        "Each connection goes to the one of 2 endpoints that has the fewest.",
        "The proxy takes the connection itself, and connects from the node's address (userspace plane).",
        "It tells the endpoint the source's own address (PROXY protocol v2).",
        "It is forwarded to 10.0.0.11:8080 or 10.0.1.22:8080.",
    )
    del annotations["seaway.dev/plane"]
    found = walk("P", "cluster", "L+ R+", meta={"annotations": annotations})
    assert "Each connection goes to one of 2 endpoints, at random." in found.steps


def test_where_addresses_are_on_loopback_a_pod_keeps_its_own() -> None:
    scene = Scene(plane="userspace", loopback=LoopbackMap())
    scene.serve()
    scene.endpoints("L+")
    pod, outside = (scene.walk(Packet(SOURCES[Family.IPV4][source], VIP, 80)) for source in "PC")
    taken = "The proxy takes the connection itself, and connects from {} address (userspace plane)."
    assert (pod.masqueraded, pod.steps[-2]) == (False, taken.format("the Pod's own"))
    assert (outside.masqueraded, outside.steps[-2]) == (True, taken.format("the node's"))


ENDINGS: dict[str, tuple[str, str, str, Any, str]] = {
    "no endpoints": ("P", "cluster", "", {}, "It is refused with an ICMP port unreachable: a connect fails at once."),
    "none here": ("C", "lb", "R+", LOCAL_OUT, "It is dropped, so that another node may be tried."),
    "source ranges": ("B", "lb", "L+", RANGES, "It is dropped: a connect times out."),
    "internal Local": ("P", "cluster", "R+", LOCAL_IN, "It is dropped, so that another node may be tried."),
    "not a Service's": ("C", "other", "L+", {}, "192.168.1.2:3001/tcp is no Service's on this node: it is left alone."),
}


@pytest.mark.parametrize(("source", "place", "endpoints", "spec", "end"), ENDINGS.values(), ids=ENDINGS.keys())
def test_how_it_ends(source: str, place: str, endpoints: str, spec: Any, end: str) -> None:
    assert walk(source, place, endpoints, **spec).steps[-1] == end


def test_a_port_name_that_does_not_match_is_told() -> None:
    scene = Scene()
    scene.serve(ports=[{"name": "http", "port": 80, "protocol": "TCP"}])
    scene.endpoints("L+", ports=[{"name": "web", "port": 8080, "protocol": "TCP"}])
    found = scene.walk(Packet(SOURCES[Family.IPV4]["P"], VIP, 80))
    assert 'No EndpointSlice has a port "http"/tcp; there are "web"/tcp.' in found.steps


def test_a_rival_is_named() -> None:
    scene = Scene()
    for name, vip in (("a", VIP), ("b", "172.30.0.11")):
        scene.serve(name, clusterIP=vip, clusterIPs=[vip], ipFamilies=["IPv4"])
        scene.endpoints("L+", name)
    found = scene.walk(Packet(SOURCES[Family.IPV4]["C"], *PLACES[Family.IPV4]["external"]))
    assert found.service == "default/a"
    assert any(step.startswith("default/b would have it too") for step in found.steps)


def test_an_endpoint_that_asks_itself_is_named() -> None:
    found = walk("L", "cluster", "L+ R+")
    assert (found.source, found.masqueraded, found.hairpins) == (Source.POD, False, (Target("10.0.0.11", 8080),))


def test_questions() -> None:
    assert parse_question("10.244.0.7", "10.96.0.10:80/tcp") == Question("10.244.0.7", "10.96.0.10", 80)
    assert parse_question("10.244.0.7", "10.96.0.10:53/udp") == Question("10.244.0.7", "10.96.0.10", 53, "UDP")
    assert parse_question("FD10::7", "[fd10:96::A]:80") == Question("fd10::7", "fd10:96::a", 80)


@pytest.mark.parametrize(
    ("source", "destination"),
    [
        ("10.244.0.7", "10.96.0.10"),
        ("10.244.0.7", "10.96.0.10:0"),
        ("10.244.0.7", "10.96.0.10:65536"),
        ("10.244.0.7", "10.96.0.10:80/icmp"),
        ("10.244.0.7", "web:80"),
        ("10.244.0.7", "[fd10::1]:80"),
        ("pod", "10.96.0.10:80"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(source: str, destination: str) -> None:
    with pytest.raises(QuestionError):
        parse_question(source, destination)


@pytest.mark.parametrize(
    ("source", "link", "place", "says"),
    [
        ("10.0.0.2", "veth7", Source.POD, "The source 10.0.0.2 is a Pod: it comes in by veth7."),
        ("10.0.0.2", "eth0", Source.OUTSIDE, "The source 10.0.0.2 is no Pod: it comes in by eth0, not by veth*."),
        ("192.0.2.1", "lo", Source.NODE, "The source 192.0.2.1 is the node N itself."),
        ("10.0.0.2", "", Source.OUTSIDE, "By which link 10.0.0.2 comes in is not known (--in-interface): it is taken"
         " for no Pod, whose links are veth*."),
    ],
    ids=["by a Pod's link", "by another link", "the node itself", "it is not known by which"],
)  # fmt: skip
def test_where_pods_are_known_by_links_the_link_tells_them(source: str, link: str, place: Source, says: str) -> None:
    """Rule: spec "proxy" §3.5 (InterfaceNamePrefix)."""
    config = ProxyConfig(node_name="N", detect_local=DetectLocal.INTERFACE_NAME_PREFIX, pod_link="veth")
    cluster = Cluster(
        services=(
            Service(
                ObjectMeta(name="web", namespace="default"),
                ServiceSpec(cluster_ip=VIP, cluster_ips=(VIP,), ip_families=("IPv4",), ports=(ServicePort(port=80),)),
            ),
        ),
        slices=(
            EndpointSlice(
                ObjectMeta(name="web-1", namespace="default", labels={"kubernetes.io/service-name": "web"}),
                "IPv4", (Endpoint(("10.0.0.9",)),), (EndpointPort("", "TCP", 8080),),
            ),
        ),
        node=NodeView("N", "", ("192.0.2.1",)),
        config=config,
    )  # fmt: skip
    found = explain(Question(source, VIP, 80, link=link), cluster)
    assert (found.source, found.steps[0]) == (place, says)
    assert found.masqueraded == (place is not Source.POD)


def test_a_link_of_one_name_is_not_its_beginning() -> None:
    assert PodLinks("cni0").covers("cni0")
    assert not PodLinks("cni0").covers("cni01")
