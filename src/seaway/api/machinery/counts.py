"""Counts, and shares of a count that may be a number or a percentage. Rule: upstream's shared validators."""

from __future__ import annotations

import re
from typing import Any

from seaway.api.machinery.field import FieldError, invalid
from seaway.api.machinery.strategy import Json

NOT_NEGATIVE_TEXT = "must be greater than or equal to 0"
_PERCENT_TEXT = (
    "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', "
    "regex used for validation is '[0-9]+%')"
)
_percent = re.compile("([0-9]+)%").fullmatch
MAX_PERCENT_DIGITS = 9
"""Enough for any share, and cheap to read."""


def invalid_counts(path: str, of: Json, *fields: str) -> list[FieldError]:
    """The fields that are there and negative."""
    return [
        invalid(f"{path}.{field}", of[field], NOT_NEGATIVE_TEXT)
        for field in fields
        if of.get(field) is not None and of[field] < 0
    ]


def invalid_share(path: str, share: int | str) -> list[FieldError]:
    """A number that is not negative, or a percentage."""
    if isinstance(share, str):
        return [] if _percent(share) else [invalid(path, share, _PERCENT_TEXT)]
    return [] if share >= 0 else [invalid(path, share, NOT_NEGATIVE_TEXT)]


def invalid_share_of_all(path: str, share: int | str) -> list[FieldError]:
    """As above, and no more than everything."""
    errors = invalid_share(path, share)
    percent = find_percent(share)
    if percent is not None and percent > 100:
        errors.append(invalid(path, share, "must not be greater than 100%"))
    return errors


def find_percent(share: Any) -> int | None:
    """The number of a percentage, or None for a count or what is neither."""
    match = _percent(share) if isinstance(share, str) else None
    return None if match is None else int(match[1][:MAX_PERCENT_DIGITS])


def is_zero_share(share: Any) -> bool:
    """`0`, `0%` or absent."""
    return share is None or share == 0 or find_percent(share) == 0
