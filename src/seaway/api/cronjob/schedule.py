"""When a CronJob runs: whether its schedule can be read. Five fields of lists, ranges and steps, or a word with `@`.

Rule: the standard cron format as upstream's parser takes it; texts are its own.
"""

from __future__ import annotations

import re

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: tuple[tuple[int, int, dict[str, int]], ...] = (
    (0, 59, {}),
    (0, 23, {}),
    (1, 31, {}),
    (1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    (0, 6, {name: number for number, name in enumerate(_DAYS)}),
)
_WORDS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
_EVERY = "@every "
_is_duration = re.compile(r"([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)").match
MAX_NUMBER_DIGITS = 9


def find_schedule_error(text: str) -> str:
    """What is wrong with the schedule, or empty."""
    if not text:
        return "empty spec string"
    if text.startswith("@"):
        return _find_word_error(text)
    fields = text.split()
    if len(fields) != len(_FIELDS):
        return f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]"
    for field, (low, high, names) in zip(fields, _FIELDS, strict=True):
        for part in field.split(","):
            if part and (error := _find_range_error(part, low, high, names)):
                return error
    return ""


def has_time_zone(text: str) -> bool:
    """The schedule itself names a zone, as `CRON_TZ=Europe/Berlin 0 * * * *`."""
    return "TZ" in text


def _find_word_error(text: str) -> str:
    if text.startswith(_EVERY):
        duration = rest = text.removeprefix(_EVERY)
        while rest and (match := _is_duration(rest)):
            rest = rest[match.end() :]
        return f"failed to parse duration {text}" if rest or not duration else ""
    return "" if text in _WORDS else f"unrecognized descriptor: {text}"


def _find_range_error(text: str, low: int, high: int, names: dict[str, int]) -> str:
    """Of `*`, `?`, `3`, `1-5`, `*/15`, `mon-fri/2`."""
    bounds, *steps = text.split("/")
    if len(steps) > 1:
        return f"too many slashes: {text}"
    first, *lasts = bounds.split("-")
    if len(lasts) > 1:
        return f"too many hyphens: {text}"
    if first in ("*", "?"):
        start, end = low, high
    else:
        numbers = [_parse_number(word, names) for word in (first, *lasts)]
        if None in numbers:
            bad = (first, *lasts)[numbers.index(None)]
            return f'failed to parse int from {bad}: strconv.Atoi: parsing "{bad}": invalid syntax'
        start = numbers[0] or 0
        end = (numbers[1] or 0) if lasts else high if steps else start
    if steps:
        step = _parse_number(steps[0], {})
        if step is None:
            return f'failed to parse int from {steps[0]}: strconv.Atoi: parsing "{steps[0]}": invalid syntax'
        if step == 0:
            return f"step of range should be a positive number: {text}"
    if start < low:
        return f"beginning of range ({start}) below minimum ({low}): {text}"
    if end > high:
        return f"end of range ({end}) above maximum ({high}): {text}"
    return f"beginning of range ({start}) beyond end of range ({end}): {text}" if start > end else ""


def _parse_number(word: str, names: dict[str, int]) -> int | None:
    named = names.get(word.lower())
    if named is not None:
        return named
    return int(word) if word.isascii() and word.isdigit() and len(word) <= MAX_NUMBER_DIGITS else None
