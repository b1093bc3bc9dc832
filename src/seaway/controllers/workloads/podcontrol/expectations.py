"""What a loop has written and its caches do not show yet: nothing is decided on a cache older than that.

A write's answer carries its revision, and a cache knows the revision that it has reached; revisions of one server
compare (its contract, and upstream's since 1.35). So one number per key and cache is enough, where client-go counts
creations and deletions. Rule: spec "controllers" §7.4 (no double creation while the cache lags, given up after 5 min).
"""

from __future__ import annotations

from collections.abc import Hashable

LIFETIME_SECONDS = 300.0
"""After which a key is decided on what there is: a server whose revisions do not compare must not stop it for good."""


class Expectations:
    """By key and cache. `now` is monotonic seconds."""

    def __init__(self) -> None:
        self._wanted: dict[str, dict[Hashable, tuple[int, float]]] = {}

    def expect(self, key: str, cache: Hashable, revision: str, now: float) -> None:
        """The cache will reach the revision; the highest one counts. One that is no number is not waited for."""
        number = read_revision(revision)
        of_key = self._wanted.setdefault(key, {})
        if number > of_key.get(cache, (0, 0.0))[0]:
            of_key[cache] = (number, now + LIFETIME_SECONDS)

    def is_met(self, key: str, cache: Hashable, reached: str, now: float) -> bool:
        """The cache, which has reached that revision, shows all that was written for the key."""
        wanted, deadline = self._wanted.get(key, {}).get(cache, (0, 0.0))
        return read_revision(reached) >= wanted or now >= deadline

    def forget(self, key: str) -> None:
        """The key's object is gone."""
        self._wanted.pop(key, None)


def read_revision(text: str) -> int:
    """The number; 0 for what is none."""
    return int(text) if text.isascii() and text.isdigit() else 0
