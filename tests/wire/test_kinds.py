"""An object of every kind as it is on the wire: golden files that every codec must keep to the letter.

A change of the schema shows here. Add a file when a kind is added: the test of completeness asks for it.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seaway.api.machinery.codec import decode_body
from seaway.api.machinery.yaml_codec import encode_yaml
from seaway.api.registry import RESOURCES, Resource
from seaway.api.schema import find_definition
from tests.wire.protobuf_encoder import encode_body

KINDS = Path(__file__).with_name("kinds")
PROTOBUF = "application/vnd.kubernetes.protobuf"


def stem_of(resource: Resource) -> str:
    """A plural that two groups serve is told apart by the group that does not store it."""
    return resource.plural if resource.stored_as is None else f"{resource.plural}.{resource.group}"


def load(resource: Resource) -> str:
    return (KINDS / f"{stem_of(resource)}.json").read_text()


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda r: r.kind)
def test_json_comes_out_as_it_went_in(resource: Resource) -> None:
    golden = load(resource)
    decoded = decode_body(resource, "application/json", golden.encode(), field_validation="Strict")
    assert json.dumps(decoded.obj, indent=2) + "\n" == golden


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda r: r.kind)
def test_protobuf_and_yaml_come_out_the_same(resource: Resource) -> None:
    obj = json.loads(load(resource))
    definition = find_definition(resource.group, resource.version, resource.kind)
    assert definition is not None
    assert decode_body(resource, PROTOBUF, encode_body(obj, definition)).obj == obj
    assert decode_body(resource, "application/yaml", encode_yaml(obj), field_validation="Strict").obj == obj


def test_no_file_is_left_over() -> None:
    assert {path.stem for path in KINDS.glob("*.json")} == {stem_of(resource) for resource in RESOURCES}
