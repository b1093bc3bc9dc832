"""When a range gets crowded: said once each time four fifths of it are taken, so that there is time to add another.

Beyond upstream, which says nothing until a request is refused.
"""

from __future__ import annotations

from collections.abc import Iterable

from seaway.apiserver.allocation.pool import Pool

CROWDED_PERCENT = 80


class Crowding:
    """Which ranges were crowded when last looked at. pools: by the range's name."""

    def __init__(self, pools: Iterable[tuple[str, Pool]]) -> None:
        self._crowded = _choose_crowded(pools)

    def find_crossings(self, pools: Iterable[tuple[str, Pool]]) -> list[str]:
        """The ranges that have become crowded since the last look, sorted.

        A range that has got room again is said anew when it fills once more.
        """
        before, self._crowded = self._crowded, _choose_crowded(pools)
        return sorted(self._crowded - before)


def _choose_crowded(pools: Iterable[tuple[str, Pool]]) -> frozenset[str]:
    return frozenset(name for name, pool in pools if is_crowded(pool))


def is_crowded(pool: Pool) -> bool:
    """Four fifths or more are taken. A range of nothing is not."""
    return pool.size > 0 and (pool.size - pool.free) * 100 >= pool.size * CROWDED_PERCENT
