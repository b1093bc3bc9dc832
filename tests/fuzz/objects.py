"""Objects of every kind, most of them valid: golden files, least manifests, a few more, and growth by the schema."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import msgspec

from seaway.api.registry import RESOURCES
from seaway.api.schema import Definition, Shape, Type, find_definition
from seaway.testing.builders import make_node, make_pod, make_service, make_slice
from tests.api.manifests import make_manifest
from tests.fuzz import values

Json = dict[str, Any]
_GOLDEN = Path(__file__).parents[1] / "wire" / "kinds"
_SERVER_ONLY = ("uid", "resourceVersion", "creationTimestamp", "selfLink", "deletionTimestamp", "managedFields")
_MORE: tuple[Json, ...] = (
    make_service(),
    make_service(type="NodePort", ports=[{"port": 80, "nodePort": 30080}]),
    make_service(type="LoadBalancer", externalTrafficPolicy="Local"),
    make_service(clusterIP="None"),
    make_service(type="ExternalName", externalName="example.com", ports=[]),
    make_service(clusterIP="10.96.0.7"),
    make_service(ports=[{"name": "a", "port": 53, "protocol": "UDP"}, {"name": "b", "port": 53, "protocol": "TCP"}]),
    make_pod(),
    make_pod(nodeName="node-1"),
    make_pod(meta={"finalizers": ["example.com/hold"]}),
    make_node(),
    make_slice("web-1", "web", ["10.244.0.5", "10.244.0.6"]),
    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"key": "text"}},
    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}, "data": {"key": "text"}, "immutable": True},
    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "gen-", "finalizers": ["orphan"]}},
    {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "stringData": {"key": "text"}},
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}},
    {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "a"}},
    {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": "web-1"},
        "target": {"kind": "Node", "name": "node-1"},
    },
    {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "web-1", "namespace": "default"}},
    {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"}, "spec": {"replicas": 2}},
    {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "metadata": {},
        "spec": {"expirationSeconds": 3600},
    },
    {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "metadata": {}, "spec": {"token": "a.b.c"}},
    {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview", "metadata": {}},
    {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "metadata": {},
        "spec": {"resourceAttributes": {"verb": "get", "resource": "services", "namespace": "default"}},
    },
    {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "metadata": {},
        "spec": {"user": "jane", "nonResourceAttributes": {"verb": "get", "path": "/metrics"}},
    },
    {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "LocalSubjectAccessReview",
        "metadata": {"namespace": "default"},
        "spec": {"user": "jane", "resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "default"}},
    },
    {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "metadata": {},
        "spec": {"namespace": "default"},
    },
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "a"},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
    },
    {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "a"}, "spec": {}},
)


class Corpus:
    """Objects by kind, each as the JSON that a fresh copy is decoded from."""

    def __init__(self) -> None:
        self._by_kind: dict[tuple[str, str, str], list[bytes]] = {}
        golden = [json.loads(path.read_text()) for path in sorted(_GOLDEN.glob("*.json"))]
        least = [make_manifest(resource) for resource in RESOURCES if "create" in resource.verbs]
        for obj in (*golden, *least, *_MORE):
            for key in _SERVER_ONLY:
                obj.setdefault("metadata", {}).pop(key, None)
            group, _, version = obj["apiVersion"].rpartition("/")
            self._by_kind.setdefault((group, version, obj["kind"]), []).append(msgspec.json.encode(obj))
        self._all = [text for texts in self._by_kind.values() for text in texts]

    def pick(self, rng: random.Random, kind: tuple[str, str, str]) -> Json:
        """A fresh object of the kind; one grown from nothing where no other is known."""
        texts = self._by_kind.get(kind)
        if texts:
            obj: Json = msgspec.json.decode(rng.choice(texts))
            return obj
        group, version, name = kind
        obj = {"kind": name, "apiVersion": f"{group}/{version}" if group else version, "metadata": {"name": "a"}}
        definition = find_definition(*kind)
        if definition is not None:
            for _ in range(rng.randrange(4)):
                grow(rng, obj, definition)
        return obj

    def pick_any(self, rng: random.Random) -> Json:
        """A fresh object of any kind."""
        obj: Json = msgspec.json.decode(rng.choice(self._all))
        return obj


def grow(rng: random.Random, obj: Json, definition: Definition) -> None:
    """Give the object, or something in it, a field that it may have by the schema. In place."""
    for _ in range(8):
        names = _field_names(definition)
        if not names:
            return
        name = rng.choice(names)
        kind = definition.fields[name].type
        present = obj.get(name)
        if present and kind.shape is Shape.STRUCT and isinstance(present, dict):
            obj, definition = present, kind.definition
            continue
        if present and kind.shape is Shape.LIST and isinstance(present, list) and kind.item is not None:
            at = rng.randrange(len(present))
            if kind.item.shape is Shape.STRUCT and isinstance(present[at], dict) and rng.random() < 0.7:
                obj, definition = present[at], kind.item.definition
                continue
            present.append(make_value(rng, kind.item, name))
            return
        obj[name] = make_value(rng, kind, name)
        return


def make_value(rng: random.Random, kind: Type, field: str = "", depth: int = 0) -> Any:
    """A value of the type, plausible where the field's name says something."""
    if kind.shape not in _LEAVES and rng.random() < 0.5:
        suggested = values.plausible(rng, field)
        if suggested is not None and isinstance(suggested, list) is (kind.shape is Shape.LIST):
            return copy.deepcopy(suggested)
    if kind.shape is Shape.LIST:
        assert kind.item is not None
        return [make_value(rng, kind.item, field, depth + 1) for _ in range(rng.choice((0, 1, 1, 2)))]
    if kind.shape is Shape.MAP:
        assert kind.item is not None
        return {
            name: make_value(rng, kind.item, "", depth + 1)
            for name in rng.sample(("a", "b", "x/y", "cpu"), rng.randrange(3))
        }
    if kind.shape is Shape.STRUCT:
        return make_struct(rng, kind.definition, depth + 1)
    return values.scalar(rng, kind.shape, field)


def make_struct(rng: random.Random, definition: Definition, depth: int) -> Json:
    """An object of the definition: what it requires, and a little more."""
    fields = definition.fields
    chosen = [name for name in definition.required if name in fields]
    names = _field_names(definition)
    if names:
        chosen += [rng.choice(names) for _ in range(rng.randrange(3) if depth < 5 else 0)]
    if depth > 9:
        return {}
    return {name: make_value(rng, fields[name].type, name, depth) for name in chosen}


_LEAVES = frozenset(set(Shape) - {Shape.LIST, Shape.MAP, Shape.STRUCT})
_names: dict[str, list[str]] = {}


def _field_names(definition: Definition) -> list[str]:
    found = _names.get(definition.name)
    if found is None:
        found = _names[definition.name] = sorted(set(definition.fields) - {"kind", "apiVersion"})
    return found
