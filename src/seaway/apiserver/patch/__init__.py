"""Patches: what a PATCH body makes of the current object. Pure; the current object is never modified.

Rule: spec "api-machinery" §5, errors §1.4.
"""

from __future__ import annotations

from typing import Any

from seaway.api.machinery.errors import ApiError, BadRequest, Invalid, UnsupportedMediaType
from seaway.api.machinery.json_codec import JsonError, parse_json
from seaway.api.registry import Resource
from seaway.api.schema import find_definition
from seaway.apiserver.patch.json_patch import PatchConflict, apply_json_patch, find_unknown_keys, parse_operations
from seaway.apiserver.patch.merge import apply_merge_patch
from seaway.apiserver.patch.strategic import StrategicError, apply_strategic_patch

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
PATCH_TYPES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH, APPLY_PATCH)
"""All that a PATCH may carry. An apply asks for more than the current object: `seaway.apiserver.managedfields`."""
_PLAIN_TYPES = PATCH_TYPES[:3]
Json = dict[str, Any]

__all__ = [
    "APPLY_PATCH",
    "JSON_PATCH",
    "MERGE_PATCH",
    "PATCH_TYPES",
    "STRATEGIC_MERGE_PATCH",
    "apply_patch",
    "find_patch_findings",
    "parse_patch",
]


def apply_patch(patch_type: str, body: bytes, current: Json, resource: Resource) -> Json:
    """The patched object: a new dict that shares nothing with `current`. Not pruned, not validated.

    patch_type: the Content-Type, parameters ignored. Raises BadRequest, Invalid, RequestEntityTooLarge,
    UnsupportedMediaType, and ApiError 500 where a strategic merge patch contradicts itself.
    """
    media = _media(patch_type)
    if media not in _PLAIN_TYPES:
        raise UnsupportedMediaType("415: Unsupported Media Type", {})
    patch = parse_patch(media, body)
    if media == JSON_PATCH:
        try:
            return apply_json_patch(parse_operations(patch), current)
        except PatchConflict:
            raise Invalid("the server rejected our request due to an error in our request", {}) from None
    if media == MERGE_PATCH:
        return apply_merge_patch(patch, current)
    definition = find_definition(resource.group, resource.version, resource.kind)
    if definition is None:  # no merge keys are known
        raise UnsupportedMediaType("415: Unsupported Media Type", {})
    try:
        return apply_strategic_patch(patch, current, definition)
    except StrategicError as error:
        raise ApiError(str(error), None, code=error.code) from None


def parse_patch(patch_type: str, body: bytes) -> Any:
    """The patch as a JSON value: a list for a JSON patch, else an object. Raises BadRequest."""
    value, _ = _parse(body)
    media = _media(patch_type)
    if media == JSON_PATCH:
        if not isinstance(value, list) or not all(isinstance(operation, dict) for operation in value):
            raise BadRequest(
                f"error decoding patch: json: cannot unmarshal {_name(value)} into Go value of type jsonpatch.Patch"
            )
    elif value is None:
        raise BadRequest("Invalid JSON Patch")
    elif not isinstance(value, dict):
        go_type = "map[string]interface {}"
        raise BadRequest(f"error decoding patch: json: cannot unmarshal {_name(value)} into Go value of type {go_type}")
    return value


def find_patch_findings(patch_type: str, body: bytes) -> tuple[str, ...]:
    """What Strict refuses and Warn reports in the patch itself: duplicate keys, and keys that no operation has."""
    value, duplicates = _parse(body)
    found = tuple(f'duplicate field "{path}"' for path in duplicates)
    if _media(patch_type) == JSON_PATCH and isinstance(value, list):
        return found + tuple(f'json patch unknown field "{path}"' for path in find_unknown_keys(value))
    return found


def _media(patch_type: str) -> str:
    return patch_type.split(";", 1)[0].strip().lower()


def _parse(body: bytes) -> tuple[Any, tuple[str, ...]]:
    try:
        return parse_json(body)
    except JsonError as error:
        raise BadRequest(f"error decoding patch: {error}") from None


def _name(value: Any) -> str:
    if isinstance(value, list):
        return "array"
    if isinstance(value, dict):
        return "object"
    return {str: "string", bool: "bool"}.get(type(value), "number")
