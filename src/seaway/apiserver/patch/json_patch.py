"""JSON Patch, with the quirks that clients of the API know.

Operations run in order on a copy; the first that cannot be done refuses the whole patch. Quirks: `replace` of a missing
member adds it, index -1 is the last element, `test` for null passes on a missing member.
Rule: RFC 6902 (operations), RFC 6901 (pointers), spec "api-machinery" §5.1 (quirks and limits).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from seaway.api.machinery.errors import RequestEntityTooLarge
from seaway.api.machinery.json_codec import JsonError, check_depth, copy_json

MAX_OPERATIONS = 10_000  # upstream's limit
MAX_COPIED_BYTES = 3 * 1024 * 1024  # upstream's limit: what `copy` may add in all
_KEYS = frozenset(("op", "path", "from", "value"))
_MISSING = object()
Json = dict[str, Any]


class PatchConflict(Exception):
    """The patch is well-formed and does not fit the object."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation. `value` is _MISSING when the member is absent."""

    op: str
    path: tuple[str, ...]
    source: tuple[str, ...] | None
    value: Any


def parse_operations(patch: list[Json]) -> list[Operation]:
    """The operations of a decoded patch. Raises RequestEntityTooLarge and PatchConflict (a pointer that is none)."""
    if len(patch) > MAX_OPERATIONS:
        raise RequestEntityTooLarge(
            "Request entity too large: The allowed maximum operations in a JSON patch is "
            f"{MAX_OPERATIONS}, got {len(patch)}"
        )
    return [
        Operation(
            op=operation.get("op") or "",
            path=_parse_pointer(operation.get("path")),
            source=_parse_pointer(operation["from"]) if "from" in operation else None,
            value=operation.get("value", _MISSING),
        )
        for operation in patch
    ]


def find_unknown_keys(patch: list[Any]) -> Iterator[str]:
    """The paths of keys that no operation has: `[0].foo`."""
    for index, operation in enumerate(patch):
        if isinstance(operation, dict):
            yield from (f"[{index}].{key}" for key in sorted(operation.keys() - _KEYS))


def apply_json_patch(operations: list[Operation], current: Json) -> Json:
    """The patched document, sharing nothing with `current`. Raises PatchConflict."""
    document: Any = copy_json(current)
    copied_bytes = 0
    for operation in operations:
        if operation.op == "copy":
            value = copy_json(_get(document, _source(operation)))
            copied_bytes += len(json.dumps(value, separators=(",", ":")))
            if copied_bytes > MAX_COPIED_BYTES:
                raise PatchConflict("copies exceed the limit")
            document = _add(document, operation.path, value)
        else:
            document = _apply(document, operation)
    if not isinstance(document, dict):
        raise PatchConflict("the document is no object")
    try:
        check_depth(document)
    except JsonError:
        raise PatchConflict("nested too deeply") from None
    return document


def _apply(document: Any, operation: Operation) -> Any:
    if operation.op == "add":
        return _add(document, operation.path, _value(operation))
    if operation.op == "remove":
        return _remove(document, operation.path)[0]
    if operation.op == "replace":
        return _replace(document, operation.path, _value(operation))
    if operation.op == "move":
        return _move(document, operation)
    if operation.op == "test":
        _test(document, operation)
        return document
    raise PatchConflict(f"unexpected operation {operation.op!r}")


def _parse_pointer(text: Any) -> tuple[str, ...]:
    if text == "":
        return ()
    if not isinstance(text, str) or not text.startswith("/"):
        raise PatchConflict(f"no pointer: {text!r}")
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in text[1:].split("/"))


def _source(operation: Operation) -> tuple[str, ...]:
    if operation.source is None:
        raise PatchConflict(f"{operation.op} without from")
    return operation.source


def _value(operation: Operation) -> Any:
    if operation.value is _MISSING:
        raise PatchConflict(f"{operation.op} without value")
    return copy_json(operation.value)


def _step(node: Any, token: str) -> Any:
    """The member or element; _MISSING when there is none."""
    if isinstance(node, dict):
        return node.get(token, _MISSING)
    if isinstance(node, list):
        index = _parse_index(token, len(node))
        return node[index] if index < len(node) else _MISSING
    return _MISSING


def _parse_index(token: str, length: int) -> int:
    """The index that a token means in a list of that length; may equal or exceed the length. -1 is the last."""
    digits = token.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 10) or (len(digits) > 1 and digits[0] == "0"):
        raise PatchConflict(f"no index: {token!r}")
    index = int(token)
    if index < 0:
        index += length
    if index < 0:
        raise PatchConflict(f"index {token} is out of bounds")
    return index


def _get(document: Any, path: tuple[str, ...]) -> Any:
    node = document
    for token in path:
        node = _step(node, token)
        if node is _MISSING:
            raise PatchConflict(f"missing: {'/'.join(path)}")
    return node


def _add(document: Any, path: tuple[str, ...], value: Any) -> Any:
    if not path:
        return value
    parent, token = _get(document, path[:-1]), path[-1]
    if isinstance(parent, dict):
        parent[token] = value
    elif isinstance(parent, list):
        index = len(parent) if token == "-" else _parse_index(token, len(parent) + 1)
        if index > len(parent):
            raise PatchConflict(f"index {token} is out of bounds")
        parent.insert(index, value)
    else:
        raise PatchConflict(f"missing parent: {'/'.join(path)}")
    return document


def _remove(document: Any, path: tuple[str, ...]) -> tuple[Any, Any]:
    """(document, what was removed)."""
    if not path:
        raise PatchConflict("the whole document cannot be removed")
    parent, token = _get(document, path[:-1]), path[-1]
    if _step(parent, token) is _MISSING:
        raise PatchConflict(f"missing: {'/'.join(path)}")
    if isinstance(parent, dict):
        return document, parent.pop(token)
    return document, parent.pop(_parse_index(token, len(parent)))


def _replace(document: Any, path: tuple[str, ...], value: Any) -> Any:
    if not path:
        return value
    parent, token = _get(document, path[:-1]), path[-1]
    if isinstance(parent, dict):
        parent[token] = value
        return document
    if _step(parent, token) is _MISSING:
        raise PatchConflict(f"missing: {'/'.join(path)}")
    parent[_parse_index(token, len(parent))] = value
    return document


def _move(document: Any, operation: Operation) -> Any:
    source = _source(operation)
    if operation.path[: len(source)] == source and operation.path != source:
        raise PatchConflict("a value cannot move into itself")
    document, value = _remove(document, source)
    return _add(document, operation.path, value)


def _test(document: Any, operation: Operation) -> None:
    wanted = None if operation.value is _MISSING else operation.value
    parent = _get(document, operation.path[:-1])
    found = _step(parent, operation.path[-1]) if operation.path else document
    if found is _MISSING:
        if wanted is None and isinstance(parent, dict):
            return
        raise PatchConflict(f"missing: {'/'.join(operation.path)}")
    if not _equal(found, wanted):
        raise PatchConflict(f"testing value {'/'.join(operation.path)} failed")


def _equal(left: Any, right: Any) -> bool:
    """Equality of JSON values: numbers by value, and a boolean is no number."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_equal(item, right[key]) for key, item in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_equal, left, right))
    return bool(left == right)
