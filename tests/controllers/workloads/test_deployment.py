"""One step of a Deployment, and all steps of a rollout simulated. Rule: spec "controllers" §7.5."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seaway.api.deployment.defaults import default_deployment
from seaway.controllers.workloads.deployment.plan import DeploymentPlan, plan_deployment
from seaway.controllers.workloads.deployment.revisions import (
    MAX_HISTORY,
    REVISION_HISTORY,
    choose_forgotten,
    number_new,
    sort_family,
)
from seaway.controllers.workloads.deployment.scaling import read_bounds
from seaway.controllers.workloads.deployment.status import find_next_deadline
from seaway.controllers.workloads.shares import resolve_share

Json = dict[str, Any]
NOW = datetime(2026, 1, 2, tzinfo=UTC)


def make_deployment(
    replicas: int = 4, image: str = "1", *, surge: int | str = "25%", unavailable: int | str = "25%", **spec: Any
) -> Json:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    return default_deployment(
        {
            "metadata": {"name": "web", "namespace": "default", "uid": "u1", "generation": 1},
            "spec": {
                "replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "strategy": strategy,
                "template": {
                    "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "main", "image": image}]},
                },
                **spec,
            },
        }
    )  # fmt: skip


class Simulation:
    """A Deployment and its ReplicaSets, whose Pods appear, become ready and go as the test says."""

    def __init__(self, deployment: Json) -> None:
        self.deployment = deployment
        self.replica_sets: dict[str, Json] = {}
        self.now = NOW

    def step(self) -> DeploymentPlan:
        before = copy.deepcopy((self.deployment, list(self.replica_sets.values())))
        plan = plan_deployment(
            self.deployment, self.replica_sets.values(), has_old_pods=self.has_old_pods(), wall_now=self.now
        )
        assert (self.deployment, list(self.replica_sets.values())) == before
        if plan.create is not None:
            meta = {
                **plan.create["metadata"],
                "creationTimestamp": self.now.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "generation": 1,
            }
            made = {**plan.create, "metadata": meta, "status": {"observedGeneration": 1}}
            self.replica_sets[meta["name"]] = made
        for rs in plan.update:
            self.replica_sets[rs["metadata"]["name"]] = rs
        for name in plan.delete:
            del self.replica_sets[name]
        if plan.status is not None:
            self.deployment = {**self.deployment, "status": plan.status}
        if plan.revision is not None:
            meta = self.deployment["metadata"]
            annotations = {**meta.get("annotations", {}), "deployment.kubernetes.io/revision": plan.revision}
            self.deployment = {**self.deployment, "metadata": {**meta, "annotations": annotations}}
        return plan

    def has_old_pods(self) -> bool:
        family = sort_family(self.deployment, self.replica_sets.values())
        return any(rs["status"].get("replicas") for rs in family.old)

    def run_pods(self, name: str, ready: int) -> None:
        """The ReplicaSet's loop does its work, and up to so many more Pods become ready."""
        rs = self.replica_sets[name]
        size, available = rs["spec"]["replicas"], rs["status"].get("availableReplicas", 0)
        available = min(size, available + ready)
        counts = {"replicas": size, "readyReplicas": available, "availableReplicas": available}
        self.replica_sets[name] = {**rs, "status": {"observedGeneration": 1, **counts}}

    def settle(self, *, limit: int = 500) -> None:
        for _ in range(limit):
            plan = self.step()
            moved = False
            for name, rs in list(self.replica_sets.items()):
                self.run_pods(name, 1)
                moved = moved or self.replica_sets[name] != rs
            if plan.is_empty and not moved:
                return
        raise AssertionError("it never comes to rest")

    def change(self, **spec: Any) -> None:
        self.deployment = {**self.deployment, "spec": {**self.deployment["spec"], **spec}}

    @property
    def total(self) -> int:
        return sum(rs["spec"]["replicas"] for rs in self.replica_sets.values())

    @property
    def available(self) -> int:
        """Of the Pods that are meant to stay: what is to go may go at once."""
        return sum(
            min(rs["spec"]["replicas"], rs["status"].get("availableReplicas", 0)) for rs in self.replica_sets.values()
        )


