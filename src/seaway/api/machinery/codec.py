"""Request bodies to objects: JSON, YAML and protobuf, checked against the schema and pruned to it.

What enters is the bytes that a client sent and the resource that its path names. What leaves is an object in canonical
form (see `pruning`) with `kind` and `apiVersion`, and the warnings that the answer must carry.

1. Three codecs, one meaning: the same object in JSON, YAML or protobuf decodes to the same value.
2. Unknown and duplicate fields are an error, a warning or nothing, as the client asked (Strict, Warn, Ignore).
3. A kind that the table lacks is kept as it is, but for its metadata.
Rule: spec "api-machinery" §1.4, §2.1, §2.5, §4.6.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import Any

from seaway.api.machinery.errors import ApiError, BadRequest, UnsupportedMediaType, make_invalid
from seaway.api.machinery.field import invalid
from seaway.api.machinery.goformat import render_go
from seaway.api.machinery.json_codec import JsonError, parse_json
from seaway.api.machinery.pruning import DecodeError, prune
from seaway.api.registry import Resource
from seaway.api.schema import (
    OBJECT_META,
    Definition,
    Field,
    Shape,
    Type,
    find_definition,
    find_kind_groups,
    parse_api_version,
)

Json = dict[str, Any]
JSON, YAML, PROTOBUF = "application/json", "application/yaml", "application/vnd.kubernetes.protobuf"
STRICT, WARN, IGNORE = "Strict", "Warn", "Ignore"
_SCHEME = 'in scheme "pkg/api/legacyscheme/scheme.go:30"'
# Packages that upstream's messages name, where the name is not the first part of the group.
_INTERNAL_PACKAGES = {"": "core", "events.k8s.io": "core", "rbac.authorization.k8s.io": "rbac"}
BODY_TYPES = (JSON, YAML, PROTOBUF)
UNKNOWN_FORMAT = (
    f"the body of the request was in an unknown format - accepted media types include: {', '.join(BODY_TYPES)}"
)
_SHOWN_BYTES = 30


@dataclass(frozen=True, slots=True)
class Decoded:
    """An object in canonical form, owned by the caller, and what to warn the client of."""

    obj: Json
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Target:
    """The kind that the endpoint takes."""

    group: str
    version: str
    kind: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


def decode_body(resource: Resource, content_type: str, body: bytes, *, field_validation: str = "") -> Decoded:
    """The object in the body of a POST or PUT. Absent kind and apiVersion come from the endpoint.

    Raises BadRequest and UnsupportedMediaType.
    """
    target = _find_target(resource)
    value, findings = _parse(content_type, body, target)
    _check_kind(target, value)
    try:
        obj, unknown = _prune_kind(value, target)
    except DecodeError as error:
        raise _cannot_be_handled(target, target.api_version, target.kind, str(error)) from None
    texts = _describe_findings(unknown, findings)
    if texts and field_validation == STRICT:
        why = f"strict decoding error: {', '.join(texts)}"
        raise _cannot_be_handled(target, target.api_version, target.kind, why)
    return Decoded(obj, () if field_validation == IGNORE else tuple(texts))


def decode_delete_options(content_type: str, body: bytes) -> Json:
    """The DeleteOptions in a body, without kind and apiVersion; {} when the body is empty. Any apiVersion is taken."""
    if not body:
        return {}
    target = _Target("", "v1", "DeleteOptions")
    value, _ = _parse(content_type, body, target)
    kind, api_version = value.get("kind") or target.kind, value.get("apiVersion") or target.api_version
    if kind != target.kind:
        raise BadRequest(f'no kind "{kind}" is registered for version "{api_version}" {_SCHEME}')
    definition = find_definition("", "v1", target.kind)
    assert definition is not None
    try:
        options = prune(value, definition, [])
    except DecodeError as error:
        raise _cannot_be_handled(target, str(api_version), target.kind, str(error)) from None
    return {key: item for key, item in options.items() if key not in ("kind", "apiVersion")}


def prune_patched(
    resource: Resource,
    obj: Json,
    *,
    field_validation: str = "",
    patch: object = None,
    findings: tuple[str, ...] = (),
) -> Decoded:
    """The object that a patch made, in canonical form. `obj` is not modified.

    patch: the strategic merge patch; errors quote it instead of the object. findings: what was found in the patch
    itself. Raises Invalid (and BadRequest for a changed kind).
    """
    target = _find_target(resource)
    _check_kind(target, obj)
    try:
        pruned, unknown = _prune_kind(obj, target)
    except DecodeError as error:
        raise make_invalid("", "", "", [invalid("patch", _show_patched(obj, patch), str(error))]) from None
    texts = [*findings, *_describe_findings(unknown, ())]
    if texts and field_validation == STRICT:
        detail = f"strict decoding error: {', '.join(texts)}"
        raise make_invalid("", "", "", [invalid("patch", _show_patched(obj, patch), detail)])
    return Decoded(pruned, () if field_validation == IGNORE else tuple(texts))


def _show_patched(obj: Json, patch: object) -> str:
    if patch is not None:
        return render_go(patch)
    return json.dumps(obj, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def _find_target(resource: Resource) -> _Target:
    return _Target(resource.group, resource.version, resource.kind)


def _prune_kind(value: Json, target: _Target) -> tuple[Json, list[str]]:
    unknown: list[str] = []
    definition = find_definition(target.group, target.version, target.kind)
    typed = {"kind": target.kind, "apiVersion": target.api_version}
    if definition is not None:
        pruned = prune({**value, **typed}, definition, unknown)
    else:
        pruned = {**{key: item for key, item in value.items() if item is not None}, **typed}
        if "metadata" in pruned:
            pruned |= prune({"metadata": pruned["metadata"]}, _metadata_only(), unknown)
    pruned.setdefault("metadata", {})
    return {**typed, **pruned}, unknown


@functools.cache
def _metadata_only() -> Definition:
    """A struct with metadata alone, for kinds of which nothing else is known."""
    field = Field(name="metadata", type=Type(Shape.STRUCT, None, OBJECT_META))
    return Definition(name="Object", fields={"metadata": field})


def _parse(content_type: str, body: bytes, target: _Target) -> tuple[Json, tuple[str, ...]]:
    """The body as a JSON object, and the findings about duplicate keys as clients see them."""
    media = content_type.split(";", 1)[0].strip().lower() or JSON
    if media == JSON:
        value, findings = _parse_json(body, target)
    elif media == YAML:
        value, findings = _parse_yaml(body, target)
    elif media == PROTOBUF:
        value, findings = _parse_protobuf(body, target), ()
    else:
        raise UnsupportedMediaType(UNKNOWN_FORMAT)
    if value is None:
        value = {}
    if not isinstance(value, dict):
        found = {list: "array", str: "string", bool: "bool"}.get(type(value), "number")
        text = (
            f"couldn't get version/kind; json parse error: json: cannot unmarshal {found} into Go value of type "
            'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'
        )
        raise _unrecognized(target, text, body)
    return value, findings


def _parse_json(body: bytes, target: _Target) -> tuple[Any, tuple[str, ...]]:
    try:
        value, duplicates = parse_json(body)
    except JsonError as error:
        raise _unrecognized(target, f"couldn't get version/kind; json parse error: {error}", body) from None
    return value, tuple(f'duplicate field "{path}"' for path in duplicates)


def _parse_yaml(body: bytes, target: _Target) -> tuple[Any, tuple[str, ...]]:
    from seaway.api.machinery.yaml_codec import YamlError, parse_yaml  # rare, and PyYAML has weight

    try:
        return parse_yaml(body)
    except YamlError as error:
        raise _unrecognized(target, str(error), body) from None


def _parse_protobuf(body: bytes, target: _Target) -> Json:
    from seaway.api.machinery.protobuf import ProtobufError, decode_envelope, decode_message

    try:
        envelope = decode_envelope(body)
    except ProtobufError as error:
        raise _unrecognized(target, str(error), body) from None
    api_version = envelope.api_version or target.api_version
    kind = envelope.kind or target.kind
    value: Json = {"kind": kind, "apiVersion": api_version}
    if kind == target.kind == "DeleteOptions":  # known to every group
        definition = find_definition("", "v1", kind)
    else:
        _check_kind(target, value)
        definition = find_definition(target.group, target.version, target.kind)
    if definition is None:
        raise UnsupportedMediaType(UNKNOWN_FORMAT)
    try:
        return {**decode_message(envelope.raw, definition), **value}
    except ProtobufError as error:
        raise _cannot_be_handled(target, api_version, kind, str(error)) from None


def _check_kind(target: _Target, value: Json) -> None:
    """Raises BadRequest unless the body's kind and apiVersion are the endpoint's or absent."""
    for name in ("kind", "apiVersion"):
        if not isinstance(value.get(name) or "", str):
            text = f"couldn't get version/kind; json parse error: json: {name} must be a string"
            raise BadRequest(f"the object provided is unrecognized (must be of type {target.kind}): {text}")
    kind = value.get("kind") or target.kind
    api_version = value.get("apiVersion") or target.api_version
    if (kind, api_version) == (target.kind, target.api_version):
        return
    group, version = parse_api_version(api_version)
    if find_definition(group, version, kind) is None:
        why = f'no kind "{kind}" is registered for version "{api_version}" {_SCHEME}'
    elif kind == target.kind and (target.group, target.version) in find_kind_groups(kind):
        raise BadRequest(
            f"the API version in the data ({api_version}) does not match the expected API version "
            f"({target.api_version})"
        )
    else:
        package = _INTERNAL_PACKAGES.get(target.group, target.group.split(".", 1)[0])
        why = f"converting ({version}.{kind}) to ({package}.{target.kind}): unknown conversion"
    raise _cannot_be_handled(target, api_version, kind, why)


def _describe_findings(unknown: list[str], duplicates: tuple[str, ...]) -> list[str]:
    return [*(f'unknown field "{path}"' for path in unknown), *duplicates]


def _cannot_be_handled(target: _Target, api_version: str, kind: str, why: str) -> ApiError:
    version = parse_api_version(api_version)[1]
    return BadRequest(f'{kind} in version "{version}" cannot be handled as a {target.kind}: {why}')


def _unrecognized(target: _Target, why: str, body: bytes) -> ApiError:
    if not body:
        shown = "<empty>"
    elif body[:1] == b"{":
        shown = body[:_SHOWN_BYTES].decode(errors="replace")
    else:
        shown = body[:_SHOWN_BYTES].hex()
    more = " ..." if len(body) > _SHOWN_BYTES else ""
    return BadRequest(f"the object provided is unrecognized (must be of type {target.kind}): {why} ({shown}{more})")
