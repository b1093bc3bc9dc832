"""Rule: spec "service-api" §10."""

from __future__ import annotations

from typing import Any

from seaway.api.registry import INGRESS_CLASSES
from tests.api.kindtable import Case, cases
from tests.api.manifests import create_texts, make_stored, update_texts

Json = dict[str, Any]
DOMAIN = 'must be a domain-prefixed path (such as "acme.io/foo")'
LONG = "a.b/" + "x" * 250


def parameters(**fields: Any) -> Json:
    return {"spec": {"parameters": {"kind": "K", "name": "n", **fields}}}


CREATE: list[Case] = [
    ("a controller is named", {"spec": {"controller": ""}}, ["spec.controller: Required value"]),
    ("with a domain", {"spec": {"controller": "ingress"}},
     [f'spec.controller: Invalid value: "ingress": {DOMAIN}']),
    ("and a path", {"spec": {"controller": "a.b/"}}, [f'spec.controller: Invalid value: "a.b/": {DOMAIN}']),
    ("of characters of a path", {"spec": {"controller": "a.b/c d"}},
     ['spec.controller: Invalid value: "c d": Invalid path']),
    ("shortly", {"spec": {"controller": LONG}}, ["spec.controller: Too long: may not be more than 250 bytes"]),
    ("parameters are named", {"spec": {"parameters": {}}},
     ["spec.parameters.kind: Required value", "spec.parameters.name: Required value"]),
    ("a known scope", parameters(scope="World"),
     ['spec.parameters.scope: Unsupported value: "World": supported values: "Cluster", "Namespace"']),
    ("a namespace for the scope", parameters(scope="Namespace"),
     ["spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'"]),
    ("no namespace for the cluster", parameters(namespace="a"),
     ["spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'"]),
    ("parameters in a namespace", parameters(scope="Namespace", namespace="a"), []),
]  # fmt: skip


@cases(CREATE)
def test_create(changes: Json, texts: list[str]) -> None:
    assert create_texts(INGRESS_CLASSES, **changes) == texts


def test_the_controller_stays() -> None:
    assert update_texts(INGRESS_CLASSES, {"spec": {"controller": "a.b/c"}}) == [
        'spec.controller: Invalid value: "a.b/c": field is immutable'
    ]
    assert update_texts(INGRESS_CLASSES, parameters()) == []


def test_parameters_are_of_the_cluster() -> None:
    assert make_stored(INGRESS_CLASSES, **parameters())["spec"]["parameters"]["scope"] == "Cluster"
