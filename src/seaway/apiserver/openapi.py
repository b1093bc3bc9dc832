"""OpenAPI: the served kinds as documents, for clients that validate, explain and merge.

What enters is the table of kinds and the schema; what leaves is bytes, made on the first request and kept.

1. One document per group and version in version 3; one for everything in version 2, as JSON and as protobuf.
2. Each kind has its real paths; the patch operation carries the kind and the parameters by which clients decide
   that the server validates and can rehearse.
3. List and patch rules stand on the properties: a wrong merge key would corrupt objects.
Rule: spec "api-machinery" §3.4, §3.5, Appendix B.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from seaway.api.machinery.http import Request, Response
from seaway.api.registry import SERVED, Resource
from seaway.api.schema import Definition, Field, Shape, Type, describe, find_definition, get_definition
from seaway.apiserver.discovery import matches_etag
from seaway.apiserver.gnostic import encode_document
from seaway.apiserver.negotiation import parse_accept
from seaway.apiserver.patch import PATCH_TYPES

PROTOBUF_ACCEPT = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
PROTOBUF_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_JSON = "application/json"
_BODY_TYPES = [_JSON, "application/yaml", "application/vnd.kubernetes.protobuf"]
_INFO = {"title": "Seaway", "version": "v1.36.1"}
_YEAR_SECONDS = 31_536_000
_GVK = "x-kubernetes-group-version-kind"
_V2_PREFIX, _V3_PREFIX = "#/definitions/", "#/components/schemas/"
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Document:
    """A document as it is sent, and its hash."""

    body: bytes
    digest: str

    @property
    def etag(self) -> str:
        return f'"{self.digest}"'


def answer(request: Request) -> Response | None:
    """The answer to an OpenAPI request, or None for any other."""
    path = request.path.strip("/")
    if request.method != "GET" or not path.startswith("openapi/"):
        return None
    accepted = [clause.media for clause in parse_accept(request.headers.get("accept", "") or _JSON)]
    if path == "openapi/v2":
        return _answer_v2(request, accepted)
    if path != "openapi/v3" and not path.startswith("openapi/v3/"):
        return None
    if not {_JSON, "*/*", "application/*"} & set(accepted):
        return Response(406)
    if path == "openapi/v3":
        return Response(200, (("Content-Type", _JSON), ("Vary", "Accept")), _index())
    return _answer_v3(request, path.removeprefix("openapi/v3/"))


def _answer_v2(request: Request, accepted: Iterable[str]) -> Response:
    for media in accepted:
        if media == PROTOBUF_ACCEPT:
            return _send(request, make_v2_protobuf(), PROTOBUF_TYPE)
        if media in (_JSON, "*/*", "application/*"):
            return _send(request, make_v2_json(), _JSON)
    return Response(406)


def _answer_v3(request: Request, key: str) -> Response:
    if key not in _keys():
        return Response(404, (("Content-Type", "text/plain; charset=utf-8"),), b"404 page not found\n")
    document = make_v3(key)
    wanted = request.find_parameter("hash")
    if wanted is None:
        return _send(request, document, _JSON)
    if wanted != document.digest:
        return Response(301, (("Location", _locate(key, document)),))
    return _send(request, document, _JSON, ("Cache-Control", f"public, immutable, max-age={_YEAR_SECONDS}"))


def _send(request: Request, document: Document, media: str, *headers: tuple[str, str]) -> Response:
    fixed = (("Content-Type", media), ("ETag", document.etag), ("Vary", "Accept"), *headers)
    if matches_etag(request.headers.get("if-none-match", ""), document.etag):
        return Response(304, fixed)
    return Response(200, fixed, document.body)


def _locate(key: str, document: Document) -> str:
    return f"/openapi/v3/{key}?hash={document.digest}"


def _keys() -> tuple[str, ...]:
    """`api/v1`, `apis/discovery.k8s.io/v1`, …: the documents of version 3."""
    return tuple(dict.fromkeys(resource.path_prefix.removeprefix("/") for resource in SERVED))


@functools.cache
def _index() -> bytes:
    paths = {key: {"serverRelativeURL": _locate(key, make_v3(key))} for key in sorted(_keys())}
    return msgspec.json.encode({"paths": paths})


def _finish(body: bytes) -> Document:
    return Document(body, hashlib.sha512(body).hexdigest().upper())


@functools.cache
def make_v3(key: str) -> Document:
    """The document of one group and version."""
    resources = [resource for resource in SERVED if resource.path_prefix == f"/{key}"]
    paths: Json = {}
    for resource in resources:
        paths |= _make_paths(resource, _describe_v3_body, _v3_parameter)
    schemas = {d.name: _make_schema(d, _V3_PREFIX) for d in _collect(resources)}
    return _finish(
        msgspec.json.encode({"openapi": "3.0.0", "info": _INFO, "paths": paths, "components": {"schemas": schemas}})
    )


@functools.cache
def make_v2_json() -> Document:
    """The document of everything, as JSON."""
    return _finish(msgspec.json.encode(make_v2()))


@functools.cache
def make_v2_protobuf() -> Document:
    """The document of everything, as protobuf."""
    return _finish(encode_document(make_v2()))


def make_v2() -> Json:
    """The document of everything, as a value."""
    paths: Json = {}
    for resource in SERVED:
        paths |= _make_paths(resource, _describe_v2_body, _v2_parameter)
    definitions = {d.name: _make_schema(d, _V2_PREFIX) for d in _collect(SERVED)}
    return {"swagger": "2.0", "info": _INFO, "paths": paths, "definitions": definitions}


def _collect(resources: Iterable[Resource]) -> list[Definition]:
    """The definitions of the kinds and all that they reach, by name."""
    found: dict[str, Definition] = {}
    roots = (find_definition(r.group, r.version, r.kind) for r in resources)
    todo = [definition for definition in roots if definition is not None]
    while todo:
        definition = todo.pop()
        if definition.name in found:
            continue
        found[definition.name] = definition
        todo.extend(get_definition(name) for field in definition.fields.values() if (name := _named(field.type)))
    return [found[name] for name in sorted(found)]


def _named(kind: Type) -> str:
    """The definition that the type is made of, or empty."""
    return _named(kind.item) if kind.item is not None else kind.name


# Paths

# Clients look for these: without dryRun kubectl 1.20 refuses `diff`, without fieldValidation it validates itself.
_WRITE_OPTIONS = {
    "dryRun": "All: do everything but keep nothing.",
    "fieldManager": "The name under which the change is recorded.",
    "fieldValidation": "What to do about unknown fields: Strict, Warn or Ignore.",
}
_BodyMaker = Callable[[Definition | None, Iterable[str]], Json]


def _make_paths(resource: Resource, describe_body: _BodyMaker, parameter: Callable[..., Json]) -> Json:
    """The paths of the collection and of the object."""
    definition = find_definition(resource.group, resource.version, resource.kind)
    gvk = {"group": resource.group, "kind": resource.kind, "version": resource.version}
    namespace = [parameter("namespace", "path", "The namespace.")] if resource.namespaced else []
    options = [parameter(name, "query", text) for name, text in _WRITE_OPTIONS.items()]

    def operation(action: str, body: Iterable[str] = ()) -> Json:
        made: Json = {"operationId": f"{action}{resource.kind}", "responses": {"200": {"description": "OK"}}}
        if body:
            made |= describe_body(definition, body)
            made["parameters"] = [*made.get("parameters", ()), *options]
        return {**made, "x-kubernetes-action": action, _GVK: gvk}

    collection = resource.path("{namespace}" if resource.namespaced else "")
    if not resource.is_stored:
        asked: Json = {"post": operation("post", _BODY_TYPES)}
        return {collection: {**asked, "parameters": namespace} if namespace else asked}
    item: Json = {
        "get": operation("get"),
        "put": operation("put", _BODY_TYPES),
        "patch": operation("patch", PATCH_TYPES),
        "delete": operation("delete"),
        "parameters": [parameter("name", "path", "The name."), *namespace],
    }
    listing: Json = {"get": operation("list"), "post": operation("post", _BODY_TYPES)}
    if namespace:
        listing["parameters"] = namespace
    return {collection: listing, f"{collection}/{{name}}": item}


def _v2_parameter(name: str, place: str, description: str) -> Json:
    required = {"required": True} if place == "path" else {}
    return {"name": name, "in": place, "description": description, "type": "string", **required}


def _v3_parameter(name: str, place: str, description: str) -> Json:
    required = {"required": True} if place == "path" else {}
    return {"name": name, "in": place, "description": description, "schema": {"type": "string"}, **required}


def _describe_v2_body(definition: Definition | None, media: Iterable[str]) -> Json:
    schema = {"$ref": _V2_PREFIX + definition.name} if definition is not None else {"type": "object"}
    return {"consumes": list(media), "parameters": [{"name": "body", "in": "body", "required": True, "schema": schema}]}


def _describe_v3_body(definition: Definition | None, media: Iterable[str]) -> Json:
    schema = {"$ref": _V3_PREFIX + definition.name} if definition is not None else {"type": "object"}
    return {"requestBody": {"required": True, "content": {name: {"schema": schema} for name in media}}}


# Schemas

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


def _make_schema(definition: Definition, prefix: str) -> Json:
    special = _SPECIAL | _SPECIAL_V3 if prefix == _V3_PREFIX else _SPECIAL
    head: Json = {"description": describe(definition.name) or f"{_split_words(definition.short_name).capitalize()}."}
    if not definition.fields:
        return {**head, **special.get(definition.short_name, {"type": "object"})}
    schema: Json = {**head, "type": "object"}
    if definition.required:
        schema["required"] = list(definition.required)
    schema["properties"] = {f.name: _make_property(definition, f, prefix) for f in definition.fields.values()}
    if definition.gvks:
        schema[_GVK] = [{"group": g, "kind": k, "version": v} for g, v, k in definition.gvks]
    if definition.map_type:
        schema["x-kubernetes-map-type"] = definition.map_type
    return schema


def _make_property(definition: Definition, field: Field, prefix: str) -> Json:
    text = describe(definition.name, field.name) or f"{_split_words(field.name).capitalize()}."
    made: Json = {"description": text, **_make_type(field.type, prefix)}
    if prefix == _V3_PREFIX and "$ref" in made:  # a reference with neighbours is not allowed there
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


def _split_words(name: str) -> str:
    """`nodePort` is `node port`; runs of capitals stay together."""
    return " ".join(re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+|\d+", name)).lower()
