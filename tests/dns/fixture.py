"""The cluster of spec "discovery" D0, as an index, without a client."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from seaway.dns.answer import Answer, Chase, Elsewhere, answer
from seaway.dns.index import Index
from seaway.dns.lookup import ZoneConfig
from seaway.dns.objects import EndpointSlice, Namespace, Pod, Service, ServiceAnnotations
from seaway.dns.query import Question, parse_question
from seaway.dns.records import parse_name, render_record
from seaway.net.loopback import LoopbackMap
from seaway.testing.builders import make_service, make_slice

SERIAL = 1_700_000_000
ZONE = parse_name("cluster.local")
CONFIG = ZoneConfig(cluster_domain=ZONE, local_addresses=("10.244.9.9",))
TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "HINFO": 13, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33,
         "DS": 43, "HTTPS": 65, "IXFR": 251, "AXFR": 252, "ANY": 255}  # fmt: skip
SOA = f"cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. {SERIAL} 7200 1800 86400 5"
HTTP = {"name": "http", "port": 80, "protocol": "TCP"}


def service(name: str, namespace: str = "demo", **spec: Any) -> Service:
    if "ports" not in spec:
        spec["ports"] = [HTTP]
    return msgspec.convert(make_service(name, namespace, **spec), Service)


def cluster_ip(
    name: str, *addresses: str, namespace: str = "demo", ports: list[Any] | None = None, served_at: str = ""
) -> Service:
    found = [HTTP] if ports is None else ports
    made = service(name, namespace, clusterIP=addresses[0], clusterIPs=list(addresses), ports=found)
    if not served_at:
        return made
    annotations = ServiceAnnotations(served_at)
    return msgspec.structs.replace(made, metadata=msgspec.structs.replace(made.metadata, annotations=annotations))


def headless(name: str, *, ports: list[Any] | None = None, **spec: Any) -> Service:
    return cluster_ip(name, "None", ports=ports)


def external(name: str, target: str) -> Service:
    return service(name, type="ExternalName", externalName=target)


def endpoints(
    service_name: str,
    *found: tuple[str, str | None, bool | None],
    namespace: str = "demo",
    port: tuple[str, int] | None = ("http", 80),
    name: str = "",
    address_type: str = "IPv4",
) -> EndpointSlice:
    ports = [{"name": port[0], "port": port[1], "protocol": "TCP"}] if port else []
    raw = make_slice(name or f"{service_name}-1", service_name, [], namespace=namespace, ports=ports,
                     address_type=address_type)  # fmt: skip
    raw["endpoints"] = [
        {"addresses": [address], "conditions": {"ready": ready}} | ({"hostname": hostname} if hostname else {})
        for address, hostname, ready in found
    ]
    return msgspec.convert(raw, EndpointSlice)


def port(name: str, number: int, protocol: str = "TCP") -> dict[str, Any]:
    return {"name": name, "port": number, "protocol": protocol}


SERVICES = (
    cluster_ip("kubernetes", "10.96.0.1", namespace="default", ports=[port("https", 443)]),
    cluster_ip("kube-dns", "10.96.0.10", namespace="kube-system",
               ports=[port("dns", 53, "UDP"), port("dns-tcp", 53), port("metrics", 9153)]),
    cluster_ip("web", "10.96.7.1"),
    cluster_ip("dual", "10.96.7.2", "fd00:10:96::7:2", ports=[HTTP, port("dns", 53, "UDP")]),
    cluster_ip("noname", "10.96.7.3", ports=[{"port": 80, "protocol": "TCP"}]),
    cluster_ip("lonely", "10.96.7.4"),
    headless("db", ports=[port("mysql", 3306)]),
    headless("twins"),
    headless("peers"),
    headless("manual"),
    headless("portless", ports=[]),
    headless("void"),
    external("ext", "www.example.com"),
    external("extdot", "www.example.com."),
    external("extbad", "nx.example.com"),
    external("extip", "192.0.2.99"),
    external("alias", "web.demo.svc.cluster.local"),
    external("dangling", "nosuch.demo.svc.cluster.local"),
    external("loop-a", "loop-b.demo.svc.cluster.local"),
    external("loop-b", "loop-a.demo.svc.cluster.local"),
    external("self", "self.demo.svc.cluster.local"),
)  # fmt: skip

SLICES = (
    endpoints("kube-dns", ("10.244.9.9", None, True), namespace="kube-system", port=("dns", 53)),
    endpoints("web", ("10.244.1.5", None, True), ("10.244.2.6", None, False), port=("http", 8080)),
    endpoints("db", ("10.244.1.10", "db-0", True), ("10.244.2.10", "db-1", True), ("10.244.3.10", "db-2", False),
              ("10.244.4.10", "db-3", False), port=("mysql", 13306)),
    endpoints("twins", ("10.244.1.40", "dup", True), ("10.244.1.41", "dup", True), ("10.244.1.42", None, True)),
    endpoints("peers", ("10.244.1.20", None, True)),
    endpoints("manual", ("192.0.2.10", None, None)),
    endpoints("manual", ("2001:db8::10", None, True), name="manual-2", address_type="IPv6"),
    endpoints("portless", ("10.244.1.30", None, True), port=None),
)  # fmt: skip

NAMESPACES = tuple(
    msgspec.convert({"metadata": {"name": name}}, Namespace) for name in ("default", "demo", "empty", "kube-system")
)


def make_index(*, is_synced: bool = True, exposed: Iterable[str] = (), loopback: LoopbackMap | None = None) -> Index:
    index = Index(exposed, loopback)
    for namespace in NAMESPACES:
        index.apply_namespace(None, namespace)
    for each in SERVICES:
        index.apply_service(None, each, wall_seconds=SERIAL)
    for endpoint_slice in SLICES:
        index.apply_slice(None, endpoint_slice, wall_seconds=SERIAL)
    index.is_synced = is_synced
    return index


def make_pod(name: str, address: str, namespace: str = "demo", phase: str = "Running") -> Pod:
    raw = {"metadata": {"name": name, "namespace": namespace}, "status": {"phase": phase, "podIP": address}}
    return msgspec.convert(raw, Pod)


def parse(text: str, config: ZoneConfig = CONFIG) -> Question:
    """`web.@ A`, where @ is the demo namespace."""
    name, qtype = text.replace("@", "demo.svc.cluster.local").split()
    return parse_question(parse_name(name), TYPES[qtype], cluster_domain=ZONE, reverse_zones=config.reverse_zones)


def ask(text: str, index: Index | None = None, config: ZoneConfig = CONFIG) -> Answer | Chase | Elsewhere:
    return answer(parse(text, config), index or make_index(), config)


def lines(found: Answer) -> tuple[list[str], list[str], list[str]]:
    """Answer, authority and additional as zone-file lines."""
    return tuple([render_record(each) for each in part] for part in (found.answer, found.authority, found.additional))  # type: ignore[return-value]
