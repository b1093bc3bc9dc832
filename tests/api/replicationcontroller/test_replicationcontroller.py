"""Rule: spec "api-machinery" §6.2, §8.1, "controllers" §7.4."""

from __future__ import annotations

import copy
from typing import Any

from seaway.api.registry import REPLICATION_CONTROLLERS
from tests.api.kindtable import Case, cases
from tests.api.manifests import CONTEXT, TEMPLATE, create_texts, make_stored, update_texts

Json = dict[str, Any]
CREATE: list[Case] = [
    ("there is a template", {"spec": {"template": None}},
     ["spec.selector: Required value", "spec.template: Required value"]),
    ("the template is chosen", {"spec": {"selector": {"app": "other"}}},
     ['spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`']),
    ("the selector is a map of labels", {"spec": {"selector": {"app": "web", "a/b/c": "d"}}},
     ['spec.selector: Invalid value: "a/b/c": a valid label key must consist of alphanumeric characters, \'-\', '
      "'_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or "
      "'123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS "
      "subdomain prefix and '/' (e.g. 'example.com/MyName')"]),
    ("its Pods run for ever", {"spec": {"template": {"spec": {"restartPolicy": "Never"}}}},
     ['spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"']),
]  # fmt: skip


@cases(CREATE)
def test_create(changes: Json, texts: list[str]) -> None:
    assert create_texts(REPLICATION_CONTROLLERS, **changes) == texts


def test_selector_and_labels_are_the_templates_unless_given() -> None:
    stored = make_stored(REPLICATION_CONTROLLERS)
    assert (stored["spec"]["selector"], stored["metadata"]["labels"]) == ({"app": "web"}, {"app": "web"})
    own = make_stored(REPLICATION_CONTROLLERS, metadata={"labels": {"mine": "1"}})
    assert own["metadata"]["labels"] == {"mine": "1"}


def test_the_selector_may_change() -> None:
    template = {"metadata": {"labels": {**TEMPLATE["metadata"]["labels"], "v": "2"}}}
    assert update_texts(REPLICATION_CONTROLLERS, {"spec": {"selector": {"v": "2"}, "template": template}}) == []


def test_the_number_of_replicas_can_be_selected() -> None:
    fields = REPLICATION_CONTROLLERS.strategy.fields
    assert fields({"status": {"replicas": 3}}) == {"status.replicas": "3"}
    assert fields({}) == {"status.replicas": "0"}


def test_a_delete_without_a_policy_leaves_the_pods() -> None:
    assert REPLICATION_CONTROLLERS.strategy.orphans_dependents


def test_a_status_without_labels_leaves_those_of_the_pods() -> None:
    old = make_stored(REPLICATION_CONTROLLERS)
    new = copy.deepcopy(old)
    new["metadata"].pop("labels", None)
    kept = REPLICATION_CONTROLLERS.strategy.prepare_status_update(new, old, CONTEXT)
    assert kept["metadata"]["labels"] == old["spec"]["template"]["metadata"]["labels"]
