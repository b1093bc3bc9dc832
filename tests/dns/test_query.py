"""What names mean, from their labels alone. Rule: spec "discovery" A0.2, A0.3, A1.8, A1.9."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.dns.query import Shape, parse_question
from seaway.dns.records import parse_name
from tests.dns.fixture import ZONE, parse

V6_REVERSE = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("cluster.local", Shape.APEX),
        ("local", Shape.ELSEWHERE),
        ("xcluster.local", Shape.ELSEWHERE),
        ("svc.cluster.local", Shape.NON_TERMINAL),
        ("dns.cluster.local", Shape.NON_TERMINAL),
        ("ns.dns.cluster.local", Shape.NAME_SERVER),
        ("x.ns.dns.cluster.local", Shape.ABSENT),
        ("dns-version.cluster.local", Shape.VERSION),
        ("demo.svc.cluster.local", Shape.SERVICE_NAMESPACE),
        ("web.demo.svc.cluster.local", Shape.SERVICE),
        ("x.web.demo.svc.cluster.local", Shape.ENDPOINT),
        ("_x._y.web.demo.svc.cluster.local", Shape.PORT),
        ("z._x._y.web.demo.svc.cluster.local", Shape.ABSENT),
        ("demo.pod.cluster.local", Shape.POD_NAMESPACE),
        ("svc.svc.cluster.local", Shape.SERVICE_NAMESPACE),
        ("SVC.Cluster.LOCAL", Shape.NON_TERMINAL),
        ("in-addr.arpa", Shape.REVERSE_PARTIAL),
        ("10.in-addr.arpa", Shape.REVERSE_PARTIAL),
        ("1.0.0.10.in-addr.arpa", Shape.REVERSE),
        ("5.1.0.0.10.in-addr.arpa", Shape.REVERSE_PARTIAL),
        ("256.0.0.10.in-addr.arpa", Shape.REVERSE_PARTIAL),
        ("web.demo.svc.10.in-addr.arpa", Shape.REVERSE_PARTIAL),
        (V6_REVERSE, Shape.REVERSE),
        ("g" + V6_REVERSE[1:], Shape.REVERSE_PARTIAL),
    ],
)
def test_shapes(name: str, shape: Shape) -> None:
    assert parse(f"{name} A").shape is shape


@pytest.mark.parametrize(
    ("label", "address"),
    [
        ("10-244-1-5", "10.244.1.5"),
        ("fd00--1", "fd00::1"),
        ("1--2-3", "1::2:3"),
        ("010-1-1-1", ""),
        ("1-2-3", ""),
        ("256-1-1-1", ""),
        ("blah", ""),
        ("--ffff-a01-203", "::ffff:10.1.2.3"),
    ],
)
def test_the_address_in_a_pod_name(label: str, address: str) -> None:
    found = parse(f"{label}.demo.pod.cluster.local A").address
    assert found == (str(ipaddress.ip_address(address)) if address else "")


def test_one_underscore_of_port_and_protocol_is_dropped() -> None:
    found = parse("__http._TCP.web.@ SRV")
    assert (found.port, found.protocol) == ("_http", "tcp")


@given(st.one_of(st.ip_addresses()))
def test_the_reverse_name_of_an_address_leads_back(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    assert parse(f"{address.reverse_pointer} PTR").address == str(address)


@given(st.lists(st.binary(min_size=1, max_size=63), max_size=6), st.sampled_from(["", "cluster.local", "ip6.arpa"]))
def test_any_labels_are_understood_somehow(labels: list[bytes], suffix: str) -> None:
    name = (*labels, *parse_name(suffix))
    assert parse_question(name, 1, cluster_domain=ZONE).name == name
