"""Rule: spec "controllers" §6.2 (Pod GC)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from seaway.api.node.types import Node
from seaway.api.pod.types import Pod
from seaway.controllers.podgc.plan import Why, choose_terminated, find_missing, plan_end, plan_removals
from seaway.testing.builders import make_node, make_pod

ENDING = {"deletionTimestamp": "2026-01-01T00:00:00Z"}
OUT = [{"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}]


def pod(name: str = "a", **rest: Any) -> Pod:
    return msgspec.convert(make_pod(name, **rest), Pod)


def node(name: str = "n", **rest: Any) -> Node:
    return msgspec.convert(make_node(name, **rest), Node)


CASES: dict[str, tuple[Pod, Node | None, Why | None]] = {
    "a Pod on its node stays": (pod(nodeName="n"), node(), None),
    "one whose node is gone goes": (pod(nodeName="gone"), node(), Why.ORPHANED),
    "even one that has ended": (pod(nodeName="gone", status={"phase": "Failed"}), node(), Why.ORPHANED),
    "one whose node is missing for a moment stays": (pod(nodeName="new"), node(), None),
    "one that waits stays": (pod(), node(), None),
    "one that ends before it had a node goes": (pod(meta=ENDING), node(), Why.NEVER_SCHEDULED),
    "one that ends on a node stays": (pod(nodeName="n", meta=ENDING), node(ready=False), None),
    "one that ends on a node that is out of service goes": (
        pod(nodeName="n", meta=ENDING), node(ready=False, taints=OUT), Why.OUT_OF_SERVICE,
    ),
    "one that does not end there stays": (pod(nodeName="n"), node(ready=False, taints=OUT), None),
    "nor does one of a node that is ready": (pod(nodeName="n", meta=ENDING), node(taints=OUT), None),
}  # fmt: skip


@pytest.mark.parametrize(("subject", "on", "why"), CASES.values(), ids=CASES.keys())
def test_who_goes(subject: Pod, on: Node, why: Why | None) -> None:
    plan = plan_removals([subject], {"n": on}, gone={"gone"}, threshold=0)
    assert [removal.why for removal in plan] == ([why.value] if why else [])


def ended(name: str, created: str, *, reason: str = "", phase: str = "Failed") -> Pod:
    return pod(name, meta={"creationTimestamp": created}, status={"phase": phase, "reason": reason})


ENDED = [
    ended("old", "2026-01-01"),
    ended("new", "2026-01-03", phase="Succeeded"),
    ended("evicted", "2026-01-04", reason="Evicted"),
    ended("middle", "2026-01-02"),
]


def test_beyond_the_threshold_evicted_ones_go_first_then_the_oldest() -> None:
    names = [[p.metadata.name for p in choose_terminated([*ENDED, pod("running")], n)] for n in (4, 3, 2, 1, 0)]
    assert names == [[], ["evicted"], ["evicted", "old"], ["evicted", "old", "middle"], []]


def test_nodes_that_pods_name_and_nobody_has() -> None:
    assert find_missing(["n", "m"], ["n"]) == {"m"}


def test_a_pod_fails_before_it_goes_and_says_why_when_its_node_is_gone() -> None:
    subject = make_pod("a", meta={"uid": "u"})
    assert plan_end(subject, Why.NEVER_SCHEDULED.value, "now") == {
        "metadata": {"uid": "u"},
        "status": {"phase": "Failed"},
    }
    patch = plan_end(subject, Why.ORPHANED.value, "now")
    assert patch is not None
    (condition,) = patch["status"]["conditions"]
    assert condition["message"] == "PodGC: node no longer exists"
    assert plan_end(make_pod("a", status={"phase": "Succeeded"}), Why.ORPHANED.value, "now") is None
