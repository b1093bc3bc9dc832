"""Rule: spec "controllers" §1.3 to §1.6."""

from __future__ import annotations

from typing import Any

import pytest

from seaway.api.endpointslice.types import EndpointConditions
from seaway.controllers.endpointslice.endpoint import (
    choose_families,
    is_eligible,
    is_selected,
    make_endpoint,
    project_pod,
    resolve_ports,
)
from seaway.net.family import Family
from tests.controllers.endpointslice.slices import nodes, pod, service

GONE = {"meta": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}

ELIGIBLE = [
    ("a running Pod with an address is", pod("a", "10.0.0.1"), True),
    ("a Pod without an address is not", pod("a"), False),
    ("a terminating Pod is", pod("a", "10.0.0.1", **GONE), True),
    ("a Pod that succeeded is not", pod("a", "10.0.0.1", status={"phase": "Succeeded"}), False),
    ("a Pod that failed is not", pod("a", "10.0.0.1", status={"phase": "Failed"}), False),
    ("a Pod of unknown phase is", pod("a", "10.0.0.1", status={"phase": "Unknown"}), True),
]


@pytest.mark.parametrize(("subject", "expected"), [c[1:] for c in ELIGIBLE], ids=[c[0] for c in ELIGIBLE])
def test_eligibility(subject: Any, expected: bool) -> None:
    assert is_eligible(subject) is expected
    assert (project_pod(subject) is not None) is expected


CONDITIONS = [
    ("running and ready", False, pod("a", "10.0.0.1"), (True, True, False)),
    ("running and not ready", False, pod("a", "10.0.0.1", ready=False), (False, False, False)),
    ("terminating and still ready", False, pod("a", "10.0.0.1", **GONE), (False, True, True)),
    ("terminating and not ready", False, pod("a", "10.0.0.1", ready=False, **GONE), (False, False, True)),
    ("published: running and not ready", True, pod("a", "10.0.0.1", ready=False), (True, False, False)),
    ("published: terminating", True, pod("a", "10.0.0.1", **GONE), (True, True, True)),
]


@pytest.mark.parametrize(
    ("publish", "subject", "expected"), [c[1:] for c in CONDITIONS], ids=[c[0] for c in CONDITIONS]
)
def test_conditions_are_all_written(publish: bool, subject: Any, expected: tuple[bool, bool, bool]) -> None:
    endpoint = make_endpoint(service(publishNotReadyAddresses=publish), subject, None, Family.IPV4)
    assert endpoint is not None
    assert endpoint.conditions == EndpointConditions(*expected)


def test_fields_of_an_endpoint() -> None:
    subject = pod("a", "10.0.0.1", "FD00::A", hostname="a0", subdomain="web")
    node = nodes("n1", zone="z1")["n1"]
    four = make_endpoint(service(), subject, node, Family.IPV4)
    six = make_endpoint(service(), subject, node, Family.IPV6)
    assert four is not None and six is not None and four.target_ref is not None
    assert (four.addresses, six.addresses) == (("10.0.0.1",), ("fd00::a",))
    assert (four.hostname, four.node_name, four.zone) == ("a0", "n1", "z1")
    assert (four.target_ref.kind, four.target_ref.name, four.target_ref.uid) == ("Pod", "a", "uid-a")
    assert four.target_ref.api_version == ""


def test_a_hostname_under_another_subdomain_is_not_given() -> None:
    endpoint = make_endpoint(service(), pod("a", "10.0.0.1", hostname="a0", subdomain="db"), None, Family.IPV4)
    assert endpoint is not None and endpoint.hostname is None


@pytest.mark.parametrize("ip", ["fd00::1", "010.0.0.1", "nonsense"], ids=["other family", "leading zero", "no address"])
def test_a_pod_without_an_address_of_the_family_is_no_endpoint(ip: str) -> None:
    assert make_endpoint(service(), pod("a", ip), None, Family.IPV4) is None


HTTP = {"name": "http", "containerPort": 8080}
PORTS: list[tuple[str, dict[str, Any], dict[str, Any], list[tuple[str, int]]]] = [
    ("a number is taken as it is", {"targetPort": 9376}, {}, [("", 9376)]),
    ("a missing target is the port", {}, {}, [("", 80)]),
    ("a name is looked up", {"targetPort": "http"}, {"containers": [{"name": "c", "ports": [HTTP]}]}, [("", 8080)]),
    ("a name of another protocol is not found", {"targetPort": "http", "protocol": "UDP"},
     {"containers": [{"name": "c", "ports": [HTTP]}]}, []),
    ("a sidecar's port is found", {"targetPort": "http"},
     {"initContainers": [{"name": "s", "restartPolicy": "Always", "ports": [HTTP]}]}, [("", 8080)]),
    ("an init container's port is not", {"targetPort": "http"},
     {"initContainers": [{"name": "s", "ports": [HTTP]}]}, []),
]  # fmt: skip


@pytest.mark.parametrize(("port", "spec", "expected"), [c[1:] for c in PORTS], ids=[c[0] for c in PORTS])
def test_ports(port: dict[str, Any], spec: dict[str, Any], expected: list[tuple[str, int]]) -> None:
    found = resolve_ports(service(ports=[{"port": 80, **port}]), pod("a", "10.0.0.1", **spec))
    assert [(p.name, p.port) for p in found] == expected


FAMILIES: list[tuple[str, dict[str, Any], list[str]]] = [
    ("those of the Service", {"ipFamilies": ["IPv6", "IPv4"]}, ["IPv6", "IPv4"]),
    ("the cluster IP's, where none are given", {"ipFamilies": [], "clusterIP": "fd00::1"}, ["IPv6"]),
    ("both for an old headless Service", {"ipFamilies": [], "clusterIP": "None"}, ["IPv4", "IPv6"]),
]


@pytest.mark.parametrize(("spec", "expected"), [c[1:] for c in FAMILIES], ids=[c[0] for c in FAMILIES])
def test_families(spec: dict[str, Any], expected: list[str]) -> None:
    assert [f.value for f in choose_families(service(**spec))] == expected


def test_an_empty_selector_selects_nothing() -> None:
    assert is_selected({"a": "1"}, {"a": "1", "b": "2"})
    assert not is_selected({"a": "1"}, {"a": "2"})
    assert not is_selected({}, {"a": "1"})
