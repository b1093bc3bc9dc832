"""Rule: spec "controllers" §7.4; upstream's ReplicaSet validation."""

from __future__ import annotations

from typing import Any

from seaway.api.registry import REPLICA_SETS
from tests.api.kindtable import Case, cases
from tests.api.manifests import create_texts, make_stored, update_texts

Json = dict[str, Any]
CREATE: list[Case] = [
    ("a count is not negative", {"spec": {"replicas": -1}},
     ["spec.replicas: Invalid value: -1: must be greater than or equal to 0"]),
    ("the selector chooses something", {"spec": {"selector": {"matchLabels": None}}},
     ["spec.selector: Invalid value: {}: empty selector is invalid for replicaset"]),
    ("its Pods run for ever", {"spec": {"template": {"spec": {"restartPolicy": "OnFailure"}}}},
     ['spec.template.spec.restartPolicy: Unsupported value: "OnFailure": supported values: "Always"']),
]  # fmt: skip


@cases(CREATE)
def test_create(changes: Json, texts: list[str]) -> None:
    assert create_texts(REPLICA_SETS, **changes) == texts


def test_the_selector_stays() -> None:
    changes = {"spec": {"selector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}}}
    (text,) = update_texts(REPLICA_SETS, changes)
    assert text.startswith("spec.selector: Invalid value: ") and text.endswith(": field is immutable")
    assert update_texts(REPLICA_SETS, {"spec": {"replicas": 0}}) == []


def test_one_replica_and_none_seen_yet() -> None:
    stored = make_stored(REPLICA_SETS)
    assert (stored["spec"]["replicas"], stored["status"]) == (1, {"replicas": 0})


def test_counts_of_the_status_are_counts() -> None:
    found = REPLICA_SETS.strategy.validate_status_update({"status": {"replicas": 1, "readyReplicas": -1}}, {})
    assert [str(e) for e in found] == ["status.readyReplicas: Invalid value: -1: must be greater than or equal to 0"]
