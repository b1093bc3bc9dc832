"""Slices as this loop left them, while the cache has not caught up.

A plan never starts from a state older than the loop's own last write, and the echo of a write is no reason for another.
Upstream waits with a back-off of a second when its cache is stale (spec "controllers" §1.12). Here the answers of the
writes are laid over the cache instead: the next Pod that becomes ready need not wait for an echo.

1. What is laid over the cache is newer than the cache, by generation; it goes when the cache has caught up, be it that
   the cache has passed the revision of the write without showing it: the slice is gone again, and a list hid that.
2. A slice that a write found missing, or changed by others, is forgotten: the cache is right again.
3. A slice that leaves the Service or this loop's care is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable

from seaway.api.endpointslice.types import EndpointSlice


class SliceTracker:
    """The last writes of one Service's slices, by UID; None stands for a deletion."""

    __slots__ = ("_written",)

    def __init__(self) -> None:
        self._written: dict[str, EndpointSlice | None] = {}

    def __len__(self) -> int:
        return len(self._written)

    def overlay(self, cached: Iterable[EndpointSlice], *, reached: str = "") -> list[EndpointSlice]:
        """The slices as they are after the own writes, by name. reached: the revision of the cache; "" is unknown."""
        result = {slice_.metadata.uid: slice_ for slice_ in cached}
        for uid, written in list(self._written.items()):
            if written is not None and _has_passed(reached, written):
                del self._written[uid]
                continue
            if written is None:
                result.pop(uid, None)
            else:
                result[uid] = written
        return sorted(result.values(), key=lambda slice_: slice_.metadata.name)

    def record_write(self, slice_: EndpointSlice, cached: EndpointSlice | None) -> None:
        """The server answered a write with this slice. cached: what the cache holds under its name now."""
        self.forget(slice_)
        if cached is None or not _has_reached(cached, slice_):
            self._written[slice_.metadata.uid] = slice_

    def record_deletion(self, slice_: EndpointSlice, cached: EndpointSlice | None) -> None:
        """The server deleted the slice at this loop's request."""
        self.forget(slice_)
        if cached is not None and cached.metadata.uid == slice_.metadata.uid:
            self._written[slice_.metadata.uid] = None

    def forget(self, slice_: EndpointSlice) -> None:
        """Rely on the cache for this slice."""
        self._written.pop(slice_.metadata.uid, None)

    def observe(self, slice_: EndpointSlice) -> bool:
        """The cache now holds this slice. True when somebody else made it so."""
        uid = slice_.metadata.uid
        if uid not in self._written:
            return True
        written = self._written[uid]
        if written is None or not _has_reached(slice_, written):
            return False
        del self._written[uid]
        return slice_.metadata.generation > written.metadata.generation

    def observe_deletion(self, slice_: EndpointSlice) -> bool:
        """The cache has lost this slice. True when somebody else deleted it."""
        uid = slice_.metadata.uid
        return uid not in self._written or self._written.pop(uid) is not None


def _has_reached(cached: EndpointSlice, written: EndpointSlice) -> bool:
    return cached.metadata.uid == written.metadata.uid and cached.metadata.generation >= written.metadata.generation


def _has_passed(reached: str, written: EndpointSlice) -> bool:
    """Revisions are integers in practice, and comparable by contract since Kubernetes 1.35; others say nothing."""
    version = written.metadata.resource_version
    return reached.isdecimal() and version.isdecimal() and int(reached) >= int(version)
