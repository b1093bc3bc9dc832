"""Rule: spec "controllers" §7.7."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.api.node.types import Node
from seaway.api.pod.types import Pod
from seaway.controllers.binder.plan import Binding, find_obstacle, needs_node, plan_bindings
from seaway.testing.builders import make_node, make_pod


def pod(name: str = "a", **rest: Any) -> Pod:
    return msgspec.convert(make_pod(name, **rest), Pod)


def node(name: str, **rest: Any) -> Node:
    return msgspec.convert(make_node(name, **rest), Node)


WAITING = [
    ("a new Pod does", pod(), True),
    ("one that has a node does not", pod(nodeName="n1"), False),
    ("one that is being deleted does not", pod(meta={"deletionTimestamp": "2026-01-01T00:00:00Z"}), False),
    ("one with a gate does not", pod(schedulingGates=[{"name": "g"}]), False),
    ("another scheduler's does not", pod(schedulerName="other"), False),
    ("one that failed does not", pod(status={"phase": "Failed"}), False),
]


@pytest.mark.parametrize(("subject", "expected"), [c[1:] for c in WAITING], ids=[c[0] for c in WAITING])
def test_who_waits(subject: Pod, expected: bool) -> None:
    assert needs_node(subject) is expected


def taint(effect: str) -> list[dict[str, str]]:
    return [{"key": "k", "value": "v", "effect": effect}]


OBSTACLES = [
    ("a ready node takes Pods", node("n"), ""),
    ("an unready one does not", node("n", ready=False), "node(s) were not ready"),
    ("a cordoned one does not", node("n", unschedulable=True), "node(s) were unschedulable"),
    ("a tainted one does not", node("n", taints=taint("NoExecute")), "node(s) had untolerated taint {k: v}"),
    ("a preference is no obstacle", node("n", taints=taint("PreferNoSchedule")), ""),
]


@pytest.mark.parametrize(("subject", "expected"), [c[1:] for c in OBSTACLES], ids=[c[0] for c in OBSTACLES])
def test_obstacles(subject: Node, expected: str) -> None:
    assert find_obstacle(subject) == expected


def test_a_node_selector_is_kept() -> None:
    nodes = [node("n1"), node("n2", meta={"labels": {"disk": "ssd"}})]
    plan = plan_bindings([pod(nodeSelector={"disk": "ssd"}), pod("b", nodeSelector={"disk": "tape"})], nodes, {"n2": 9})
    assert plan.bind == (Binding("default/a", "n2"),)
    assert [found.message for found in plan.unschedulable] == [
        "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."
    ]


def test_without_nodes_nothing_is_bound() -> None:
    assert plan_bindings([pod()], [], {}).unschedulable[0].message == "no nodes available to schedule pods"


def test_all_reasons_are_counted() -> None:
    nodes = [node("n1", ready=False), node("n2", ready=False), node("n3", unschedulable=True)]
    message = plan_bindings([pod()], nodes, {}).unschedulable[0].message
    assert message == "0/3 nodes are available: 1 node(s) were unschedulable, 2 node(s) were not ready."


@given(st.integers(0, 20), st.dictionaries(st.sampled_from(["n1", "n2", "n3"]), st.integers(0, 5), min_size=1))
def test_pods_go_where_the_fewest_are(count: int, load: dict[str, int]) -> None:
    before = dict(load)
    pods, nodes = [pod(f"p{n:02}") for n in range(count)], [node(name) for name in load]
    plan = plan_bindings(pods, nodes, load)
    assert load == before
    assert plan == plan_bindings(pods[::-1], nodes[::-1], load)
    assert [b.pod for b in plan.bind] == [f"default/p{n:02}" for n in range(count)]
    after = {name: load[name] + sum(b.node == name for b in plan.bind) for name in load}
    grown = [name for name in load if after[name] > load[name]]
    assert all(after[name] <= min(after.values()) + 1 for name in grown)
