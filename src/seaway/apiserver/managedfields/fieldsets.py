"""Sets of paths into an object, in the very form that managedFields has on the wire: FieldsV1.

A set is a tree of dicts, shared and never changed. Keys are path elements:
`f:<field>`, `k:<JSON object of a list item's keys>`, `v:<JSON scalar of a list>`, `i:<index>`.

1. At the root `{}` is the empty set. Below, `{}` is a path of the set without longer ones.
2. `"."` beside longer paths says that the node itself belongs to the set too; it never stands alone.
3. Keys are canonical (`parse_fields` makes them so), so equal elements are equal strings, and equal sets equal dicts.
4. What an operation does not touch is returned as it came in: `difference(a, b) is a` says that nothing was lost.

Working on the wire's form means that stored sets are neither decoded nor encoded; only strangers' sets are parsed.
Rule: spec "api-machinery" §5.5.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

Tree = dict[str, Any]
SELF = "."
MAX_DEPTH = 200
_LEAF: Tree = {}


class FieldsError(ValueError):
    """A set that is not FieldsV1."""


def is_member(node: Tree) -> bool:
    """The path of the node is in the set. Not for the root."""
    return not node or SELF in node


def make_node(children: Tree, *, member: bool) -> Tree | None:
    """The node with these children (a new dict, which it may keep), or None when there is nothing to say."""
    if not children:
        return _LEAF if member else None
    return {SELF: _LEAF, **children} if member else children


def unite(a: Tree, b: Tree) -> Tree:
    """All paths of both."""
    if not a or a is b:
        return b
    result = a
    for key, node in b.items():
        had = a.get(key)
        united = node if had is None else _unite_nodes(had, node)
        if united is not had:
            result = dict(a) if result is a else result
            result[key] = united
    return result


def _unite_nodes(a: Tree, b: Tree) -> Tree:
    if not a:
        return a if not b else b if SELF in b else {SELF: _LEAF, **b}
    if not b:
        return a if SELF in a else {SELF: _LEAF, **a}
    return unite(a, b)


def difference(a: Tree, b: Tree) -> Tree:
    """The paths of `a` that are not in `b`; a path that is longer than one of `b` stays."""
    result = a
    for key, node in b.items():
        had = a.get(key)
        if had is None or key == SELF:
            continue
        left = _subtract_node(had, node)
        if left is had:
            continue
        result = dict(a) if result is a else result
        if left is None:
            del result[key]
        else:
            result[key] = left
    return result


def _subtract_node(a: Tree, b: Tree) -> Tree | None:
    left = difference(a, b)
    if is_member(a) and is_member(b):
        return {key: node for key, node in left.items() if key != SELF} or None
    if left is a:
        return a
    if not left:
        return None
    return _LEAF if len(left) == 1 and SELF in left else left


def intersection(a: Tree, b: Tree) -> Tree:
    """The paths that are in both."""
    result: Tree = {}
    for key, node in b.items():
        other = a.get(key)
        if other is None or key == SELF:
            continue
        both = make_node(intersection(other, node), member=is_member(other) and is_member(node))
        if both is not None:
            result[key] = both
    return result


def list_paths(tree: Tree) -> Iterator[str]:
    """Each path as messages show it: `.spec.ports[port=80,protocol="TCP"].targetPort`. Members before longer paths."""
    for prefix, node in _sorted_children("", tree):
        if is_member(node):
            yield prefix
    for prefix, node in _sorted_children("", tree):
        yield from _list_below(prefix, node)


def _list_below(prefix: str, tree: Tree) -> Iterator[str]:
    children = _sorted_children(prefix, tree)
    yield from (path for path, node in children if is_member(node))
    for path, node in children:
        yield from _list_below(path, node)


def _sorted_children(prefix: str, tree: Tree) -> list[tuple[str, Tree]]:
    keys = sorted((key for key in tree if key != SELF), key=_rank)
    return [(prefix + render_element(key), tree[key]) for key in keys]


def _rank(key: str) -> tuple[Any, ...]:
    kind, text = key[:2], key[2:]
    if kind == "f:":
        return (0, text)
    value = json.loads(text)
    if kind == "k:":
        return (1, [(name, _rank_value(item)) for name, item in value.items()])
    return (2, _rank_value(value)) if kind == "v:" else (3, value)


def _rank_value(value: Any) -> tuple[int, Any]:
    """Numbers before texts before the rest."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return (2, json.dumps(value, sort_keys=True))
    return (1, value) if isinstance(value, str) else (0, value)


def render_element(key: str) -> str:
    """One element as messages show it: `.spec`, `[port=80]`, `[="x"]`, `[3]`."""
    kind, text = key[:2], key[2:]
    if kind == "f:":
        return f".{text}"
    if kind == "i:":
        return f"[{text}]"
    value = json.loads(text)
    if kind == "v:":
        return f"[={_render_value(value)}]"
    return f"[{','.join(f'{name}={_render_value(item)}' for name, item in value.items())}]"


def _render_value(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def encode_value(value: Any) -> str:
    """A scalar in an element: compact JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def parse_fields(value: Any) -> Tree:
    """The set that a stranger sent, in canonical form. Elements of a kind that nobody knows are left out.

    Raises FieldsError.
    """
    return _parse_children(value, 0)


def _parse_children(value: Any, depth: int) -> Tree:
    if not isinstance(value, dict):
        raise FieldsError("a set of fields must be an object")
    if depth > MAX_DEPTH:
        raise FieldsError("the set of fields is too deep")
    result: Tree = {}
    for text, child in value.items():
        if text == SELF:
            continue
        key = _parse_element(text)
        if key is None:
            continue
        children = _parse_children(child, depth + 1)
        # A node that is nothing but unknown elements says nothing.
        node = make_node(children, member=not child or SELF in child)
        if node is not None:
            result[key] = node if key not in result else _unite_nodes(result[key], node)
    return result


def _parse_element(text: str) -> str | None:
    kind, colon, rest = text[:1], text[1:2], text[2:]
    if colon != ":":
        raise FieldsError(f"missing colon: {text!r}")
    if kind == "f":
        return text
    if kind not in "kvi":
        return None
    try:
        value = json.loads(rest)
    except (ValueError, RecursionError):
        raise FieldsError(f"not JSON: {text!r}") from None
    if kind == "i":
        if type(value) is not int or value < 0:
            raise FieldsError(f"not an index: {text!r}")
    elif kind == "k" and not (isinstance(value, dict) and value):
        raise FieldsError(f"not an object with keys: {text!r}")
    try:
        return f"{kind}:{encode_value(value)}"
    except RecursionError:
        raise FieldsError("the set of fields is too deep") from None
