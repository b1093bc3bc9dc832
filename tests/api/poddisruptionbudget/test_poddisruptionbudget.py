"""Rule: upstream's policy/v1 validation."""

from __future__ import annotations

from typing import Any

from seaway.api.registry import POD_DISRUPTION_BUDGETS
from tests.api.kindtable import Case, cases
from tests.api.manifests import create_texts, make_stored, update_texts

Json = dict[str, Any]
CREATE: list[Case] = [
    ("one of the two bounds", {"spec": {"selector": None, "maxUnavailable": "50%"}},
     ['spec: Invalid value: {"maxUnavailable":"50%","minAvailable":1}: '
      "minAvailable and maxUnavailable cannot be both set"]),
    ("or neither", {"spec": {"minAvailable": None}}, []),
    ("a share of all", {"spec": {"minAvailable": "101%"}},
     ['spec.minAvailable: Invalid value: "101%": must not be greater than 100%']),
    ("a count is not negative", {"spec": {"minAvailable": -1}},
     ["spec.minAvailable: Invalid value: -1: must be greater than or equal to 0"]),
    ("nobody is chosen by nothing", {"spec": {"selector": {"matchLabels": None}}}, []),
    ("a known policy", {"spec": {"unhealthyPodEvictionPolicy": "x"}},
     ['spec.unhealthyPodEvictionPolicy: Unsupported value: "x": supported values: "AlwaysAllow", "IfHealthyBudget"']),
]  # fmt: skip


@cases(CREATE)
def test_create(changes: Json, texts: list[str]) -> None:
    assert create_texts(POD_DISRUPTION_BUDGETS, **changes) == texts


def test_everything_may_change() -> None:
    assert (
        update_texts(POD_DISRUPTION_BUDGETS, {"spec": {"minAvailable": 2, "selector": {"matchLabels": {"a": "b"}}}})
        == []
    )


def test_the_counts_are_there_from_the_start() -> None:
    status = {"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0}
    assert make_stored(POD_DISRUPTION_BUDGETS)["status"] == status
    found = POD_DISRUPTION_BUDGETS.strategy.validate_status_update({"status": {**status, "expectedPods": -1}}, {})
    assert [str(error) for error in found] == [
        "status.expectedPods: Invalid value: -1: must be greater than or equal to 0"
    ]
