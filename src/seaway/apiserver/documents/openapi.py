"""OpenAPI: the served kinds as documents, for clients that validate, explain and merge.

What enters is the table of kinds and the schema; what leaves is bytes, made on the first request and kept.

1. One document per group and version in version 3; one for everything in version 2, as JSON and as protobuf.
2. Each kind has its real paths (`openapi_paths.py`); the patch operation carries the kind and the parameters by which
   clients decide that the server validates and can rehearse.
3. Every reference has its target in the same document (`openapi_schemas.py`).
Rule: spec "api-machinery" §3.4, §3.5, Appendix B.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from seaway.api.machinery.http import Request, Response
from seaway.api.registry import SERVED, Resource
from seaway.api.schema import find_definition
from seaway.apiserver.documents.discovery import matches_etag
from seaway.apiserver.documents.gnostic import encode_document
from seaway.apiserver.documents.openapi_paths import make_paths, subresource_kinds
from seaway.apiserver.documents.openapi_schemas import (
    V2_PREFIX,
    V3_PREFIX,
    collect_definitions,
    list_name,
    make_list_schema,
    make_schema,
)
from seaway.apiserver.negotiation import parse_accept

PROTOBUF_ACCEPT = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
PROTOBUF_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_JSON = "application/json"
_INFO = {"title": "Seaway", "version": "v1.36.1"}
_YEAR_SECONDS = 31_536_000
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
    paths, schemas = _describe([r for r in SERVED if r.path_prefix == f"/{key}"], V3_PREFIX)
    document = {"openapi": "3.0.0", "info": _INFO, "paths": paths, "components": {"schemas": schemas}}
    return _finish(msgspec.json.encode(document))


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
    paths, definitions = _describe(SERVED, V2_PREFIX)
    return {"swagger": "2.0", "info": _INFO, "paths": paths, "definitions": definitions}


def _describe(resources: Sequence[Resource], prefix: str) -> tuple[Json, Json]:
    """The paths of the kinds, and every schema that they lead to, by name."""
    paths: Json = {}
    schemas: Json = {}
    kinds: set[tuple[str, str, str]] = set()
    for resource in resources:
        paths |= make_paths(resource, prefix)
        kinds |= {(resource.group, resource.version, resource.kind), *subresource_kinds(resource)}
        definition = find_definition(resource.group, resource.version, resource.kind)
        if definition is not None and "list" in resource.verbs:
            schemas[list_name(definition)] = make_list_schema(resource, definition, prefix)
    schemas |= {definition.name: make_schema(definition, prefix) for definition in collect_definitions(sorted(kinds))}
    return paths, {name: schemas[name] for name in sorted(schemas)}
