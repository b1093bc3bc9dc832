"""Objects kept small: a cache of a hundred thousand Pods then costs a tenth.

Objects of one kind differ in little: names, addresses, times. Each is kept as MessagePack, deflated against others of
the cache, which is less than a hundred bytes for a Pod, and made anew when somebody asks for it, which takes five
microseconds. Those that were asked for lately are at hand as they are.

1. What comes out equals what went in, unless the kind's type cannot say it: a type is its own round trip.
2. A row can be unpacked as long as its packer lives: dictionaries are added, never replaced.
3. What is at hand is bounded by its encoded size.

Rejected: equal parts kept once. It costs more time than packing, and what differs weighs most: every string is an
object of fifty bytes and more.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Iterator, MutableMapping
from typing import Any, Generic, TypeVar

import msgspec

T = TypeVar("T")

HOT_BYTES = 1 << 15
"""Of encoded objects that are at hand: about 30 Pods, which take three times as much memory. More are seldom read
again before others take their place, and leave the processor's caches meanwhile.
"""
_WINDOW_BITS, _MEMORY_LEVEL, _LEVEL = -12, 4, 1
"""Raw deflate. Larger windows and more effort find little more in objects of this size, and cost more to set up."""
_DICTIONARY_BYTES = (1 << 12) - 262
"""What the window can reach of a dictionary (zlib keeps MIN_LOOKAHEAD free)."""
_LESSON_FACTOR = 16
"""A new dictionary is taken at the first object, at the sixteenth, and so on: the first may be unlike the others."""


class Packer(Generic[T]):
    """Packs objects of one type, and learns from them."""

    def __init__(self) -> None:
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode: msgspec.msgpack.Decoder[Any] | None = None
        self._dictionaries: list[bytes] = []
        self._recent = b""
        self._count, self._next_lesson = 0, 1

    def pack(self, obj: T) -> tuple[bytes | T, int]:
        """The row, and the encoded size.

        The row is the object itself when it holds what MessagePack cannot say, such as numbers beyond 64 bits.
        """
        try:
            body = self._encode(obj)
        except (OverflowError, UnicodeEncodeError):
            return obj, 0
        if self._decode is None:
            self._decode = msgspec.msgpack.Decoder(type(obj))
        self._learn(body)
        number = len(self._dictionaries) - 1
        deflate = zlib.compressobj(
            _LEVEL, zlib.DEFLATED, _WINDOW_BITS, _MEMORY_LEVEL, zlib.Z_DEFAULT_STRATEGY, self._dictionaries[number]
        )
        return b"".join((number.to_bytes(), deflate.compress(body), deflate.flush())), len(body)

    def unpack(self, row: bytes | T) -> tuple[T, int]:
        """The object, and its encoded size."""
        if not isinstance(row, bytes):
            return row, 0
        assert self._decode is not None
        inflate = zlib.decompressobj(_WINDOW_BITS, self._dictionaries[row[0]])
        body = inflate.decompress(memoryview(row)[1:])
        return self._decode.decode(body), len(body)

    def _learn(self, body: bytes) -> None:
        self._count += 1
        self._recent = (self._recent + body)[-_DICTIONARY_BYTES:]
        if self._count == self._next_lesson:
            self._dictionaries.append(self._recent)
            self._next_lesson *= _LESSON_FACTOR


class PackedObjects(MutableMapping[str, T]):
    """Objects by key, packed. One that is read twice may be another object each time, and is equal."""

    def __init__(self, packer: Packer[T] | None = None) -> None:
        self._packer: Packer[T] = packer or Packer()
        self._rows: dict[str, bytes | T] = {}
        self._hot: OrderedDict[str, tuple[T, int]] = OrderedDict()
        self._hot_bytes = 0

    def __getitem__(self, key: str) -> T:
        hot = self._hot.get(key)
        if hot is not None:
            self._hot.move_to_end(key)
            return hot[0]
        obj, size = self._packer.unpack(self._rows[key])
        self._warm(key, obj, size)
        return obj

    def __setitem__(self, key: str, obj: T) -> None:
        self._cool(key)
        self._rows[key], size = self._packer.pack(obj)
        self._warm(key, obj, size)

    def __delitem__(self, key: str) -> None:
        del self._rows[key]
        self._cool(key)

    def __contains__(self, key: object) -> bool:
        return key in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def begin(self) -> PackedObjects[T]:
        """An empty one, to which rows can be adopted from this one and back."""
        return PackedObjects(self._packer)

    def adopt(self, key: str, other: PackedObjects[T]) -> None:
        """Take the other's object without looking at it."""
        self._rows[key] = other._rows[key]
        self._cool(key)

    def has_same(self, key: str, other: PackedObjects[T]) -> bool:
        """One was adopted from the other, and has not changed since."""
        return self._rows.get(key) is other._rows.get(key)

    def _warm(self, key: str, obj: T, size: int) -> None:
        self._hot[key] = obj, size
        self._hot_bytes += size
        while self._hot_bytes > HOT_BYTES:
            self._hot_bytes -= self._hot.popitem(last=False)[1][1]

    def _cool(self, key: str) -> None:
        hot = self._hot.pop(key, None)
        if hot is not None:
            self._hot_bytes -= hot[1]


class PlainObjects(dict[str, T]):
    """Objects by key, as they are, for caches of few or of what is read all the time."""

    def begin(self) -> PlainObjects[T]:
        """As of `PackedObjects`."""
        return PlainObjects()

    def adopt(self, key: str, other: PlainObjects[T]) -> None:
        """As of `PackedObjects`."""
        self[key] = other[key]

    def has_same(self, key: str, other: PlainObjects[T]) -> bool:
        """As of `PackedObjects`."""
        return self.get(key) is other.get(key)
