"""Rule: spec "controllers" §1.2, §1.7, §1.8, §1.10, §1.11."""

from __future__ import annotations

import copy

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.api.endpointslice.types import EndpointSlice
from seaway.api.node.types import Node
from seaway.api.pod.types import Pod
from seaway.api.service.types import Service
from seaway.controllers.endpointslice.plan import Memo, SliceCounts, SlicePlan, plan_slices
from seaway.controllers.endpointslice.render import render_labels, render_slice
from seaway.controllers.endpointslice.topology import NOTHING, Topology
from tests.controllers.endpointslice.slices import LABELS, UID, apply, make_existing, nodes, pod, pods, service


def settle(svc: Service, chosen: list[Pod], existing: list[EndpointSlice]) -> tuple[SlicePlan, list[EndpointSlice]]:
    """The plan and its result, after checking that a plan for the result is empty and inputs are as they were."""
    before = copy.deepcopy(existing)
    plan = plan_slices(svc, chosen, nodes("n1"), existing)
    assert existing == before
    after = apply(svc, existing, plan)
    again = plan_slices(svc, chosen, nodes("n1"), after)
    assert again.is_empty, again
    return plan, after


def addresses(slices: list[EndpointSlice]) -> list[str]:
    return sorted(a for s in slices for e in s.endpoints or () for a in e.addresses)


def test_a_service_without_pods_has_one_placeholder() -> None:
    plan, after = settle(service(), [], [])
    assert len(after) == 1 and not after[0].endpoints and not after[0].ports
    assert [write.address_type for write in plan.create] == ["IPv4"]


def test_the_placeholder_becomes_the_first_slice_in_one_write() -> None:
    _, existing = settle(service(), [], [])
    plan, after = settle(service(), pods(1), existing)
    assert (len(plan.create), len(plan.update), len(plan.delete)) == (0, 1, 0)
    assert plan.update[0].is_recycled
    assert addresses(after) == ["10.244.0.1"]


def test_each_familys_placeholder_becomes_its_first_slice_in_one_write() -> None:
    both = service(ipFamilies=["IPv4", "IPv6"])
    _, existing = settle(both, [], [])
    plan, after = settle(both, [pod("a", "10.244.0.1", "fd00::1")], existing)
    assert (len(plan.create), len(plan.update), len(plan.delete)) == (0, 2, 0)
    assert addresses(after) == ["10.244.0.1", "fd00::1"]


def test_the_last_slice_becomes_the_placeholder_in_one_write() -> None:
    _, existing = settle(service(), pods(3), [])
    plan, after = settle(service(), [], existing)
    assert (len(plan.create), len(plan.update), len(plan.delete)) == (0, 1, 0)
    assert not after[0].endpoints and not after[0].ports


def test_hands_off_external_names_and_services_without_selector() -> None:
    stale = [make_existing("a", [])]
    assert plan_slices(service(type="ExternalName"), pods(1), nodes(), stale).is_empty
    assert plan_slices(service(selector={}), pods(1), nodes(), stale).is_empty


def test_a_dual_stack_service_over_single_stack_pods_has_a_placeholder_for_the_other_family() -> None:
    _, after = settle(service(ipFamilies=["IPv4", "IPv6"]), pods(2), [])
    assert sorted((s.address_type, len(s.endpoints or ())) for s in after) == [("IPv4", 2), ("IPv6", 0)]


def test_families_have_slices_of_their_own() -> None:
    both = [pod("a", "10.0.0.1", "fd00::1"), pod("b", "10.0.0.2", "fd00::2")]
    _, after = settle(service(ipFamilies=["IPv6", "IPv4"]), both, [])
    assert sorted((s.address_type, *addresses([s])) for s in after) == [
        ("IPv4", "10.0.0.1", "10.0.0.2"),
        ("IPv6", "fd00::1", "fd00::2"),
    ]


def test_slices_of_a_family_that_is_not_served_any_more_go() -> None:
    _, existing = settle(service(ipFamilies=["IPv4", "IPv6"]), [pod("a", "10.0.0.1", "fd00::1")], [])
    plan, after = settle(service(), [pod("a", "10.0.0.1", "fd00::1")], existing)
    assert [s.address_type for s in plan.delete] == ["IPv6"]
    assert [s.address_type for s in after] == ["IPv4"]