shares = st.one_of(st.integers(0, 4), st.integers(0, 10).map(lambda tens: f"{tens * 10}%"))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), shares, shares, st.data())
def test_a_rollout_never_leaves_its_bounds_and_ends_as_wished(
    replicas: int, surge: int | str, unavailable: int | str, data: st.DataObject
) -> None:
    world = Simulation(make_deployment(replicas, surge=surge, unavailable=unavailable))
    world.settle()
    bounds = read_bounds(world.deployment)
    assert world.available == replicas
    world.now += timedelta(seconds=10)
    world.change(template=make_deployment(image="2")["spec"]["template"])
    for _ in range(300):
        plan = world.step()
        assert world.total <= bounds.maximum
        assert world.available >= bounds.min_available
        names = sorted(world.replica_sets)
        chosen = data.draw(st.sampled_from(names)) if len(names) > 1 else names[0]
        world.run_pods(chosen, data.draw(st.integers(0, 3)))
        if plan.is_empty and world.available == replicas == world.total:
            break
    world.settle()
    sizes = {
        rs["spec"]["template"]["spec"]["containers"][0]["image"]: rs["spec"]["replicas"]
        for rs in world.replica_sets.values()
    }
    assert sizes == {"1": 0, "2": replicas}
    reasons = {c["type"]: c["reason"] for c in world.deployment["status"]["conditions"]}
    assert reasons == {"Available": "MinimumReplicasAvailable", "Progressing": "NewReplicaSetAvailable"}
    assert world.step().is_empty


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.integers(0, 9).map(lambda n: {"replicas": n}),
            st.sampled_from("123").map(lambda tag: {"template": make_deployment(image=tag)["spec"]["template"]}),
            st.booleans().map(lambda paused: {"paused": paused}),
            st.sampled_from([{"type": "Recreate"}, make_deployment()["spec"]["strategy"]]).map(
                lambda s: {"strategy": s}
            ),
        ),
        max_size=6,
    ),
    st.integers(0, 4),
)
def test_whatever_is_changed_half_way_it_ends_as_wished(changes: list[Json], steps: int) -> None:
    world = Simulation(make_deployment(3))
    world.settle()
    for change in changes:
        world.now += timedelta(seconds=10)
        world.change(**change)
        for _ in range(steps):
            world.step()
            for name in list(world.replica_sets):
                world.run_pods(name, 1)
    world.change(paused=False)
    world.settle()
    wanted = world.deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    sizes = {
        rs["spec"]["template"]["spec"]["containers"][0]["image"]: rs["spec"]["replicas"]
        for rs in world.replica_sets.values()
        if rs["spec"]["replicas"]
    }
    replicas = world.deployment["spec"]["replicas"]
    assert sizes == ({wanted: replicas} if replicas else {})


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 10))
def test_recreate_has_never_two_templates_at_once(replicas: int) -> None:
    world = Simulation(make_deployment(replicas, strategy={"type": "Recreate"}))
    world.settle()
    world.change(template=make_deployment(image="2")["spec"]["template"])
    for _ in range(30):
        world.step()
        running = [rs for rs in world.replica_sets.values() if rs["spec"]["replicas"] or rs["status"].get("replicas")]
        assert len(running) <= 1
        for name in list(world.replica_sets):
            world.run_pods(name, 1)
    assert world.available == replicas


@pytest.mark.parametrize(
    ("share", "total", "up", "down"),
    [
        ("25%", 10, 3, 2),
        ("25%", 3, 1, 0),
        (2, 10, 2, 2),
        ("0%", 5, 0, 0),
        (None, 5, 0, 0),
        ("100%", 7, 7, 7),
        ("junk", 7, 0, 0),
    ],
)
def test_a_surge_is_rounded_up_and_what_may_be_missing_down(share: Any, total: int, up: int, down: int) -> None:
    assert resolve_share(share, total, rounds_up=True) == up
    assert resolve_share(share, total, rounds_up=False) == down


def test_bounds_that_are_both_zero_let_one_be_missing() -> None:
    bounds = read_bounds(make_deployment(3, surge=0, unavailable="10%"))
    assert (bounds.surge, bounds.unavailable) == (0, 1)


