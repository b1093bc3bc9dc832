"""How many Pods a ReplicaSet makes or removes, and its status. Rule: spec "controllers" §7.4."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from seaway.api.pod.types import Pod
from seaway.controllers.workloads.replicaset.plan import BURST_REPLICAS, plan_replicas, plan_status
from tests.controllers.workloads.test_podcontrol import NOW, ago, pod

Json = dict[str, Any]


def owner(replicas: int = 2, **spec: Any) -> Json:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {}}
    return {"metadata": {"name": "web", "generation": 3}, "spec": {"replicas": replicas, "template": template, **spec}}


pods_of_all_kinds = st.lists(
    st.builds(
        lambda phase, ready, node, ending: (phase, ready, node, ending),
        st.sampled_from(["Pending", "Running", "Succeeded", "Failed"]),
        st.sampled_from([None, 5, 500]),
        st.sampled_from(["", "n1", "n2"]),
        st.booleans(),
    ),
    max_size=8,
).map(
    lambda rows: [
        pod(f"p{i}", phase=phase, ready=ready, node=node, **({"deletionTimestamp": ago(1)} if ending else {}))
        for i, (phase, ready, node, ending) in enumerate(rows)
    ]
)


@given(pods_of_all_kinds, st.integers(0, 6))
def test_the_result_of_a_plan_needs_no_other(pods: list[Pod], replicas: int) -> None:
    before = copy.deepcopy(pods)
    plan = plan_replicas(owner(replicas), pods, pods, wall_now=NOW)
    assert pods == before
    kept = [p for p in pods if p not in plan.delete]
    after = [*kept, *(pod(f"new{i}", phase="Pending", ready=None, node="") for i in range(plan.create))]
    again = plan_replicas(owner(replicas), after, after, wall_now=NOW)
    assert (again.create, again.delete) == (0, ())
    assert not (plan.create and plan.delete)


def test_what_ends_is_replaced_at_once() -> None:
    pods = [pod("a"), pod("b", deletionTimestamp=ago(1)), pod("c", phase="Failed", ready=None)]
    assert plan_replicas(owner(3), pods, pods, wall_now=NOW).create == 2


def test_the_node_with_most_pods_of_the_deployment_gives_one() -> None:
    mine = [pod("a", node="n1"), pod("b", node="n2")]
    related = [*mine, pod("c", node="n1"), pod("d", node="n1")]
    plan = plan_replicas(owner(1), mine, related, wall_now=NOW)
    assert [p.metadata.name for p in plan.delete] == ["a"]


def test_no_more_than_a_burst_at_once() -> None:
    assert plan_replicas(owner(2000), [], [], wall_now=NOW).create == BURST_REPLICAS


def test_an_owner_that_is_being_deleted_makes_and_removes_nothing() -> None:
    ending = owner(2)
    ending["metadata"]["deletionTimestamp"] = ago(1)
    assert plan_replicas(ending, [], [], wall_now=NOW).create == 0


def test_the_status_counts_each_pod_where_it_belongs() -> None:
    pods = [
        pod("a", labels={"app": "web"}), pod("b", ready=5), pod("c", ready=None),
        pod("d", deletionTimestamp=ago(1)), pod("e", phase="Succeeded"),
    ]  # fmt: skip
    said = plan_status(owner(3, minReadySeconds=30), pods, failure=None, counts_terminating=True, wall_now=NOW)
    assert said.status == {
        "replicas": 3, "fullyLabeledReplicas": 1, "readyReplicas": 2, "availableReplicas": 1,
        "terminatingReplicas": 1, "observedGeneration": 3,
    }  # fmt: skip
    assert said.requeue_after_seconds == 25


def test_counts_of_zero_are_left_out_but_for_two() -> None:
    said = plan_status(owner(0), [], failure=None, counts_terminating=True, wall_now=NOW)
    assert said.status == {"replicas": 0, "terminatingReplicas": 0, "observedGeneration": 3}


def test_the_first_refusal_is_told_until_one_sync_goes_well() -> None:
    failed = plan_status(owner(), [], failure=("FailedCreate", "no"), counts_terminating=True, wall_now=NOW).status
    assert failed["conditions"] == [
        {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "no",
         "lastTransitionTime": ago(0)}
    ]  # fmt: skip
    with_failure = {**owner(), "status": failed}
    second = plan_status(with_failure, [], failure=("FailedCreate", "other"), counts_terminating=True, wall_now=NOW)
    assert second.status["conditions"] == failed["conditions"]
    assert "conditions" not in plan_status(with_failure, [], failure=None, counts_terminating=True, wall_now=NOW).status
