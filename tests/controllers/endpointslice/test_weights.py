"""Weights of Pods become an annotation of their slices. Rule: the head of `weights.py`."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from seaway.api.endpointslice.types import EndpointSlice
from seaway.api.node.types import Node
from seaway.api.pod.types import Pod
from seaway.api.service.types import Service
from seaway.controllers.endpointslice.endpoint import project_pod
from seaway.controllers.endpointslice.plan import SlicePlan, plan_slices
from seaway.controllers.endpointslice.render import render_slice
from seaway.testing.builders import make_node, make_pod, make_service

SERVICE = msgspec.convert(make_service("web", meta={"uid": "s"}, ipFamilies=["IPv4"], clusterIP="10.96.0.1"), Service)
NODES = {"n": msgspec.convert(make_node("n"), Node)}


def pod(number: int, weight: str | None = None) -> Pod:
    annotations = {} if weight is None else {"seaway.dev/weight": weight}
    wire = make_pod(
        f"p{number}", ip=f"10.0.0.{number}", ready=True, labels={"app": "web"}, nodeName="n",
        meta={"uid": f"u{number}", "annotations": annotations},
    )  # fmt: skip
    return msgspec.convert(wire, Pod)


def plan(pods: list[Pod], existing: list[EndpointSlice]) -> SlicePlan:
    return plan_slices(SERVICE, pods, NODES, existing)


def carry_out(found: SlicePlan) -> list[EndpointSlice]:
    """The slices that the plan makes or changes."""
    made: list[EndpointSlice] = []
    for index, write in enumerate((*found.create, *found.update)):
        body: dict[str, Any] = render_slice(SERVICE, write, None)
        body["metadata"].setdefault("name", f"web-{index}")
        made.append(msgspec.convert(body, EndpointSlice))
    return made


def weights_of(slices: list[EndpointSlice]) -> dict[str, int] | None:
    (only,) = slices
    text = only.metadata.annotations.get("seaway.dev/weights")
    return None if text is None else json.loads(text)


CASES: dict[str, tuple[list[str | None], dict[str, int] | None]] = {
    "nobody asks": ([None, None], None),
    "who asks is named, the others are of weight 1": (["3", None], {"10.0.0.1": 3}),
    "a weight of zero": (["0", "2"], {"10.0.0.1": 0, "10.0.0.2": 2}),
    "what cannot be understood is not said": (["heavy", "-1"], None),
}


@pytest.mark.parametrize(("asked", "wanted"), CASES.values(), ids=CASES.keys())
def test_what_pods_ask_for_stands_beside_their_addresses(
    asked: list[str | None], wanted: dict[str, int] | None
) -> None:
    pods = [pod(number, weight) for number, weight in enumerate(asked, 1)]
    slices = carry_out(plan(pods, []))
    assert weights_of(slices) == wanted
    assert plan(pods, slices).is_empty


def test_another_weight_is_a_write_and_none_takes_it_away() -> None:
    slices = carry_out(plan([pod(1, "3"), pod(2)], []))
    heavier = [pod(1, "5"), pod(2)]
    changed = plan(heavier, slices)
    assert (len(changed.update), changed.create, changed.delete) == (1, (), ())
    slices = carry_out(changed)
    assert weights_of(slices) == {"10.0.0.1": 5}
    slices = carry_out(plan([pod(1), pod(2)], slices))
    assert weights_of(slices) is None
    assert plan([pod(1), pod(2)], slices).is_empty


def test_a_pod_that_leaves_takes_its_weight_along() -> None:
    slices = carry_out(plan([pod(1, "3"), pod(2, "2")], []))
    assert weights_of(carry_out(plan([pod(2, "2")], slices))) == {"10.0.0.2": 2}


def test_a_weight_is_a_reason_to_look_at_the_services_of_a_pod() -> None:
    assert project_pod(pod(1)) != project_pod(pod(1, "3"))