def test_pods_that_resolve_a_name_differently_have_slices_of_their_own() -> None:
    def named(name: str, ip: str, number: int | None) -> Pod:
        ports = [] if number is None else [{"name": "http", "containerPort": number}]
        return pod(name, ip, containers=[{"name": "c", "ports": ports}])

    svc = service(ports=[{"name": "web", "port": 80, "targetPort": "http"}])
    chosen = [named("a", "10.0.0.1", 8080), named("b", "10.0.0.2", 9090), named("c", "10.0.0.3", None)]
    _, after = settle(svc, chosen, [])
    assert sorted(([p.port for p in s.ports or ()], addresses([s])) for s in after) == [
        ([], ["10.0.0.3"]),
        ([8080], ["10.0.0.1"]),
        ([9090], ["10.0.0.2"]),
    ]


def test_a_headless_service_without_ports_has_endpoints_without_ports() -> None:
    _, after = settle(service(clusterIP="None", ports=[]), pods(1), [])
    assert (addresses(after), after[0].ports) == (["10.244.0.1"], ())
    assert after[0].metadata.labels["service.kubernetes.io/headless"] == ""


def test_slices_of_a_former_service_of_the_name_are_deleted_and_never_recycled() -> None:
    former = service(meta={"uid": "former"})
    existing = apply(former, [], plan_slices(former, pods(1), nodes(), []))
    plan, after = settle(service(), pods(1), existing)
    assert (len(plan.create), len(plan.update), len(plan.delete)) == (1, 0, 1)
    assert after[0].metadata.owner_references[0].uid == UID


def test_a_service_that_is_being_deleted_gets_no_new_slice() -> None:
    plan = plan_slices(service(meta={"deletionTimestamp": "2026-01-01T00:00:00Z"}), pods(1), nodes(), [])
    assert plan.is_empty


def test_a_pod_on_an_unknown_node_is_left_out_and_named() -> None:
    strange = pod("x", "10.0.0.9", nodeName="ghost")
    plan = plan_slices(service(), [*pods(1), strange], nodes("n1"), [])
    assert plan.skipped == ("skipping Pod x for Service default/web: Node ghost Not Found",)
    assert addresses(apply(service(), [], plan)) == ["10.244.0.1"]
    published = plan_slices(service(publishNotReadyAddresses=True), [strange], nodes("n1"), [])
    assert not published.skipped and len(published.create[0].endpoints) == 1


def test_labels_of_the_service_are_mirrored_but_the_reserved_ones() -> None:
    labels = {"team": "shop", "kubernetes.io/service-name": "other"}
    labelled = service(meta={"labels": labels})
    assert render_labels(labelled) == {**LABELS, "team": "shop"}
    _, existing = settle(service(), pods(2), [])
    plan, after = settle(labelled, pods(2), existing)
    assert len(plan.update) == 1
    assert after[0].metadata.labels["team"] == "shop"


def test_a_lost_reserved_label_alone_is_no_reason_to_write() -> None:
    _, existing = settle(service(), pods(2), [])
    extra = {**LABELS, "service.kubernetes.io/headless": ""}
    meta = msgspec.structs.replace(existing[0].metadata, labels=extra)
    assert plan_slices(service(), pods(2), nodes(), [msgspec.structs.replace(existing[0], metadata=meta)]).is_empty


def test_null_lists_count_as_empty() -> None:
    placeholder = msgspec.structs.replace(make_existing("p", []), endpoints=None, ports=None)
    assert plan_slices(service(), [], nodes(), [placeholder]).is_empty


def test_what_is_sent() -> None:
    existing = make_existing("web-a", [])
    annotations = {"mine": "kept", "endpoints.kubernetes.io/last-change-trigger-time": "old"}
    meta = msgspec.structs.replace(existing.metadata, annotations=annotations, finalizers=("f",))
    plan = plan_slices(service(), pods(1), nodes(zone="z1"), [msgspec.structs.replace(existing, metadata=meta)])
    assert render_slice(service(), plan.update[0], "2026-01-02T03:04:05Z") == {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "web-a",
            "namespace": "default",
            "generateName": "web-",
            "resourceVersion": "7",
            "labels": LABELS,
            "annotations": {"mine": "kept", "endpoints.kubernetes.io/last-change-trigger-time": "2026-01-02T03:04:05Z"},
            "finalizers": ["f"],
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "Service",
                    "name": "web",
                    "uid": UID,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "addressType": "IPv4",
        "ports": [{"name": "", "protocol": "TCP", "port": 8080}],
        "endpoints": [
            {
                "addresses": ["10.244.0.1"],
                "conditions": {"ready": True, "serving": True, "terminating": False},
                "targetRef": {"kind": "Pod", "namespace": "default", "name": "p0000", "uid": "uid-p0000"},
                "nodeName": "n1",
                "zone": "z1",
            }
        ],
    }


