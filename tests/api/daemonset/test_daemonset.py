"""Rule: upstream's DaemonSet defaults and validation."""

from __future__ import annotations

import copy
from typing import Any

from seaway.api.daemonset.strategy import TEMPLATE_GENERATION
from seaway.api.registry import DAEMON_SETS
from seaway.testing.builders import merge
from tests.api.kindtable import Case, cases
from tests.api.manifests import CONTEXT, create_texts, make_stored, update_texts

Json = dict[str, Any]


def rolling(**share: Any) -> Json:
    return {"spec": {"updateStrategy": {"rollingUpdate": share}}}


CREATE: list[Case] = [
    ("the selector chooses something", {"spec": {"selector": {"matchLabels": None}}},
     ["spec.selector: Invalid value: {}: empty selector is invalid for daemonset"]),
    ("a known update", {"spec": {"updateStrategy": {"type": "Any"}}},
     ['spec.updateStrategy: Unsupported value: "Any": supported values: "RollingUpdate", "OnDelete"']),
    ("on delete", {"spec": {"updateStrategy": {"type": "OnDelete"}}}, []),
    ("rolling moves", rolling(maxUnavailable=0),
     ["spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0"]),
    ("one way of rolling", rolling(maxSurge=1),
     ["spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero"]),
    ("surging", rolling(maxSurge="10%", maxUnavailable=0), []),
]  # fmt: skip


@cases(CREATE)
def test_create(changes: Json, texts: list[str]) -> None:
    assert create_texts(DAEMON_SETS, **changes) == texts


def test_the_selector_stays() -> None:
    more = {"spec": {"selector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}}}
    (text,) = update_texts(DAEMON_SETS, more)
    assert text.startswith("spec.selector: ") and text.endswith("field is immutable")


def test_defaults() -> None:
    stored = make_stored(DAEMON_SETS)
    rolling_update = {"maxUnavailable": 1, "maxSurge": 0}
    assert stored["spec"]["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": rolling_update}
    assert stored["spec"]["revisionHistoryLimit"] == 10
    assert stored["status"] == {
        "currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0,
    }  # fmt: skip


def test_changes_of_the_template_are_counted_whatever_a_client_says() -> None:
    old = make_stored(DAEMON_SETS)
    assert old["metadata"]["annotations"] == {TEMPLATE_GENERATION: "1"}
    new = merge(old, {"spec": {"template": {"metadata": {"labels": {"v": "2"}}}}})
    new["metadata"] = {**new["metadata"], "annotations": {TEMPLATE_GENERATION: "77", "a": "b"}}
    changed = DAEMON_SETS.strategy.prepare_update(new, copy.deepcopy(old), CONTEXT)
    assert changed["metadata"]["annotations"] == {TEMPLATE_GENERATION: "2", "a": "b"}


def test_a_status_leaves_the_count_alone_whatever_a_client_says() -> None:
    old = make_stored(DAEMON_SETS)
    new = copy.deepcopy(old)
    del new["metadata"]["annotations"]
    changed = DAEMON_SETS.strategy.prepare_status_update(new, copy.deepcopy(old), CONTEXT)
    assert changed["metadata"]["annotations"] == {TEMPLATE_GENERATION: "1"}
