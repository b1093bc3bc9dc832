"""What somebody probably meant: names and labels that differ by a slip of the keyboard, or by a part left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TypeAlias

Labels: TypeAlias = tuple[tuple[str, str], ...]

_MAX_SLIPS = 3
_PART = 4
"""The distance of a text that holds the other: further than any slip."""


def measure_distance(wanted: str, found: str) -> int | None:
    """How far the texts are apart: slips (a letter too many, too few or another), or None when they are unlike.

    One slip in three letters, and no more than three, are alike; so is a text of which the other is a part.
    """
    if wanted == found:
        return 0
    slips = _count_slips(wanted, found, max(1, min(_MAX_SLIPS, len(wanted) // 3)))
    if slips is not None:
        return slips
    shorter, longer = sorted((wanted, found), key=len)
    return _PART if len(shorter) >= 3 and shorter in longer else None


def find_nearest_name(wanted: str, found: Iterable[str]) -> str | None:
    """The most like of the names, the first by name of several; None when all are unlike."""
    measured = ((measure_distance(wanted, name), name) for name in found)
    return min(((distance, name) for distance, name in measured if distance is not None), default=(0, None))[1]


def find_nearest_labels(selector: Mapping[str, str], pods: Iterable[Mapping[str, str]]) -> tuple[Labels, int] | None:
    """What stands in place of the selector's labels on the Pods that are most like it, and on how many; None: on none.

    pods: the labels of each. A Pod is like it when each label has a counterpart: the same key with a like value, a like
    key with the same value, or, when any other label agrees, the same key with any value.
    """
    counts = Counter(tuple(sorted(labels.items())) for labels in pods)
    ranked: Counter[tuple[int, Labels]] = Counter()
    for labels, count in counts.items():
        likeness = _compare(selector, dict(labels))
        if likeness is not None:
            ranked[likeness] += count
    if not ranked:
        return None
    (_, labels), count = min(ranked.items(), key=lambda item: (item[0][0], -item[1], item[0][1]))
    return labels, count


def _compare(selector: Mapping[str, str], labels: Mapping[str, str]) -> tuple[int, Labels] | None:
    agrees = any(labels.get(key) == value for key, value in selector.items())
    distance, shown = 0, list[tuple[str, str]]()
    for key, value in sorted(selector.items()):
        step, pair = _find_counterpart(key, value, labels, agrees=agrees)
        if pair is None:
            return None
        distance += step
        shown.append(pair)
    return distance, tuple(shown)


def _find_counterpart(
    key: str, value: str, labels: Mapping[str, str], *, agrees: bool
) -> tuple[int, tuple[str, str] | None]:
    candidates = list[tuple[int, tuple[str, str]]]()
    if key in labels:
        distance = measure_distance(value, labels[key])
        if distance is not None or agrees:
            candidates.append((2 * _PART if distance is None else distance, (key, labels[key])))
    for other, found in labels.items():
        if found == value and (distance := measure_distance(key, other)) is not None:
            candidates.append((distance, (other, found)))
    return min(candidates, default=(0, None))


def _count_slips(a: str, b: str, limit: int) -> int | None:
    """Levenshtein's distance, or None when it exceeds the limit; only the band around the diagonal is looked at."""
    if abs(len(a) - len(b)) > limit:
        return None
    far = limit + 1
    row = [min(column, far) for column in range(len(b) + 1)]
    for i, left in enumerate(a, 1):
        first, last = max(1, i - limit), min(len(b), i + limit)
        new = [far] * (len(b) + 1)
        new[0] = min(i, far)
        for j in range(first, last + 1):
            new[j] = min(row[j] + 1, new[j - 1] + 1, row[j - 1] + (left != b[j - 1]), far)
        if min(new) > limit:
            return None
        row = new
    return row[-1] if row[-1] <= limit else None
