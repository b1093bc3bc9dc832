"""Canonical forms of the API's special scalars: times, quantities, base64.

Each function takes the text of a JSON string and returns the canonical text, or raises ScalarError with the words that
clients see. Rule: spec "api-machinery" §2.5.
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import UTC, datetime, timedelta

ZERO_TIME = "0001-01-01T00:00:00Z"
_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(Z|[+-]\d\d:\d\d)", re.ASCII)
_QUANTITY = re.compile(r"([+-]?)(\d*)(?:\.(\d*))?([numkMGTPE]|[KMGTPE]i|[eE][+-]?\d{1,3})?", re.ASCII)
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY_SUFFIX = {power: suffix for suffix, power in _BINARY.items()} | {0: ""}
_DECIMAL_SUFFIX = {power: suffix for suffix, power in _DECIMAL.items()}
_NANO = 10**9
_MAX_DIGITS = 64  # far beyond 2**63 in nano units; keeps hostile numbers cheap
_MAX_VALUE = 2**63 - 1


class ScalarError(ValueError):
    """A scalar that cannot be read; the text is the decoder's."""


def normalise_time(text: str) -> str | None:
    """RFC 3339 in UTC with whole seconds, or None for the zero time. Any offset is accepted."""
    moment = _parse_moment(text, "2006-01-02T15:04:05Z07:00")
    normal = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    normal = normal.rjust(20, "0")
    return None if normal == ZERO_TIME else normal


def normalise_micro_time(text: str) -> str | None:
    """RFC 3339 in UTC with exactly six decimals, or None for the zero time. Input must have six, too."""
    layout = "2006-01-02T15:04:05.000000Z07:00"
    match = _TIME.fullmatch(text)
    if match is not None and len(match[7] or "") != 6:
        raise ScalarError(f'parsing time "{text}" as "{layout}": cannot parse "{text[19:]}" as ".000000"')
    moment = _parse_moment(text, layout)
    normal = moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")
    return None if normal == "0001-01-01T00:00:00.000000Z" else normal


def _parse_moment(text: str, layout: str) -> datetime:
    match = _TIME.fullmatch(text)
    if match is None:
        raise ScalarError(f'parsing time "{text}" as "{layout}": cannot parse "{text}" as "2006"')
    year, month, day, hour, minute, second = (int(match[i]) for i in range(1, 7))
    micros = int((match[7] or "0")[:6].ljust(6, "0"))
    try:
        moment = datetime(year, month, day, hour, minute, second, micros, tzinfo=UTC)
        return moment - _parse_offset(match[8])
    except (ValueError, OverflowError):
        raise ScalarError(f'parsing time "{text}": out of range') from None


def _parse_offset(zone: str) -> timedelta:
    if zone == "Z":
        return timedelta()
    offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6]))
    return -offset if zone[0] == "-" else offset


def normalise_base64(text: str) -> str:
    """The same bytes in standard base64. Line breaks are dropped, as Go's decoder does."""
    text = text.replace("\n", "").replace("\r", "")
    try:
        return base64.b64encode(base64.b64decode(text, validate=True)).decode()
    except (binascii.Error, ValueError):
        position = next((i for i, c in enumerate(text) if not (c.isascii() and (c.isalnum() or c in "+/="))), len(text))
        raise ScalarError(f"illegal base64 data at input byte {position}") from None


def normalise_quantity(text: str) -> str:
    """The quantity without fraction digits and with the largest fitting suffix of its own family.

    Values finer than nano are rounded up. Rule: upstream's canonical form; `0.5` is `500m`, `1024Mi` is `1Gi`.
    """
    match = _QUANTITY.fullmatch(text)
    digits = "" if match is None else match[2] + (match[3] or "")
    if match is None or not digits or len(text) > _MAX_DIGITS:
        raise ScalarError("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")
    suffix = match[4] or ""
    nanos = _to_nanos(int(digits), len(match[3] or ""), suffix)
    sign = "-" if match[1] == "-" and nanos else ""
    return sign + (
        _render_binary(nanos)
        if suffix in _BINARY and nanos >= 1024 * _NANO
        else _render_decimal(nanos, exponent=suffix[:1] in ("e", "E") and len(suffix) > 1)
    )


def format_quantity(nanos: int, *, is_binary: bool) -> str:
    """The canonical text of a value that is not negative, in units of 10⁻⁹. is_binary: of the family of `Ki`, `Mi`."""
    if is_binary and nanos >= 1024 * _NANO:
        return _render_binary(nanos)
    return _render_decimal(nanos, exponent=False)


def measure_quantity(text: str) -> int:
    """The value of a canonical quantity in units of 10⁻⁹: what can be compared and divided."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ScalarError(f"not a quantity: {text!r}")
    nanos = _to_nanos(int(match[2] + (match[3] or "") or "0"), len(match[3] or ""), match[4] or "")
    return -nanos if match[1] == "-" else nanos


def _to_nanos(mantissa: int, decimals: int, suffix: str) -> int:
    """The absolute value in units of 10⁻⁹, rounded up, at most 2⁶³-1 units of one."""
    if suffix in _BINARY:
        scaled: int = mantissa * _NANO << (10 * _BINARY[suffix])
        return min(_divide_up(scaled, decimals), _MAX_VALUE * _NANO)
    power = (_DECIMAL[suffix] if suffix in _DECIMAL else int(suffix[1:])) + 9 - decimals
    if mantissa == 0:
        return 0
    if power > 40:
        return _MAX_VALUE * _NANO
    nanos = mantissa * _power(power) if power >= 0 else _divide_up(mantissa, -power)
    return min(nanos, _MAX_VALUE * _NANO)


def _divide_up(value: int, decimals: int) -> int:
    return -(-value // _power(decimals))


def _power(exponent: int) -> int:
    return int(10**exponent)


def _render_binary(nanos: int) -> str:
    value, power = -(-nanos // _NANO), 0
    while value % 1024 == 0 and power < 6:
        value, power = value // 1024, power + 1
    return f"{value}{_BINARY_SUFFIX[power]}"


def _render_decimal(nanos: int, *, exponent: bool) -> str:
    if nanos == 0:
        return "0"
    power = -9
    while nanos % 1000 == 0 and power < 18:
        nanos, power = nanos // 1000, power + 3
    if exponent:
        return f"{nanos}e{power}" if power else str(nanos)
    return f"{nanos}{_DECIMAL_SUFFIX[power]}"