def test_a_recycled_slice_is_sent_without_version_and_without_what_it_held() -> None:
    _, existing = settle(service(), [], [])
    write = plan_slices(service(), pods(1), nodes(), existing).update[0]
    meta = render_slice(service(), write, None)["metadata"]
    assert meta["name"] == existing[0].metadata.name
    assert "resourceVersion" not in meta and "annotations" not in meta


def test_a_recreated_pod_of_the_same_name_and_address_is_updated_in_place() -> None:
    _, existing = settle(service(), [pod("a", "10.0.0.1")], [])
    plan, after = settle(service(), [pod("a", "10.0.0.1", meta={"uid": "second"})], existing)
    assert (len(plan.create), len(plan.update), len(plan.delete)) == (0, 1, 0)
    ref = (after[0].endpoints or ())[0].target_ref
    assert ref is not None and ref.uid == "second"


def test_a_memo_changes_nothing_but_the_work() -> None:
    memo: Memo = {}
    chosen = pods(3)
    first = plan_slices(service(), chosen, nodes(), [], memo=memo)
    assert len(memo) == 3
    assert plan_slices(service(), chosen, nodes(), [], memo=memo) == first
    changed = [pod("p0000", "10.244.0.1", ready=False, meta={"resourceVersion": "9"}), *chosen[1:]]
    assert plan_slices(service(), changed, nodes(), [], memo=memo) == plan_slices(service(), changed, nodes(), [])


AUTO = {"annotations": {"service.kubernetes.io/topology-mode": "Auto"}}
EVEN = Topology({"z1": 0.5, "z2": 0.5}, "")
TWO_ZONES = {**nodes("n1", zone="z1"), **nodes("n2", zone="z2")}


def spread_pods(count: int, *places: str, start: int = 0) -> list[Pod]:
    """Pods on these nodes in turn."""
    places = places or ("n1", "n2")
    return [
        pod(f"p{n:04}", f"10.244.{n // 250}.{n % 250 + 1}", nodeName=places[n % len(places)])
        for n in range(start, start + count)
    ]


def hints_of(slices: list[EndpointSlice]) -> list[str | None]:
    """The zone that each endpoint is meant for, by Pod."""
    found = sorted((e for s in slices for e in s.endpoints or ()), key=lambda e: str(e.target_ref))
    return [e.hints.for_zones[0].name if e.hints else None for e in found]


def told(plan: SlicePlan) -> list[tuple[str, str, str]]:
    return [(e.type, e.reason, e.message) for e in plan.events]


def test_a_traffic_distribution_alone_rewrites_what_has_no_hints_and_its_end_what_has() -> None:
    close, chosen = service(trafficDistribution="PreferClose"), spread_pods(150)
    existing = apply(service(), [], plan_slices(service(), chosen, TWO_ZONES, []))
    plan = plan_slices(close, chosen, TWO_ZONES, existing)
    assert (len(plan.create), len(plan.update), len(plan.delete)) == (0, 2, 0)
    after = apply(close, existing, plan)
    assert hints_of(after) == ["z1", "z2"] * 75
    assert plan_slices(close, chosen, TWO_ZONES, after).is_empty
    ended = plan_slices(service(), chosen, TWO_ZONES, after)
    assert set(hints_of(apply(service(), after, ended))) == {None} and len(ended.update) == 2


def test_a_change_in_one_slice_leaves_hints_of_the_others_alone() -> None:
    close, chosen = service(trafficDistribution="PreferClose"), spread_pods(150)
    existing = apply(close, [], plan_slices(close, chosen, TWO_ZONES, []))
    changed = [pod("p0000", "10.244.0.1", ready=False, meta={"resourceVersion": "9"}), *chosen[1:]]
    plan = plan_slices(close, changed, TWO_ZONES, existing)
    assert len(plan.update) == 1 and not plan.create and not plan.delete
    assert hints_of(apply(close, existing, plan))[0] is None


def test_endpoints_without_a_zone_are_told_by_their_number() -> None:
    close = service(trafficDistribution="PreferClose")
    plan = plan_slices(close, spread_pods(4, "n1", "zoneless"), {**TWO_ZONES, **nodes("zoneless")}, [])
    text = "Topology hints are dropped: 2 of 4 ready endpoints have no zone, and hints count only if all have"
    assert told(plan) == [("Warning", "TopologyHintsDropped", f"{text}, addressType: IPv4")]


