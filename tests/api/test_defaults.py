"""Laws of all defaults: given twice they are given once, and a stored object that comes back is what was stored."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from seaway.api.machinery.codec import JSON, decode_body
from seaway.api.machinery.strategy import Context
from seaway.api.registry import (
    ENDPOINT_SLICES,
    ENDPOINTS,
    NAMESPACES,
    NODES,
    PODS,
    RESOURCES,
    SECRETS,
    SERVICES,
    Resource,
)
from seaway.testing.builders import make_node, make_pod, make_service, make_slice

Json = dict[str, Any]
CONTEXT = Context("2024-01-01T00:00:00Z")
FULL_POD = make_pod(
    hostNetwork=True,
    containers=[
        {
            "name": "main",
            "image": "a",
            "ports": [{"containerPort": 80}],
            "resources": {"limits": {"cpu": "0.5", "memory": "1024Mi"}},
            "readinessProbe": {"httpGet": {"port": "web"}},
            "livenessProbe": {"exec": {"command": ["a"]}},
            "startupProbe": {"grpc": {"port": 1}},
            "lifecycle": {"preStop": {"exec": {"command": ["a"]}}},
            "env": [
                {"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "B", "value": ""},
            ],
            "volumeMounts": [{"name": "a", "mountPath": "/a"}],
        }
    ],
    initContainers=[{"name": "init", "image": "a:1"}],
    volumes=[
        {"name": "a"},
        {"name": "b", "hostPath": {"path": "/"}},
        {"name": "c", "configMap": {"name": "c"}},
        {"name": "d", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
    ],
)
OBJECTS: list[tuple[Resource, Json]] = [
    (SERVICES, make_service()),
    (SERVICES, make_service(type="LoadBalancer", externalTrafficPolicy="Local", sessionAffinity="ClientIP")),
    (SERVICES, make_service(type="ExternalName", externalName="a.b")),
    (SERVICES, make_service(ports=[{"port": 80, "targetPort": 0}], trafficDistribution="PreferClose")),
    (PODS, make_pod()),
    (PODS, FULL_POD),
    (ENDPOINT_SLICES, make_slice("web-1", "web", ["10.0.0.1"], ports=[{}, {"name": "a", "port": 0}])),
    (ENDPOINT_SLICES, {**make_slice("web-1", "web", []), "ports": None, "endpoints": None}),
    (ENDPOINTS, {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "web"},
                 "subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}]}),
    (NODES, make_node(podCIDR="10.0.0.0/24")),
    (NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}),
    (SECRETS, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "stringData": {"a": "b"}}),
]  # fmt: skip


def decode(resource: Resource, obj: Json) -> Json:
    return decode_body(resource, JSON, json.dumps(obj).encode(), field_validation="Strict").obj


@pytest.mark.parametrize(("resource", "obj"), OBJECTS)
def test_a_stored_object_comes_back_as_it_was_stored(resource: Resource, obj: Json) -> None:
    strategy = resource.strategy
    stored = strategy.prepare_create(strategy.default(decode(resource, obj)), CONTEXT)
    again = strategy.default(decode(resource, stored))
    assert {**again, "status": None} == {**stored, "status": None}
    assert strategy.default(copy.deepcopy(again)) == again
    assert strategy.prepare_update(again, copy.deepcopy(stored), CONTEXT) == stored


@pytest.mark.parametrize("resource", RESOURCES, ids=[resource.plural for resource in RESOURCES])
def test_an_empty_object_is_judged_not_stumbled_over(resource: Resource) -> None:
    """The codec lets any object through that has the right types, so every field may be absent."""
    strategy = resource.strategy
    empty: Json = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {}}
    obj = strategy.prepare_create(strategy.default(copy.deepcopy(empty)), CONTEXT)
    old = copy.deepcopy(obj)
    for found in (strategy.validate_create(obj), strategy.validate_update(obj, old), strategy.warnings(obj, old)):
        assert isinstance(found, list)
    assert all(isinstance(value, str) for value in strategy.fields(empty).values())
