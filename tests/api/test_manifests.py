"""Laws that every kind keeps from the least manifest of a user on. Rule: spec "api-machinery" §4.3, §4.4."""

from __future__ import annotations

import copy

import pytest

from seaway.api.machinery.objectmeta import validate_create_meta
from seaway.api.registry import RESOURCES, SERVICES, Resource
from tests.api.manifests import CONTENT, CONTEXT, create_texts, decode, make_manifest, make_stored

CREATABLE = [resource for resource in RESOURCES if "create" in resource.verbs and resource.stored_as is None]
WITH_STATUS = [resource for resource in CREATABLE if "status" in resource.subresources]
ALLOCATED = SERVICES  # the addresses of a Service come from the allocator, before its rules are asked
KEEPS_STATUS_OF_NEW = ("nodes",)  # a new Node brings its status: spec "node" §1.2


def test_every_kind_that_can_be_created_has_a_manifest() -> None:
    assert set(CONTENT) == {resource for resource in RESOURCES if "create" in resource.verbs}


@pytest.mark.parametrize("resource", [r for r in CREATABLE if r is not ALLOCATED], ids=lambda r: r.kind)
def test_the_least_manifest_is_valid(resource: Resource) -> None:
    assert create_texts(resource) == []


@pytest.mark.parametrize("resource", CREATABLE, ids=lambda r: r.kind)
def test_the_name_is_one_that_the_kind_takes(resource: Resource) -> None:
    assert validate_create_meta(make_stored(resource), resource) == []


@pytest.mark.parametrize("resource", CREATABLE, ids=lambda r: r.kind)
def test_a_stored_object_that_comes_back_is_what_was_stored(resource: Resource) -> None:
    strategy = resource.strategy
    stored = make_stored(resource)
    again = strategy.default(decode(resource, stored))
    assert {**again, "status": None} == {**stored, "status": None}
    assert strategy.default(copy.deepcopy(again)) == again
    updated = strategy.prepare_update(copy.deepcopy(again), copy.deepcopy(stored), CONTEXT)
    assert updated == stored
    assert not strategy.spec_changed(updated, stored)


@pytest.mark.parametrize("resource", WITH_STATUS, ids=lambda r: r.kind)
def test_a_client_neither_gives_nor_changes_the_status(resource: Resource) -> None:
    strategy = resource.strategy
    lie = {"conditions": [{"type": "Ready", "status": "True"}]}
    given = strategy.default(decode(resource, make_manifest(resource)))
    given["metadata"].setdefault("uid", "u")
    if resource.plural not in KEEPS_STATUS_OF_NEW:
        assert "conditions" not in strategy.prepare_create({**copy.deepcopy(given), "status": lie}, CONTEXT)["status"]
    stored = make_stored(resource)
    changed = strategy.prepare_update({**copy.deepcopy(stored), "status": lie}, stored, CONTEXT)
    assert changed.get("status") == stored.get("status")


@pytest.mark.parametrize("resource", WITH_STATUS, ids=lambda r: r.kind)
def test_a_status_write_changes_nothing_else(resource: Resource) -> None:
    strategy = resource.strategy
    stored = make_stored(resource)
    sent = copy.deepcopy(stored)
    sent.pop("spec", None)
    sent["status"] = {**(sent.get("status") or {}), "conditions": [{"type": "Odd", "status": "True"}]}
    written = strategy.prepare_status_update(sent, copy.deepcopy(stored), CONTEXT)
    assert written["status"]["conditions"] == sent["status"]["conditions"]
    assert {**written, "status": None} == {**stored, "status": None}
