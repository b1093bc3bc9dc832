"""The table of types: complete for what is served, and true where clients depend on it."""

from __future__ import annotations

import pytest

from seaway.api.registry import RESOURCES, Resource
from seaway.api.schema import Definition, Shape, Type, describe, find_definition, get_definition


def get_kind(kind: str, group: str = "", version: str = "v1") -> Definition:
    definition = find_definition(group, version, kind)
    assert definition is not None
    return definition


def get_definitions(*names: str) -> list[Definition]:
    return [get_definition(f"io.k8s.api.{name}") for name in names]


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda r: r.kind)
def test_every_served_kind_and_all_that_it_reaches_is_in_the_table(resource: Resource) -> None:
    todo, seen = [get_kind(resource.kind, resource.group, resource.version)], set()
    while todo:
        definition = todo.pop()
        if definition.name in seen:
            continue
        seen.add(definition.name)
        for field in definition.fields.values():
            kind: Type = field.type
            while kind.item is not None:
                kind = kind.item
            if kind.shape is Shape.STRUCT:
                todo.append(kind.definition)
    assert "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta" in seen


def test_service_ports_merge_by_port_and_apply_by_port_and_protocol() -> None:
    ports = get_definition("io.k8s.api.core.v1.ServiceSpec").fields["ports"]
    assert (ports.patch_strategies, ports.patch_merge_key) == (frozenset({"merge"}), "port")
    assert (ports.list_type, ports.list_map_keys) == ("map", ("port", "protocol"))
    assert get_definition("io.k8s.api.core.v1.ServicePort").fields["protocol"].default == "TCP"


def test_presence_is_told_apart_between_types_of_one_name() -> None:
    core, discovery = get_definitions("core.v1.EndpointPort", "discovery.v1.EndpointPort")
    assert not core.fields["name"].pointer
    assert discovery.fields["name"].pointer


def test_messages_that_json_flattens_have_two_numbers() -> None:
    probe, ephemeral = get_definitions("core.v1.Probe", "core.v1.EphemeralContainer")
    assert probe.fields["httpGet"].number == (1, 2)
    assert ephemeral.fields["image"].number == (1, 2)


def test_an_unknown_kind_is_not_found() -> None:
    assert find_definition("", "v1", "Foo") is None


@pytest.mark.parametrize("name", ["core.v1.ServiceSpec", "discovery.v1.Endpoint", "core.v1.EndpointSubset"])
def test_every_field_that_explain_shows_is_described(name: str) -> None:
    definition = get_definition(f"io.k8s.api.{name}")
    assert describe(definition.name)
    assert [field for field in definition.fields if not describe(definition.name, field)] == []
