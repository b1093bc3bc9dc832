"""Objects as ownership sees them: which parts are one value, which are merged, and by what.

A kind's schema becomes a tree of nodes, made once per kind. Each node knows what its list type means to every question
that ownership asks: what changed, what does a configuration own, what do two objects make together, what remains when
an owner lets go, and does a configuration fit at all.

| node | is | elements |
|---|---|---|
| Leaf | a scalar, and all that is atomic | none: changed as a whole |
| Struct | a struct | `f:` of its fields |
| Map | a granular map | `f:` of its keys, each owned itself |
| KeyedList | a list of type `map` | `k:` of its keys |
| SetList | a list of type `set` | `v:` of its values |

Values are never modified, and results may share parts with them.
Rule: spec "api-machinery" §5.4 (types), §5.5.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from seaway.api.machinery.goformat import name_go_type, render_go, render_go_syntax
from seaway.apiserver.managedfields.fieldsets import Tree, encode_value, is_member, make_node, render_element

Json = dict[str, Any]
Difference = tuple[Tree | None, Tree | None]
"""(what was added or got another value, what was removed)."""
_LEAF: Tree = {}
_CHANGED: Difference = (_LEAF, None)
_REMOVED: Difference = (None, _LEAF)
_SAME: Difference = (None, None)
GONE: Any = object()


class TypedError(ValueError):
    """A value that its schema cannot describe: list items without their key, say."""


class Checkable(Protocol):
    """What a configuration is held against."""

    def check(self, value: Any, path: str, errors: list[str]) -> None:
        """Append what does not fit, as `path: what`."""


class Node(Checkable, Protocol):
    """`None` stands for an absent value throughout."""

    def compare(self, old: Any, new: Any) -> Difference:
        """What a write did. Raises TypedError."""

    def own(self, value: Any) -> Tree | None:
        """What a configuration owns by naming the value; None: nothing, unless somebody says that the node is owned."""

    def merge(self, live: Any, config: Any) -> Any:
        """The live value with the configuration on top. Raises TypedError."""

    def release(self, value: Any, last: Tree, kept: Tree, *, inside: bool, gone: bool) -> Any:
        """The value without what `last` had and nobody in `kept` has. inside, gone: a part of `last` holds this
        value, and nobody keeps that part. GONE: a list or map of which nothing remains."""


class Leaf:
    """One value. `expected` is the type that `check` insists on; empty: anything."""

    __slots__ = ("expected", "shape")

    def __init__(self, expected: str = "", shape: Checkable | None = None) -> None:
        self.expected = expected
        self.shape = shape
        """Of an atomic list, map or struct: what its content must look like."""

    def compare(self, old: Any, new: Any) -> Difference:
        if old == new:
            return _SAME
        return _REMOVED if new is None else _CHANGED

    def own(self, value: Any) -> Tree | None:
        return _LEAF

    def merge(self, live: Any, config: Any) -> Any:
        return config

    def release(self, value: Any, last: Tree, kept: Tree, *, inside: bool, gone: bool) -> Any:
        return value

    def check(self, value: Any, path: str, errors: list[str]) -> None:
        if self.shape is not None:
            self.shape.check(value, path, errors)
        elif value is not None and self.expected and not _FITS[self.expected](value):
            errors.append(f"{path}: {_refuse(self.expected, value)}")


_FITS = {
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "scalar": lambda value: isinstance(value, int | float | str | bool),
}


def _refuse(expected: str, value: Any) -> str:
    """In upstream's words, which print the value in three ways of Go's."""
    if expected == "string":
        return f"expected string, got &value.valueUnstructured{{Value:{render_go_syntax(value)}}}"
    if expected == "number":
        return f"expected numeric (int or float), got {name_go_type(value)}"
    words = {"scalar": "any scalar"}.get(expected, expected)
    return f"expected {words}, got &{{{render_go(value)}}}"


class Member:
    """A field of a struct. `empty` is what Go writes when it is not set, `{}` or `[]`; None: it leaves it out."""

    __slots__ = ("empty", "key", "node")

    def __init__(self, name: str, node: Node, empty: Any = None) -> None:
        self.key = f"f:{name}"
        self.node = node
        self.empty = empty


class Struct:
    """Fields by name."""

    __slots__ = ("always", "members")

    def __init__(self, members: dict[str, Member]) -> None:
        self.members = members
        self.always = tuple(name for name, member in members.items() if member.empty is not None)

    def without(self, paths: Iterable[str]) -> Struct:
        """The struct without what the dotted paths name."""
        members = dict(self.members)
        for path in paths:
            name, _, rest = path.partition(".")
            member = members.get(name)
            if member is None:
                continue
            if not rest:
                del members[name]
            elif isinstance(member.node, Struct):
                members[name] = Member(name, member.node.without((rest,)), member.empty)
        return Struct(members)

    def compare(self, old: Json | None, new: Json | None) -> Difference:
        if not old and not new and not self.always:
            return _compare_empty(old, new)
        changed: Tree = {}
        removed: Tree = {}
        before, after = old or {}, new or {}
        names = before.keys() | after.keys() if before else after.keys()
        if self.always and (old is None or new is None):
            names = names | set(self.always)
        members = self.members
        for name in names:
            a, b = before.get(name), after.get(name)
            if a == b and a is not None:
                continue
            member = members.get(name)
            if member is None:
                continue
            if member.empty is not None:
                a = member.empty if a is None and old is not None else a
                b = member.empty if b is None and new is not None else b
            more, less = member.node.compare(a, b)
            if more is not None:
                changed[member.key] = more
            if less is not None:
                removed[member.key] = less
        return make_node(changed, member=old is None and new is not None), make_node(
            removed, member=new is None and old is not None
        )

    def own(self, value: Any) -> Tree | None:
        owned: Tree = {}
        for name, item in (value or {}).items():
            member = self.members.get(name)
            if member is not None:
                node = _LEAF if item is None or item == {} else member.node.own(item)
                if node is not None:
                    owned[member.key] = node
        return owned or None

    def merge(self, live: Any, config: Any) -> Any:
        return _merge_members(live, config, lambda name: self.members[name].node)

    def release(self, value: Any, last: Tree, kept: Tree, *, inside: bool, gone: bool) -> Any:
        result = {}
        for name, item in value.items():
            key = f"f:{name}"
            had, member = last.get(key), self.members.get(name)
            if had is None or member is None:
                result[name] = item
                continue
            alive = not gone and key in kept  # a field is kept by whoever keeps anything in it
            if not alive:
                continue
            descends = had and item is not None
            left = member.node.release(item, had, kept[key], inside=True, gone=False) if descends else item
            if left is not GONE:
                result[name] = left
        return result

    def check(self, value: Any, path: str, errors: list[str]) -> None:
        if not _is_map(value, path, errors):
            return
        for name in sorted(value):
            member = self.members.get(name)
            if member is None:
                errors.append(f"{path}.{name}: field not declared in schema")
                return
            member.node.check(value[name], f"{path}.{name}", errors)


class Map:
    """Keys that nobody declares; each is owned by itself."""

    __slots__ = ("item",)

    def __init__(self, item: Node) -> None:
        self.item = item

    def compare(self, old: Json | None, new: Json | None) -> Difference:
        if not old and not new:
            return _compare_empty(old, new)
        before, after = old or {}, new or {}
        changed: Tree = {}
        removed: Tree = {}
        for name in before.keys() | after.keys():
            a, b = before.get(name), after.get(name)
            if a == b:
                continue
            more, less = self.item.compare(a, b)
            if more is not None:
                changed[f"f:{name}"] = more
            if less is not None:
                removed[f"f:{name}"] = less
        return make_node(changed, member=old is None), make_node(removed, member=new is None)

    def own(self, value: Any) -> Tree | None:
        return {f"f:{name}": make_node(self.item.own(item) or {}, member=True) for name, item in value.items()} or None

    def merge(self, live: Any, config: Any) -> Any:
        return _merge_members(live, config, lambda name: self.item)

    def release(self, value: Any, last: Tree, kept: Tree, *, inside: bool, gone: bool) -> Any:
        result = {}
        for name, item in value.items():
            left = _release_element(self.item, item, f"f:{name}", last, kept, inside=inside, gone=gone)
            if left is not GONE:
                result[name] = left
        return result or GONE

    def check(self, value: Any, path: str, errors: list[str]) -> None:
        if _is_map(value, path, errors):
            for name in sorted(value):
                self.item.check(value[name], f"{path}.{name}", errors)


class _Associative:
    """What lists with identities share. An element that stands twice is one path, compared as a whole."""

    __slots__ = ("item",)

    def __init__(self, item: Node) -> None:
        self.item = item

    def identify(self, value: Any) -> str:
        """The element of the path. Raises TypedError."""
        raise NotImplementedError

    def compare(self, old: list[Any] | None, new: list[Any] | None) -> Difference:
        if not old and not new:
            return _compare_empty(old, new)
        before, after = self._index(old), self._index(new)
        changed: Tree = {}
        removed: Tree = {}
        for key in before | after:
            more, less = self._compare_items(before.get(key, ()), after.get(key, ()))
            if more is not None:
                changed[key] = more
            if less is not None:
                removed[key] = less
        return make_node(changed, member=old is None), make_node(removed, member=new is None)

    def _compare_items(self, before: Any, after: Any) -> Difference:
        if before == after:
            return _SAME
        if len(before) < 2 and len(after) < 2:
            return self.item.compare(before[0] if before else None, after[0] if after else None)
        if len(before) >= 2 and len(after) >= 2:
            return _CHANGED
        if len(before) >= 2:
            return (self.item.compare(None, after[0])[0] if after else None), _LEAF
        return _LEAF, (self.item.compare(before[0], None)[1] if before else None)

    def _index(self, items: list[Any] | None) -> dict[str, list[Any]]:
        index: dict[str, list[Any]] = {}
        for position, item in enumerate(items or ()):
            try:
                index.setdefault(self.identify(item), []).append(item)
            except TypedError as error:
                raise TypedError(f"element {position}: {error}") from None
        return index

    def own(self, value: Any) -> Tree | None:
        return {self.identify(item): make_node(self.item.own(item) or {}, member=True) for item in value or ()} or None

    def merge(self, live: Any, config: Any) -> Any:
        """Configured items in the order of the configuration. What only the live list has stays before the next live
        item that the configuration names too."""
        if config is None:
            return live
        mine = self._index(config)
        keys = [self.identify(item) for item in live or ()]
        theirs = {key: items[0] for key, items in self._index(live).items() if len(items) == 1}
        known = set(keys)
        shared = [key for key in mine if key in known]
        result: list[Any] = []
        at, met = 0, 0  # how far the live list, and the items that both have, are written
        for key, items in mine.items():
            while at < len(keys) and not (met < len(shared) and keys[at] == shared[met]):
                if keys[at] not in mine:
                    result.append(live[at])
                at += 1
            result.append(self.item.merge(theirs.get(key), items[0]))
            if key in known:
                met += 1
        return result + [item for other, item in zip(keys[at:], (live or ())[at:], strict=True) if other not in mine]

    def release(self, value: Any, last: Tree, kept: Tree, *, inside: bool, gone: bool) -> Any:
        result = []
        for item in value:
            left = _release_element(self.item, item, self.identify(item), last, kept, inside=inside, gone=gone)
            if left is not GONE:
                result.append(left)
        return result or GONE

    def check(self, value: Any, path: str, errors: list[str]) -> None:
        if value is None:
            return
        if not isinstance(value, list):
            errors.append(f"{path}: expected list, got &{{{render_go(value)}}}")
            return
        seen: set[str] = set()
        for position, item in enumerate(value):
            try:
                key = self.identify(item)
            except TypedError as error:
                errors.append(f"{path}: element {position}: {error}")
                return
            if key in seen:
                errors.append(f"{path}: duplicate entries for key {render_element(key)}")
            seen.add(key)
            self.item.check(item, path + render_element(key), errors)


class KeyedList(_Associative):
    """Items with keys; `keys` are sorted pairs of a key and its default."""

    __slots__ = ("keys",)

    def __init__(self, item: Node, keys: tuple[tuple[str, str], ...]) -> None:
        super().__init__(item)
        self.keys = tuple(sorted(keys))

    def identify(self, value: Any) -> str:
        if value is None:
            raise TypedError("associative list with keys may not have a null element")
        if not isinstance(value, dict):
            raise TypedError("associative list with keys may not have non-map elements")
        parts = []
        for name, default in self.keys:
            key = value.get(name)
            if key is None:
                if not default:
                    text = f'associative list with keys has an element that omits key field "{name}"'
                    raise TypedError(f"{text} (and doesn't have default value)")
                key = default
            text = str(key) if type(key) is int else encode_value(key)
            parts.append(f'"{name}":{text}')
        return f"k:{{{','.join(parts)}}}"


class SetList(_Associative):
    """Scalars, each at most once."""

    __slots__ = ()

    def identify(self, value: Any) -> str:
        if value is None:
            raise TypedError("associative list without keys has an element that's an explicit null")
        if isinstance(value, dict):
            raise TypedError("associative list without keys has an element that's a map type")
        if isinstance(value, list):
            raise TypedError("not supported: associative list with lists as elements")
        return f"v:{encode_value(value)}"


class AtomicList:
    """The items of a list that is one value: only `check` looks into it."""

    __slots__ = ("item",)

    def __init__(self, item: Node) -> None:
        self.item = item

    def check(self, value: Any, path: str, errors: list[str]) -> None:
        if value is None:
            return
        if not isinstance(value, list):
            errors.append(f"{path}: expected list, got &{{{render_go(value)}}}")
            return
        for position, item in enumerate(value):
            self.item.check(item, f"{path}[{position}]", errors)


def _compare_empty(old: Any, new: Any) -> Difference:
    """Nothing to descend into: presence itself is the value."""
    if old == new:
        return _SAME
    return _REMOVED if new is None else _CHANGED


def _merge_members(live: Any, config: Any, find_node: Any) -> Any:
    if config is None:
        return live
    result = dict(live) if isinstance(live, dict) else {}
    for name, value in config.items():
        result[name] = find_node(name).merge(result.get(name), value)
    return result


def _release_element(node: Node, value: Any, key: str, last: Tree, kept: Tree, *, inside: bool, gone: bool) -> Any:
    """Of a map or list. Unlike a field, it is kept only by who owns the element itself."""
    had = last.get(key)
    if had is None:
        return value
    keeps = kept.get(key)
    was_owned = is_member(had)
    alive = not gone and ((keeps is not None and is_member(keeps)) or not (inside or was_owned))
    if was_owned and not alive:
        return GONE
    if not had or value is None:
        return value
    return node.release(value, had, keeps or {}, inside=inside or was_owned, gone=not alive)


def _is_map(value: Any, path: str, errors: list[str]) -> bool:
    """Whether there is content to check."""
    if value is None:
        return False
    if not isinstance(value, dict):
        errors.append(f"{path}: expected map, got &{{{render_go(value)}}}")
        return False
    return True
