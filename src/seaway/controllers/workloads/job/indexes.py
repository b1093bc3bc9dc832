"""Sets of completion indexes as text: `0,2-5`. Rule: spec "controllers" §7.9; upstream's completedIndexes."""

from __future__ import annotations

from collections.abc import Iterable


def parse_indexes(text: str, limit: int) -> frozenset[int]:
    """The indexes below the limit; what cannot be read is skipped."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first.isascii() and first.isdigit() and (not last or (last.isascii() and last.isdigit())):
            found.update(range(int(first), min(int(last or first) + 1, limit)))
    return frozenset(found)


def render_indexes(indexes: Iterable[int]) -> str:
    """Sorted, three and more in a row as a range."""
    parts: list[str] = []
    run: list[int] = []
    for index in [*sorted(indexes), -1]:
        if run and index == run[-1] + 1:
            run.append(index)
            continue
        if run:
            parts += [f"{run[0]}-{run[-1]}"] if len(run) > 2 else [str(i) for i in run]
        run = [index]
    return ",".join(parts)
