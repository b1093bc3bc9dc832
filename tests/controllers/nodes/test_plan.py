"""Rule: spec "controllers" §6.1, §6.2."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest

from seaway.api.lease.types import Lease
from seaway.api.node.types import Node
from seaway.api.pod.types import Pod
from seaway.controllers.nodes.plan import (
    Heartbeat,
    choose_deadline,
    choose_lost_pods,
    observe,
    plan_lost_node,
    plan_lost_pod,
)
from seaway.testing.builders import make_node, make_pod


def node(heartbeat: str | None = None, **rest: Any) -> Node:
    raw = make_node("n1", **rest)
    raw["status"]["conditions"][0]["lastHeartbeatTime"] = heartbeat
    return msgspec.convert(raw, Node)


def lease(renew_time: str) -> Lease:
    return msgspec.convert({"metadata": {"name": "n1"}, "spec": {"renewTime": renew_time}}, Lease)


LAST = Heartbeat("r1", "h1", 100.0)
OBSERVED = [
    ("the first look counts", None, node("h1"), lease("r1"), Heartbeat("r1", "h1", 200.0)),
    ("nothing new changes nothing", LAST, node("h1"), lease("r1"), LAST),
    ("a renewed lease is a heartbeat", LAST, node("h1"), lease("r2"), Heartbeat("r2", "h1", 200.0)),
    ("a posted status is a heartbeat", LAST, node("h2"), lease("r1"), Heartbeat("r1", "h2", 200.0)),
    ("a clock that goes back is one too", LAST, node("h1"), lease("r0"), Heartbeat("r0", "h1", 200.0)),
]


@pytest.mark.parametrize(("last", "subject", "found", "seen"), [c[1:] for c in OBSERVED], ids=[c[0] for c in OBSERVED])
def test_heartbeats(last: Heartbeat | None, subject: Node, found: Lease, seen: Heartbeat) -> None:
    assert observe(last, subject, found, 200.0) == seen


def test_a_node_that_never_reported_has_longer() -> None:
    silent = msgspec.convert({"metadata": {"name": "n1"}}, Node)
    assert choose_deadline(LAST, node("h1"), grace_seconds=3.0, watching_since=0.0) == 103.0
    assert choose_deadline(LAST, silent, grace_seconds=3.0, watching_since=0.0) == 160.0


def test_no_grace_runs_out_while_the_server_is_away() -> None:
    assert choose_deadline(LAST, node("h1"), grace_seconds=3.0, watching_since=102.0) == 105.0


def test_a_lost_node_is_unknown_once() -> None:
    existing = make_node("n1", meta={"creationTimestamp": "then"})
    before = copy.deepcopy(existing)
    status = plan_lost_node(existing, "now")
    assert existing == before
    assert status is not None
    assert [(c["type"], c["status"], c["reason"]) for c in status["conditions"]] == [
        ("Ready", "Unknown", "NodeStatusUnknown"),
        ("MemoryPressure", "Unknown", "NodeStatusNeverUpdated"),
        ("DiskPressure", "Unknown", "NodeStatusNeverUpdated"),
        ("PIDPressure", "Unknown", "NodeStatusNeverUpdated"),
    ]
    assert plan_lost_node({**existing, "status": status}, "later") is None


def test_a_pod_of_a_lost_node_is_not_ready_once_and_keeps_its_reason() -> None:
    condition = {"type": "Ready", "status": "True", "reason": "mine"}
    existing = make_pod("a", ip="10.0.0.1", status={"conditions": [condition]})
    before = copy.deepcopy(existing)
    status = plan_lost_pod(existing, "now")
    assert existing == before
    assert status is not None
    assert status["conditions"] == [{**condition, "status": "False", "lastTransitionTime": "now"}]
    assert plan_lost_pod({**existing, "status": status}, "later") is None
    assert plan_lost_pod(make_pod("b"), "now") is None


def test_only_pods_that_claim_to_be_ready_are_marked() -> None:
    pods = [
        msgspec.convert(make_pod(n, ip="10.0.0.1", ready=r), Pod) for n, r in (("b", True), ("a", True), ("c", False))
    ]
    assert choose_lost_pods(pods) == ("default/a", "default/b")
