"""Durations as Go writes them: `32s`, `8m18s`, `1.5h`, `-300ms`. Rule: spec "api-machinery" §1.2 (`timeout`)."""

from __future__ import annotations

import re

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)([^\d.]*)", re.ASCII)
MAX_SECONDS = 2**63 / 1e9
"""What 64 bits of nanoseconds hold: about 292 years."""


class DurationError(ValueError):
    """The text is no duration; the message is the one that Go programs show."""


def parse_duration(text: str) -> float:
    """Seconds. Raises DurationError."""
    quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    unsigned = text[1:] if text[:1] in ("+", "-") else text
    if unsigned == "0":
        return 0.0
    total, at = 0.0, 0
    while at < len(unsigned):
        part = _PART.match(unsigned, at)
        if part is None:
            raise DurationError(f"time: invalid duration {quoted}")
        number, unit = part.groups()
        if not unit:
            raise DurationError(f"time: missing unit in duration {quoted}")
        if unit not in _UNITS:
            raise DurationError(f'time: unknown unit "{unit}" in duration {quoted}')
        total += float(number) * _UNITS[unit]
        at = part.end()
    if not unsigned or total >= MAX_SECONDS:
        raise DurationError(f"time: invalid duration {quoted}")
    return -total if text[0] == "-" else total
