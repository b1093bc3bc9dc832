"""Rule: spec "controllers" §4."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.api.endpoints.types import Endpoints
from seaway.api.endpointslice.types import EndpointSlice
from seaway.api.service.types import Service
from seaway.controllers.mirroring.plan import MirrorPlan, plan_mirror, render_slice
from tests.controllers.mirroring.mirrors import HTTP, UID, apply, endpoints, say, service, subset

Json = dict[str, Any]
LABELS = {
    "kubernetes.io/service-name": "web",
    "endpointslice.kubernetes.io/managed-by": "endpointslicemirroring-controller.k8s.io",
}
HELD = "seaway.dev/held-down"
RAW: Json = {"name": "raw", "port": 81}


def settle(
    about: Endpoints, existing: list[EndpointSlice] | None = None, svc: Service | None = None
) -> tuple[MirrorPlan, list[EndpointSlice]]:
    """The plan and its result, after checking that inputs stay and that a plan for the result is empty."""
    svc, existing = svc or service(), existing or []
    before = copy.deepcopy((about, svc, existing))
    plan = plan_mirror(about, svc, existing)
    assert (about, svc, existing) == before
    result = apply(about, existing, plan)
    assert plan_mirror(about, svc, list(reversed(result))).is_empty
    return plan, result


SHAPES: dict[str, tuple[list[Json], list[str]]] = {
    "a subset is a slice": ([subset("192.0.2.2", "192.0.2.1")], ["IPv4 http:80 | 192.0.2.1 192.0.2.2"]),
    "addresses that are not ready come after those that are": (
        [subset("192.0.2.2", rest=["192.0.2.1"])], ["IPv4 http:80 | 192.0.2.2 (192.0.2.1)"]
    ),
    "each family has a slice of its own": (
        [subset("192.0.2.1", "2001:db8::1")], ["IPv4 http:80 | 192.0.2.1", "IPv6 http:80 | 2001:db8::1"]
    ),
    "addresses get their one spelling": ([subset("2001:DB8:0::1")], ["IPv6 http:80 | 2001:db8::1"]),
    "a mapped address is the IPv4 address in it": ([subset("::ffff:192.0.2.1")], ["IPv4 http:80 | 192.0.2.1"]),
    "subsets with the same ports are one slice": (
        [subset("192.0.2.1"), subset("192.0.2.2")], ["IPv4 http:80 | 192.0.2.1 192.0.2.2"]
    ),
    "one address with two sets of ports is in two slices": (
        [subset("192.0.2.1"), subset("192.0.2.1", "192.0.2.2", ports=[RAW])],
        ["IPv4 http:80 | 192.0.2.1", "IPv4 raw:81 | 192.0.2.1 192.0.2.2"],
    ),
    "ports with the same addresses share a slice": (
        [subset("192.0.2.1"), subset("192.0.2.1", ports=[RAW])], ["IPv4 http:80 raw:81 | 192.0.2.1"]
    ),
    "ready and not ready for one port is not ready": (
        [subset("192.0.2.1"), subset(rest=["192.0.2.1"])], ["IPv4 http:80 | (192.0.2.1)"]
    ),
    "two spellings of one address are one endpoint, and not ready wins": (
        [subset("2001:db8::1", rest=["2001:db8:0::1"])], ["IPv6 http:80 | (2001:db8::1)"]
    ),
    "a subset without ports has addresses alone": ([subset("192.0.2.1", ports=[])], ["IPv4  | 192.0.2.1"]),
    "no subsets, no slices: there are no placeholders": ([], []),
    "text that is no address is left out": ([subset("192.0.2.1", "192.0.2")], ["IPv4 http:80 | 192.0.2.1"]),
}  # fmt: skip


@pytest.mark.parametrize("case", SHAPES.values(), ids=SHAPES)
def test_what_becomes_of_subsets(case: tuple[list[Json], list[str]]) -> None:
    assert say(settle(endpoints(*case[0]))[1]) == case[1]


def test_the_shape_of_a_slice() -> None:
    ref = {"kind": "Pod", "namespace": "default", "name": "a", "uid": "u"}
    address = {"ip": "192.0.2.1", "hostname": "a", "nodeName": "n1", "targetRef": ref}
    annotations = {
        "example.com/note": "kept",
        "endpoints.kubernetes.io/last-change-trigger-time": "2026-01-01T00:00:00Z",
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
        HELD: '{"192.0.2.1":{}}',
    }
    port = {"name": "http", "port": 80, "protocol": "TCP", "appProtocol": "h2c"}
    about = endpoints(
        subset(address, rest=["192.0.2.2"], ports=[port]), labels={"team": "a"}, annotations=annotations
    )  # fmt: skip
    plan, _ = settle(about)
    assert msgspec.json.decode(msgspec.json.encode(render_slice(about.metadata, plan.create[0]))) == {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "generateName": "web-",
            "namespace": "default",
            "labels": {"team": "a", **LABELS},
            "annotations": {"example.com/note": "kept"},
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Endpoints", "name": "web", "uid": UID, "controller": True,
                 "blockOwnerDeletion": True}
            ],
        },
        "addressType": "IPv4",
        "ports": [port],
        "endpoints": [
            {"addresses": ["192.0.2.1"], "conditions": {"ready": True}, "hostname": "a", "nodeName": "n1",
             "targetRef": ref},
            {"addresses": ["192.0.2.2"], "conditions": {"ready": False}},
        ],
    }  # fmt: skip


def test_an_update_is_a_whole_new_body_under_the_old_name_at_the_version_that_was_read() -> None:
    _, slices = settle(endpoints(subset("192.0.2.1")))
    plan, _ = settle(endpoints(subset("192.0.2.2")), slices)
    assert (len(plan.create), len(plan.update), len(plan.delete)) == (0, 1, 0)
    meta = render_slice(endpoints().metadata, plan.update[0])["metadata"]
    assert (meta["name"], meta["resourceVersion"]) == ("new-0", "7")
    assert "generateName" not in meta


def test_a_recycled_slice_is_written_whatever_its_version() -> None:
    _, slices = settle(endpoints(subset("192.0.2.1")))
    plan, result = settle(endpoints(subset("192.0.2.1", ports=[RAW])), slices)
    assert (len(plan.create), len(plan.update), len(plan.delete)) == (0, 1, 0)
    assert "resourceVersion" not in render_slice(endpoints().metadata, plan.update[0])["metadata"]
    assert say(result) == ["IPv4 raw:81 | 192.0.2.1"]


def test_a_slice_of_another_family_is_not_recycled() -> None:
    _, slices = settle(endpoints(subset("192.0.2.1")))
    plan, _ = settle(endpoints(subset("2001:db8::1")), slices)
    assert (len(plan.create), len(plan.update), len(plan.delete)) == (1, 0, 1)


def test_a_name_without_room_for_a_dash_is_its_own_prefix() -> None:
    about = endpoints(subset("192.0.2.1"), name="x" * 253)
    plan = plan_mirror(about, service(), [])
    assert render_slice(about.metadata, plan.create[0])["metadata"]["generateName"] == "x" * 253


NOT_MIRRORED: dict[str, tuple[Endpoints | None, Service | None]] = {
    "Endpoints that are gone": (None, service()),
    "a Service that is gone": (endpoints(subset("192.0.2.1")), None),
    "a Service with a selector": (endpoints(subset("192.0.2.1")), service(selector={"app": "web"})),
    "the label that says so": (
        endpoints(subset("192.0.2.1"), labels={"endpointslice.kubernetes.io/skip-mirror": "true"}), service()
    ),
    "a lock of leader elections": (
        endpoints(subset("192.0.2.1"), annotations={"control-plane.alpha.kubernetes.io/leader": ""}), service()
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", NOT_MIRRORED.values(), ids=NOT_MIRRORED)
def test_what_is_not_mirrored_keeps_no_slice(case: tuple[Endpoints | None, Service | None]) -> None:
    _, slices = settle(endpoints(subset("192.0.2.1"), subset("192.0.2.2", ports=[RAW])))
    assert plan_mirror(*case, slices) == MirrorPlan(delete=tuple(sorted(slices, key=lambda s: s.metadata.name)))
    assert plan_mirror(*case, []).is_empty


@pytest.mark.parametrize("value", ["True", "false", ""])
def test_only_the_exact_word_true_skips(value: str) -> None:
    labels = {"endpointslice.kubernetes.io/skip-mirror": value}
    assert say(settle(endpoints(subset("192.0.2.1"), labels=labels))[1]) == ["IPv4 http:80 | 192.0.2.1"]


def test_an_external_name_is_mirrored_too() -> None:
    assert len(settle(endpoints(subset("192.0.2.1")), svc=service(type="ExternalName"))[1]) == 1


def test_endpoints_that_are_being_deleted_get_no_new_slices() -> None:
    about = endpoints(subset("192.0.2.1"), deletionTimestamp="2026-01-01T00:00:00Z")
    assert plan_mirror(about, service(), []).is_empty


def many(count: int) -> list[str | Json]:
    return [f"10.{n // 65536}.{n // 256 % 256}.{n % 256}" for n in range(1, count + 1)]


def texts(plan: MirrorPlan) -> list[tuple[str, str, str]]:
    return [(event.component, event.reason, event.message) for event in plan.events]


COMPONENT = "endpoint-slice-mirroring-controller"


def test_a_subset_gives_1000_addresses_ready_ones_first_and_the_rest_is_told() -> None:
    plan, slices = settle(endpoints(subset(*many(900), rest=["192.0.2.1", *many(2000)[900:1100]])))
    assert [len(s.endpoints or ()) for s in slices] == [1000]
    assert sum(e.is_ready for e in slices[0].endpoints or ()) == 900
    text = "A max of 1000 addresses can be mirrored to EndpointSlices per Endpoints subset. 101 addresses were skipped"
    assert texts(plan) == [(COMPONENT, "TooManyAddressesToMirror", text)]


def test_the_limit_is_per_subset() -> None:
    plan, slices = settle(endpoints(subset(*many(1000)), subset(*many(2000)[1000:], ports=[RAW])))
    assert [len(s.endpoints or ()) for s in slices] == [1000, 1000]
    assert texts(plan) == []


def test_what_is_no_address_is_told_and_counts_among_the_skipped() -> None:
    plan, _ = settle(endpoints(subset("192.0.2.1", "1.2.3", rest=["x"])))
    text = "Skipped 2 invalid IP addresses when mirroring to EndpointSlices"
    assert texts(plan) == [(COMPONENT, "InvalidIPAddress", text)]
    plan, slices = settle(endpoints(subset(*many(1001), "0.x", "1.x")))
    assert [text for _, _, text in texts(plan)] == [
        "Skipped 2 invalid IP addresses when mirroring to EndpointSlices",
        "A max of 1000 addresses can be mirrored to EndpointSlices per Endpoints subset. 3 addresses were skipped",
    ]
    assert len(slices[0].endpoints or ()) == 1000


def edited(slice_: EndpointSlice, **meta: Any) -> EndpointSlice:
    return msgspec.structs.replace(slice_, metadata=msgspec.structs.replace(slice_.metadata, **meta))


EDITS: dict[str, Json] = {
    "a label that was added": {"labels": {**LABELS, "stray": "label"}},
    "an annotation that was added": {"annotations": {"stray": "annotation"}},
    "an owner that is gone": {"owner_references": ()},
    "a mark of health checks that nobody asked for": {"annotations": {HELD: '{"192.0.2.1":{}}'}},
}


@pytest.mark.parametrize("meta", EDITS.values(), ids=EDITS)
def test_what_others_put_on_a_slice_goes(meta: Json) -> None:
    about = endpoints(subset("192.0.2.1"))
    _, right = settle(about)
    plan, result = settle(about, [edited(right[0], **meta)])
    assert len(plan.update) == 1
    assert [(s.metadata.labels, s.metadata.annotations) for s in result] == [(LABELS, {})]


def test_endpoints_with_the_labels_of_a_slice_are_not_written_again_and_again() -> None:
    labels = {"kubernetes.io/service-name": "other", "endpointslice.kubernetes.io/managed-by": "me"}
    _, result = settle(endpoints(subset("192.0.2.1"), labels=labels))
    assert result[0].metadata.labels == LABELS


def test_of_two_slices_for_one_set_of_ports_the_right_one_stays() -> None:
    about = endpoints(subset("192.0.2.1"))
    _, right = settle(about)
    wrong = msgspec.structs.replace(edited(right[0], name="a", uid="uid-a"), endpoints=())
    plan, _ = settle(about, [*right, wrong])
    assert plan == MirrorPlan(delete=(wrong,))


# Health checks, which write the same slices.

CHECKED = service(annotations={"seaway.dev/check": "tcp"})


def held_down(slice_: EndpointSlice) -> EndpointSlice:
    """As the health checks leave a slice whose first endpoint is down."""
    first, *rest = slice_.endpoints or ()
    conditions = msgspec.structs.replace(first.conditions, ready=False, serving=False)
    changed = msgspec.structs.replace(slice_, endpoints=(msgspec.structs.replace(first, conditions=conditions), *rest))
    return edited(changed, annotations={HELD: '{"192.0.2.1":{"ready":true}}'})


def test_what_the_health_checks_hold_down_is_left_so() -> None:
    about = endpoints(subset("192.0.2.1", "192.0.2.2"))
    held = held_down(settle(about)[1][0])
    assert plan_mirror(about, CHECKED, [held]).is_empty


def test_it_stays_down_when_the_endpoints_change() -> None:
    held = held_down(settle(endpoints(subset("192.0.2.1", "192.0.2.2")))[1][0])
    _, result = settle(endpoints(subset("192.0.2.1", "192.0.2.3")), [held], CHECKED)
    assert say(result) == ["IPv4 http:80 | (192.0.2.1) 192.0.2.3"]
    assert result[0].metadata.annotations == held.metadata.annotations


def test_it_is_forgotten_with_the_address() -> None:
    held = held_down(settle(endpoints(subset("192.0.2.1", "192.0.2.2")))[1][0])
    _, result = settle(endpoints(subset("192.0.2.2")), [held], CHECKED)
    assert result[0].metadata.annotations == {}


def test_it_is_let_go_when_the_service_asks_for_no_checks_any_more() -> None:
    about = endpoints(subset("192.0.2.1", "192.0.2.2"))
    _, result = settle(about, [held_down(settle(about)[1][0])])
    assert say(result) == ["IPv4 http:80 | 192.0.2.1 192.0.2.2"]
    assert result[0].metadata.annotations == {}


# Laws.

_ADDRESSES = st.lists(
    st.sampled_from(["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1", "2001:db8::2"]), max_size=4, unique=True
)
_SUBSETS = st.lists(
    st.builds(
        lambda ready, rest, ports: subset(*ready, rest=[a for a in rest if a not in ready], ports=ports),
        _ADDRESSES, _ADDRESSES, st.sampled_from([[HTTP], [RAW], [HTTP, RAW], []]),
    ),
    max_size=4,
)  # fmt: skip


def said_by(slices: list[EndpointSlice]) -> set[tuple[str, str | None, bool]]:
    """Every (address, port, ready)."""
    return {
        (address, port, endpoint.is_ready)
        for slice_ in slices
        for endpoint in slice_.endpoints or ()
        for address in endpoint.addresses
        for port in ([p.name for p in slice_.ports or ()] or [None])
    }


def oracle(subsets: list[Json]) -> set[tuple[str, str | None, bool]]:
    """Slowly: not ready anywhere is not ready."""
    ready: dict[tuple[str, str | None], bool] = {}
    for one in subsets:
        for field in ("addresses", "notReadyAddresses"):
            for address in one[field]:
                for port in [p["name"] for p in one["ports"]] or [None]:
                    key = (address["ip"], port)
                    ready[key] = ready.get(key, True) and field == "addresses"
    return {(address, port, is_ready) for (address, port), is_ready in ready.items()}


def content(slice_: EndpointSlice) -> tuple[str, frozenset[Any], frozenset[Any]]:
    return slice_.address_type, frozenset(slice_.ports or ()), frozenset(slice_.endpoints or ())


def count_fewest(have: list[EndpointSlice], want: list[EndpointSlice]) -> int:
    """A slice that is right is left; each other costs a write, and so does each that is missing: one covers both."""
    spare = Counter(content(s) for s in have) - Counter(content(s) for s in want)
    missing = Counter(content(s) for s in want) - Counter(content(s) for s in have)
    kinds = {kind for kind, _, _ in [*spare, *missing]}
    return sum(
        max(sum(n for c, n in of.items() if c[0] == kind) for of in (spare, missing)) for kind in kinds
    )  # fmt: skip


@given(_SUBSETS, _SUBSETS, st.randoms())
def test_any_endpoints_over_any_endpoints(before: list[Json], after: list[Json], random: Any) -> None:
    _, existing = settle(endpoints(*before))
    shuffled = list(existing)
    random.shuffle(shuffled)
    plan, result = settle(endpoints(*after), shuffled)
    assert plan == plan_mirror(endpoints(*after), service(), existing), "order means nothing"
    assert said_by(result) == oracle(after)
    writes = len(plan.create) + len(plan.update) + len(plan.delete)
    assert writes == count_fewest(existing, settle(endpoints(*after))[1])
