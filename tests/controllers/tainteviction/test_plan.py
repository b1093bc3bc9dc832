"""Rule: spec "controllers" §6.2 (taint eviction)."""

from __future__ import annotations

import pytest

from seaway.api.node.types import Taint
from seaway.api.pod.scheduling import Toleration
from seaway.controllers.tainteviction.plan import Sentence, measure_patience, plan_condition, plan_sentence
from seaway.testing.builders import make_pod

A, B = Taint(key="a", effect="NoExecute"), Taint(key="b", effect="NoExecute")


def bear(key: str, seconds: int | None) -> Toleration:
    return Toleration(key=key, operator="Exists", effect="NoExecute", toleration_seconds=seconds)


PATIENCE: dict[str, tuple[list[Taint], list[Toleration], float | None]] = {
    "what is not tolerated is not borne": ([A], [], 0.0),
    "what is tolerated without a time is borne for ever": ([A], [bear("a", None)], None),
    "a time is a time": ([A], [bear("a", 300)], 300.0),
    "zero is at once": ([A], [bear("a", 0)], 0.0),
    "less is at once, too": ([A], [bear("a", -5)], 0.0),
    "the shortest time counts": ([A, B], [bear("a", 300), bear("b", 60)], 60.0),
    "a time counts beside none": ([A, B], [bear("a", None), bear("b", 60)], 60.0),
    "a time for a taint that is not there does not": ([A], [bear("a", 300), bear("b", 60)], 300.0),
    "one that is not tolerated is enough": ([A, B], [bear("a", None)], 0.0),
}


@pytest.mark.parametrize(("taints", "tolerations", "seconds"), PATIENCE.values(), ids=PATIENCE.keys())
def test_how_long_a_pod_stays(taints: list[Taint], tolerations: list[Toleration], seconds: float | None) -> None:
    assert measure_patience(taints, tolerations) == seconds


def test_the_time_goes_on_when_one_taint_takes_the_place_of_another() -> None:
    both = [bear("a", 300), bear("b", 100)]
    first = plan_sentence([A], both, None, 10.0)
    assert first == Sentence(10.0, 310.0)
    assert plan_sentence([A], both, first, 50.0) == first
    assert plan_sentence([B], both, first, 60.0) == Sentence(10.0, 110.0)
    assert plan_sentence([A], [bear("a", None)], first, 60.0) is None


def test_the_condition_is_written_once() -> None:
    subject = make_pod("a")
    condition = plan_condition(subject, "now")
    assert condition is not None
    assert (condition["reason"], condition["lastTransitionTime"]) == ("DeletionByTaintManager", "now")
    assert plan_condition(make_pod("a", status={"conditions": [condition]}), "later") is None
