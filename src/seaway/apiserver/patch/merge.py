"""JSON Merge Patch: maps merge, null deletes, everything else replaces. Rule: RFC 7386, spec "api-machinery" §5.2."""

from __future__ import annotations

from typing import Any

from seaway.api.machinery.json_codec import copy_json

Json = dict[str, Any]


def apply_merge_patch(patch: Json, current: Json) -> Json:
    """The patched object, sharing nothing with `current`."""
    return _merge(current, patch)


def _merge(target: Any, patch: Json) -> Json:
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            result[key] = _merge(result.get(key), value)
        else:
            result[key] = copy_json(value)
    for key in result.keys() - patch.keys():
        result[key] = copy_json(result[key])
    return result
