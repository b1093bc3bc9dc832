"""Rules of the kinds with few of them. Rule: spec "api-machinery" §12, "service-api" §5.4, "node" §1.11."""

from __future__ import annotations

import base64
import copy
from typing import Any

import pytest

from seaway.api.machinery.strategy import Context
from seaway.api.registry import (
    CONFIG_MAPS,
    EVENTS,
    IP_ADDRESSES,
    LEASES,
    NODES,
    SECRETS,
    SERVICE_ACCOUNTS,
    Resource,
)
from tests.api.machinery.test_names import NAME_PART

Json = dict[str, Any]
LOCKED = "Forbidden: field is immutable when `immutable` is set"
NEWER = {"eventTime": "2024-01-01T00:00:00.000000Z", "reportingComponent": "a.b/c", "reportingInstance": "i",
         "action": "a", "reason": "r", "involvedObject": {"namespace": "n"},
         "metadata": {"namespace": "n"}}  # fmt: skip
PARENT = {"resource": "services", "namespace": "default", "name": "web"}
BIG = "x" * (1024 * 1024 + 1)


def encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


CREATE: list[tuple[str, Resource, Json, list[str]]] = [
    ("a key of a ConfigMap", CONFIG_MAPS, {"data": {"..a": ""}},
     ['data[..a]: Invalid value: "..a": must not start with \'..\'']),
    ("a key is text or bytes", CONFIG_MAPS, {"data": {"a": ""}, "binaryData": {"a": ""}},
     ['data[a]: Invalid value: "a": duplicate of key present in binaryData']),
    ("a ConfigMap is small", CONFIG_MAPS, {"data": {"a": BIG}}, [": Too long: may not be more than 1048576 bytes"]),
    ("a key of a Secret", SECRETS, {"data": {".": ""}}, ['data[.]: Invalid value: ".": must not be \'.\'']),
    ("a Secret is small", SECRETS, {"data": {"a": encode(BIG)}},
     ["data: Too long: may not be more than 1048576 bytes"]),
    ("a mebibyte exactly", SECRETS, {"data": {"a": encode(BIG[1:])}}, []),
    ("a TLS Secret", SECRETS, {"type": "kubernetes.io/tls", "data": {"tls.crt": ""}},
     ["data[tls.key]: Required value"]),
    ("basic authentication has either", SECRETS, {"type": "kubernetes.io/basic-auth"},
     ["data[username]: Required value", "data[password]: Required value"]),
    ("an account's token names it", SECRETS, {"type": "kubernetes.io/service-account-token"},
     ["metadata.annotations[kubernetes.io/service-account.name]: Required value"]),
    ("a docker configuration is JSON, and not shown", SECRETS,
     {"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": encode("{")}},
     ['data[.dockerconfigjson]: Invalid value: "<secret contents redacted>": must be valid JSON']),
    ("a Lease lasts", LEASES, {"spec": {"leaseDurationSeconds": 0, "leaseTransitions": -1}},
     ["spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
      "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0"]),
    ("a Lease may be free", LEASES, {"spec": {"holderIdentity": "", "leaseDurationSeconds": 1}}, []),
    ("an Event is where its object is", EVENTS,
     {"metadata": {"namespace": "n"}, "involvedObject": {"namespace": "m"}},
     ['involvedObject.namespace: Invalid value: "m": does not match event.namespace']),
    ("an Event of a cluster-scoped object is in default", EVENTS,
     {"metadata": {"namespace": "default"}, "involvedObject": {}}, []),
    ("and nowhere else", EVENTS, {"metadata": {"namespace": "kube-system"}, "involvedObject": {}},
     ['involvedObject.namespace: Invalid value: "": does not match event.namespace']),
    ("an Event of the newer style", EVENTS, NEWER, []),
    ("the newer style may be in kube-system too", EVENTS,
     {**NEWER, "metadata": {"namespace": "kube-system"}, "involvedObject": {}}, []),
    ("the newer style says more", EVENTS,
     {**NEWER, "reportingComponent": "a b", "reportingInstance": "x" * 129, "action": ""},
     [f'reportingComponent: Invalid value: "a b": name part {NAME_PART}',
      'reportingInstance: Invalid value: "": can have at most 128 characters',
      "action: Required value"]),
    ("an IPAddress has a parent", IP_ADDRESSES, {"spec": {}}, ["spec.parentRef: Required value"]),
    ("a parent is named", IP_ADDRESSES, {"spec": {"parentRef": {}}},
     ["spec.parentRef.resource: Required value", "spec.parentRef.name: Required value"]),
    ("a parent's name is a path segment", IP_ADDRESSES, {"spec": {"parentRef": {**PARENT, "name": "a/b"}}},
     ['spec.parentRef.name: Invalid value: "a/b": may not contain \'/\'']),
    ("a parent's name is not the way up", IP_ADDRESSES, {"spec": {"parentRef": {**PARENT, "name": ".."}}},
     ['spec.parentRef.name: Invalid value: "..": may not be \'..\'']),
    ("a parent's resource is a path segment", IP_ADDRESSES,
     {"spec": {"parentRef": {**PARENT, "name": "a", "resource": "."}}},
     ['spec.parentRef.resource: Invalid value: ".": may not be \'.\'']),
    ("a parent's namespace is a path segment", IP_ADDRESSES,
     {"spec": {"parentRef": {**PARENT, "name": "a", "namespace": "a%"}}},
     ['spec.parentRef.namespace: Invalid value: "a%": may not contain \'%\'']),
    ("a parent of the cluster", IP_ADDRESSES, {"spec": {"parentRef": {"resource": "nodes", "name": "n"}}}, []),
    ("a parent of another group", IP_ADDRESSES,
     {"spec": {"parentRef": {**PARENT, "name": "a", "group": "example.com"}}}, []),
    ("a Node's range", NODES, {"spec": {"podCIDRs": ["10.0.0.1/24"]}},
     ['spec.podCIDRs[0]: Invalid value: "10.0.0.1/24": must not have bits set beyond the prefix length']),
    ("a range per family", NODES, {"spec": {"podCIDRs": ["10.0.0.0/24", "10.0.1.0/24"]}},
     ['spec.podCIDRs: Invalid value: ["10.0.0.0/24","10.0.1.0/24"]: '
      "may specify no more than one CIDR for each IP family"]),
    ("a taint has an effect", NODES, {"spec": {"taints": [{"key": "a"}]}}, ["spec.taints[0].effect: Required value"]),
    ("a known effect", NODES, {"spec": {"taints": [{"key": "a", "effect": "x"}]}},
     ['spec.taints[0].effect: Unsupported value: "x": '
      'supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"']),
    ("a taint once", NODES, {"spec": {"taints": [{"key": "a", "effect": "NoExecute"}] * 2}},
     ['spec.taints[1]: Duplicate value: {"key":"a","effect":"NoExecute"}: '
      "taints must be unique by key and effect pair"]),
]  # fmt: skip


