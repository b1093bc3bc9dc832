"""Metadata rules. Rule: spec "service-api" §0.5 (META, META-U), "api-machinery" §4.2."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from seaway.api.machinery.objectmeta import validate_create_meta, validate_update_meta
from seaway.api.registry import ENDPOINT_SLICES, NODES, SERVICES, Resource
from tests.api.machinery.test_names import LABEL, NAME_PART, SUBDOMAIN, VALUE

OWNER = {"apiVersion": "v1", "kind": "Service", "name": "a", "uid": "1"}

CREATE: tuple[tuple[str, Resource, dict[str, Any], list[str]], ...] = (
    ("good", SERVICES, {}, []),
    ("a name is needed", SERVICES, {"name": ""}, ["metadata.name: Required value: name or generateName is required"]),
    ("the kind's own name rule", SERVICES, {"name": "a.b"},
     ['metadata.name: Invalid value: "a.b": must not contain dots']),
    ("a subdomain where the kind has no rule", ENDPOINT_SLICES, {"name": "a.b"}, []),
    ("the subdomain rule's text", ENDPOINT_SLICES, {"name": "A"}, [f'metadata.name: Invalid value: "A": {SUBDOMAIN}']),
    ("a prefix may end with a dash", SERVICES, {"generateName": "web-"}, []),
    ("a prefix follows the name rule", SERVICES, {"generateName": "Web"},
     [f'metadata.generateName: Invalid value: "Web": {LABEL}']),
    ("a namespace is needed", SERVICES, {"namespace": ""}, ["metadata.namespace: Required value"]),
    ("a cluster-scoped object has none", NODES, {}, ["metadata.namespace: Forbidden: not allowed on this type"]),
    ("a label's key", SERVICES, {"labels": {"a b": "c"}},
     [f'metadata.labels: Invalid value: "a b": name part {NAME_PART}']),
    ("a label's value", SERVICES, {"labels": {"a": "b c"}}, [f'metadata.labels: Invalid value: "b c": {VALUE}']),
    ("an annotation's key may have capitals", SERVICES, {"annotations": {"A.com/B": ""}}, []),
    ("annotations are limited", SERVICES, {"annotations": {"a": "x" * 262144}},
     ["metadata.annotations: Too long: may not be more than 262144 bytes"]),
    ("a finalizer is qualified", SERVICES, {"finalizers": ["example.com/a", "x"]},
     ['metadata.finalizers[1]: Invalid value: "x": '
      "name is neither a standard finalizer name nor is it fully qualified"]),
    ("two ways of collecting exclude each other", SERVICES, {"finalizers": ["orphan", "foregroundDeletion"]},
     ['metadata.finalizers: Invalid value: ["orphan","foregroundDeletion"]: '
      "finalizer orphan and foregroundDeletion cannot be both set"]),
    ("an owner is complete", SERVICES, {"ownerReferences": [{}]},
     ['metadata.ownerReferences.apiVersion: Invalid value: "": version must not be empty',
      'metadata.ownerReferences.kind: Invalid value: "": must not be empty',
      'metadata.ownerReferences.name: Invalid value: "": must not be empty',
      'metadata.ownerReferences.uid: Invalid value: "": must not be empty']),
    ("a group alone is no version", SERVICES, {"ownerReferences": [{**OWNER, "apiVersion": "apps/"}]},
     ['metadata.ownerReferences.apiVersion: Invalid value: "apps/": version must not be empty']),
)  # fmt: skip


def make(meta: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": "web", "namespace": "default", **meta}}


@pytest.mark.parametrize(("resource", "meta", "texts"), [pytest.param(*case[1:], id=case[0]) for case in CREATE])
def test_create(resource: Resource, meta: dict[str, Any], texts: list[str]) -> None:
    assert [str(error) for error in validate_create_meta(make(meta), resource)] == texts


def test_only_one_owner_controls() -> None:
    owners = [{**OWNER, "controller": True}, {**OWNER, "kind": "Pod", "name": "b", "controller": True}]
    (error,) = validate_create_meta(make({"ownerReferences": owners}), SERVICES)
    assert error.detail == (
        'Only one reference can have Controller set to true. Found "true" in references for Service/a and Pod/b'
    )


UPDATE: tuple[tuple[str, dict[str, Any], dict[str, Any], list[str]], ...] = (
    ("unchanged", {}, {}, []),
    ("the name is not judged again", {"name": "Old_Name"}, {"name": "Old_Name"}, []),
    ("the uid stays", {"uid": "1"}, {"uid": "2"}, ['metadata.uid: Invalid value: "2": field is immutable']),
    ("nobody else sets the time of deletion", {}, {"deletionTimestamp": "2024-01-01T00:00:00Z"},
     ['metadata.deletionTimestamp: Invalid value: "2024-01-01T00:00:00Z": field is immutable']),
    ("the grace period stays", {"deletionGracePeriodSeconds": 30}, {"deletionGracePeriodSeconds": 5},
     ["metadata.deletionGracePeriodSeconds: Invalid value: 5: field is immutable"]),
    ("finalizers may be taken away while deleting",
     {"deletionTimestamp": "t", "finalizers": ["a.com/a"]}, {"deletionTimestamp": "t"}, []),
    ("none may be added while deleting", {"deletionTimestamp": "t", "finalizers": ["a.com/a"]},
     {"deletionTimestamp": "t", "finalizers": ["a.com/a", "a.com/b"]},
     ["metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, "
      'found new finalizers []string{"a.com/b"}']),
)  # fmt: skip


@pytest.mark.parametrize(("old", "new", "texts"), [pytest.param(*case[1:], id=case[0]) for case in UPDATE])
def test_update(old: dict[str, Any], new: dict[str, Any], texts: list[str]) -> None:
    before, after = make(old), make(new)
    kept = copy.deepcopy(before)
    assert [str(error) for error in validate_update_meta(after, before)] == texts
    assert before == kept
