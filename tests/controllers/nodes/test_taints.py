"""Rule: spec "controllers" §6.2 (table of taints)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.api.node.types import Node, Taint
from seaway.controllers.nodes.taints import find_schedule_keys, plan_taints, render_taints

KINDS = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable")


def node(conditions: dict[str, str], **spec: Any) -> Node:
    listed = [{"type": kind, "status": status} for kind, status in conditions.items()]
    return msgspec.convert({"metadata": {"name": "n"}, "spec": spec, "status": {"conditions": listed}}, Node)


KEYS: dict[str, tuple[Node, tuple[str, ...]]] = {
    "a ready node has none": (node({"Ready": "True"}), ()),
    "one that has not said anything has none": (node({}), ()),
    "one that is not ready": (node({"Ready": "False"}), ("not-ready",)),
    "one that is lost": (node({"Ready": "Unknown"}), ("unreachable",)),
    "one short of memory": (node({"Ready": "True", "MemoryPressure": "True"}), ("memory-pressure",)),
    "one short of disk": (node({"DiskPressure": "True"}), ("disk-pressure",)),
    "one short of processes": (node({"PIDPressure": "True"}), ("pid-pressure",)),
    "one without a network": (node({"NetworkUnavailable": "True"}), ("network-unavailable",)),
    "not knowing of a pressure is none": (node({"MemoryPressure": "Unknown"}), ()),
    "a cordoned one": (node({"Ready": "True"}, unschedulable=True), ("unschedulable",)),
    "all at once, sorted": (
        node({"Ready": "Unknown", "DiskPressure": "True"}, unschedulable=True),
        ("disk-pressure", "unreachable", "unschedulable"),
    ),
}


@pytest.mark.parametrize(("subject", "keys"), KEYS.values(), ids=KEYS.keys())
def test_who_is_kept_away(subject: Node, keys: tuple[str, ...]) -> None:
    assert find_schedule_keys(subject) == tuple(f"node.kubernetes.io/{key}" for key in keys)


def taint(key: str, effect: str, **rest: Any) -> dict[str, Any]:
    return {"key": f"node.kubernetes.io/{key}", "effect": effect, **rest}


def text(taints: tuple[Taint, ...] | None) -> list[str] | None:
    return None if taints is None else [f"{t.key.rpartition('/')[2]}:{t.effect}" for t in taints]


FOREIGN = {"key": "mine", "value": "v", "effect": "NoExecute"}
PLANS: dict[str, tuple[Node, bool, list[str] | None]] = {
    "the first taint goes when the node is ready": (
        node({"Ready": "True"}, taints=[taint("not-ready", "NoSchedule")]), True, [],
    ),
    "and when nobody has said that it is not": (node({}, taints=[taint("not-ready", "NoSchedule")]), True, []),
    "others' taints stay": (
        node({"Ready": "True"}, taints=[FOREIGN, taint("not-ready", "NoSchedule")]), True, ["mine:NoExecute"],
    ),
    "a taint of others that has our key and another effect stays": (
        node({"Ready": "True"}, taints=[taint("memory-pressure", "NoExecute")]), True, None,
    ),
    "Pods are not driven out before the node's turn": (
        node({"Ready": "False"}), False, ["not-ready:NoSchedule"],
    ),
    "and are then": (node({"Ready": "False"}), True, ["not-ready:NoSchedule", "not-ready:NoExecute"]),
    "the two are swapped": (
        node({"Ready": "Unknown"}, taints=[taint("not-ready", "NoSchedule"), taint("not-ready", "NoExecute")]),
        True,
        ["unreachable:NoSchedule", "unreachable:NoExecute"],
    ),
    "when all are lost nobody is driven out any more": (
        node({"Ready": "Unknown"}, taints=[taint("unreachable", "NoSchedule"), taint("unreachable", "NoExecute")]),
        False,
        ["unreachable:NoSchedule"],
    ),
    "what is right stays": (node({"Ready": "False"}, taints=[taint("not-ready", "NoSchedule")]), False, None),
}  # fmt: skip


@pytest.mark.parametrize(("subject", "drives_out", "expected"), PLANS.values(), ids=PLANS.keys())
def test_plans(subject: Node, drives_out: bool, expected: list[str] | None) -> None:
    assert text(plan_taints(subject, drives_out=drives_out, wall_now="now")) == expected


@given(
    st.dictionaries(st.sampled_from(KINDS), st.sampled_from(["True", "False", "Unknown"])),
    st.lists(st.sampled_from([FOREIGN, *(taint(k, e, timeAdded="then") for k in ("not-ready", "unreachable", "x")
                                         for e in ("NoSchedule", "NoExecute"))]), unique_by=str),
    st.booleans(),
    st.booleans(),
)  # fmt: skip
def test_a_plan_for_its_own_result_is_empty(
    conditions: dict[str, str], taints: list[dict[str, Any]], unschedulable: bool, drives_out: bool
) -> None:
    subject = node(conditions, taints=taints, unschedulable=unschedulable)
    plan = plan_taints(subject, drives_out=drives_out, wall_now="now")
    if plan is None:
        return
    kept = [t for t in plan if t.time_added == "then"]
    assert all(render_taints((t,))[0] in taints for t in kept)
    after = node(conditions, taints=render_taints(plan), unschedulable=unschedulable)
    assert plan_taints(after, drives_out=drives_out, wall_now="later") is None
