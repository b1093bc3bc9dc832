"""Lists that are asked for again and again: their items are joined once while nothing of their kind changes."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any


class ListBodies:
    """The joined items of lists that are asked for again and again, while nothing of their kind changes."""

    def __init__(self, max_bytes: int = 32 << 20) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: OrderedDict[Any, tuple[int, bytes]] = OrderedDict()

    def get(self, key: Any, changed_at: int) -> bytes | None:
        """The items if they are still what the kind holds."""
        kept = self._kept.get(key)
        if kept is None or kept[0] != changed_at:
            return None
        self._kept.move_to_end(key)
        return kept[1]

    def put(self, key: Any, changed_at: int, items: bytes) -> None:
        """Keep the items; the least recently asked for go first."""
        if len(items) > self._max_bytes // 4:
            return
        old = self._kept.pop(key, None)
        self._bytes += len(items) - (len(old[1]) if old else 0)
        self._kept[key] = (changed_at, items)
        while self._bytes > self._max_bytes:
            _, (_, dropped) = self._kept.popitem(last=False)
            self._bytes -= len(dropped)
