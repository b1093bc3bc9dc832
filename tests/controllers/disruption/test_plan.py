"""Rule: the page at the top of `plan.py`; upstream's disruption controller."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.api.machinery.meta import OwnerReference
from seaway.api.pod.types import Pod
from seaway.api.poddisruptionbudget.types import PodDisruptionBudget
from seaway.controllers.disruption.plan import (
    BudgetPlan,
    NoScale,
    plan_budget,
    render_patch,
    scale_share,
    selects,
)
from seaway.testing.builders import make_pod

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
Json = dict[str, Any]


def budget(status: Json | None = None, **spec: Any) -> PodDisruptionBudget:
    meta = {"name": "b", "namespace": "default", "generation": 2}
    spec = {"selector": {"matchLabels": {"app": "web"}}, **spec}
    return msgspec.convert({"metadata": meta, "spec": spec, "status": status or {}}, PodDisruptionBudget)


def pod(name: str, *, ready: bool = True, owner: str = "rs", ending: bool = False) -> Pod:
    meta: Json = {"deletionTimestamp": "2026-01-01T00:00:00Z"} if ending else {}
    if owner:
        meta["ownerReferences"] = [{"kind": "ReplicaSet", "name": owner, "uid": owner, "controller": True}]
    return msgspec.convert(make_pod(name, ip="10.0.0.1", ready=ready, labels={"app": "web"}, meta=meta), Pod)


def find_scale(namespace: str, owner: OwnerReference) -> tuple[str, int] | None:
    """Two sets: `rs` wants 4, `more` wants 6, both of one Deployment if their name begins with `d`."""
    if owner.uid == "job":
        raise NoScale("jobs.batch does not implement the scale subresource")
    return {"rs": ("rs", 4), "more": ("more", 6), "d1": ("d", 5), "d2": ("d", 5)}.get(owner.uid)


def plan(subject: PodDisruptionBudget, *pods: Pod, now: datetime = NOW) -> BudgetPlan:
    return plan_budget(subject, pods, find_scale, wall_now=now)


def pods(ready: int, unready: int = 0, owner: str = "rs") -> list[Pod]:
    return [pod(f"{owner}{i}", ready=i < ready, owner=owner) for i in range(ready + unready)]


# allowed, healthy, desired, expected
SUMS: dict[str, tuple[PodDisruptionBudget, list[Pod], tuple[int, int, int, int]]] = {
    "so many must stay": (budget(minAvailable=2), pods(3), (1, 3, 2, 3)),
    "a number needs no owner": (budget(minAvailable=1), pods(2, owner=""), (1, 2, 1, 2)),
    "who is not ready is not healthy": (budget(minAvailable=2), pods(2, 1), (0, 2, 2, 3)),
    "who is leaving is not healthy": (budget(minAvailable=1), [*pods(1), pod("x", ending=True)], (0, 1, 1, 2)),
    "fewer than must stay": (budget(minAvailable=5), pods(3), (0, 3, 5, 3)),
    "a share that must stay, of what is wanted, rounded up": (budget(minAvailable="30%"), pods(3), (1, 3, 2, 4)),
    "so many may go of what is wanted": (budget(maxUnavailable=1), pods(4), (1, 4, 3, 4)),
    "those that are not there are gone already": (budget(maxUnavailable=1), pods(3), (0, 3, 3, 4)),
    "a share may go, rounded up": (budget(maxUnavailable="30%"), pods(4), (2, 4, 2, 4)),
    "more than all": (budget(maxUnavailable=9), pods(4), (4, 4, 0, 4)),
    "two owners are added up": (budget(maxUnavailable=3), [*pods(4), *pods(6, owner="more")], (3, 10, 7, 10)),
    "two sets of one Deployment are one": (
        budget(maxUnavailable=1), [*pods(3, owner="d1"), *pods(2, owner="d2")], (1, 5, 4, 5),
    ),
    "nobody is there": (budget(minAvailable=0), [], (0, 0, 0, 0)),
    "nothing is asked": (budget(), pods(3), (0, 3, 0, 0)),
}  # fmt: skip


@pytest.mark.parametrize(("subject", "guarded", "numbers"), SUMS.values(), ids=SUMS.keys())
def test_arithmetic(subject: PodDisruptionBudget, guarded: list[Pod], numbers: tuple[int, int, int, int]) -> None:
    status = plan(subject, *guarded).status
    assert status is not None
    fields = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")
    assert tuple(status[field] for field in fields) == numbers
    assert status["observedGeneration"] == 2
    (condition,) = status["conditions"]
    wanted = ("True", "SufficientPods") if numbers[0] else ("False", "InsufficientPods")
    assert (condition["status"], condition["reason"]) == wanted


@pytest.mark.parametrize(("share", "total", "number"), [("50%", 7, 4), ("0%", 7, 0), (3, 7, 3), ("x", 7, 0)])
def test_shares(share: int | str, total: int, number: int) -> None:
    assert scale_share(share, total) == number


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        pytest.param({"matchLabels": {"app": "web"}}, True, id="its labels"),
        pytest.param({"matchLabels": {"app": "db"}}, False, id="others"),
        pytest.param({}, True, id="an empty selector guards all"),
        pytest.param(None, False, id="none guards nobody"),
        pytest.param({"matchExpressions": [{"key": "a", "operator": "Odd"}]}, False, id="a broken one guards nobody"),
    ],
)
def test_whom_a_budget_guards(selector: Json | None, expected: bool) -> None:
    assert selects(budget(selector=selector), pod("a")) is expected


def test_an_owner_without_a_scale_stops_all() -> None:
    found = plan(budget({"currentHealthy": 3, "disruptionsAllowed": 1}, maxUnavailable=1), pod("a", owner="job"))
    assert found.status is not None
    assert (found.status["disruptionsAllowed"], found.status["currentHealthy"]) == (0, 3)
    (condition,) = found.status["conditions"]
    assert (condition["status"], condition["reason"]) == ("False", "SyncFailed")
    assert condition["message"] == "jobs.batch does not implement the scale subresource"
    assert [event.reason for event in found.events] == ["CalculateExpectedPodCountFailed"]


def test_an_owner_that_is_gone_stops_all() -> None:
    found = plan(budget(maxUnavailable=1), pod("a", owner="gone"))
    assert found.status is not None
    assert found.status["conditions"][0]["message"] == 'found no controllers for pod "a"'


def test_pods_without_an_owner_are_told_of() -> None:
    (event,) = plan(budget(maxUnavailable=1), *pods(2), pod("bare", owner="")).events
    assert event.reason == "UnmanagedPods"
    assert "(selector: app=web) were found to be unmanaged" in event.message


def test_a_pod_that_was_let_go_counts_as_gone_for_two_minutes() -> None:
    since = (NOW - timedelta(seconds=30)).strftime("%Y-%m-%dT%H:%M:%SZ")
    spent = budget({"disruptedPods": {"rs0": since}}, minAvailable=1)
    found = plan(spent, *pods(3))
    assert found.status is not None
    assert (found.status["disruptionsAllowed"], found.status["disruptedPods"]) == (1, {"rs0": since})
    assert found.requeue_after_seconds == 90
    later = plan(spent, *pods(3), now=NOW + timedelta(seconds=90))
    assert later.status is not None
    assert (later.status["disruptionsAllowed"], "disruptedPods" in later.status) == (2, False)
    ((name, told),) = later.about_pods
    assert (name, told.reason) == ("rs0", "NotDeleted")
    assert told.message == "Pod was expected by PDB default/b to be deleted but it wasn't"
    assert render_patch(spent, later.status)["disruptedPods"] == {"rs0": None}


def test_who_is_seen_to_go_is_waited_for_no_more() -> None:
    spent = budget({"disruptedPods": {"x": "2026-01-01T11:59:59Z", "gone": "2026-01-01T11:59:59Z"}}, minAvailable=1)
    found = plan(spent, *pods(2), pod("x", ending=True))
    assert found.status is not None
    assert "disruptedPods" not in found.status
    assert (found.about_pods, found.requeue_after_seconds) == ((), None)


SHARES = st.one_of(st.integers(0, 6), st.integers(0, 100).map(lambda n: f"{n}%"))


@given(
    st.one_of(st.builds(lambda v: {"minAvailable": v}, SHARES), st.builds(lambda v: {"maxUnavailable": v}, SHARES)),
    st.lists(
        st.tuples(st.booleans(), st.booleans(), st.sampled_from(["rs", "more", "", "d1", "d2", "job"])), max_size=6
    ),
    st.sets(st.integers(0, 5)),
)
def test_a_plan_for_its_own_result_is_empty_and_never_allows_too_much(
    spec: Json, drawn: list[tuple[bool, bool, str]], spent: set[int]
) -> None:
    guarded = [pod(f"p{i}", ready=r, ending=e, owner=o) for i, (r, e, o) in enumerate(drawn)]
    before = {"disruptedPods": {f"p{i}": "2026-01-01T11:59:00Z" for i in spent}}
    found = plan(budget(before, **spec), *guarded)
    assert found.status is not None
    status = found.status
    if status["conditions"][0]["reason"] != "SyncFailed":
        assert status["currentHealthy"] - status["disruptionsAllowed"] >= min(
            status["desiredHealthy"], status["currentHealthy"]
        )
    assert status["disruptionsAllowed"] >= 0
    assert plan(budget(status, **spec), *reversed(guarded)).status is None
