"""Where a daemon's Pods go, and how an update proceeds. Rule: spec "controllers" §7.6."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seaway.api.node.types import Node
from seaway.api.pod.types import Pod
from seaway.api.registry import DAEMON_SETS
from seaway.controllers.scheduler.pod import decode_placed_pod
from seaway.controllers.workloads.daemonset.placement import add_tolerations, pin_to_node
from seaway.controllers.workloads.daemonset.plan import (
    find_target_node,
    judge_node,
    plan_daemons,
    plan_status,
    read_bounds,
    read_daemon,
    survey,
)
from seaway.controllers.workloads.history import choose_forgotten, plan_history
from seaway.testing.builders import make_node
from tests.controllers.workloads.test_podcontrol import NOW, ago, pod

Json = dict[str, Any]


def owner(*, unavailable: int | str = 1, surge: int | str = 0, pod: Json | None = None, **spec: Any) -> Json:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": unavailable, "maxSurge": surge}}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [], **(pod or {})}}
    meta = {"name": "web", "namespace": "default", "uid": "u1", "generation": 1}
    return {"metadata": meta, "spec": {"template": template, "updateStrategy": rolling, **spec}}


def node(name: str = "n1", **spec: Any) -> Node:
    return msgspec.convert(make_node(name, **spec), Node)


def daemon_pod(name: str, on: str, digest: str = "new", **spec: Any) -> Pod:
    return pod(name, node=on, labels={"controller-revision-hash": digest}, **spec)


TAINT = {"key": "x", "effect": "NoSchedule"}
CORDON = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
NO_NETWORK = {"key": "node.kubernetes.io/network-unavailable", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("spec", "place", "wanted"),
    [
        pytest.param({}, {}, (True, True), id="any node fits a template that asks for nothing"),
        pytest.param({"nodeName": "other"}, {}, (False, False), id="a named node is the only one"),
        pytest.param({"nodeSelector": {"a": "b"}}, {}, (False, False), id="labels must be there"),
        pytest.param({}, {"taints": [TAINT]}, (False, True), id="NoSchedule keeps new ones away and leaves old ones"),
        pytest.param(
            {}, {"taints": [{"key": "x", "effect": "NoExecute"}]}, (False, False), id="NoExecute drives old ones away"
        ),
        pytest.param(
            {}, {"taints": [{"key": "x", "effect": "PreferNoSchedule"}]}, (True, True), id="a wish is no obstacle"
        ),
        pytest.param(
            {"tolerations": [{"key": "x", "operator": "Exists"}]}, {"taints": [TAINT]}, (True, True),
            id="a tolerated taint is no obstacle",
        ),
        pytest.param(
            {}, {"unschedulable": True, "taints": [CORDON]},
            (True, True), id="a cordoned node has daemons",
        ),
        pytest.param(
            {}, {"taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}]}, (True, True),
            id="a node that is not ready has daemons",
        ),
        pytest.param(
            {}, {"taints": [NO_NETWORK]}, (False, True),
            id="a node without a network has none",
        ),
        pytest.param(
            {"hostNetwork": True}, {"taints": [NO_NETWORK]},
            (True, True), id="a node without a network has those of the host's network",
        ),
    ],
)  # fmt: skip
def test_which_node_fits(spec: Json, place: Json, wanted: tuple[bool, bool]) -> None:
    assert judge_node(*read_daemon(owner(pod=spec)), node(**place)) == wanted


def test_a_pod_that_waits_for_its_node_is_known_by_what_it_is_pinned_to() -> None:
    spec = pin_to_node({"containers": [], "affinity": {"podAffinity": {}}}, "n7")
    assert spec["affinity"]["podAffinity"] == {}
    wire = {"metadata": {"name": "a", "namespace": "default"}, "spec": spec}
    assert find_target_node(decode_placed_pod(msgspec.json.encode(wire))) == "n7"


def test_what_daemons_put_up_with_is_added_once() -> None:
    once = add_tolerations({})
    assert add_tolerations(once) == once


NODES = ["n1", "n2", "n3", "n4"]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 3), st.integers(0, 2), st.data())
def test_an_update_never_leaves_its_bounds_and_ends_with_one_new_pod_per_node(
    unavailable: int, surge: int, data: st.DataObject
) -> None:
    subject = owner(unavailable=0 if surge else unavailable, surge=surge)
    nodes = [node(name) for name in NODES]
    pods = {name: daemon_pod(f"old-{name}", name, "old") for name in NODES}
    live = {p.metadata.name: p for p in pods.values()}
    count = 0
    for _ in range(60):
        daemon = survey(subject, "new", nodes, live.values(), NOW)
        max_surge, max_unavailable = read_bounds(daemon)
        plan = plan_daemons(daemon)
        for going in plan.delete:
            del live[going.metadata.name]
        for name in plan.create:
            count += 1
            live[f"new-{count}"] = daemon_pod(f"new-{count}", name, "new", ready=None)
        serving = {p.spec.node_name for p in live.values() if p.is_ready}
        assert len(serving) >= len(NODES) - max_unavailable
        assert len(live) <= len(NODES) + max_surge
        waiting = sorted(name for name, p in live.items() if not p.is_ready)
        if waiting and data.draw(st.booleans()):
            chosen = data.draw(st.sampled_from(waiting))
            live[chosen] = daemon_pod(chosen, live[chosen].spec.node_name)
    for name, p in list(live.items()):
        if not p.is_ready:
            live[name] = daemon_pod(name, p.spec.node_name)
    for _ in range(60):
        plan = plan_daemons(survey(subject, "new", nodes, live.values(), NOW))
        for going in plan.delete:
            del live[going.metadata.name]
        for name in plan.create:
            count += 1
            live[f"new-{count}"] = daemon_pod(f"new-{count}", name)
    assert sorted(p.spec.node_name for p in live.values()) == NODES
    assert {p.metadata.labels["controller-revision-hash"] for p in live.values()} == {"new"}
    last = plan_daemons(survey(subject, "new", nodes, live.values(), NOW))
    assert (last.create, last.delete) == ((), ())


def test_of_two_on_one_node_the_older_stays() -> None:
    pods = [daemon_pod("young", "n1", age=5), daemon_pod("aged", "n1", age=50)]
    plan = plan_daemons(survey(owner(), "new", [node()], pods, NOW))
    assert [p.metadata.name for p in plan.delete] == ["young"]


def test_what_waits_for_a_node_that_has_gone_is_removed_and_what_runs_there_is_not() -> None:
    wire = {"metadata": {"name": "a", "namespace": "default"}, "spec": pin_to_node({"containers": []}, "gone")}
    waiting, bound = decode_placed_pod(msgspec.json.encode(wire)), daemon_pod("b", "gone")
    plan = plan_daemons(survey(owner(), "new", [], [waiting, bound], NOW))
    assert [p.metadata.name for p in plan.delete] == ["a"]


def test_a_failed_pod_is_told_of_and_removed_unless_its_node_is_held() -> None:
    failed = daemon_pod("a", "n1", phase="Failed", ready=None)
    daemon = survey(owner(), "new", [node()], [failed], NOW)
    assert [e.node for e in plan_daemons(daemon).ended] == ["n1"]
    assert plan_daemons(daemon, held={"n1"}).delete == ()


def test_a_pod_that_ends_keeps_its_node_until_it_has_gone() -> None:
    ending = daemon_pod("a", "n1", deletionTimestamp=ago(1))
    assert plan_daemons(survey(owner(), "new", [node()], [ending], NOW)).create == ()


def test_the_status_counts_nodes() -> None:
    pods = [daemon_pod("a", "n1"), daemon_pod("b", "n2", "old", ready=5), daemon_pod("c", "n3")]
    nodes = [node("n1"), node("n2"), node("n3", taints=[TAINT]), node("n4")]
    status, again = plan_status(survey(owner(minReadySeconds=30), "new", nodes, pods, NOW))
    assert status == {
        "desiredNumberScheduled": 3, "currentNumberScheduled": 2, "numberMisscheduled": 1, "numberReady": 2,
        "numberAvailable": 1, "updatedNumberScheduled": 1, "numberUnavailable": 2, "observedGeneration": 1,
    }  # fmt: skip
    assert again == 25


def test_a_template_that_comes_back_gets_the_highest_number() -> None:
    first = plan_history(owner(), DAEMON_SETS, [])
    assert first.is_new and first.current["revision"] == 1
    second = plan_history(owner(pod={"nodeName": "x"}), DAEMON_SETS, [first.current])
    assert second.is_new and second.current["revision"] == 2
    back = plan_history(owner(), DAEMON_SETS, [first.current, second.current])
    assert back.is_renumbered and back.current["revision"] == 3
    again = plan_history(owner(), DAEMON_SETS, [back.current, second.current])
    assert not again.is_new and not again.is_renumbered


def test_revisions_that_pods_have_are_not_forgotten() -> None:
    revisions: list[Json] = []
    for image in range(4):
        revisions.append(plan_history(owner(pod={"nodeName": str(image)}), DAEMON_SETS, revisions).current)
    history = plan_history(owner(pod={"nodeName": "3"}), DAEMON_SETS, revisions)
    names = [r["metadata"]["name"] for r in revisions]
    assert choose_forgotten(history, {names[0]}, 1) == (names[1],)
    assert choose_forgotten(history, (), None) == ()
