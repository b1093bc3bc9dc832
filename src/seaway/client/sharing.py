"""Equal parts of many objects kept once, for what must be at hand and cannot be packed.

Decoded objects are frozen, and most of what they hold is the same in many: namespaces, labels, containers, conditions.
Parts are looked up among those that went through lately, which is enough, since a list has alike objects side by side.
Nothing here knows of kinds.

1. What comes out equals what went in.
2. The pool is bounded: what is in no other object is forgotten with the rest.
"""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Hashable
from typing import Any, TypeVar, cast

import msgspec

T = TypeVar("T")
MAX_POOLED = 16_384
_Plan = tuple[tuple[str, bool], ...]
"""A field, and whether it is hashable whatever it holds."""


class Pool:
    """Parts of objects that were decoded lately."""

    def __init__(self) -> None:
        self._parts: dict[Hashable, Any] = {}

    def __len__(self) -> int:
        return len(self._parts)

    def share(self, obj: T) -> T:
        """The object, fresh from its decoder and known to nobody else, with parts that others have too."""
        if isinstance(obj, msgspec.Struct):
            self._share_fields(obj)
        return obj

    def _share_fields(self, obj: msgspec.Struct) -> None:
        for name, is_hashable in _plan_fields(type(obj)):
            value = getattr(obj, name)
            shared = self._share_hashable(value) if is_hashable else self._share_other(value)
            if shared is not value:
                msgspec.structs.force_setattr(obj, name, shared)

    def _share_hashable(self, value: Any) -> Any:
        kind = type(value)
        if kind is str or kind is tuple or isinstance(value, msgspec.Struct):
            key = (kind, value)  # structs of two types may be equal to each other's tuples, never to each other
            found = self._parts.get(key)
            if found is not None:
                return found
            if kind is tuple:
                value = tuple(map(self._share_hashable, value))
            elif kind is not str:
                self._share_fields(value)
            self._keep(key, value)
        return value

    def _share_other(self, value: Any) -> Any:
        if isinstance(value, dict):
            key = (dict, tuple(value.items()))
            try:
                found = self._parts.get(key)
            except TypeError:  # values that are no text
                return value
            if found is None:
                found = {self._share_hashable(k): self._share_hashable(v) for k, v in value.items()}
                self._keep(key, found)
            return found
        if isinstance(value, msgspec.Struct):
            self._share_fields(value)
            return self._share_by_parts(value)
        if isinstance(value, tuple):
            for element in value:
                self.share(element)
        return value

    def _share_by_parts(self, value: msgspec.Struct) -> msgspec.Struct:
        """One that has a dict in it, and so no hash: its parts are shared already, and tell it by their identity."""
        fields = (getattr(value, name) for name in value.__struct_fields__)
        key = (type(value), tuple(id(field) if isinstance(field, dict) else field for field in fields))
        try:
            found = self._parts.get(key)
        except TypeError:  # a dict further down
            return value
        if found is None:
            self._keep(key, value)
            return value
        return cast(msgspec.Struct, found)

    def _keep(self, key: Hashable, value: Any) -> None:
        if len(self._parts) >= MAX_POOLED:
            self._parts.clear()
        self._parts[key] = value


@functools.cache
def _plan_fields(struct: type[msgspec.Struct]) -> _Plan:
    """The fields that may hold something worth sharing."""
    hints = typing.get_type_hints(struct)
    worth = ((name, hints[name]) for name in struct.__struct_fields__)
    return tuple((name, _is_hashable(hint)) for name, hint in worth if not _is_plain(hint))


def _is_plain(hint: Any) -> bool:
    """Numbers and truth values: nothing is gained."""
    if isinstance(hint, type):
        return issubclass(hint, int | float)
    return typing.get_origin(hint) in (types.UnionType, typing.Union) and all(
        part is type(None) or _is_plain(part) for part in typing.get_args(hint)
    )


def _is_hashable(hint: Any) -> bool:
    """No dict is in it, at any depth."""
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return all(is_hashable for _, is_hashable in _plan_fields(hint))
    if typing.get_origin(hint) is dict or hint is dict or hint is Any:
        return False
    return all(_is_hashable(part) for part in typing.get_args(hint) if part is not Ellipsis)
