"""Patches of all types: such as clients send, with directives, hostile paths and wrong shapes among them."""

from __future__ import annotations

import copy
import random
from typing import Any

from seaway.api.schema import Definition, Shape
from tests.fuzz import values
from tests.fuzz.mutation import encode, mutate, pick_place
from tests.fuzz.objects import grow, make_value

Json = dict[str, Any]
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
TYPES = (JSON_PATCH, MERGE_PATCH, STRATEGIC, STRATEGIC, APPLY)


def make_patch(rng: random.Random, patch_type: str, obj: Json, definition: Definition | None) -> bytes:
    """A patch of something that looks like `obj`, which is the caller's to lose."""
    if rng.random() < 0.03:
        return rng.choice(
            (b"", b"null", b"[]", b"{}", b"1", b'"a"', b"[1]", b"[null]", b"[[]]", b"{", b"\xff", b"[{}]")
        )
    if patch_type == JSON_PATCH:
        return encode([_operation(rng, obj) for _ in range(rng.choice((0, 1, 1, 1, 2, 3, 8)))])
    if patch_type == APPLY:
        for key in ("managedFields", "uid", "resourceVersion", "creationTimestamp", "generation"):
            if isinstance(obj.get("metadata"), dict) and rng.random() < 0.95:
                obj["metadata"].pop(key, None)
        _thin(rng, obj)
        return _with_change(rng, obj, definition)
    patch: Json = {}
    meta = obj.get("metadata")
    if rng.random() < 0.3 and isinstance(meta, dict):
        patch["metadata"] = {
            key: meta[key] for key in ("name", "resourceVersion", "uid") if key in meta and rng.random() < 0.4
        }
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        _cut_out(rng, obj, patch)
    if definition is not None and rng.random() < 0.5:
        grow(rng, patch, definition)
    if patch_type == STRATEGIC and rng.random() < 0.5:
        _add_directive(rng, patch, definition)
    if rng.random() < 0.3:
        mutate(rng, patch, other=obj)
    return encode(patch)


def _with_change(rng: random.Random, obj: Json, definition: Definition | None) -> bytes:
    if definition is not None and rng.random() < 0.5:
        grow(rng, obj, definition)
    if rng.random() < 0.4:
        mutate(rng, obj, other=copy.deepcopy(obj))
    return encode(obj)


def _thin(rng: random.Random, obj: Json) -> None:
    """Leave some of it out: an applier names what it wants, not all."""
    for key in list(obj):
        if key not in ("kind", "apiVersion", "metadata") and rng.random() < 0.2:
            del obj[key]


def _cut_out(rng: random.Random, obj: Json, patch: Json) -> None:
    """Put into the patch what stands at one place of the object, or null, or something else."""
    node, target = obj, patch
    while True:
        keys = [key for key in node if key not in ("kind", "apiVersion")]
        if not keys:
            return
        key = rng.choice(keys)
        value = node[key]
        if isinstance(value, dict) and value and rng.random() < 0.8:
            node = value
            target = target.setdefault(key, {})
            if not isinstance(target, dict):
                return
            continue
        draw = rng.random()
        if draw < 0.15:
            target[key] = None
        elif draw < 0.5:
            suggested = values.plausible(rng, key)
            target[key] = copy.deepcopy(value if suggested is None else suggested)
        else:
            target[key] = copy.deepcopy(value)
        return


def _add_directive(rng: random.Random, patch: Json, definition: Definition | None) -> None:
    """One of the directives of the strategic merge patch, where it belongs or where it does not."""
    node, kind = patch, definition
    while rng.random() < 0.7:
        inner = [
            key
            for key, value in node.items()
            if isinstance(value, dict)
            and kind is not None
            and key in kind.fields
            and kind.fields[key].type.shape is Shape.STRUCT
        ]
        if not inner:
            break
        key = rng.choice(inner)
        assert kind is not None
        node, kind = node[key], kind.fields[key].type.definition
    lists = [name for name, field in kind.fields.items() if field.type.shape is Shape.LIST] if kind is not None else []
    name = rng.choice(sorted(lists)) if lists and rng.random() < 0.9 else "finalizers"
    field = kind.fields.get(name) if kind is not None else None
    draw = rng.randrange(7)
    if draw == 0:
        node["$patch"] = rng.choice(("replace", "delete", "merge", "", None, 1, "other"))
    elif draw == 1:
        node["$retainKeys"] = rng.choice(([*node], [], ["name"], None, "a", [1], {}))
    elif draw == 2:
        node[f"$deleteFromPrimitiveList/{name}"] = rng.choice((["a"], [], [1, {}], None, "a", ["orphan"]))
    elif draw == 3:
        node[f"$setElementOrder/{name}"] = rng.choice(
            ([{"port": 80}], [{"name": "a"}], ["a"], [], None, {}, [1], [{}], [None])
        )
    elif field is not None and field.type.item is not None:
        items = node.get(name)
        if not isinstance(items, list):
            items = node[name] = [make_value(rng, field.type.item, name) for _ in range(rng.randrange(3))]
        key = field.patch_merge_key or "name"
        element: Any = rng.choice(
            (
                {"$patch": "delete", key: "a"}, {"$patch": "delete", key: 80}, {"$patch": "replace"},
                {"$patch": "merge"},
                {"$patch": "delete"}, {"$patch": "other", key: 1}, {key: None}, {key: {}}, {key: []}, {}, None, 1,
                {"$patch": {}},
            )
        )  # fmt: skip
        items.insert(rng.randrange(len(items) + 1), copy.deepcopy(element))
        if rng.random() < 0.4:
            node[f"$setElementOrder/{name}"] = [
                {key: item[key]} for item in items if isinstance(item, dict) and key in item
            ]


def _operation(rng: random.Random, obj: Json) -> Any:
    op = rng.choice(("add", "add", "remove", "replace", "replace", "move", "copy", "test"))
    operation: Json = {"op": op, "path": _pointer(rng, obj)}
    if op in ("move", "copy"):
        operation["from"] = _pointer(rng, obj)
    if op in ("add", "replace", "test"):
        parent, key = pick_place(rng, obj)
        found = parent[key] if parent is not None else None
        last = operation["path"].rpartition("/")[2]
        suggested = values.plausible(rng, last)
        operation["value"] = copy.deepcopy(found if suggested is None or rng.random() < 0.3 else suggested)
    if rng.random() < 0.1:
        mutate(rng, operation)
    return operation


def _pointer(rng: random.Random, obj: Json) -> str:
    """A pointer to something that is there, nearly there, or nowhere."""
    node: Any = obj
    parts: list[str] = []
    while isinstance(node, dict | list) and node:
        key = rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node))
        parts.append(str(key).replace("~", "~0").replace("/", "~1"))
        node = node[key]
        if rng.random() < 0.3:
            break
    if rng.random() < 0.35:
        tail = rng.choice(
            (
                "-",
                "0",
                "-1",
                "-2",
                "99999999999999999999",
                "",
                "~",
                "~2",
                "a~1b",
                "01",
                "+1",
                "1e1",
                " 1",
                "٣",
                "\x00",
                "/",
                "finalizers",
                "labels",
            )
        )
        if parts and rng.random() < 0.5:
            parts[-1] = tail
        else:
            parts.append(tail)
    return "/" + "/".join(parts) if rng.random() < 0.98 else rng.choice(("", "a", "/", "//", "~"))
