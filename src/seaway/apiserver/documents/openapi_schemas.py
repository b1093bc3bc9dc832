"""The schemas of OpenAPI documents: a definition of the table as JSON Schema, with list and patch rules.

A wrong merge key here would corrupt objects: clients merge by what they read. Rule: spec "api-machinery" §3.4, §3.5.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from seaway.api.registry import Resource
from seaway.api.schema import Definition, Field, Shape, Type, describe, find_definition, get_definition

Json = dict[str, Any]
GVK = "x-kubernetes-group-version-kind"
V2_PREFIX, V3_PREFIX = "#/definitions/", "#/components/schemas/"
_META = "io.k8s.apimachinery.pkg.apis.meta.v1"
STATUS, DELETE_OPTIONS, LIST_META = f"{_META}.Status", f"{_META}.DeleteOptions", f"{_META}.ListMeta"

_SCALARS: dict[Shape, Json] = {
    Shape.STRING: {"type": "string"},
    Shape.BOOLEAN: {"type": "boolean"},
    Shape.INT32: {"type": "integer", "format": "int32"},
    Shape.INT64: {"type": "integer", "format": "int64"},
    Shape.DOUBLE: {"type": "number", "format": "double"},
    Shape.BYTES: {"type": "string", "format": "byte"},
}
_SPECIAL: dict[str, Json] = {
    "Time": {"type": "string", "format": "date-time"},
    "MicroTime": {"type": "string", "format": "date-time"},
    "Quantity": {"type": "string"},
    "IntOrString": {"type": "string", "format": "int-or-string"},
}
_SPECIAL_V3: dict[str, Json] = {
    "Quantity": {"oneOf": [{"type": "string"}, {"type": "number"}]},
    "IntOrString": {"oneOf": [{"type": "integer"}, {"type": "string"}], "format": "int-or-string"},
}


def collect_definitions(kinds: Iterable[tuple[str, str, str]]) -> list[Definition]:
    """The definitions of the (group, version, kind)s, of answers and options, and of all that they reach, by name."""
    found: dict[str, Definition] = {}
    roots = [find_definition(*kind) for kind in kinds]
    todo = [definition for definition in roots if definition is not None]
    todo += [get_definition(name) for name in (STATUS, DELETE_OPTIONS, LIST_META)]
    while todo:
        definition = todo.pop()
        if definition.name in found:
            continue
        found[definition.name] = definition
        todo.extend(get_definition(name) for field in definition.fields.values() if (name := _named(field.type)))
    return [found[name] for name in sorted(found)]


def list_name(definition: Definition) -> str:
    """The name of the schema of lists of the kind."""
    return f"{definition.name}List"


def make_list_schema(resource: Resource, definition: Definition, prefix: str) -> Json:
    """The schema of a list of the kind: no table has it, since all lists are alike."""
    version = {"group": resource.group, "kind": f"{resource.kind}List", "version": resource.version}
    meta = {"$ref": prefix + LIST_META}
    properties: Json = {
        "apiVersion": {"description": describe("*", "apiVersion"), "type": "string"},
        "items": {"description": "The objects.", "type": "array", "items": {"$ref": prefix + definition.name}},
        "kind": {"description": describe("*", "kind"), "type": "string"},
        "metadata": {
            "description": "What all lists have.",
            **({"allOf": [meta]} if prefix == V3_PREFIX else meta),
        },
    }
    text = f"A list of {resource.plural}."
    return {"description": text, "type": "object", "required": ["items"], "properties": properties, GVK: [version]}


def make_schema(definition: Definition, prefix: str) -> Json:
    """The schema of a definition. prefix: of references, which tells the version of the document."""
    special = _SPECIAL | _SPECIAL_V3 if prefix == V3_PREFIX else _SPECIAL
    head: Json = {"description": describe(definition.name) or f"{_split_words(definition.short_name).capitalize()}."}
    if not definition.fields:
        return {**head, **special.get(definition.short_name, {"type": "object"})}
    schema: Json = {**head, "type": "object"}
    if definition.required:
        schema["required"] = list(definition.required)
    schema["properties"] = {f.name: _make_property(definition, f, prefix) for f in definition.fields.values()}
    if definition.gvks:
        schema[GVK] = [{"group": g, "kind": k, "version": v} for g, v, k in definition.gvks]
    if definition.map_type:
        schema["x-kubernetes-map-type"] = definition.map_type
    return schema


def _make_property(definition: Definition, field: Field, prefix: str) -> Json:
    text = describe(definition.name, field.name) or f"{_split_words(field.name).capitalize()}."
    made: Json = {"description": text, **_make_type(field.type, prefix)}
    if prefix == V3_PREFIX and "$ref" in made:  # a reference with neighbours is not allowed there
        made["allOf"] = [{"$ref": made.pop("$ref")}]
    rules = {
        "default": field.default,
        "x-kubernetes-list-type": field.list_type,
        "x-kubernetes-list-map-keys": list(field.list_map_keys),
        "x-kubernetes-map-type": field.map_type,
        "x-kubernetes-patch-strategy": ",".join(sorted(field.patch_strategies)),
        "x-kubernetes-patch-merge-key": field.patch_merge_key,
    }
    return made | {name: value for name, value in rules.items() if value}


def _make_type(kind: Type, prefix: str) -> Json:
    if kind.item is not None:
        item = _make_type(kind.item, prefix)
        if kind.shape is Shape.LIST:
            return {"type": "array", "items": item}
        return {"type": "object", "additionalProperties": item}
    return {"$ref": prefix + kind.name} if kind.name else dict(_SCALARS[kind.shape])


def _named(kind: Type) -> str:
    """The definition that the type is made of, or empty."""
    return _named(kind.item) if kind.item is not None else kind.name


def _split_words(name: str) -> str:
    """`nodePort` is `node port`; runs of capitals stay together."""
    return " ".join(re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+|\d+", name)).lower()
