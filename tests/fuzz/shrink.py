"""The shortest list of steps that still breaks the rule: chunks are left out for as long as it does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def shrink(steps: Sequence[T], still_fails: Callable[[list[T]], bool], *, budget: int = 150_000) -> list[T]:
    """A list for which `still_fails` is true, as it is for `steps`; it is never empty, and order is kept.

    No single step of it can be left out, unless the budget of steps played in attempts ran out before.
    """
    if still_fails([steps[-1]]):
        return [steps[-1]]
    kept, size = list(steps), max(1, len(steps) // 2)
    while budget > 0 and len(kept) > 1:
        at, shorter = 0, False
        while at < len(kept) and budget > 0:
            attempt = kept[:at] + kept[at + size :]
            budget -= len(attempt)
            if attempt and still_fails(attempt):
                kept, shorter = attempt, True
            else:
                at += size
        if size == 1 and not shorter:
            break
        size = max(1, size // 2)
    return kept
