"""Whose Pods, which go first, since when they serve, and what is waited for. Rule: spec "controllers" §7.4."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.api.machinery.meta import ObjectMeta, OwnerReference
from seaway.api.machinery.selectors import parse_label_selector
from seaway.api.pod.types import Pod
from seaway.controllers.workloads.podcontrol.availability import find_next_availability, is_available
from seaway.controllers.workloads.podcontrol.expectations import LIFETIME_SECONDS, Expectations
from seaway.controllers.workloads.podcontrol.ownership import Claims, plan_claims
from seaway.controllers.workloads.podcontrol.ranking import DELETION_COST, rank_for_deletion
from seaway.controllers.workloads.template import add_labels, compute_hash, render_pod, without_label
from seaway.testing.builders import make_pod

NOW = datetime(2026, 1, 2, tzinfo=UTC)
OWNER = ObjectMeta(name="web", namespace="default", uid="u1")
MINE = OwnerReference(kind="ReplicaSet", name="web", uid="u1", controller=True)
OTHERS = OwnerReference(kind="ReplicaSet", name="web", uid="u0", controller=True)


def ago(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def pod(
    name: str = "a",
    *,
    node: str = "n1",
    phase: str = "Running",
    ready: float | None = 100,
    cost: str = "",
    restarts: int = 0,
    age: float = 1000,
    **meta: Any,
) -> Pod:
    """ready: seconds since then; None: it is not."""
    wire = make_pod(name, nodeName=node, meta={"uid": name, "creationTimestamp": ago(age), **meta})
    if cost:
        wire["metadata"]["annotations"] = {DELETION_COST: cost}
    wire["status"] = {"phase": phase, "containerStatuses": [{"name": "main", "restartCount": restarts}]}
    if ready is not None:
        wire["status"]["conditions"] = [{"type": "Ready", "status": "True", "lastTransitionTime": ago(ready)}]
    return msgspec.convert(wire, Pod)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param({"node": "", "cost": "5"}, {}, id="one without a node goes before one that has a node"),
        pytest.param({"phase": "Pending"}, {"phase": "Unknown"}, id="Pending goes before Unknown"),
        pytest.param({"phase": "Unknown"}, {"phase": "Running"}, id="Unknown goes before Running"),
        pytest.param({"ready": None, "cost": "9"}, {"cost": "1"}, id="one that is not ready goes before a ready one"),
        pytest.param({"cost": "-1"}, {"node": "n2"}, id="a lower deletion cost goes first"),
        pytest.param({"cost": "junk"}, {"cost": "1"}, id="a cost that is no number is zero"),
        pytest.param({"node": "n2"}, {"ready": 1}, id="the node with more of them gives one first"),
        pytest.param(
            {"ready": 10, "restarts": 0}, {"ready": 90, "restarts": 5}, id="ready for a shorter time goes first"
        ),
        pytest.param({"ready": 90, "restarts": 5}, {"ready": 65}, id="more restarts go first among alike"),
        pytest.param({"age": 10}, {"age": 900}, id="the newer goes first among alike"),
    ],
)
def test_which_pod_goes_first(first: dict[str, Any], second: dict[str, Any]) -> None:
    early, late = pod("z", **first), pod("b", **second)
    per_node = {"n1": 1, "n2": 3} if first.get("node") == "n2" else {"n1": 2}
    assert rank_for_deletion([late, early], per_node=per_node, wall_now=NOW) == (early, late)


@given(st.permutations([pod(str(n), ready=n % 3 * 40 + 1, node=f"n{n % 2}") for n in range(6)]))
def test_the_order_does_not_depend_on_the_order_given(pods: list[Pod]) -> None:
    ranked = rank_for_deletion(pods, per_node={"n0": 1}, wall_now=NOW)
    assert ranked == rank_for_deletion(sorted(pods, key=lambda p: p.metadata.uid), per_node={"n0": 1}, wall_now=NOW)


def candidate(*, app: str = "web", owner: OwnerReference | None = None, ending: bool = False) -> ObjectMeta:
    return ObjectMeta(
        name="a", uid="a", labels={"app": app}, owner_references=(owner,) if owner else (),
        deletion_timestamp=ago(1) if ending else None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("owner", "meta", "wanted"),
    [
        pytest.param(OWNER, candidate(owner=MINE), Claims(owned=("a",)), id="its own that matches is kept"),
        pytest.param(OWNER, candidate(), Claims(adopt=("a",)), id="a lone one that matches is adopted"),
        pytest.param(OWNER, candidate(app="db"), Claims(), id="a lone one that does not match is left"),
        pytest.param(OWNER, candidate(ending=True), Claims(), id="a lone one that is ending is not adopted"),
        pytest.param(OWNER, candidate(owner=OTHERS), Claims(), id="another's of the same name is left"),
        pytest.param(
            OWNER, candidate(app="db", owner=MINE), Claims(release=("a",)), id="its own that matches no more is let go"
        ),
        pytest.param(
            msgspec.structs.replace(OWNER, deletion_timestamp=ago(1)), candidate(), Claims(),
            id="an owner that is ending adopts nothing",
        ),
        pytest.param(
            msgspec.structs.replace(OWNER, deletion_timestamp=ago(1)), candidate(app="db", owner=MINE), Claims(),
            id="an owner that is ending lets go of nothing",
        ),
    ],
)  # fmt: skip
def test_whose_a_pod_is(owner: ObjectMeta, meta: ObjectMeta, wanted: Claims) -> None:
    assert plan_claims(owner, parse_label_selector("app=web"), [meta]) == wanted


def test_a_pod_is_available_once_it_has_been_ready_for_the_seconds_asked() -> None:
    assert is_available(pod(ready=0), 0, NOW)
    assert not is_available(pod(ready=9), 10, NOW)
    assert is_available(pod(ready=10), 10, NOW)
    assert not is_available(pod(ready=None), 0, NOW)
    assert find_next_availability([pod(ready=9), pod(ready=4), pod(ready=None)], 10, NOW) == 1
    assert find_next_availability([pod(ready=20)], 10, NOW) is None


def test_a_key_waits_for_the_newest_of_its_writes_and_no_longer_than_five_minutes() -> None:
    expectations = Expectations()
    assert expectations.is_met("a", "pods", "1", 0.0)
    expectations.expect("a", "pods", "12", 0.0)
    expectations.expect("a", "pods", "9", 0.0)
    assert not expectations.is_met("a", "pods", "11", 1.0)
    assert expectations.is_met("a", "pods", "12", 1.0)
    assert expectations.is_met("b", "pods", "", 1.0)
    assert expectations.is_met("a", "owners", "", 1.0)
    assert expectations.is_met("a", "pods", "", LIFETIME_SECONDS)
    expectations.forget("a")
    assert expectations.is_met("a", "pods", "", 1.0)


def test_a_revision_that_is_no_number_is_not_waited_for() -> None:
    expectations = Expectations()
    expectations.expect("a", "pods", "opaque", 0.0)
    assert expectations.is_met("a", "pods", "1", 0.0)


def test_a_pod_takes_labels_annotations_and_finalizers_of_the_template_and_shares_nothing_with_it() -> None:
    template = {
        "metadata": {"labels": {"app": "web"}, "annotations": {"a": "b"}, "finalizers": ["x/y"], "name": "ignored"},
        "spec": {"containers": [{"name": "main"}]},
    }
    made = render_pod(template, {"uid": "u1"}, namespace="default", generate_name="web-")
    assert made["metadata"] == {
        "namespace": "default", "generateName": "web-", "ownerReferences": [{"uid": "u1"}],
        "labels": {"app": "web"}, "annotations": {"a": "b"}, "finalizers": ["x/y"],
    }  # fmt: skip
    made["spec"]["containers"][0]["name"] = "other"
    assert template["spec"]["containers"][0]["name"] == "main"  # type: ignore[index]


def test_a_hash_depends_on_the_value_and_the_collisions_and_is_a_label() -> None:
    assert compute_hash({"a": 1, "b": 2}) == compute_hash({"b": 2, "a": 1})
    assert len({compute_hash({"a": 1}), compute_hash({"a": 2}), compute_hash({"a": 1}, 1)}) == 3
    assert compute_hash({}).isalnum() and len(compute_hash({})) == 10


def test_labels_come_and_go_without_a_change_of_the_template() -> None:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {}}
    labelled = add_labels(template, {"hash": "x"})
    assert labelled["metadata"]["labels"] == {"app": "web", "hash": "x"}
    assert without_label(labelled, "hash") == template
    assert template["metadata"] == {"labels": {"app": "web"}}
