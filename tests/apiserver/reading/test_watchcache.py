"""What the memory of changes costs. Rule: docstring of `watchcache.py`; spec "api-machinery" §3 (410)."""

from __future__ import annotations

import pytest

from seaway.api.registry import SERVICES
from seaway.apiserver.reading import watchcache
from seaway.apiserver.reading.watchcache import CHANGE_BYTES, ResourceCache
from seaway.apiserver.record import encode_stored
from seaway.store.contract import Event


def _make_event(number: int) -> Event:
    name = f"web-{number}"
    obj = {"kind": "Service", "apiVersion": "v1", "metadata": {"name": name, "namespace": "default"}}
    return Event(f"{SERVICES.store_prefix}default/{name}", number, encode_stored(obj), None)


def test_small_objects_do_not_make_the_history_larger_than_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchcache, "MAX_CHANGE_BYTES", 10 * CHANGE_BYTES)
    cache = ResourceCache(SERVICES, 0)
    for number in range(1, 21):
        cache.apply(_make_event(number))
    kept = cache.changes_after(cache.horizon)
    assert sum(CHANGE_BYTES + len(change.subject.body) for change in kept) <= 10 * CHANGE_BYTES
    assert [change.revision for change in kept] == list(range(cache.horizon + 1, 21))
    assert kept
