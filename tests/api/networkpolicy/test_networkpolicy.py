"""Rule: upstream's networking/v1 defaults and validation."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.api.machinery.addresses import find_network
from seaway.api.networkpolicy.validation import _is_inside
from seaway.api.registry import NETWORK_POLICIES
from tests.api.kindtable import Case, cases
from tests.api.manifests import create_texts, make_stored, update_texts

Json = dict[str, Any]


def ingress(**rule: Any) -> Json:
    return {"spec": {"ingress": [rule]}}


def block(cidr: str, *excepted: str) -> Json:
    return {"spec": {"egress": [{"to": [{"ipBlock": {"cidr": cidr, "except": list(excepted)}}]}]}}


BLOCK = "spec.egress[0].to[0].ipBlock"
HOST_BITS = "must not have bits set beyond the prefix length"
CREATE: list[Case] = [
    ("everything may come in", ingress(), []),
    ("a known protocol", ingress(ports=[{"protocol": "ICMP"}]),
     ['spec.ingress[0].ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"']),
    ("a port number", ingress(ports=[{"port": 70000}]),
     ["spec.ingress[0].ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive"]),
    ("a port name", ingress(ports=[{"port": "a_b"}]),
     ['spec.ingress[0].ports[0].port: Invalid value: "a_b": '
      "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"]),
    ("a range of ports", ingress(ports=[{"port": 80, "endPort": 90}]), []),
    ("a range goes up", ingress(ports=[{"port": 90, "endPort": 80}]),
     ["spec.ingress[0].ports[0].endPort: Invalid value: 80: must be greater than or equal to `port`"]),
    ("a range has a start", ingress(ports=[{"endPort": 80}]),
     ["spec.ingress[0].ports[0].endPort: Invalid value: 80: may not be specified when `port` is not specified"]),
    ("a range is of numbers", ingress(ports=[{"port": "http", "endPort": 80}]),
     ["spec.ingress[0].ports[0].endPort: Invalid value: 80: may not be specified when `port` is non-numeric"]),
    ("a peer is somebody", ingress(**{"from": [{}]}), ["spec.ingress[0].from[0]: Required value: must specify a peer"]),
    ("everybody is somebody", ingress(**{"from": [{"podSelector": {}, "namespaceSelector": {}}]}), []),
    ("addresses or labels", ingress(**{"from": [{"podSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}}]}),
     ["spec.ingress[0].from[0]: Forbidden: may not specify both ipBlock and another peer"]),
    ("a block has a range", block(""), [f"{BLOCK}.cidr: Required value"]),
    ("a range is one", block("10.0.0.1/8"), [f'{BLOCK}.cidr: Invalid value: "10.0.0.1/8": {HOST_BITS}']),
    ("exceptions are inside", block("10.0.0.0/8", "10.1.0.0/16", "11.0.0.0/16", "10.0.0.0/8", "fd00::/64"),
     [f'{BLOCK}.except[{i}]: Invalid value: "{cidr}": must be a strict subset of `cidr`'
      for i, cidr in ((1, "11.0.0.0/16"), (2, "10.0.0.0/8"), (3, "fd00::/64"))]),
    ("a selector is one", {"spec": {"podSelector": {"matchExpressions": [{"key": "a", "operator": "x"}]}}},
     ['spec.podSelector.matchExpressions[0].operator: Invalid value: "x": not a valid selector operator']),
    ("known directions", {"spec": {"policyTypes": ["ingress"]}},
     ['spec.policyTypes[0]: Unsupported value: "ingress": supported values: "Egress", "Ingress"']),
    ("two directions", {"spec": {"policyTypes": ["Egress"] * 3}},
     ['spec.policyTypes: Invalid value: ["Egress","Egress","Egress"]: may not specify more than two policyTypes']),
]  # fmt: skip


@cases(CREATE)
def test_create(changes: Json, texts: list[str]) -> None:
    assert create_texts(NETWORK_POLICIES, **changes) == texts


def test_a_range_that_was_stored_may_stay() -> None:
    old = make_stored(NETWORK_POLICIES, **block("10.0.0.1/8"))
    assert update_texts(NETWORK_POLICIES, {"metadata": {"labels": {"a": "b"}}}, old=old) == []


@pytest.mark.parametrize(
    ("spec", "types"),
    [({}, ["Ingress"]), ({"egress": [{}]}, ["Ingress", "Egress"]), ({"policyTypes": ["Egress"]}, ["Egress"])],
)
def test_a_policy_is_about_what_it_speaks_of(spec: Json, types: list[str]) -> None:
    assert make_stored(NETWORK_POLICIES, spec=spec)["spec"]["policyTypes"] == types


def test_a_port_is_of_tcp() -> None:
    (rule,) = make_stored(NETWORK_POLICIES, **ingress(ports=[{"port": 80}]))["spec"]["ingress"]
    assert rule == {"ports": [{"port": 80, "protocol": "TCP"}]}


@st.composite
def networks(draw: st.DrawFn) -> str:
    bits = draw(st.sampled_from((32, 128)))
    make = ipaddress.IPv4Network if bits == 32 else ipaddress.IPv6Network
    return str(make((draw(st.integers(0, 2**bits - 1)), draw(st.integers(0, bits))), strict=False))


@given(networks(), networks())
def test_being_inside_is_what_the_library_says(inner_text: str, outer_text: str) -> None:
    inner, outer = find_network(inner_text), find_network(outer_text)
    if inner is None or outer is None:  # an IPv4-mapped network shorter than /96 is none
        return
    a, b = ipaddress.ip_network(str(inner.network)), ipaddress.ip_network(str(outer.network))
    expected = a.version == b.version and a != b and a.subnet_of(b)  # type: ignore[arg-type]
    assert _is_inside(inner.network, outer.network) is expected
