"""What becomes of the clients that slots remember, when endpoints come, go and change places.

The kernel remembers clients by slot, and a slot is a place, not an endpoint. So with every change of a sticky Service:
clients of an endpoint that left are forgotten, those of one that moved to another slot move with it, and those of a
changed time keep what is left of theirs. Nothing here asks the kernel: it is told what is remembered.
Rule: spec "proxy" §5 (an endpoint that is not usable any more has no affinity; the others keep theirs).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from seaway.proxy.nftables.objects import Value
from seaway.proxy.nftables.structure import Lane, find_picks

LEAST_SECONDS = 2.0
"""What has less left is not touched: it may be gone when the batch arrives, which would then be refused."""

Entry = tuple[bytes, float]
"""The key of what is remembered (client, then what it asked), and the seconds that are left."""


@dataclass(frozen=True, slots=True)
class Sticky:
    """How one frontend of one lane remembers: for how long, and which endpoint stands in which slot."""

    seconds: int
    targets: tuple[bytes | None, ...]
    """None: the slot is empty, which only a table that somebody else changed has."""


Place = tuple[Lane, bytes]
"""A lane, and the key of a frontend in it."""
Moves = Mapping[str, Mapping[bytes, str]]
"""Set → key of a frontend → the set that its clients go to; "" when they are forgotten."""


def find_sticky(rendered: Mapping[tuple[str, bytes], Value]) -> dict[Place, Sticky]:
    """The sticky frontends among these elements."""
    found: dict[Place, Sticky] = {}
    for (_, key), value in rendered.items():
        for pick in find_picks(value):
            if pick.sticky_seconds is not None:
                slots = (rendered.get((pick.lane.slot(index), key)) for index in range(pick.count))
                targets = tuple(t if isinstance(t, bytes) else None for t in slots)
                found[pick.lane, pick.lane.remembered_key(key)] = Sticky(pick.sticky_seconds, targets)
    return found


def plan_moves(before: Mapping[Place, Sticky], after: Mapping[Place, Sticky]) -> dict[str, dict[bytes, str]]:
    """Where the clients of each slot go; what stays where it is is not mentioned."""
    moves: dict[str, dict[bytes, str]] = {}
    for (lane, key), old in before.items():
        new = after.get((lane, key))
        if new == old:
            continue
        slots = {target: index for index, target in enumerate(new.targets if new is not None else ())}
        for index, target in enumerate(old.targets):
            source = lane.sticky(index, old.seconds)
            place = _find_place(new, index, target, slots)
            goal = lane.sticky(place, new.seconds) if new is not None and place is not None else ""
            if goal != source:
                moves.setdefault(source, {})[key] = goal
    return moves


def _find_place(new: Sticky | None, index: int, target: bytes | None, slots: Mapping[bytes | None, int]) -> int | None:
    """The slot where the endpoint stands now: the one that it had, if it may; it may have several."""
    if new is None or target is None:
        return None
    return index if index < len(new.targets) and new.targets[index] == target else slots.get(target)


def choose_entries(
    entries: Iterable[Entry], moves: Mapping[bytes, str], address_bytes: int
) -> tuple[list[bytes], dict[str, list[Entry]]]:
    """Of what one set remembers: the keys to be forgotten there, and what other sets are to remember instead."""
    forgotten: list[bytes] = []
    moved: dict[str, list[Entry]] = {}
    for key, left_seconds in sorted(entries):
        goal = moves.get(key[address_bytes:])
        if goal is None or left_seconds < LEAST_SECONDS:
            continue
        forgotten.append(key)
        if goal:
            moved.setdefault(goal, []).append((key, left_seconds))
    return forgotten, moved
