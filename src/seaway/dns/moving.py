"""An endpoint that moves from one slice of its Service to another is never absent in between.

A controller that packs endpoints anew writes one slice after the other, so a watch may show an endpoint gone from the
first before it shows it in the second; whoever asks in between misses it, or is told that its name does not exist. So
an endpoint that vanishes from a slice outright stays, in a slice of its own making, until another slice of the Service
names its address (with whatever condition), or for a second. Only then: not when it turns unready where it is (which is
how Pods leave), and not when the Service has no other slice of that family, where nothing could have moved.

Law: in the end the index holds what the slices say, and nothing else. Rule: spec "discovery" A5.2.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from seaway.dns.index import ServiceKey, service_key
from seaway.dns.objects import Endpoint, EndpointSlice, SliceMeta

LINGER_SECONDS = 1.0
"""As the spec proposes. A controller writes its slices within milliseconds of each other."""
MARK = "/vanished-"
"""In the name of a slice that holds what has vanished from another; no object's name has a slash."""

Change = tuple[EndpointSlice | None, EndpointSlice | None]
"""Before and after, as an index takes it."""
FindSlices = Callable[[ServiceKey], tuple[EndpointSlice, ...]]


class Moves:
    """What has vanished and may come again. `find_slices`: those of a Service that the index has now."""

    def __init__(self, find_slices: FindSlices) -> None:
        self._find_slices = find_slices
        self._kept: dict[str, EndpointSlice] = {}
        self._until: dict[str, float] = {}
        self._count = 0

    def take(self, old: EndpointSlice | None, new: EndpointSlice | None, now: float) -> list[Change]:
        """The changes that the index is to be told for one of the watch, in order: what lingers comes first."""
        changes: list[Change] = []
        key = service_key(old)
        if old is not None and key is not None:
            vanished = self._find_vanished(old, new if service_key(new) == key else None, key)
            if vanished:
                self._count += 1
                name = f"{old.metadata.name}{MARK}{self._count}"
                self._until[name] = now + LINGER_SECONDS
                changes.append(self._replace(name, replace(old, metadata=_rename(old, name), endpoints=vanished)))
        changes.append((old, new))
        if new is not None and (key := service_key(new)) is not None:
            changes += self._let_go(key, {address for each in new.endpoints or () for address in each.addresses})
        return changes

    def expire(self, now: float) -> list[Change]:
        """What has lingered long enough goes."""
        due = [name for name, until in self._until.items() if until <= now]
        return [self._replace(name, None) for name in due]

    def next_deadline(self) -> float | None:
        """When `expire` has something to do; None: nothing lingers."""
        return min(self._until.values(), default=None)

    def _find_vanished(self, old: EndpointSlice, new: EndpointSlice | None, key: ServiceKey) -> tuple[Endpoint, ...]:
        """The published endpoints whose addresses no slice of the Service has any more."""
        here = {address for each in (new.endpoints or () if new is not None else ()) for address in each.addresses}
        gone = [each for each in old.published if not here.intersection(each.addresses)]
        if not gone:
            return ()
        others = [
            each
            for each in self._find_slices(key)
            if each.metadata.name != old.metadata.name
            and each.address_type == old.address_type
            and MARK not in each.metadata.name
        ]
        if not others:
            return ()
        elsewhere = {address for other in others for each in other.endpoints or () for address in each.addresses}
        return tuple(each for each in gone if not elsewhere.intersection(each.addresses))

    def _let_go(self, key: ServiceKey, addresses: set[str]) -> list[Change]:
        """Of what lingers, whatever a slice of the Service names again: it is as that slice says now."""
        changes: list[Change] = []
        for name, kept in list(self._kept.items()) if self._kept else ():
            if service_key(kept) != key:
                continue
            rest = tuple(each for each in kept.endpoints or () if not addresses.intersection(each.addresses))
            if rest != kept.endpoints:
                changes.append(self._replace(name, replace(kept, endpoints=rest) if rest else None))
        return changes

    def _replace(self, name: str, new: EndpointSlice | None) -> Change:
        old = self._kept.pop(name, None)
        if new is None:
            del self._until[name]
        else:
            self._kept[name] = new
        return old, new


def _rename(each: EndpointSlice, name: str) -> SliceMeta:
    return replace(each.metadata, name=name)