def test_a_resize_is_shared_out_in_proportion_and_the_largest_takes_the_rest() -> None:
    world = Simulation(make_deployment(10, surge=3, unavailable=2))
    world.settle()
    world.now += timedelta(seconds=10)
    world.change(
        template=make_deployment(image="2")["spec"]["template"],
    )
    world.step()  # the new one is made
    while not (plan := world.step()).is_empty:
        assert plan.update or plan.status is not None or plan.revision is not None
    assert sorted(rs["spec"]["replicas"] for rs in world.replica_sets.values()) == [5, 8]
    world.change(replicas=20)
    plan = world.step()
    assert sorted(rs["spec"]["replicas"] for rs in plan.update) == [9, 14]


def test_the_history_of_numbers_is_bounded() -> None:
    deployment = make_deployment()
    annotations = {"deployment.kubernetes.io/revision": "7", REVISION_HISTORY: "1234," * 500}
    new = {"metadata": {"name": "web-1", "annotations": annotations},
           "spec": {"replicas": 0, "template": deployment["spec"]["template"]}}  # fmt: skip
    other = {"metadata": {"name": "web-2", "annotations": {"deployment.kubernetes.io/revision": "8"}},
             "spec": {"replicas": 0, "template": {}}}  # fmt: skip
    marked = number_new(deployment, sort_family(deployment, [new, other]))
    assert marked is not None
    history = marked["metadata"]["annotations"][REVISION_HISTORY]
    assert len(history) <= MAX_HISTORY and history.endswith(",7")
    assert marked["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "9"


def test_the_oldest_of_two_with_the_template_is_the_new_one() -> None:
    deployment = make_deployment()
    template = deployment["spec"]["template"]
    young = {"metadata": {"name": "a", "creationTimestamp": "2026-01-01T00:00:02Z"}, "spec": {"template": template}}
    aged = {"metadata": {"name": "b", "creationTimestamp": "2026-01-01T00:00:01Z"}, "spec": {"template": template}}
    assert sort_family(deployment, [young, aged]).new is aged


def test_annotations_of_the_deployment_are_copied_but_for_those_about_itself() -> None:
    deployment = make_deployment()
    deployment["metadata"]["annotations"] = {
        "kubernetes.io/change-cause": "why", "kubectl.kubernetes.io/last-applied-configuration": "{}",
    }  # fmt: skip
    made = plan_deployment(deployment, [], has_old_pods=False, wall_now=NOW).create
    assert made is not None
    annotations = made["metadata"]["annotations"]
    assert annotations["kubernetes.io/change-cause"] == "why"
    assert "kubectl.kubernetes.io/last-applied-configuration" not in annotations


def test_what_still_has_pods_or_was_not_seen_is_not_forgotten() -> None:
    deployment = make_deployment(revisionHistoryLimit=0)

    def old(name: str, **status: Any) -> Json:
        return {"metadata": {"name": name, "generation": 2}, "spec": {"replicas": 0},
                "status": {"observedGeneration": 2, **status}}  # fmt: skip

    found = choose_forgotten(deployment, [old("a"), old("b", replicas=1), old("c", observedGeneration=1)])
    assert [rs["metadata"]["name"] for rs in found] == ["a"]


def test_a_rollout_is_looked_at_again_when_its_deadline_ends() -> None:
    world = Simulation(make_deployment(progressDeadlineSeconds=60))
    for _ in range(5):
        world.step()
    assert find_next_deadline(world.deployment, world.deployment["status"], world.now) == 61
    world.now += timedelta(seconds=62)
    plan = world.step()
    assert plan.status is not None
    progress = next(c for c in plan.status["conditions"] if c["type"] == "Progressing")
    assert (progress["status"], progress["reason"]) == ("False", "ProgressDeadlineExceeded")
    assert world.step().is_empty


def test_without_a_deadline_progress_is_not_told_of() -> None:
    world = Simulation(make_deployment(progressDeadlineSeconds=2**31 - 1))
    world.settle()
    assert {c["type"] for c in world.deployment["status"]["conditions"]} == {"Available"}
