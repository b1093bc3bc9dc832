"""Rule: upstream's ResourceQuota validation; spec "api-machinery" trap 4."""

from __future__ import annotations

from typing import Any

from seaway.api.registry import RESOURCE_QUOTAS
from tests.api.kindtable import Case, cases
from tests.api.manifests import create_texts, update_texts

Json = dict[str, Any]


def selector(**expression: Any) -> Json:
    return {"spec": {"scopeSelector": {"matchExpressions": [expression]}}}


EXPRESSIONS = "spec.scopeSelector.matchExpressions"
CREATE: list[Case] = [
    ("an amount is not negative", {"spec": {"hard": {"pods": "-1"}}},
     ['spec.hard[pods]: Invalid value: "-1": must be greater than or equal to 0']),
    ("a resource has a name", {"spec": {"hard": {"a b": "1"}}},
     ["spec.hard[a b]: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', '_' or '.', "
      "and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex "
      "used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"]),
    ("known scopes", {"spec": {"scopes": ["Large"]}},
     ['spec.scopes: Invalid value: ["Large"]: unsupported scope']),
    ("scopes that go together", {"spec": {"scopes": ["BestEffort", "NotBestEffort"]}},
     ['spec.scopes: Invalid value: ["BestEffort","NotBestEffort"]: conflicting scopes']),
    ("a class is one of some", selector(scopeName="PriorityClass", operator="In"),
     [f"{EXPRESSIONS}.values: Required value: "
      "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"]),
    ("a state is there or not", selector(scopeName="Terminating", operator="In", values=["a"]),
     [f"{EXPRESSIONS}.operator: Invalid value: \"In\": must be 'Exist' when scope is any of 'BestEffort', "
      "'CrossNamespacePodAffinity', 'NotBestEffort', 'NotTerminating', 'Terminating'"]),
    ("being there has no values", selector(scopeName="Terminating", operator="Exists", values=["a"]),
     [f"{EXPRESSIONS}.values: Forbidden: "
      "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"]),
]  # fmt: skip


@cases(CREATE)
def test_create(changes: Json, texts: list[str]) -> None:
    assert create_texts(RESOURCE_QUOTAS, **changes) == texts


def test_how_much_may_change_and_of_what_stays() -> None:
    assert update_texts(RESOURCE_QUOTAS, {"spec": {"hard": {"pods": "5", "services": "1"}}}) == []
    assert update_texts(RESOURCE_QUOTAS, {"spec": {"scopes": ["Terminating"]}}) == [
        'spec.scopes: Invalid value: ["Terminating"]: field is immutable'
    ]


def test_amounts_of_the_status_are_amounts() -> None:
    found = RESOURCE_QUOTAS.strategy.validate_status_update({"status": {"used": {"pods": "-1"}}}, {})
    assert [str(e) for e in found] == ['status.used[pods]: Invalid value: "-1": must be greater than or equal to 0']
    assert RESOURCE_QUOTAS.strategy.answers_delete_with_object
