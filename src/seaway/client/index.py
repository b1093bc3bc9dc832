"""What changed in a cache, and which objects a value leads to. Nothing here waits or asks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Change(Generic[T]):
    """One object before and after. `old` None: it is new to the cache. `new` None: it is gone."""

    key: str
    old: T | None
    new: T | None


def diff_objects(have: Mapping[str, T], want: Mapping[str, T], version_of: Callable[[T], str]) -> Iterator[Change[T]]:
    """The changes that turn `have` into `want`, sorted by key; equal versions are no change. Neither is modified."""
    for key in sorted(have.keys() | want.keys()):
        old, new = have.get(key), want.get(key)
        if old is None or new is None or version_of(old) != version_of(new):
            yield Change(key, old, new)


class Index(Generic[T, K]):
    """Keys of objects by the values that a function finds in them. Law: it equals one built anew from the cache."""

    def __init__(self, values_of: Callable[[T], Iterable[K]]) -> None:
        self._values_of = values_of
        self._keys: dict[K, dict[str, None]] = {}

    def apply(self, change: Change[T]) -> None:
        """Take one change in. Changes of one key come in order."""
        old = frozenset(self._values_of(change.old)) if change.old is not None else frozenset()
        new = frozenset(self._values_of(change.new)) if change.new is not None else frozenset()
        for value in old - new:
            keys = self._keys[value]
            del keys[change.key]
            if not keys:
                del self._keys[value]
        for value in new - old:
            self._keys.setdefault(value, {})[change.key] = None

    def get(self, value: K) -> Collection[str]:
        """The keys of the objects with the value, in the order in which they got it; a view, not to be kept."""
        return self._keys.get(value, {}).keys()

    def values(self) -> Collection[K]:
        """The values that some object has."""
        return self._keys.keys()
