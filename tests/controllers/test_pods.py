"""Law of `pods.py`: a Pod is what its wire form says, whoever shares its parts."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.api.pod.types import Pod
from seaway.controllers import pods
from seaway.controllers.pods import decode_pod
from seaway.testing.builders import make_pod

WORDS = st.sampled_from(["a", "b", ""])
MAPS = st.dictionaries(WORDS, WORDS, max_size=2)


@st.composite
def wire_pods(draw: st.DrawFn) -> dict[str, Any]:
    containers = [{"name": draw(WORDS), "ports": [{"containerPort": 80, "name": draw(WORDS)}]}]
    meta = {
        "uid": draw(WORDS),
        "annotations": draw(MAPS),
        "ownerReferences": [{"uid": draw(WORDS), "controller": True}],
    }
    status = {"startTime": draw(st.sampled_from(["t1", None])), "phase": draw(WORDS)}
    spec = {"containers": containers, "nodeName": draw(WORDS), "nodeSelector": draw(MAPS)}
    return make_pod(
        draw(WORDS), ip="10.0.0.1", ready=draw(st.booleans()), labels=draw(MAPS), meta=meta, status=status, **spec
    )


@given(st.lists(wire_pods(), max_size=4))
def test_a_pod_is_what_its_wire_form_says(raws: list[dict[str, Any]]) -> None:
    for body in map(msgspec.json.encode, raws):
        assert decode_pod(body) == msgspec.json.decode(body, type=Pod)


def test_equal_parts_are_one_and_the_rest_is_ones_own() -> None:
    one, other = (
        decode_pod(msgspec.json.encode(make_pod(name, labels={"app": "web"}, ip=ip, ready=True)))
        for name, ip in (("a", "10.0.0.1"), ("b", "10.0.0.2"))
    )
    assert one.metadata.labels is other.metadata.labels
    assert one.spec.containers is other.spec.containers
    assert one.status.conditions is other.status.conditions
    assert (one.metadata.name, other.status.pod_ip) == ("a", "10.0.0.2")


def test_labels_and_annotations_that_are_equal_are_not_confused() -> None:
    made = decode_pod(msgspec.json.encode(make_pod("a", labels={"k": "v"}, meta={"annotations": {"k": "v"}})))
    assert made.metadata.labels == made.metadata.annotations == {"k": "v"}
    assert made.metadata.labels is not made.metadata.annotations


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pods, "MAX_KEPT", 10)
    for n in range(100):
        decode_pod(msgspec.json.encode(make_pod("a", labels={"n": str(n)})))
    assert len(pods._kept) <= 10
