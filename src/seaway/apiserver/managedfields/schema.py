"""The nodes of each kind, made from its schema on first use.

Nobody owns what identifies an object or what the server alone decides; those fields, and the ones that a write to a
(sub)resource resets, are missing from the nodes by which ownership is recorded, so that no walk ever meets them.
Rule: spec "api-machinery" §5.4, §5.5.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from seaway.api.registry import Resource
from seaway.api.schema import Definition, Field, Shape, Type, find_definition, get_definition
from seaway.apiserver.managedfields.typed import (
    AtomicList,
    KeyedList,
    Leaf,
    Map,
    Member,
    Node,
    SetList,
    Struct,
)

UNOWNED = (
    "apiVersion",
    "kind",
    "metadata.name",
    "metadata.namespace",
    "metadata.creationTimestamp",
    "metadata.selfLink",
    "metadata.uid",
    "metadata.clusterName",
    "metadata.generation",
    "metadata.managedFields",
    "metadata.resourceVersion",
)
_EXPECTED = {
    Shape.STRING: "string",
    Shape.BYTES: "string",
    Shape.TIME: "string",
    Shape.MICRO_TIME: "string",
    Shape.BOOLEAN: "boolean",
    Shape.INT32: "number",
    Shape.INT64: "number",
    Shape.DOUBLE: "number",
    Shape.QUANTITY: "scalar",
    Shape.INT_OR_STRING: "scalar",
}
_TOP = frozenset(("metadata", "spec", "status"))
# Structs that are no pointers in the Go types: always there, so whoever fills one does not own it as a whole. The
# published schemas do not tell.
_EMBEDDED = frozenset(
    (
        ("ServiceStatus", "loadBalancer"),
        ("IngressStatus", "loadBalancer"),
        ("NodeStatus", "daemonEndpoints"),
        ("NodeStatus", "nodeInfo"),
        ("NodeDaemonEndpoints", "kubeletEndpoint"),
        ("Container", "resources"),
        ("EphemeralContainer", "resources"),
        ("ContainerStatus", "state"),
        ("ContainerStatus", "lastState"),
        ("Event", "involvedObject"),
        ("Event", "source"),
        ("Event", "deprecatedSource"),
        ("Event", "regarding"),
        ("DeploymentSpec", "strategy"),
        ("DaemonSetSpec", "updateStrategy"),
        ("StatefulSetSpec", "updateStrategy"),
        ("DeploymentSpec", "template"),
        ("DaemonSetSpec", "template"),
        ("StatefulSetSpec", "template"),
        ("ReplicaSetSpec", "template"),
        ("JobSpec", "template"),
        ("CronJobSpec", "jobTemplate"),
        ("PodTemplate", "template"),
        ("PodTemplateSpec", "metadata"),
        ("PodTemplateSpec", "spec"),
        ("JobTemplateSpec", "metadata"),
        ("JobTemplateSpec", "spec"),
        ("PersistentVolumeClaimSpec", "resources"),
    )
)
# Merged lists that Go writes as null when they are not set.
_NULL_LISTS = frozenset((("PodSpec", "containers"),))


@dataclass(frozen=True, slots=True)
class OwnedSchema:
    """`full` merges and checks; `owned` is the same without what nobody can own."""

    full: Struct
    owned: Struct


def find_owned_schema(resource: Resource, subresource: str) -> OwnedSchema | None:
    """The nodes of the kind for writes to the subresource; None for a kind that the table lacks."""
    return _make_schema(resource, subresource)


@functools.cache
def _make_schema(resource: Resource, subresource: str) -> OwnedSchema | None:
    definition = find_definition(resource.group, resource.version, resource.kind)
    if definition is None:
        return None
    full = _make_struct(definition.name)
    return OwnedSchema(full, full.without((*UNOWNED, *reset_fields(resource, subresource))))


def reset_fields(resource: Resource, subresource: str) -> tuple[str, ...]:
    """What writes to the (sub)resource put back to what it was: the kind's own word, or that of most kinds."""
    declared = resource.strategy.reset_fields
    if subresource in declared:
        return declared[subresource]
    if "status" not in resource.subresources:
        return ()
    return {"": ("status",), "status": ("spec",), "finalize": ("status",)}.get(subresource, ())


@functools.cache
def _make_struct(name: str) -> Struct:
    definition = get_definition(name)
    is_kind = bool(definition.gvks)
    members = {}
    for field in definition.fields.values():
        members[field.name] = Member(
            field.name, _make_node(field.type, field), _empty_value(definition, field, is_kind)
        )
    return Struct(members)


def _empty_value(definition: Definition, field: Field, is_kind: bool) -> object:
    place = (definition.short_name, field.name)
    if field.type.shape is Shape.STRUCT:
        return {} if place in _EMBEDDED or (is_kind and field.name in _TOP) else None
    return [] if place in _NULL_LISTS else None


def _make_node(kind: Type, field: Field | None = None) -> Node:
    """field: the field that has the type, None inside lists and maps."""
    if kind.shape is Shape.STRUCT:
        struct = _make_struct(kind.name)
        relation = (field.map_type if field else "") or kind.definition.map_type
        return Leaf(shape=struct) if relation == "atomic" else struct
    if kind.shape is Shape.MAP:
        assert kind.item is not None
        granular = Map(_make_node(kind.item))
        return Leaf(shape=granular) if field is not None and field.map_type == "atomic" else granular
    if kind.shape is Shape.LIST:
        assert kind.item is not None
        item = _make_node(kind.item)
        if field is not None and field.list_type == "map":
            return KeyedList(item, tuple((key, _key_default(kind.item, key)) for key in field.list_map_keys))
        return SetList(item) if field is not None and field.list_type == "set" else Leaf(shape=AtomicList(item))
    return Leaf(_EXPECTED.get(kind.shape, ""))


def _key_default(item: Type, key: str) -> str:
    return item.definition.fields[key].default
