"""Weights of endpoints: how often each gets a new connection, beside its neighbours. Ours, not upstream's.

A Pod says its own (`seaway.dev/weight`); whoever writes its slices puts it beside the addresses (`seaway.dev/weights`,
a JSON object), where data planes read it. A slice made by hand may say one for all its endpoints (`seaway.dev/weight`).
"""

from __future__ import annotations

ANNOTATION_WEIGHT = "seaway.dev/weight"
"""On a Pod, or on a slice: of all its endpoints."""
ANNOTATION_WEIGHTS = "seaway.dev/weights"
"""On a slice: a JSON object of addresses and their weights, for those that have one of their own."""
MAX_WEIGHT = 1000


def parse_weight(text: str) -> int | None:
    """A weight from 0 to MAX_WEIGHT; None when it is none."""
    if not text.isascii() or not text.isdigit() or len(text) > 4:
        return None
    return int(text) if int(text) <= MAX_WEIGHT else None
