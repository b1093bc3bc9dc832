"""Laws: what comes out equals what went in, whatever came between; and what is at hand is bounded."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.api.endpoints.types import Endpoints
from seaway.api.endpointslice.types import EndpointSlice
from seaway.api.machinery.meta import Reader
from seaway.api.node.types import Node
from seaway.api.pod.types import Pod
from seaway.api.service.types import Service
from seaway.client import packing
from seaway.client.packing import PackedObjects, Packer
from seaway.controllers.scheduler.pod import PlacedPod, decode_placed_pod
from seaway.testing.builders import make_node, make_pod, make_service, make_slice

_KEYS = st.sampled_from("abcd")
_OBJECTS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
).map(lambda value: {"metadata": value})


def copy_cold(packed: PackedObjects[Any]) -> PackedObjects[Any]:
    """The same rows, none of which is at hand."""
    cold = packed.begin()
    for key in packed:
        cold.adopt(key, packed)
    return cold


@given(st.lists(st.tuples(_KEYS, st.none() | _OBJECTS)))
def test_packed_objects_are_a_dict(steps: list[tuple[str, Any]]) -> None:
    packed, wanted = PackedObjects[Any](), dict[str, Any]()
    for key, obj in steps:
        if obj is not None:
            packed[key], wanted[key] = copy.deepcopy(obj), obj
        elif key in wanted:
            del packed[key], wanted[key]
        assert packed.get(key) == wanted.get(key)
    assert dict(packed) == wanted and len(packed) == len(wanted)
    assert dict(copy_cold(packed)) == wanted, "nothing at hand"
    assert list(packed) == list(wanted)
    assert "unknown" not in packed
    with pytest.raises(KeyError):
        packed["unknown"]


_KINDS: list[tuple[type[Reader], Any]] = [
    (Pod, make_pod("a", ip="10.0.0.1", labels={"app": "web"}, nodeName="n")),
    (Pod, make_pod("a", meta={"annotations": {"note": "\N{SNOWMAN}", "long": "x" * 10_000}})),
    (Service, make_service("web", selector={"app": "web"}, ports=[{"port": 80, "targetPort": "http"}])),
    (EndpointSlice, make_slice("web-1", "web", ["10.0.0.1"], nodeName="n")),
    (EndpointSlice, {"metadata": {"name": "empty"}, "addressType": "IPv4", "endpoints": None}),
    (Endpoints, {"metadata": {"name": "web"}, "subsets": [{"addresses": [{"ip": "10.0.0.1", "nodeName": None}]}]}),
    (Node, make_node("n")),
]


@pytest.mark.parametrize(("kind", "raw"), _KINDS, ids=lambda value: getattr(value, "__name__", ""))
def test_readers_come_back_as_they_were(kind: type[Reader], raw: Any) -> None:
    obj = msgspec.json.decode(msgspec.json.encode(raw), type=kind)
    packer = Packer[Reader]()
    assert packer.unpack(packer.pack(obj)[0])[0] == obj


def test_a_pod_with_what_it_asks_for_comes_back_as_one() -> None:
    term = {
        "topologyKey": "zone",
        "labelSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["a", "b"]}]},
        "namespaceSelector": {},
    }
    pod = decode_placed_pod(
        msgspec.json.encode(
            make_pod(
                "a",
                labels={"app": "a"},
                tolerations=[{"key": "k", "operator": "Exists", "tolerationSeconds": 3}],
                affinity={
                    "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]},
                    "nodeAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": {
                            "nodeSelectorTerms": [
                                {"matchExpressions": [{"key": "cpu", "operator": "Gt", "values": ["3"]}]}
                            ]
                        }
                    },
                },
                topologySpreadConstraints=[
                    {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}}
                ],
                containers=[{"name": "main", "resources": {"requests": {"cpu": "1"}}, "ports": [{"hostPort": 80}]}],
            )
        )
    )
    packer = Packer[PlacedPod]()
    found, _ = packer.unpack(packer.pack(pod)[0])
    assert type(found) is PlacedPod and found == pod
    assert found.wants.far and found.wants.spread and found.wants.node_terms and found.waiting


def test_what_cannot_be_said_is_kept_as_it_is() -> None:
    packed = PackedObjects[dict[str, int]]()
    packed["a"] = {"n": 1 << 70}
    packed["b"] = {"n": 1}
    packed = copy_cold(packed)
    assert dict(packed) == {"a": {"n": 1 << 70}, "b": {"n": 1}}


def test_objects_that_are_alike_cost_little_more_than_what_differs() -> None:
    packer = Packer[Pod]()
    rows = []
    for number in range(100):
        raw = make_pod(f"web-{number:03}", ip=f"10.0.0.{number}", labels={"app": "web"}, meta={"uid": f"{number:036}"})
        rows.append(packer.pack(msgspec.convert(raw, Pod))[0])
    assert sum(len(row) for row in rows if isinstance(row, bytes)) < 100 * 100
    assert packer.unpack(rows[0])[0].metadata.name == "web-000", "rows of the first dictionaries are still read"


def test_rows_are_adopted_without_a_look() -> None:
    have = PackedObjects[dict[str, int]]()
    have["a"], have["b"] = {"n": 1}, {"n": 2}
    want = have.begin()
    want.adopt("a", have)
    want["b"] = {"n": 2}
    assert want.has_same("a", have) and not want.has_same("b", have)
    assert have["b"] == {"n": 2}
    want["b"] = {"n": 3}
    have.adopt("b", want)
    assert have["b"] == {"n": 3}, "what was at hand is not"


def test_what_is_at_hand_is_bounded_and_what_was_used_last_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "HOT_BYTES", 300)
    packed = PackedObjects[dict[str, str]]()
    for number in range(10):
        packed[str(number)] = {"text": "x" * 90}
    assert packed["0"] == packed["9"], "read anew"
    first = packed["0"]
    for number in range(1, 10):
        assert packed[str(number)] == first
        assert packed["0"] is first
    assert packed["1"] is not first and packed["2"] is not packed["1"]
    assert len(packed._hot) <= 3
