"""Laws: what is shared equals what was decoded, and equal parts are one."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from seaway.api.node.types import Node
from seaway.api.pod.types import Pod
from seaway.client.sharing import MAX_POOLED, Pool
from seaway.testing.builders import make_node, make_pod

_LABELS = st.dictionaries(st.sampled_from(["app", "tier"]), st.sampled_from(["a", "b"]), max_size=2)


def make(name: str, ready: bool, labels: dict[str, str], port: int) -> Pod:
    container = {"name": "main", "ports": [{"name": "http", "containerPort": port}]}
    raw = make_pod(name, ip="10.0.0.1", ready=ready, labels=labels, nodeSelector=labels, containers=[container])
    return msgspec.json.decode(msgspec.json.encode(raw), type=Pod)


_PODS = st.builds(make, st.sampled_from("xyz"), st.booleans(), _LABELS, st.sampled_from([80, 81]))


@given(st.lists(_PODS, max_size=8))
def test_what_is_shared_equals_what_was_decoded(pods: list[Pod]) -> None:
    before = copy.deepcopy(pods)
    pool = Pool()
    assert [pool.share(pod) for pod in pods] == before
    for one in pods:
        for other in pods:
            if list(one.metadata.labels.items()) == list(other.metadata.labels.items()):
                assert one.metadata.labels is other.metadata.labels
            if one.spec.containers == other.spec.containers:
                assert one.spec.containers is other.spec.containers
            if one.status == other.status:
                assert one.status.conditions is other.status.conditions


def test_the_pool_is_bounded() -> None:
    pool = Pool()
    for number in range(MAX_POOLED // 2):
        pool.share(make(f"p{number}", True, {"app": f"a{number}"}, number))
    assert len(pool) <= MAX_POOLED


def test_values_of_other_types_are_not_mixed_up() -> None:
    pool = Pool()
    raw: Any = make_node("n", meta={"labels": {"zone": "n"}})
    raw["status"]["allocatable"] = {"zone": "n"}
    node = pool.share(msgspec.convert(raw, Node))
    assert node == msgspec.convert(raw, Node) and node.status.allocatable is node.metadata.labels
