"""Namespaces. Rule: spec "api-machinery" §8.3."""

from __future__ import annotations

from seaway.api.machinery.strategy import Context
from seaway.api.namespace.strategy import STRATEGY
from seaway.api.registry import NAMESPACES

CONTEXT = Context("2024-01-01T00:00:00Z")
LABEL = {"kubernetes.io/metadata.name": "a"}


def test_a_new_one_is_active_and_held() -> None:
    new = STRATEGY.prepare_create({"metadata": {"name": "a"}, "status": {"phase": "Terminating"}}, CONTEXT)
    assert new == {
        "metadata": {"name": "a", "labels": LABEL},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }


def test_other_finalizers_are_kept() -> None:
    new = STRATEGY.prepare_create({"metadata": {"name": "a"}, "spec": {"finalizers": ["a.b/c"]}}, CONTEXT)
    assert new["spec"]["finalizers"] == ["a.b/c", "kubernetes"]


def test_an_update_changes_neither_finalizers_nor_status_and_restores_the_label() -> None:
    old = STRATEGY.prepare_create({"metadata": {"name": "a"}}, CONTEXT)
    sent = STRATEGY.default({"metadata": {"name": "a", "labels": {"b": "c"}}, "spec": {}, "status": {}})
    new = STRATEGY.prepare_update(sent, old, CONTEXT)
    assert new["metadata"]["labels"] == {"b": "c", **LABEL}
    assert (new["spec"], new["status"]) == (old["spec"], old["status"])


def test_a_status_write_restores_the_label() -> None:
    old = STRATEGY.prepare_create({"metadata": {"name": "a"}}, CONTEXT)
    new = STRATEGY.prepare_status_update({"metadata": {"name": "a"}, "status": {"phase": "Terminating"}}, old, CONTEXT)
    assert new["metadata"]["labels"] == LABEL
    assert new["status"] == {"phase": "Terminating"}


def test_the_name_is_a_label_and_the_phase_selectable() -> None:
    assert NAMESPACES.strategy.validate_name is not None
    assert NAMESPACES.strategy.validate_name("a.b") == ["must not contain dots"]
    assert STRATEGY.fields({"status": {"phase": "Active"}}) == {"status.phase": "Active"}
