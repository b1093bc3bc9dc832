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


def diff_objects(have: Mapping[str, T], want: Mapping[str, T], has_same: Callable[[str], bool]) -> Iterator[Change[T]]:
    """The changes that turn `have` into `want`, sorted by key. Neither is modified; after each change `have` may be.

    has_same: both have the object, and it is the same one.
    """
    for key in sorted({*have, *want}):
        if key not in want:
            yield Change(key, have[key], None)
        elif key not in have or not has_same(key):
            yield Change(key, have.get(key), want[key])


_MAX_FEW = 16


class Index(Generic[T, K]):
    """Keys of objects by the values that a function finds in them. Law: it equals one built anew from the cache.

    Few keys are a tuple, which is a third of a dict; most values have few.
    """

    def __init__(self, values_of: Callable[[T], Iterable[K]]) -> None:
        self._values_of = values_of
        self._keys: dict[K, tuple[str, ...] | dict[str, None]] = {}

    def apply(self, change: Change[T]) -> None:
        """Take one change in. Changes of one key come in order."""
        old = frozenset(self._values_of(change.old)) if change.old is not None else frozenset()
        new = frozenset(self._values_of(change.new)) if change.new is not None else frozenset()
        for value in old - new:
            self._remove(value, change.key)
        for value in new - old:
            self._add(value, change.key)

    def _add(self, value: K, key: str) -> None:
        keys = self._keys.get(value, ())
        if isinstance(keys, dict):
            keys[key] = None
        elif len(keys) < _MAX_FEW:
            self._keys[value] = (*keys, key)
        else:
            self._keys[value] = dict.fromkeys((*keys, key))

    def _remove(self, value: K, key: str) -> None:
        keys = self._keys[value]
        if isinstance(keys, dict):
            del keys[key]
        else:
            keys = self._keys[value] = tuple(known for known in keys if known != key)
        if not keys:
            del self._keys[value]

    def get(self, value: K) -> Collection[str]:
        """The keys of the objects with the value, in the order in which they got it; a view, not to be kept."""
        keys = self._keys.get(value, ())
        return keys.keys() if isinstance(keys, dict) else keys

    def values(self) -> Collection[K]:
        """The values that some object has."""
        return self._keys.keys()