def test_hints_by_topology_come_are_told_once_and_go_with_the_annotation() -> None:
    auto, chosen = service(meta=AUTO), spread_pods(4)
    plan = plan_slices(auto, chosen, TWO_ZONES, [], topology=EVEN)
    news = ("Normal", "TopologyAwareHintsEnabled", "Topology Aware Hints has been enabled, addressType: IPv4")
    assert told(plan) == [news]
    after = apply(auto, [], plan)
    assert hints_of(after) == ["z1", "z2", "z1", "z2"]
    again = plan_slices(auto, chosen, TWO_ZONES, after, topology=EVEN, remembered=plan.remembered)
    assert again.is_empty and not again.events and again.remembered == plan.remembered
    ended = plan_slices(service(), chosen, TWO_ZONES, after, topology=EVEN, remembered=again.remembered)
    text = "Topology Aware Hints has been disabled, addressType: IPv4"
    assert told(ended) == [("Warning", "TopologyAwareHintsDisabled", text)]
    assert set(hints_of(apply(service(), after, ended))) == {None} and ended.remembered == NOTHING


REMOVED: list[tuple[str, list[Pod], dict[str, Node], Topology, str]] = [
    ("a node without zone or CPU", spread_pods(4), TWO_ZONES, Topology(reason="Node n3 has no allocatable cpu"),
     "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes"),
    ("fewer ready endpoints than zones", spread_pods(1), TWO_ZONES, EVEN,
     "Insufficient number of endpoints (1 endpoints, 2 zones)"),
    ("an imbalance", spread_pods(3), TWO_ZONES, EVEN,
     "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold "
     "(3 endpoints, 2 zones)"),
    ("an endpoint without zone", spread_pods(6, "n1", "n2", "zoneless"), {**TWO_ZONES, **nodes("zoneless")}, EVEN,
     "One or more endpoints do not have a zone specified"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("chosen", "known", "topology", "reason"), [r[1:] for r in REMOVED], ids=[r[0] for r in REMOVED]
)
def test_hints_by_topology_go_for(chosen: list[Pod], known: dict[str, Node], topology: Topology, reason: str) -> None:
    auto = service(meta=AUTO)
    before = plan_slices(auto, spread_pods(4), TWO_ZONES, [], topology=EVEN)
    existing = apply(auto, [], before)
    plan = plan_slices(auto, chosen, known, existing, topology=topology, remembered=before.remembered)
    after = apply(auto, existing, plan)
    assert set(hints_of(after)) == {None}
    disabled, dropped = told(plan)
    assert disabled == ("Warning", "TopologyAwareHintsDisabled", f"{reason}, addressType: IPv4")
    assert dropped[1] == "TopologyHintsDropped" and dropped[2].endswith(", addressType: IPv4")
    assert plan.remembered == NOTHING
    assert plan_slices(auto, chosen, known, after, topology=topology).is_empty


def test_hints_of_an_address_type_that_the_service_loses_are_forgotten() -> None:
    both = [pod(f"p{n}", f"10.0.0.{n + 1}", f"fd00::{n + 1}", nodeName=f"n{n % 2 + 1}") for n in range(4)]
    dual = service(meta=AUTO, ipFamilies=["IPv4", "IPv6"])
    plan = plan_slices(dual, both, TWO_ZONES, [], topology=EVEN)
    assert [e.message.rpartition(" ")[2] for e in plan.events] == ["IPv4"], "one mark for both, as upstream"
    assert set(plan.remembered.by_type) == {"IPv4", "IPv6"}
    single = plan_slices(service(meta=AUTO), both, TWO_ZONES, [], topology=EVEN, remembered=plan.remembered)
    assert set(single.remembered.by_type) == {"IPv4"}


def test_of_several_placeholders_one_stays_and_none_is_written() -> None:
    plan = plan_slices(service(), [], nodes(), [make_existing(name, [], ports=[]) for name in "abc"])
    assert not plan.create and not plan.update
    assert [s.metadata.name for s in plan.delete] == ["b", "c"]


@pytest.mark.parametrize(
    ("length", "dash"), [(63, "-"), (252, "-"), (253, "")], ids=["63 letters", "252 letters", "253 letters"]
)
def test_the_name_of_a_new_slice_begins_with_the_service_and_a_dash_where_it_fits(length: int, dash: str) -> None:
    named = service(meta={"name": "w" * length})
    plan = plan_slices(named, pods(1), nodes(), [])
    assert render_slice(named, plan.create[0], None)["metadata"]["generateName"] == "w" * length + dash


def test_an_extra_label_that_a_user_put_on_a_slice_is_removed() -> None:
    _, existing = settle(service(), pods(2), [])
    meta = msgspec.structs.replace(existing[0].metadata, labels={**LABELS, "mine": "yes"})
    plan, after = settle(service(), pods(2), [msgspec.structs.replace(existing[0], metadata=meta)])
    assert len(plan.update) == 1 and after[0].metadata.labels == LABELS


def test_all_pods_of_a_service_change_their_port_in_as_many_writes_as_slices() -> None:
    _, existing = settle(service(), pods(250), [])
    plan, after = settle(service(ports=[{"port": 80, "targetPort": 9090}]), pods(250), existing)
    assert (len(plan.create), len(plan.update), len(plan.delete)) == (0, 3, 0)
    assert {p.port for s in after for p in s.ports or ()} == {9090}


def test_counts_for_the_metrics() -> None:
    plan, existing = settle(service(), pods(150), [])
    assert plan.counts == SliceCounts(added=150, removed=0, desired_endpoints=150, desired_slices=2, actual_slices=2)
    plan, _ = settle(service(), pods(20), existing)
    assert plan.counts == SliceCounts(added=0, removed=130, desired_endpoints=20, desired_slices=1, actual_slices=1)
    plan, _ = settle(service(), [], [])
    assert plan.counts == SliceCounts(added=0, removed=0, desired_endpoints=0, desired_slices=1, actual_slices=1)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Service, list[Pod]]:
    families = draw(st.sampled_from([["IPv4"], ["IPv6"], ["IPv4", "IPv6"]]))
    target = draw(st.sampled_from([8080, "http"]))
    cluster_ip = draw(st.sampled_from(["None", "10.96.0.1"]))
    labels = draw(st.sampled_from([{}, {"team": "shop"}]))
    close = draw(st.sampled_from([None, "PreferClose", "PreferSameNode"]))
    chosen = []
    for n in sorted(draw(st.sets(st.integers(1, 9), max_size=7))):
        ips = draw(st.sampled_from([(), (f"10.0.0.{n}",), (f"10.0.0.{n}", f"fd00::{n}")]))
        port = draw(st.sampled_from([8080, 9090, None]))
        ports = [] if port is None else [{"name": "http", "containerPort": port}]
        node = draw(st.sampled_from(["n1", "n1", "ghost"]))
        ready = draw(st.booleans())
        chosen.append(pod(f"p{n}", *ips, ready=ready, nodeName=node, containers=[{"name": "c", "ports": ports}]))
    svc = service(
        meta={"labels": labels},
        ipFamilies=families,
        clusterIP=cluster_ip,
        trafficDistribution=close,
        ports=[{"port": 80, "targetPort": target}],
    )
    return svc, chosen


