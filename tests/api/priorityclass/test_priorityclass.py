"""Rule: upstream's PriorityClass defaults and validation."""

from __future__ import annotations

from typing import Any

from seaway.api.registry import PRIORITY_CLASSES
from tests.api.kindtable import Case, cases
from tests.api.manifests import create_texts, make_stored, update_texts

Json = dict[str, Any]
RESERVED = (
    "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: "
)
CREATE: list[Case] = [
    ("a user's priority has an end", {"value": 1_000_000_001},
     ["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"]),
    ("it may be negative", {"value": -5}, []),
    ("some names are the system's", {"metadata": {"name": "system-mine"}},
     [RESERVED + "system-mine is not a known system priority class"]),
    ("with the system's values", {"metadata": {"name": "system-node-critical"}},
     [RESERVED + "value of system-node-critical PriorityClass must be 2000001000"]),
    ("which are these", {"metadata": {"name": "system-node-critical"}, "value": 2_000_001_000}, []),
    ("a known policy", {"preemptionPolicy": "Ask"},
     ['preemptionPolicy: Unsupported value: "Ask": supported values: "Never", "PreemptLowerPriority"']),
]  # fmt: skip


@cases(CREATE)
def test_create(changes: Json, texts: list[str]) -> None:
    assert create_texts(PRIORITY_CLASSES, **changes) == texts


UPDATE: list[Case] = [
    ("words may change", {"description": "d", "globalDefault": True}, []),
    ("what Pods were placed by stays", {"value": 5, "preemptionPolicy": "Never"},
     ["value: Forbidden: may not be changed in an update.",
      "preemptionPolicy: Forbidden: may not be changed in an update."]),
]  # fmt: skip


@cases(UPDATE)
def test_update(changes: Json, texts: list[str]) -> None:
    assert update_texts(PRIORITY_CLASSES, changes) == texts


def test_defaults() -> None:
    stored = make_stored(PRIORITY_CLASSES, value=None)
    assert (stored["value"], stored["preemptionPolicy"]) == (0, "PreemptLowerPriority")
