"""From a request's body to what a write wants: decoded objects, patches, bindings.

Rule: spec "api-machinery" §2.1, §5, §9.2.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from seaway.api.machinery.codec import (
    BODY_TYPES,
    UNKNOWN_FORMAT,
    Decoded,
    decode_body,
    decode_delete_options,
    prune_patched,
)
from seaway.api.machinery.errors import BadRequest, UnsupportedMediaType, make_conflict
from seaway.api.machinery.http import Request
from seaway.api.machinery.json_codec import JsonError, parse_json
from seaway.api.registry import Resource
from seaway.apiserver.effects import format_time
from seaway.apiserver.options import DeleteOptions, WriteOptions, parse_delete_options
from seaway.apiserver.patch import (
    APPLY_PATCH,
    PATCH_TYPES,
    STRATEGIC_MERGE_PATCH,
    apply_patch,
    find_patch_findings,
    parse_patch,
)
from seaway.apiserver.writing.ownership import apply_to, check_applied
from seaway.apiserver.writing.writes import Make, Replacement, Target

Json = dict[str, Any]


def content_type_of(request: Request) -> str:
    """The media type of the body, without parameters; JSON when the client sends none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() or "application/json"


def check_body_type(request: Request) -> None:
    """Raises UnsupportedMediaType for a body that no decoder takes, before anything else of it is looked at."""
    if content_type_of(request) not in BODY_TYPES:
        raise UnsupportedMediaType(UNKNOWN_FORMAT)


def check_patch_type(request: Request) -> str:
    """The kind of patch. Raises UnsupportedMediaType; a PATCH without a type is one of none."""
    patch_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if patch_type not in PATCH_TYPES:
        raise UnsupportedMediaType("415: Unsupported Media Type", {})
    return patch_type


def decode_object_body(request: Request, resource: Resource, options: WriteOptions) -> Decoded:
    """The object of a POST or PUT. Raises BadRequest, UnsupportedMediaType."""
    return decode_body(
        resource,
        content_type_of(request),
        request.body,
        field_validation=options.field_validation,
    )


def decode_delete_body(request: Request) -> DeleteOptions:
    """The options of a DELETE, from the body or, when that is empty, from the query."""
    if not request.body:
        return parse_delete_options(request, None)
    return parse_delete_options(request, decode_delete_options(content_type_of(request), request.body))


def decode_replacement(request: Request, resource: Resource, options: WriteOptions) -> Replacement:
    """The object of a PUT, decoded anew for a second attempt. Raises BadRequest, UnsupportedMediaType."""
    return Replacement(lambda: decode_object_body(request, resource, options))


def make_patcher(request: Request, resource: Resource, options: WriteOptions) -> Make:
    """PATCH: computed on what is stored at each attempt. Raises UnsupportedMediaType."""
    patch_type = check_patch_type(request)
    if patch_type == APPLY_PATCH:  # where nothing can be applied
        raise UnsupportedMediaType("415: Unsupported Media Type", {})
    patch = parse_patch(patch_type, request.body)
    findings = find_patch_findings(patch_type, request.body)
    quoted = patch if patch_type == STRATEGIC_MERGE_PATCH else None
    validation = options.field_validation
    meta = patch.get("metadata") if isinstance(patch, dict) else None
    sees_owners = isinstance(patch, list) or (isinstance(meta, dict) and "managedFields" in meta)

    def make(current: Json) -> Decoded:
        if not sees_owners:  # a body without them keeps them, and they are most of the metadata
            current["metadata"].pop("managedFields", None)
        patched = apply_patch(patch_type, request.body, current, resource)
        return prune_patched(resource, patched, field_validation=validation, patch=quoted, findings=findings)

    return make


def make_applier(
    request: Request, resource: Resource, target: Target, options: WriteOptions, wall_now: Callable[[], datetime]
) -> Make:
    """PATCH of a configuration: merged into what is stored at each attempt. resource: the form that the client speaks.

    Raises BadRequest, and 500 for unknown fields.
    """
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
            wall_now=format_time(wall_now()),
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


def _find_binding_refusal(claims: Json, pod: Json, name: str) -> str:
    """Why the Pod cannot get a node now. claims: the binding's metadata."""
    meta, spec = pod["metadata"], pod.get("spec") or {}
    for field, words in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
        if claims.get(field) and claims[field] != meta.get(field):
            return (
                f"Precondition failed: {words} in precondition: {claims[field]}, {words} in object meta: {meta[field]}"
            )
    if meta.get("deletionTimestamp"):
        return f"pod {name} is being deleted, cannot be assigned to a host"
    if spec.get("nodeName"):
        return f'pod {name} is already assigned to node "{spec["nodeName"]}"'
    return f"pod {name} has non-empty .spec.schedulingGates" if spec.get("schedulingGates") else ""


def make_binder(binding: Json, resource: Resource, name: str, wall_now: str) -> Make:
    """POST of a Binding: the Pod goes to the node, once. Raises Conflict when it is on another already."""
    node = (binding.get("target") or {}).get("name", "")

    def make(current: Json) -> Decoded:
        spec = current.get("spec") or {}
        refusal = _find_binding_refusal(binding["metadata"], current, name)
        if refusal:
            raise make_conflict("pods/binding", "", name, refusal)
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