@given(st.lists(worlds(), min_size=1, max_size=4), st.integers(1, 3))
def test_whatever_was_before_one_pass_leads_to_the_wanted_endpoints(
    history: list[tuple[Service, list[Pod]]], limit: int
) -> None:
    existing: list[EndpointSlice] = []
    for svc, chosen in history:
        plan = plan_slices(svc, chosen, nodes("n1", zone="z1"), existing, max_endpoints=limit)
        assert plan == plan_slices(svc, chosen[::-1], nodes("n1", zone="z1"), existing[::-1], max_endpoints=limit)
        existing = apply(svc, existing, plan)
        assert plan_slices(svc, chosen, nodes("n1", zone="z1"), existing, max_endpoints=limit).is_empty
        families = {f"IPv{4 if '.' in a else 6}" for a in addresses(existing)}
        assert {s.address_type for s in existing} == set(svc.spec.ip_families) >= families
        wanted = sorted(
            e.ip
            for p in chosen
            for e in p.status.pod_ips
            if p.spec.node_name == "n1" and ("IPv4" if "." in e.ip else "IPv6") in svc.spec.ip_families
        )
        assert addresses(existing) == wanted


@pytest.mark.parametrize("count", [0, 1, 100, 101, 250])
def test_slices_hold_at_most_a_hundred(count: int) -> None:
    _, after = settle(service(), pods(count), [])
    assert [len(s.endpoints or ()) <= 100 for s in after] == [True] * max(1, -(-count // 100))
