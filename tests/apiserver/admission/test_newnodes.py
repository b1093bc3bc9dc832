"""Rule: spec "controllers" §6.2 (TaintNodesByCondition)."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from seaway.apiserver.admission.newnodes import NOT_READY_TAINT, taint_new_node
from seaway.testing.builders import make_node

OTHER = {"key": "k", "effect": "NoSchedule"}
DRIVES_OUT = {**NOT_READY_TAINT, "effect": "NoExecute"}
CASES: dict[str, tuple[dict[str, Any], list[dict[str, str]]]] = {
    "a new node gets the taint": (make_node("n"), [NOT_READY_TAINT]),
    "even one that is ready": (make_node("n", ready=True), [NOT_READY_TAINT]),
    "after those that it has": (make_node("n", taints=[OTHER]), [OTHER, NOT_READY_TAINT]),
    "another effect is another taint": (make_node("n", taints=[DRIVES_OUT]), [DRIVES_OUT, NOT_READY_TAINT]),
    "nobody gets it twice": (make_node("n", taints=[NOT_READY_TAINT]), [NOT_READY_TAINT]),
    "one without a spec gets it": ({"metadata": {"name": "n"}}, [NOT_READY_TAINT]),
}


@pytest.mark.parametrize(("node", "taints"), CASES.values(), ids=CASES.keys())
def test_new_nodes(node: dict[str, Any], taints: list[dict[str, str]]) -> None:
    before = copy.deepcopy(node)
    assert taint_new_node(node)["spec"]["taints"] == taints
    assert node == before
