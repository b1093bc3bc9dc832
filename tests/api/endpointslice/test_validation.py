"""EndpointSlices. Rule: spec "service-api" §0.1 (generation), §2.1, §9.3."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from seaway.api.endpointslice.strategy import STRATEGY, has_changed, prepare_update, warnings
from seaway.api.machinery.strategy import Context
from seaway.testing.builders import make_slice, merge
from tests.api.machinery.test_addresses import IP, LINK_LOCAL, LOOPBACK
from tests.api.machinery.test_names import LABEL, NAME_PART, SUBDOMAIN, VALUE

Json = dict[str, Any]


def make(changes: Json | None = None, **endpoint: Any) -> Json:
    given = make_slice("web-1", "web", ["10.0.0.1"], **endpoint)
    return STRATEGY.default(merge(given, changes or {}))


def at(addresses: list[str], kind: str = "IPv4") -> Json:
    return {"addressType": kind, "endpoints": [{"addresses": addresses}]}


ZONES = [{"name": f"z{i}"} for i in range(9)]
CASES: list[tuple[str, Json, list[str]]] = [
    ("good", {}, []),
    ("two addresses in an endpoint", at(["10.0.0.1", "10.0.0.1"]), []),
    ("a type is needed", {"addressType": ""}, ["addressType: Required value"]),
    ("a known type", {"addressType": "IP"},
     ['addressType: Unsupported value: "IP": supported values: "FQDN", "IPv4", "IPv6"']),
    ("any port number, or none",
     {"ports": [{"name": "a", "port": 0}, {"name": "b"}, {"name": "c", "port": 70000}]}, []),
    ("a port name is a label", {"ports": [{"name": "A"}]}, [f'ports[0].name: Invalid value: "A": {LABEL}']),
    ("a port name occurs once", {"ports": [{}, {}]}, ['ports[1].name: Duplicate value: ""']),
    ("a known protocol", {"ports": [{"protocol": "ICMP"}]},
     ['ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"']),
    ("an application protocol", {"ports": [{"appProtocol": "a b"}]},
     [f'ports[0].appProtocol: Invalid value: "a b": name part {NAME_PART}']),
    ("too many ports, and nothing more about them", {"ports": [{"name": "A"}] * 20001},
     ["ports: Too many: 20001: must have at most 20000 items"]),
    ("too many endpoints, and nothing more about them", {"endpoints": [{}] * 1001},
     ["endpoints: Too many: 1001: must have at most 1000 items"]),
    ("an address is needed", at([]), ["endpoints[0].addresses: Required value: must contain at least 1 address"]),
    ("a hundred addresses at most", at(["10.0.0.1"] * 101),
     ["endpoints[0].addresses: Too many: 101: must have at most 100 items"]),
    ("an address", at(["x"]), [f'endpoints[0].addresses[0]: Invalid value: "x": {IP}']),
    ("an IPv4 address", at(["fd00::1"]),
     ['endpoints[0].addresses: Invalid value: "fd00::1": must be an IPv4 address']),
    ("an address that can be reached", at(["127.0.0.1"]),
     [f'endpoints[0].addresses[0]: Invalid value: "127.0.0.1": {LOOPBACK}']),
    ("an IPv6 address", at(["10.0.0.1"], "IPv6"),
     ['endpoints[0].addresses: Invalid value: "10.0.0.1": must be an IPv6 address']),
    ("an IPv6 address in its one spelling", at(["FD00::1"], "IPv6"),
     ['endpoints[0].addresses[0]: Invalid value: "FD00::1": must be in canonical form ("fd00::1")']),
    ("a wrong family and not to be reached", at(["fe80::1"]),
     ['endpoints[0].addresses: Invalid value: "fe80::1": must be an IPv4 address',
      f'endpoints[0].addresses[0]: Invalid value: "fe80::1": {LINK_LOCAL}']),
    ("leading zeros", at(["10.0.0.01"]),
     ['endpoints[0].addresses[0]: Invalid value: "10.0.0.01": must not have leading 0s']),
    ("an IPv4 address in IPv6 clothes", at(["::ffff:10.0.0.1"], "IPv6"),
     ['endpoints[0].addresses[0]: Invalid value: "::ffff:10.0.0.1": must not be an IPv4-mapped IPv6 address']),
    ("garbage in an IPv6 slice", at(["x"], "IPv6"), [f'endpoints[0].addresses[0]: Invalid value: "x": {IP}']),
    ("a thousand endpoints", {"endpoints": [{"addresses": ["10.0.0.1"]}] * 1000}, []),
    ("a hundred addresses", at(["10.0.0.1"] * 100), []),
    ("addresses of an unknown type are not judged", {**at(["x"]), "addressType": "IP"},
     ['addressType: Unsupported value: "IP": supported values: "FQDN", "IPv4", "IPv6"']),
    ("a domain is a subdomain", at(["A.b"], "FQDN"),
     [f'endpoints[0].addresses[0]: Invalid value: "A.b": {SUBDOMAIN}']),
    ("a domain", at(["a.example."], "FQDN"), []),
    ("a domain is needed", at([""], "FQDN"), ["endpoints[0].addresses[0]: Required value"]),
    ("a domain has two labels", at(["a"], "FQDN"),
     ['endpoints[0].addresses[0]: Invalid value: "a": '
      "should be a domain with at least two segments separated by dots"]),
    ("a domain's label is short", at([f"{'a' * 64}.b"], "FQDN"),
     [f'endpoints[0].addresses[0]: Invalid value: "{"a" * 64}": must be no more than 63 characters']),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "texts"), [pytest.param(*case[1:], id=case[0]) for case in CASES])
def test_create(changes: Json, texts: list[str]) -> None:
    given = make(changes)
    kept = copy.deepcopy(given)
    assert [str(error) for error in STRATEGY.validate_create(given)] == texts
    assert given == kept


ENDPOINT: list[tuple[str, Json, list[str]]] = [
    ("a node", {"nodeName": "A"}, [f'endpoints[0].nodeName: Invalid value: "A": {SUBDOMAIN}']),
    ("a host name", {"hostname": "A"}, [f'endpoints[0].hostname: Invalid value: "A": {LABEL}']),
    ("any zone", {"zone": "a b"}, []),
    ("hints", {"hints": {"forZones": [{"name": "a"}], "forNodes": [{"name": "n"}]}}, []),
    ("eight hints at most, and nothing more about them",
     {"hints": {"forZones": ZONES, "forNodes": [{"name": "A"}]}},
     ["endpoints[0].hints.forZones: Too many: 9: must have at most 8 items"]),
    ("eight hints are fine", {"hints": {"forZones": ZONES[:8], "forNodes": ZONES[:8]}}, []),
    ("eight nodes at most", {"hints": {"forZones": [{"name": "a b"}], "forNodes": ZONES}},
     [f'endpoints[0].hints.forZones[0].name: Invalid value: "a b": {VALUE}',
      "endpoints[0].hints.forNodes: Too many: 9: must have at most 8 items"]),
    ("a node once", {"hints": {"forNodes": [{"name": "n"}, {"name": "n"}]}},
     ['endpoints[0].hints.forNodes[1].name: Duplicate value: "n"']),
    ("conditions and what is behind are not judged",
     {"conditions": {"ready": False, "terminating": True}, "targetRef": {"kind": "?"}}, []),
    ("a zone once", {"hints": {"forZones": [{"name": "a"}, {"name": "a"}]}},
     ['endpoints[0].hints.forZones[1].name: Duplicate value: "a"']),
    ("a zone is a label value", {"hints": {"forZones": [{"name": "a b"}]}},
     [f'endpoints[0].hints.forZones[0].name: Invalid value: "a b": {VALUE}']),
    ("a node hint is a subdomain", {"hints": {"forNodes": [{"name": "A"}]}},
     [f'endpoints[0].hints.forNodes[0].name: Invalid value: "A": {SUBDOMAIN}']),
]  # fmt: skip


@pytest.mark.parametrize(("endpoint", "texts"), [pytest.param(*case[1:], id=case[0]) for case in ENDPOINT])
def test_endpoint(endpoint: Json, texts: list[str]) -> None:
    assert [str(error) for error in STRATEGY.validate_create(make(**endpoint))] == texts


def test_ports_are_defaulted_and_lists_are_there() -> None:
    given = STRATEGY.default({"addressType": "IPv4", "ports": [{}], "endpoints": None})
    assert given == {"addressType": "IPv4", "ports": [{"name": "", "protocol": "TCP"}], "endpoints": []}


def test_the_address_type_stays() -> None:
    errors = STRATEGY.validate_update(make({**at(["fd00::1"], "IPv6")}), make())
    assert [str(error) for error in errors] == ['addressType: Invalid value: "IPv6": field is immutable']


def test_endpoints_that_stay_are_not_judged_again() -> None:
    bad = make(at(["127.0.0.1"]))
    assert STRATEGY.validate_update(copy.deepcopy(bad), bad) == []
    assert len(STRATEGY.validate_update(merge(bad, {"ports": [{"name": "A", "protocol": "TCP"}]}), bad)) == 1


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        ({}, False),
        ({"metadata": {"annotations": {"a": "b"}}}, False),
        ({"metadata": {"labels": {"a": "b"}}}, True),
        ({"ports": []}, True),
        ({"endpoints": []}, True),
    ],
)
def test_what_counts_for_the_generation(changes: Json, counts: bool) -> None:
    assert has_changed(make(changes), make()) == counts


def test_the_old_topology_goes_but_a_known_node_stays_known() -> None:
    old = make(deprecatedTopology={"kubernetes.io/hostname": "n1"})
    new = make(zone="z", deprecatedTopology={"kubernetes.io/hostname": "n1"})
    endpoint = prepare_update(new, old, Context(""))["endpoints"][0]
    assert "deprecatedTopology" not in endpoint
    assert endpoint["nodeName"] == "n1"
    assert prepare_update(copy.deepcopy(old), old, Context("")) == old


def test_warnings() -> None:
    odd = make(at(["FD00::1"], "IPv6"))
    text = 'endpoints[0].addresses[0]: IPv6 address "FD00::1" should be in RFC 5952 canonical format ("fd00::1")'
    assert warnings(odd, odd) == [text]
    owned = {"metadata": {"labels": {"endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}}}
    assert warnings(merge(odd, owned), None) == []
    domain = make(at(["a.b"], "FQDN"))
    assert warnings(domain, None) == ["spec.addressType: FQDN endpoints are deprecated"]
    assert warnings(domain, domain) == []


def test_a_node_name_is_not_made_of_topology_that_the_old_slice_lacks() -> None:
    new = make(zone="z", deprecatedTopology={"kubernetes.io/hostname": "n2"})
    old = make(deprecatedTopology={"kubernetes.io/hostname": "n1"})
    assert "nodeName" not in prepare_update(new, old, Context(""))["endpoints"][0]
    named = make(zone="z", nodeName="mine", deprecatedTopology={"kubernetes.io/hostname": "n1"})
    assert prepare_update(named, old, Context(""))["endpoints"][0]["nodeName"] == "mine"


def test_a_new_slice_has_no_old_topology() -> None:
    made = STRATEGY.prepare_create(make(deprecatedTopology={"kubernetes.io/hostname": "n1"}), Context(""))
    assert "deprecatedTopology" not in made["endpoints"][0]
    assert "nodeName" not in made["endpoints"][0]


def test_labels_and_services_are_not_asked_for() -> None:
    """§9.3: neither the label of the Service nor who manages the slice is enforced."""
    assert STRATEGY.validate_create({**make(), "metadata": {"name": "a"}}) == []


def test_a_warning_of_the_mirroring_controller_is_none() -> None:
    label = {"endpointslice.kubernetes.io/managed-by": "endpointslicemirroring-controller.k8s.io"}
    assert warnings(merge(make(at(["FD00::1"], "IPv6")), {"metadata": {"labels": label}}), None) == []