@pytest.mark.parametrize(("resource", "obj", "texts"), [pytest.param(*case[1:], id=case[0]) for case in CREATE])
def test_create(resource: Resource, obj: Json, texts: list[str]) -> None:
    obj = resource.strategy.default(copy.deepcopy(obj))
    assert [str(error) for error in resource.strategy.validate_create(obj)] == texts


UPDATE: list[tuple[str, Resource, Json, Json, list[str]]] = [
    ("an immutable ConfigMap", CONFIG_MAPS, {"immutable": True, "data": {"a": "b"}}, {"data": {"a": "c"}},
     [f"immutable: {LOCKED}", f"data: {LOCKED}"]),
    ("an immutable ConfigMap's metadata is free", CONFIG_MAPS, {"immutable": True},
     {"immutable": True, "metadata": {"labels": {"a": "b"}}}, []),
    ("an immutable Secret", SECRETS, {"type": "Opaque", "immutable": True},
     {"immutable": True, "stringData": {"a": "b"}},
     [f"data: {LOCKED}"]),
    ("a Secret's type", SECRETS, {"type": "a"}, {"type": "b"}, ['type: Invalid value: "b": field is immutable']),
    ("an IPAddress's parent", IP_ADDRESSES, {"spec": {"parentRef": {**PARENT, "name": "a"}}},
     {"spec": {"parentRef": {**PARENT, "name": "b"}}},
     ['spec.parentRef: Invalid value: {"Group":"","Resource":"services","Namespace":"default","Name":"b"}: '
      "field is immutable"]),
    ("a Node's range is given once", NODES, {"spec": {"podCIDR": "10.0.0.0/24", "podCIDRs": ["10.0.0.0/24"]}},
     {"spec": {"podCIDR": "10.0.1.0/24"}},
     ['spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid']),
    ("a Node gets its range later", NODES, {}, {"spec": {"podCIDR": "10.0.0.0/24"}}, []),
]  # fmt: skip


