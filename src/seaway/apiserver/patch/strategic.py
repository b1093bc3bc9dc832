"""Strategic merge patch: maps merge, and lists merge by the keys that the schema names.

What enters is the current object, the patch (both JSON) and the kind's definition; what leaves is a new object.

1. A field without the strategy `merge` is replaced whole when it is a list.
2. Directives (`$patch`, `$retainKeys`, `$setElementOrder/F`, `$deleteFromPrimitiveList/F`) act and are never stored.
3. The order of a merged list: what the patch names, in the order of `$setElementOrder` (or of the patch itself);
   elements of the object alone keep their order and stand before the next named element that stood after them.
4. Where the object has no such map, a patch map that holds `$patch` vanishes with its content.
Rule: spec "api-machinery" §5.3; merge keys §5.4. Known and kept: Service ports merge by `port` alone, so 53/TCP and
53/UDP are one element to this patch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from seaway.api.machinery.goformat import render_go
from seaway.api.machinery.json_codec import copy_json
from seaway.api.schema import Definition, Field, Shape, Type

PATCH = "$patch"
RETAIN_KEYS = "$retainKeys"
ELEMENT_ORDER = "$setElementOrder/"
DELETE_PRIMITIVES = "$deleteFromPrimitiveList/"
Json = dict[str, Any]


class StrategicError(Exception):
    """A patch that contradicts itself. `code` is the HTTP status of the answer."""

    def __init__(self, message: str, code: int = 500) -> None:
        super().__init__(message)
        self.code = code


def apply_strategic_patch(patch: Json, current: Json, definition: Definition) -> Json:
    """The patched object, sharing nothing with `current`. Raises StrategicError."""
    return _merge_map(copy_json(current), patch, definition)


def _merge_map(original: Json, patch: Json, definition: Definition | None) -> Json:
    """`original` is owned and changed; `definition` is None for maps and for what has no schema."""
    directive = patch.get(PATCH)
    if PATCH in patch:
        if directive == "replace":
            return _clean_map({key: value for key, value in patch.items() if key != PATCH})
        if directive == "delete":
            return {}
        if directive != "merge":
            raise StrategicError(f"unknown patch type: {render_go(directive)} in map: {render_go(patch)}")
    if RETAIN_KEYS in patch:
        original = _retain_keys(original, patch)
    for key, value in patch.items():
        if key.startswith("$"):
            continue
        if value is None:
            original.pop(key, None)
            continue
        field = definition.fields.get(key) if definition is not None else None
        merged = _merge_value(original.get(key), value, field, patch)
        if merged is _VANISHED:
            continue
        original[key] = merged
    for key in patch:
        name = key.partition("/")[2]
        if key.startswith((ELEMENT_ORDER, DELETE_PRIMITIVES)) and name not in patch:
            field = definition.fields.get(name) if definition is not None else None
            if _merges(field) and isinstance(original.get(name), list):
                original[name] = _merge_list(original[name], [], field, patch)
    return original


_VANISHED = object()


def _merge_value(original: Any, value: Any, field: Field | None, patch: Json) -> Any:
    if isinstance(value, dict) and isinstance(original, dict):
        if field is not None and "replace" in field.patch_strategies:
            return _clean_map(value)
        return _merge_map(original, value, _item_definition(field.type) if field is not None else None)
    if isinstance(value, list) and _merges(field):
        assert field is not None
        return _merge_list(original if isinstance(original, list) else [], value, field, patch)
    return _clean(value)


def _merges(field: Field | None) -> bool:
    return field is not None and "merge" in field.patch_strategies and field.type.shape is Shape.LIST


def _item_definition(kind: Type) -> Definition | None:
    return kind.definition if kind.shape is Shape.STRUCT else None


def _clean(value: Any) -> Any:
    """A value that the object does not have yet, without directives and nulls; _VANISHED for a map with `$patch`."""
    if isinstance(value, dict):
        return _VANISHED if PATCH in value else _clean_map(value)
    if isinstance(value, list):
        return [item for item in map(_clean, value) if item is not _VANISHED]
    return value


def _clean_map(value: Json) -> Json:
    cleaned = {key: _clean(item) for key, item in value.items() if not key.startswith("$") and item is not None}
    return {key: item for key, item in cleaned.items() if item is not _VANISHED}


def _retain_keys(original: Json, patch: Json) -> Json:
    retained = patch[RETAIN_KEYS]
    if not isinstance(retained, list):
        raise StrategicError("invalid patch format of retainKeys", 400)
    allowed = {key for key in retained if isinstance(key, str)}
    if any(not key.startswith("$") and value is not None and key not in allowed for key, value in patch.items()):
        raise StrategicError("invalid patch format of retainKeys", 400)
    return {key: value for key, value in original.items() if key in allowed}


def _merge_list(original: list[Any], items: list[Any], field: Field | None, patch: Json) -> list[Any]:
    assert field is not None and field.type.item is not None
    order = patch.get(ELEMENT_ORDER + field.name)
    removed = patch.get(DELETE_PRIMITIVES + field.name)
    for name, directive in (("setElementOrder", order), ("deleteFromPrimitiveList", removed)):
        if directive is not None and not isinstance(directive, list):
            raise StrategicError(f"expecting ${name}/{field.name} to be a list, got {render_go(directive)}")
    if field.type.item.shape is Shape.STRUCT:
        return _merge_objects(original, items, field, order)
    return _merge_scalars(original, items, order, removed or [])


def _merge_scalars(original: list[Any], items: list[Any], order: list[Any] | None, removed: list[Any]) -> list[Any]:
    _check_order(items, order, _canonical)
    gone = {_canonical(item) for item in removed}
    merged = {_canonical(item): item for item in (*original, *items) if _canonical(item) not in gone}
    return _order_elements(list(merged.values()), original, items if order is None else order, _canonical)


def _merge_objects(original: list[Any], items: list[Any], field: Field, order: list[Any] | None) -> list[Any]:
    assert field.type.item is not None
    key = field.patch_merge_key
    definition = field.type.item.definition
    if any(isinstance(item, dict) and item.get(PATCH) == "replace" for item in items):
        return [_clean_map(item) for item in items if isinstance(item, dict) and PATCH not in item]
    deleted, kept = _split_directives(items, key)

    def identify(item: Any) -> str:
        if not isinstance(item, dict) or key not in item:
            raise StrategicError(f"map: {render_go(item)} does not contain declared merge key: {key}")
        return _canonical(item[key])

    _check_order(kept, order, identify)
    merged = [item for item in original if identify(item) not in deleted]
    places: dict[str, int] = {}
    for index, existing in enumerate(merged):
        places.setdefault(identify(existing), index)  # of several with one key, the first is merged
    for item in kept:
        index = places.setdefault(identify(item), len(merged))
        if index == len(merged):
            merged.append(_clean_map(item))
        else:
            merged[index] = _merge_map(merged[index], item, definition)
    return _order_elements(merged, original, kept if order is None else order, identify)


def _split_directives(items: Iterable[Any], key: str) -> tuple[set[str], list[Any]]:
    """(identities to delete, elements to merge)."""
    deleted: set[str] = set()
    kept: list[Any] = []
    for item in items:
        if not isinstance(item, dict) or PATCH not in item:
            kept.append(item)
        elif item[PATCH] == "delete":
            if key not in item:
                raise StrategicError(f"map: {render_go(item)} does not contain declared merge key: {key}")
            deleted.add(_canonical(item[key]))
        elif item[PATCH] == "merge":
            raise StrategicError("merging lists cannot yet be specified in the patch")
        else:
            raise StrategicError(f"unknown patch type: {render_go(item[PATCH])} in map: {render_go(item)}")
    return deleted, kept


def _canonical(value: Any) -> str:
    """A hashable identity of a JSON value."""
    return value if isinstance(value, str) else "\0" + json.dumps(value, sort_keys=True)


def _check_order(items: list[Any], order: list[Any] | None, identify: Callable[[Any], str]) -> None:
    """Raises unless the patch's elements appear in `$setElementOrder`, in the same order."""
    if order is None:
        return
    wanted = [identify(item) for item in order]
    position = 0
    for item in items:
        try:
            position = wanted.index(identify(item), position) + 1
        except ValueError:
            lists = f"patch list:\n{render_go(items)}\n doesn't match $setElementOrder list:\n{render_go(order)}\n"
            raise StrategicError(f"The order in {lists}") from None


def _order_elements(
    merged: list[Any], original: Sequence[Any], order: Sequence[Any], identify: Callable[[Any], str]
) -> list[Any]:
    """The elements in their final order: see point 3 of the module."""
    rank = {identity: i for i, identity in reversed(list(enumerate(map(identify, order))))}
    old = {identity: i for i, identity in reversed(list(enumerate(map(identify, original))))}
    named = sorted((item for item in merged if identify(item) in rank), key=lambda item: rank[identify(item)])
    alone = [item for item in merged if identify(item) not in rank]
    result: list[Any] = []
    waiting = 0
    for item in named:
        position = old.get(identify(item))
        while position is not None and waiting < len(alone) and old[identify(alone[waiting])] < position:
            result.append(alone[waiting])
            waiting += 1
        result.append(item)
    return result + alone[waiting:]
