"""Rule: spec "controllers" §3.2 to §3.5, §3.7."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.api.endpoints.types import Endpoints
from seaway.api.pod.types import Pod
from seaway.api.service.types import Service
from seaway.controllers.endpoints.plan import EndpointsPlan, plan_endpoints, render_endpoints
from tests.controllers.endpointslice.slices import pod, pods, service

Json = dict[str, Any]
OVER = "endpoints.kubernetes.io/over-capacity"
TIME = "endpoints.kubernetes.io/last-change-trigger-time"
LABELS = {"endpoints.kubernetes.io/managed-by": "endpoint-controller"}


def stored(body: Json) -> Endpoints:
    """What a server keeps of the body."""
    meta = {**body["metadata"], "uid": "uid-ep", "resourceVersion": "7"}
    return msgspec.convert({**body, "metadata": meta}, Endpoints)


def settle(svc: Service, chosen: list[Pod], existing: Endpoints | None = None) -> tuple[EndpointsPlan, Json]:
    """The plan and the body that it sends, after checking that a plan for its result is empty."""
    before = copy.deepcopy((svc, chosen, existing))
    plan = plan_endpoints(svc, chosen, existing)
    assert (svc, chosen, existing) == before
    assert plan.write is not None
    body = render_endpoints(svc, plan.write, None)
    assert plan_endpoints(svc, list(reversed(chosen)), stored(body)).is_empty
    return plan, body


def test_a_service_without_pods_has_endpoints_without_subsets() -> None:
    _, body = settle(service(), [])
    assert body["subsets"] == []
    assert body["metadata"] == {"name": "web", "namespace": "default", "labels": LABELS}


def test_the_shape_of_an_address() -> None:
    _, body = settle(
        service(), [pod("a", "10.0.0.1", hostname="a", subdomain="web"), pod("b", "10.0.0.2", ready=False)]
    )
    ref = {"kind": "Pod", "namespace": "default"}
    first = {"ip": "10.0.0.1", "hostname": "a", "nodeName": "n1", "targetRef": {**ref, "name": "a", "uid": "uid-a"}}
    second = {"ip": "10.0.0.2", "nodeName": "n1", "targetRef": {**ref, "name": "b", "uid": "uid-b"}}
    ports = [{"port": 8080, "protocol": "TCP"}]
    assert body["subsets"] == [{"addresses": [first], "notReadyAddresses": [second], "ports": ports}]


def pod_of(**changes: Any) -> Pod:
    return pod("a", "10.0.0.1", **changes)


def ended(phase: str) -> Pod:
    found = pod_of()
    return msgspec.structs.replace(found, status=msgspec.structs.replace(found.status, phase=phase))


def terminating() -> Pod:
    found = pod_of()
    return msgspec.structs.replace(
        found, metadata=msgspec.structs.replace(found.metadata, deletion_timestamp="2026-01-01T00:00:00Z")
    )


POD_CASES: dict[str, tuple[Json, Pod, tuple[list[str], list[str]]]] = {
    "a ready Pod is an address": ({}, pod_of(), (["10.0.0.1"], [])),
    "an unready Pod is a not-ready address": ({}, pod_of(ready=False), ([], ["10.0.0.1"])),
    "publishNotReadyAddresses makes it an address": (
        {"publishNotReadyAddresses": True}, pod_of(ready=False), (["10.0.0.1"], [])
    ),
    "a terminating Pod is left out entirely": ({}, terminating(), ([], [])),
    "publishNotReadyAddresses keeps a terminating Pod": (
        {"publishNotReadyAddresses": True}, terminating(), (["10.0.0.1"], [])
    ),
    "a Pod that succeeded is left out": ({}, ended("Succeeded"), ([], [])),
    "a Pod that failed is left out": ({"publishNotReadyAddresses": True}, ended("Failed"), ([], [])),
    "a Pod without address is left out": ({}, pod("a"), ([], [])),
    "a node that does not exist is no obstacle": ({}, pod_of(nodeName="nowhere"), (["10.0.0.1"], [])),
    "only the primary family counts": (
        {"ipFamilies": ["IPv6", "IPv4"]}, pod("a", "10.0.0.1", "FD00::A"), (["fd00::a"], [])
    ),
    "a Pod without address of the primary family is left out": ({"ipFamilies": ["IPv6"]}, pod_of(), ([], [])),
    "without ipFamilies the cluster IP says the family": (
        {"ipFamilies": [], "clusterIP": "fd00::1"}, pod("a", "10.0.0.1", "fd00::2"), (["fd00::2"], [])
    ),
    "without both the Pod's own address does": (
        {"ipFamilies": [], "clusterIP": "None"}, pod("a", "fd00::2", "10.0.0.1"), (["fd00::2"], [])
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", POD_CASES.values(), ids=POD_CASES)
def test_which_pods_are_addresses(case: tuple[Json, Pod, tuple[list[str], list[str]]]) -> None:
    spec, found, wanted = case
    _, body = settle(service(**spec), [found])
    subset = (body["subsets"] or [{}])[0]
    got = tuple([a["ip"] for a in subset.get(key, ())] for key in ("addresses", "notReadyAddresses"))
    assert got == wanted


def named(number: int) -> list[Json]:
    return [{"name": "main", "ports": [{"name": "http", "containerPort": number}]}]


def test_a_pod_without_the_named_port_is_missing_from_that_port_only() -> None:
    ports = [{"name": "web", "port": 80, "targetPort": "http"}, {"name": "raw", "port": 81, "targetPort": 9000}]
    _, body = settle(service(ports=ports), [pod("a", "10.0.0.1", containers=named(8080)), pod("b", "10.0.0.2")])
    assert [([a["ip"] for a in s["addresses"]], [p["name"] for p in s["ports"]]) for s in body["subsets"]] == [
        (["10.0.0.1", "10.0.0.2"], ["raw"]),
        (["10.0.0.1"], ["web"]),
    ]


def test_pods_whose_named_ports_differ_are_in_subsets_of_their_own() -> None:
    chosen = [pod("a", "10.0.0.1", containers=named(8080)), pod("b", "10.0.0.2", containers=named(9090))]
    _, body = settle(service(ports=[{"port": 80, "targetPort": "http"}]), chosen)
    assert [(s["addresses"][0]["ip"], s["ports"][0]["port"]) for s in body["subsets"]] == [
        ("10.0.0.1", 8080),
        ("10.0.0.2", 9090),
    ]


def test_a_headless_service_without_ports_has_addresses_alone() -> None:
    _, body = settle(service(clusterIP="None", ports=[]), pods(2))
    assert [sorted(s) for s in body["subsets"]] == [["addresses"]]
    assert body["metadata"]["labels"] == {**LABELS, "service.kubernetes.io/headless": ""}


def test_another_service_without_ports_has_no_addresses() -> None:
    _, body = settle(service(ports=[]), pods(2))
    assert body["subsets"] == []


def test_hands_off_external_names_and_services_without_selector() -> None:
    by_hand = stored(settle(service(), pods(1))[1])
    assert plan_endpoints(service(type="ExternalName"), pods(1), by_hand).is_empty
    assert plan_endpoints(service(selector={}), [], by_hand).is_empty
    assert plan_endpoints(service(selector={}), [], None).is_empty


def test_endpoints_of_a_service_that_is_gone_are_deleted() -> None:
    by_hand = stored(settle(service(), [])[1])
    assert plan_endpoints(None, [], by_hand) == EndpointsPlan(delete=by_hand)
    assert plan_endpoints(None, [], None).is_empty


def test_a_service_that_is_being_deleted_gets_no_new_endpoints() -> None:
    assert plan_endpoints(service(meta={"deletionTimestamp": "2026-01-01T00:00:00Z"}), pods(1), None).is_empty


def test_more_than_1000_addresses_are_truncated_and_marked_until_they_are_not() -> None:
    _, body = settle(service(), pods(1001))
    assert len(body["subsets"][0]["addresses"]) == 1000
    assert body["metadata"]["annotations"] == {OVER: "truncated"}
    _, body = settle(service(), pods(1000), stored(body))
    assert len(body["subsets"][0]["addresses"]) == 1000
    assert "annotations" not in body["metadata"]


@pytest.mark.parametrize("value", ["warning", "truncated"])
def test_a_stale_mark_of_capacity_goes(value: str) -> None:
    _, body = settle(service(), pods(3))
    body["metadata"]["annotations"] = {OVER: value}
    _, mended = settle(service(), pods(3), stored(body))
    assert "annotations" not in mended["metadata"]


def test_another_order_of_subsets_and_addresses_is_no_reason_to_write() -> None:
    ports = [{"name": "web", "port": 80, "targetPort": "http"}, {"name": "raw", "port": 81, "targetPort": 9000}]
    svc, chosen = service(ports=ports), [pod("a", "10.0.0.1", containers=named(8080)), pod("b", "10.0.0.2")]
    _, body = settle(svc, chosen)
    body["subsets"].reverse()
    for subset in body["subsets"]:
        subset["addresses"].reverse()
    assert plan_endpoints(svc, chosen, stored(body)).is_empty


def test_the_resource_version_of_a_reference_is_no_reason_to_write() -> None:
    _, body = settle(service(), pods(1))
    body["subsets"][0]["addresses"][0]["targetRef"]["resourceVersion"] = "3"
    assert plan_endpoints(service(), pods(1), stored(body)).is_empty


def test_labels_are_those_of_the_service_and_foreign_annotations_stay() -> None:
    _, body = settle(service(), pods(1))
    body["metadata"]["labels"] = {"stray": "label"}
    body["metadata"]["annotations"] = {"example.com/note": "kept", TIME: "2026-01-01T00:00:00Z"}
    body["metadata"]["finalizers"] = ["example.com/held"]
    body["metadata"]["ownerReferences"] = [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"}]
    _, mended = settle(service(meta={"labels": {"team": "a"}}), pods(1), stored(body))
    meta = mended["metadata"]
    assert meta["labels"] == {**LABELS, "team": "a"}
    assert meta["annotations"] == {"example.com/note": "kept"}
    assert (meta["resourceVersion"], meta["finalizers"]) == ("7", ["example.com/held"])
    assert [ref["uid"] for ref in meta["ownerReferences"]] == ["u"]


def test_a_write_carries_the_trigger_time() -> None:
    plan, _ = settle(service(), pods(1))
    assert plan.write is not None
    body = render_endpoints(service(), plan.write, "2026-01-02T03:04:05Z")
    assert body["metadata"]["annotations"] == {TIME: "2026-01-02T03:04:05Z"}


def test_no_owner_is_written() -> None:
    assert "ownerReferences" not in settle(service(), pods(1))[1]["metadata"]


_PODS = st.lists(
    st.builds(
        lambda n, ready, number: pod(f"p{n}", f"10.0.0.{n}", ready=ready, containers=named(number)),
        st.integers(1, 8), st.booleans(), st.sampled_from([8080, 9090]),
    ),
    max_size=8, unique_by=lambda p: p.metadata.name,
)  # fmt: skip
_PORTS = [{"name": "web", "port": 80, "targetPort": "http"}, {"name": "raw", "port": 81, "targetPort": 9000}]


def oracle(chosen: list[Pod]) -> set[tuple[str, str, int, bool]]:
    """Slowly: every (address, port name, number, ready)."""
    said = set()
    for one in chosen:
        said.add((one.status.pod_ip, "raw", 9000, one.is_ready))
        said.add((one.status.pod_ip, "web", one.spec.containers[0].ports[0].container_port, one.is_ready))
    return said


@given(_PODS, _PODS, st.randoms())
def test_any_pods_over_any_pods(before: list[Pod], after: list[Pod], random: Any) -> None:
    svc = service(ports=_PORTS)
    existing = stored(settle(svc, before)[1])
    shuffled = list(after)
    random.shuffle(shuffled)
    plan = plan_endpoints(svc, shuffled, existing)
    assert plan == plan_endpoints(svc, after, existing)
    subsets = plan.write.subsets if plan.write is not None else existing.subsets
    said = {
        (address.ip, port.name, port.port, ready)
        for subset in subsets
        for port in subset.ports
        for ready, addresses in ((True, subset.addresses), (False, subset.not_ready_addresses))
        for address in addresses
    }
    assert said == oracle(after)
    assert plan.is_empty == (oracle(before) == oracle(after)), "a write when, and only when, something differs"