@pytest.mark.parametrize(("resource", "old", "new", "texts"), [pytest.param(*case[1:], id=case[0]) for case in UPDATE])
def test_update(resource: Resource, old: Json, new: Json, texts: list[str]) -> None:
    new = resource.strategy.default(copy.deepcopy(new))
    assert [str(error) for error in resource.strategy.validate_update(new, old)] == texts


def test_string_data_is_folded_in() -> None:
    secret = SECRETS.strategy.default({"data": {"a": encode("1"), "b": encode("2")}, "stringData": {"a": "ä"}})
    assert secret == {"type": "Opaque", "data": {"a": encode("ä"), "b": encode("2")}}


def test_pod_cidr_is_the_first_of_the_list() -> None:
    assert NODES.strategy.default({"spec": {"podCIDR": "a"}})["spec"] == {"podCIDR": "a", "podCIDRs": ["a"]}
    assert NODES.strategy.default({"spec": {"podCIDRs": ["a", "b"]}})["spec"]["podCIDR"] == "a"


def test_a_new_node_keeps_its_status_and_an_update_does_not_touch_it() -> None:
    old = {"metadata": {}, "spec": {}, "status": {"conditions": [1]}}
    assert NODES.strategy.prepare_create(copy.deepcopy(old), Context("")) == old
    new = NODES.strategy.prepare_update({"metadata": {}, "spec": {"unschedulable": True}}, old, Context(""))
    assert new["status"] == old["status"]
    assert NODES.strategy.fields(new) == {"spec.unschedulable": "true"}


def test_an_address_is_listed_once_per_type() -> None:
    address = {"type": "InternalIP", "address": "10.0.0.1"}
    (error,) = NODES.strategy.validate_status_update({"status": {"addresses": [address, address]}}, {})
    assert str(error) == 'status.addresses[1]: Duplicate value: {"type":"InternalIP","address":"10.0.0.1"}'


def test_an_ip_address_is_named_by_its_canonical_text() -> None:
    rule = IP_ADDRESSES.strategy.validate_name
    assert rule is not None
    assert rule("fd00::1") == []
    assert rule("10.0.0.1") == []
    assert rule("FD00::1") == ['must be in canonical form ("fd00::1")']
    assert rule("fd00:0::1") == ['must be in canonical form ("fd00::1")']
    assert rule("010.0.0.1") == ["must not have leading 0s"]
    assert rule("::ffff:10.0.0.1") == ["must not be an IPv4-mapped IPv6 address"]
    assert rule("web") == ["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]


@pytest.mark.parametrize(
    ("resource", "trait", "expected"),
    [
        (LEASES, "allows_unconditional_update", False),
        (LEASES, "creates_on_update", True),
        (EVENTS, "creates_on_update", True),
        (SERVICE_ACCOUNTS, "answers_delete_with_object", True),
        (CONFIG_MAPS, "creates_on_update", False),
        (IP_ADDRESSES, "has_generation", False),
    ],
)
def test_traits(resource: Resource, trait: str, expected: bool) -> None:
    assert getattr(resource.strategy, trait) is expected


def test_selectable_fields() -> None:
    fields = EVENTS.strategy.fields({"involvedObject": {"kind": "Pod"}, "source": {"component": "a"}, "type": "Normal"})
    assert fields["involvedObject.kind"] == "Pod"
    assert (fields["source"], fields["type"], fields["reason"]) == ("a", "Normal", "")
    assert EVENTS.strategy.fields({"reportingComponent": "b"})["source"] == "b"
    assert SECRETS.strategy.fields({"type": "Opaque"}) == {"type": "Opaque"}
