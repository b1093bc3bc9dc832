"""From a request's body to what a write wants: decoded objects, patches, bindings.

Rule: spec "api-machinery" §2.1, §5, §9.2.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from seaway.api.machinery.codec import Decoded, decode_body, decode_delete_options, prune_patched
from seaway.api.machinery.errors import BadRequest, UnsupportedMediaType, make_conflict, make_invalid
from seaway.api.machinery.field import invalid
from seaway.api.machinery.goformat import render_go
from seaway.api.machinery.http import Request
from seaway.api.machinery.json_codec import JsonError, parse_json
from seaway.api.registry import Resource
from seaway.apiserver.options import DeleteOptions, WriteOptions, parse_delete_options
from seaway.apiserver.ownership import apply_to, check_applied
from seaway.apiserver.patch import PATCH_TYPES, STRATEGIC_MERGE_PATCH, apply_patch, find_patch_findings, parse_patch
from seaway.apiserver.writes import Make, Target

Json = dict[str, Any]


def content_type_of(request: Request) -> str:
    """The media type of the body, without parameters; JSON when the client sends none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() or "application/json"


def decode_object_body(request: Request, resource: Resource, options: WriteOptions, subresource: str = "") -> Decoded:
    """The object of a POST or PUT. Raises BadRequest, UnsupportedMediaType."""
    return decode_body(
        resource,
        content_type_of(request),
        request.body,
        field_validation=options.field_validation,
        subresource=subresource,
    )


def decode_delete_body(request: Request) -> DeleteOptions:
    """The options of a DELETE, from the body or, when that is empty, from the query."""
    if not request.body:
        return parse_delete_options(request, None)
    return parse_delete_options(request, decode_delete_options(content_type_of(request), request.body))


def make_replacement(decoded: Decoded) -> Make:
    """PUT: the same object whatever is stored; a fresh copy for each attempt."""
    return lambda current: Decoded(copy.deepcopy(decoded.obj), decoded.warnings)


def make_patcher(request: Request, resource: Resource, options: WriteOptions) -> Make:
    """PATCH: computed on what is stored at each attempt. Raises UnsupportedMediaType."""
    patch_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if patch_type not in PATCH_TYPES:
        raise UnsupportedMediaType("415: Unsupported Media Type", {})

    patch = parse_patch(patch_type, request.body)
    findings = find_patch_findings(patch_type, request.body)
    quoted = patch if patch_type == STRATEGIC_MERGE_PATCH else None
    validation = options.field_validation

    def make(current: Json) -> Decoded:
        patched = apply_patch(patch_type, request.body, current, resource)
        if findings and validation == "Strict":
            detail = f"strict decoding error: {', '.join(findings)}"
            raise make_invalid("", "", "", [invalid("patch", render_go(patched if quoted is None else quoted), detail)])
        decoded = prune_patched(resource, patched, field_validation=validation, patch=quoted)
        return decoded if validation == "Ignore" else Decoded(decoded.obj, (*findings, *decoded.warnings))

    return make


def make_applier(request: Request, target: Target, options: WriteOptions, wall_now: Callable[[], str]) -> Make:
    """PATCH of a configuration: merged into what is stored at each attempt. Raises BadRequest, and 500 for unknown
    fields."""
    resource = target.resource
    config, findings = _parse_config(request.body)
    check_applied(resource, config)

    def make(current: Json) -> Decoded:
        applied = apply_to(
            resource,
            target.subresource,
            current,
            config,
            manager=options.field_manager,
            force=options.force,
            name=target.name,
            wall_now=wall_now(),
        )
        if findings and options.field_validation == "Strict":
            raise BadRequest(f"error strict decoding YAML: {findings}")
        decoded = prune_patched(resource, applied, field_validation="Ignore")
        return Decoded(decoded.obj, (findings,) if findings and options.field_validation == "Warn" else ())

    return make


def _parse_config(body: bytes) -> tuple[Json, str]:
    """The configuration in JSON or YAML, and what strictness says against it. Raises BadRequest."""
    from seaway.api.machinery.yaml_codec import YamlError, parse_yaml  # PyYAML has weight

    if body.lstrip()[:1] == b"{":
        try:
            value, repeats = parse_json(body)
            if not repeats:
                return value, ""
        except JsonError:
            pass  # flow style YAML begins alike
    try:
        value, findings = parse_yaml(body)
    except YamlError as error:
        raise BadRequest(f"error decoding YAML: {error}") from None
    if value is not None and not isinstance(value, dict):
        found = {list: "array", str: "string", bool: "bool"}.get(type(value), "number")
        why = f"json: cannot unmarshal {found} into Go value of type map[string]interface {{}}"
        raise BadRequest(f"error decoding YAML: error unmarshaling JSON: while decoding JSON: {why}")
    config: Json = value or {}
    if not findings:
        return config, ""
    lines = "\n".join(f"  {finding}" for finding in findings)
    return config, f"error converting YAML to JSON: yaml: unmarshal errors:\n{lines}"


def make_binder(binding: Json, resource: Resource, name: str, wall_now: str) -> Make:
    """POST of a Binding: the Pod goes to the node, once. Raises Conflict when it is on another already."""
    node = (binding.get("target") or {}).get("name", "")

    def make(current: Json) -> Decoded:
        spec = current.get("spec") or {}
        if spec.get("nodeName"):
            why = f'pod {name} is already assigned to node "{spec["nodeName"]}"'
            raise make_conflict("pods/binding", "", name, why)
        status = current.get("status") or {}
        others = [c for c in status.get("conditions") or () if c.get("type") != "PodScheduled"]
        scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": wall_now}
        status = {**status, "conditions": [*others, scheduled]}
        meta = {key: value for key, value in current["metadata"].items() if key != "resourceVersion"}
        annotations = {**meta.get("annotations", {}), **(binding.get("metadata", {}).get("annotations") or {})}
        if annotations:
            meta["annotations"] = annotations
        return Decoded({**current, "metadata": meta, "spec": {**spec, "nodeName": node}, "status": status})

    return make
