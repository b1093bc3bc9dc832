"""The names that upstream's end-to-end tests dig for, as their Pods ask for them. Rule: spec "discovery" D4.

Each probe needs a non-empty answer of the type that its name asks for: SRV below a port, else A, and AAAA where the
cluster is of IPv6; `+search` walks the Pod's search list.
"""

from __future__ import annotations

import dataclasses
import ipaddress

import pytest

from seaway.dns.explaining.explain import Explanation
from seaway.dns.explaining.walk import walk
from seaway.dns.index import Index
from seaway.dns.records import RRType, parse_name
from tests.dns.fixture import CONFIG, HTTP, SERIAL, cluster_ip, endpoints, external, headless, make_index

FAMILIES = {"A": ("10.96.9.1", "10.244.9.1"), "AAAA": ("fd00:10:96::9:1", "fd00:10:244::9:1")}


def make_cluster(family: str) -> Index:
    """What those tests create, in the namespace `demo`."""
    vip, pod = FAMILIES[family]
    index = make_index()
    for service in (
        headless("dns-test-service", ports=[HTTP]),
        cluster_ip("test-service-2", vip, ports=[HTTP]),
        headless("dns-test-service-2", ports=[HTTP]),
        headless("dns-test-service-3", ports=[]),
        cluster_ip("1kubernetes", vip, ports=[HTTP]),
    ):
        index.apply_service(None, service, wall_seconds=SERIAL)
    address_type = "IPv4" if family == "A" else "IPv6"
    for name, hostname in (("dns-test-service", "dns-querier-1"), ("dns-test-service-2", "dns-querier-2")):
        found = endpoints(name, (pod, hostname, True), address_type=address_type)
        index.apply_slice(None, found, wall_seconds=SERIAL)
    return index


def dig(index: Index, name: str, qtype: RRType, domain: str = "cluster.local") -> Explanation | None:
    """The candidate that is answered."""
    searches = (f"demo.svc.{domain}", f"svc.{domain}", domain)
    config = dataclasses.replace(CONFIG, cluster_domain=parse_name(domain))
    found = walk(name, qtype, searches, 5, index, config)
    return found.candidates[found.answered] if found.answered is not None else None


NAMES = [
    "dns-test-service", "dns-test-service.demo", "dns-test-service.demo.svc", "dns-test-service.demo.svc.cluster.local",
    "_http._tcp.dns-test-service.demo.svc", "_http._tcp.dns-test-service.demo.svc.cluster.local",
    "_http._tcp.test-service-2.demo.svc", "_http._tcp.test-service-2.demo.svc.cluster.local",
    "test-service-2.demo.svc.cluster.local", "dns-querier-1.dns-test-service.demo.svc.cluster.local",
    "dns-querier-2.dns-test-service-2.demo.svc.cluster.local", "dns-test-service-2.demo.svc.cluster.local",
    "1kubernetes.demo.svc.cluster.local",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("family", ["A", "AAAA"])
def test_every_name_that_is_dug_for_is_answered(name: str, family: str) -> None:
    qtype = RRType.SRV if name.startswith("_") else RRType[family]
    found = dig(make_cluster(family), name, qtype)
    assert found is not None
    assert any(f" IN {qtype.name} " in line for line in found.answer)
    if qtype is RRType.SRV:
        assert any(f" IN {family} " in line for line in found.additional)


@pytest.mark.parametrize(
    "name", ["kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]
)
def test_the_api_server_is_found_by_partial_names(name: str) -> None:
    found = dig(make_index(), name, RRType.A)
    assert found is not None and found.answer[0].endswith("A 10.96.0.1")


@pytest.mark.parametrize("name", NAMES[3::2])
def test_another_cluster_domain_serves_the_same(name: str) -> None:
    qtype = RRType.SRV if name.startswith("_") else RRType.A
    assert dig(make_cluster("A"), name.replace("cluster.local", "k.example"), qtype, "k.example") is not None


@pytest.mark.parametrize("family", ["A", "AAAA"])
def test_the_cluster_ip_has_the_name_of_its_service(family: str) -> None:
    index = make_cluster(family)
    index.apply_service(cluster_ip("1kubernetes", FAMILIES[family][0]), None, wall_seconds=SERIAL)
    reverse = ipaddress.ip_address(FAMILIES[family][0]).reverse_pointer
    found = dig(index, reverse + ".", RRType.PTR)
    assert found is not None and found.answer[0].endswith("PTR test-service-2.demo.svc.cluster.local.")


def test_an_external_name_that_is_changed_and_becomes_a_cluster_ip() -> None:
    index = make_index()
    steps = [external("x", "foo.example.com"), external("x", "bar.example.com"), cluster_ip("x", "10.96.9.9")]
    told = []
    for old, new in zip([None, *steps], steps, strict=False):
        index.apply_service(old, new, wall_seconds=SERIAL)
        found = dig(index, "x.demo.svc.cluster.local", RRType.A if new is steps[-1] else RRType.CNAME)
        told.append(found.answer[0].split()[-1] if found else "")
    assert told == ["foo.example.com.", "bar.example.com.", "10.96.9.9"]


def test_of_ten_thousand_services_every_twentieth_has_exactly_its_address() -> None:
    index = make_index()
    for i in range(10_000):
        service = cluster_ip(f"scale-{i}", f"10.100.{i // 250}.{i % 250}")
        index.apply_service(None, service, wall_seconds=SERIAL)
    for i in range(0, 10_000, 20):
        found = dig(index, f"scale-{i}.demo.svc.cluster.local.", RRType.A)
        assert found is not None
        assert [line.split()[-1] for line in found.answer] == [f"10.100.{i // 250}.{i % 250}"]
