"""One step of a StatefulSet, and many. Rule: spec "controllers" §7.9."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seaway.api.pod.types import Pod
from seaway.controllers.workloads.statefulset.identity import find_ordinal, revision_of
from seaway.controllers.workloads.statefulset.plan import (
    Revision,
    Stateful,
    hand_over,
    plan_stateful,
    plan_status,
    survey,
)
from tests.controllers.workloads.test_podcontrol import NOW, ago

Json = dict[str, Any]
OLD, NEW = Revision("db-old", {"spec": {"containers": []}}), Revision("db-new", {"spec": {"containers": []}})


def owner(replicas: int = 3, *, partition: int = 0, policy: str = "OrderedReady", **spec: Any) -> Json:
    update = {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}
    return {
        "metadata": {"name": "db", "namespace": "default", "uid": "u1", "generation": 1},
        "spec": {"replicas": replicas, "podManagementPolicy": policy, "updateStrategy": update, **spec},
    }


def pod(
    ordinal: int, *, ready: bool = True, revision: str = "db-new", phase: str = "Running", ending: bool = False
) -> Pod:
    status: Json = {"phase": phase}
    if ready:
        status["conditions"] = [{"type": "Ready", "status": "True", "lastTransitionTime": ago(100)}]
    meta: Json = {"name": f"db-{ordinal}", "uid": f"p{ordinal}", "labels": {"controller-revision-hash": revision}}
    if ending:
        meta["deletionTimestamp"] = ago(1)
    return msgspec.convert({"metadata": meta, "spec": {}, "status": status}, Pod)


def state(subject: Json, *pods: Pod, current: Revision = OLD) -> Stateful:
    return survey(subject, pods, {}, current, NEW, NOW)


def step(subject: Json, *pods: Pod) -> tuple[list[str], list[str]]:
    plan = plan_stateful(state(subject, *pods))
    return [p["metadata"]["name"] for p in plan.create], [p.metadata.name for p in plan.delete]


@pytest.mark.parametrize(
    ("subject", "pods", "wanted"),
    [
        pytest.param(owner(), (), (["db-0"], []), id="the first is made first"),
        pytest.param(owner(), (pod(0, ready=False),), ([], []), id="nothing follows one that does not serve"),
        pytest.param(owner(), (pod(0),), (["db-1"], []), id="the next follows one that serves"),
        pytest.param(owner(), (pod(0), pod(2)), (["db-1"], []), id="a hole is filled"),
        pytest.param(owner(), (pod(0, ending=True), pod(1)), ([], []), id="one that ends is waited for"),
        pytest.param(owner(policy="Parallel"), (pod(1),), (["db-0", "db-2"], []), id="in parallel all are made"),
        pytest.param(owner(), (pod(0, phase="Failed", ready=False),), ([], ["db-0"]), id="one that failed is removed"),
        pytest.param(owner(1), (pod(0), pod(1), pod(2)), ([], ["db-2"]), id="the highest goes first"),
        pytest.param(owner(1), (pod(0), pod(1), pod(2, ending=True)), ([], []), id="the next goes when it has gone"),
        pytest.param(
            owner(1), (pod(0), pod(1, ready=False), pod(2)), ([], ["db-2"]), id="a broken lower one stops no ready one"
        ),
        pytest.param(
            owner(1, policy="Parallel"), (pod(0), pod(1), pod(2)), ([], ["db-2", "db-1"]), id="in parallel all go"
        ),
        pytest.param(
            owner(), (pod(0, revision="db-old"), pod(1, revision="db-old"), pod(2)), ([], ["db-1"]),
            id="the update goes down one by one",
        ),
        pytest.param(
            owner(partition=2), (pod(0, revision="db-old"), pod(1, revision="db-old"), pod(2)), ([], []),
            id="below the partition nothing is updated",
        ),
        pytest.param(
            owner(2, policy="Parallel"), (pod(0, revision="db-old"), pod(1, ready=False)), ([], []),
            id="an update waits for the one before it",
        ),
    ],
)  # fmt: skip
def test_one_step(subject: Json, pods: tuple[Pod, ...], wanted: tuple[list[str], list[str]]) -> None:
    assert step(subject, *pods) == wanted


def test_below_the_partition_pods_are_made_of_the_old_template() -> None:
    plan = plan_stateful(state(owner(policy="Parallel", partition=1)))
    labels = [p["metadata"]["labels"]["controller-revision-hash"] for p in plan.create]
    assert labels == ["db-old", "db-new", "db-new"]


def test_a_name_is_an_ordinal_only_of_its_own_set() -> None:
    assert [find_ordinal(owner(), name) for name in ("db-0", "db-12", "db-01", "web-0", "db", "a-db-1")] == [
        0, 12, None, None, None, None,
    ]  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 5), st.integers(0, 5), st.sampled_from(["OrderedReady", "Parallel"]), st.integers(0, 4), st.data()
)
def test_it_ends_as_wished_and_one_at_a_time(
    before: int, replicas: int, policy: str, partition: int, data: st.DataObject
) -> None:
    subject = owner(replicas, policy=policy, partition=partition)
    live = {n: pod(n, revision="db-old") for n in range(before)}

    def advance() -> bool:
        plan = plan_stateful(state(subject, *live.values()))
        if policy == "OrderedReady":
            assert len(plan.create) + len(plan.delete) <= 1
        for made in plan.create:
            ordinal = int(made["metadata"]["name"][3:])
            assert ordinal not in live
            live[ordinal] = pod(ordinal, ready=False, revision=made["metadata"]["labels"]["controller-revision-hash"])
        for gone in plan.delete:
            del live[int(gone.metadata.name[3:])]
        return bool(plan.create or plan.delete)

    for _ in range(60):
        advance()
        waiting = sorted(n for n, p in live.items() if not p.is_ready)
        if waiting and data.draw(st.booleans()):
            live[waiting[0]] = pod(waiting[0], revision=revision_of(live[waiting[0]]))
    for _ in range(60):
        for n, p in list(live.items()):
            live[n] = pod(n, revision=revision_of(p))
        advance()
    assert sorted(live) == list(range(replicas))
    for n, p in live.items():
        assert revision_of(p) == ("db-old" if n < partition else "db-new")
    assert not advance()


def test_the_new_revision_is_the_current_one_when_all_have_it_and_serve() -> None:
    status, _ = plan_status(state(owner(2), pod(0), pod(1, revision="db-old")))
    assert (status["currentRevision"], status["currentReplicas"], status["updatedReplicas"]) == ("db-old", 1, 1)
    status, _ = plan_status(state(owner(2), pod(0), pod(1)))
    assert (status["currentRevision"], status["currentReplicas"], status["updatedReplicas"]) == ("db-new", 2, 2)


@pytest.mark.parametrize(
    ("deleted", "scaled", "ordinal", "wanted"),
    [
        ("Retain", "Retain", 0, []),
        ("Retain", "Retain", 5, []),
        ("Delete", "Retain", 0, ["StatefulSet"]),
        ("Delete", "Retain", 5, ["StatefulSet"]),
        ("Retain", "Delete", 0, []),
        ("Retain", "Delete", 5, ["Pod"]),
        ("Delete", "Delete", 0, ["StatefulSet"]),
        ("Delete", "Delete", 5, ["Pod"]),
    ],
)
def test_whom_a_claim_goes_with(deleted: str, scaled: str, ordinal: int, wanted: list[str]) -> None:
    policy = {"whenDeleted": deleted, "whenScaled": scaled}
    here = state(owner(2, persistentVolumeClaimRetentionPolicy=policy), pod(0), pod(1), pod(5))
    claim = {"metadata": {"name": "data-db-0", "ownerReferences": [{"kind": "ConfigMap", "name": "x", "uid": "u9"}]}}
    handed = hand_over(here, claim, ordinal=ordinal)
    assert [r["kind"] for r in handed["metadata"]["ownerReferences"]] == ["ConfigMap", *wanted]
    assert hand_over(here, handed, ordinal=ordinal) == handed
