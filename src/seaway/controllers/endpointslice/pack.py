"""Desired endpoints into existing slices, with few objects written. Nothing here knows of Services or of time.

Enters: the slices that are there with one set of ports, and the endpoints wanted with those ports. Leaves: which slices
to create, update and delete.

1. Every wanted endpoint is in exactly one slice, and nothing else is in any.
2. No slice is filled beyond the limit.
3. What need not be written is not written: slices are never rebalanced, and at most one unchanged slice is taken up.
4. Packing the result again changes nothing.

Rule: spec "controllers" §1.9, step C. The road not taken is even filling: consumers pay per object written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from seaway.api.endpointslice.types import Endpoint, EndpointSlice

EndpointKey: TypeAlias = tuple[tuple[str, ...], str, str, str]


@dataclass(frozen=True, slots=True)
class Packing:
    """What to do with the slices of one set of ports. `update` pairs a slice with all its new endpoints.

    added, removed: how many endpoints come into a slice, and leave one.
    """

    create: tuple[tuple[Endpoint, ...], ...] = ()
    update: tuple[tuple[EndpointSlice, tuple[Endpoint, ...]], ...] = ()
    delete: tuple[EndpointSlice, ...] = ()
    unchanged: tuple[EndpointSlice, ...] = ()
    added: int = 0
    removed: int = 0


def identify_endpoint(endpoint: Endpoint) -> EndpointKey:
    """What makes two endpoints the same one; everything else about it is updated in place."""
    ref = endpoint.target_ref
    return (
        tuple(sorted(endpoint.addresses)),
        endpoint.hostname or "",
        ref.namespace if ref else "",
        ref.name if ref else "",
    )


def is_same_endpoint(have: Endpoint, want: Endpoint) -> bool:
    """The attributes that an update would change are equal. Hints are not compared: they are decided afterwards."""
    return (
        have.node_name == want.node_name
        and have.zone == want.zone
        and have.conditions == want.conditions
        and have.target_ref == want.target_ref
    )


def pack_endpoints(
    existing: Iterable[EndpointSlice],
    desired: Mapping[EndpointKey, Endpoint],
    *,
    max_endpoints: int,
    needs_rewrite: Callable[[EndpointSlice], bool],
) -> Packing:
    """The packing of `desired` into `existing`, which all have the same ports. Neither is modified.

    needs_rewrite: a slice must be written for another reason (its labels).
    """
    remaining = dict(desired)
    removed = 0
    update: list[_Filling] = []
    unchanged: list[EndpointSlice] = []
    delete: list[EndpointSlice] = []
    for slice_ in existing:
        kept, is_changed = _keep_desired(slice_, remaining)
        lost = len(slice_.endpoints or ()) - len(kept)
        removed += lost
        if lost and not kept:
            delete.append(slice_)
        elif is_changed or lost or needs_rewrite(slice_):
            update.append(_Filling(slice_, kept))
        else:
            unchanged.append(slice_)
    waiting = list(remaining.values())
    for filling in sorted(update, key=lambda f: -len(f.endpoints)):
        waiting = filling.fill(waiting, max_endpoints)
    create: list[_Filling] = []
    while waiting:
        roomiest = _choose_fullest_that_fits(unchanged, len(waiting), max_endpoints)
        if roomiest is None:
            create.append(_Filling(None, []))
            waiting = create[-1].fill(waiting, max_endpoints)
        else:
            unchanged.remove(roomiest)
            update.append(_Filling(roomiest, list(roomiest.endpoints or ())))
            waiting = update[-1].fill(waiting, max_endpoints)
    return Packing(
        create=tuple(tuple(f.endpoints) for f in create),
        update=tuple((f.slice_, tuple(f.endpoints)) for f in update if f.slice_ is not None),
        delete=tuple(delete),
        unchanged=tuple(unchanged),
        added=len(remaining),
        removed=removed,
    )


@dataclass(slots=True)
class _Filling:
    slice_: EndpointSlice | None
    endpoints: list[Endpoint]

    def fill(self, waiting: list[Endpoint], max_endpoints: int) -> list[Endpoint]:
        """Takes what fits and returns the rest."""
        room = max(0, max_endpoints - len(self.endpoints))
        self.endpoints.extend(waiting[:room])
        return waiting[room:]


def _keep_desired(slice_: EndpointSlice, remaining: dict[EndpointKey, Endpoint]) -> tuple[list[Endpoint], bool]:
    """The desired endpoints that the slice holds, taken out of `remaining`; and whether one changed."""
    kept: list[Endpoint] = []
    is_changed = False
    for endpoint in slice_.endpoints or ():
        wanted = remaining.pop(identify_endpoint(endpoint), None)
        if wanted is not None:
            kept.append(wanted)
            is_changed = is_changed or not is_same_endpoint(endpoint, wanted)
    return kept, is_changed


def _choose_fullest_that_fits(
    unchanged: Sequence[EndpointSlice], waiting: int, max_endpoints: int
) -> EndpointSlice | None:
    """The slice that takes all that waits and is fullest afterwards; None when none takes all."""
    if waiting >= max_endpoints:
        return None
    rooms = ((max_endpoints - waiting - len(slice_.endpoints or ()), slice_) for slice_ in unchanged)
    fitting = [(room, slice_) for room, slice_ in rooms if room >= 0]
    return min(fitting, key=lambda pair: (pair[0], pair[1].metadata.name))[1] if fitting else None
