"""Canonical forms of times, quantities and bytes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seaway.api.machinery.scalars import (
    ScalarError,
    normalise_base64,
    normalise_micro_time,
    normalise_quantity,
    normalise_time,
)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
        ("2026-01-02T03:04:05+00:00", "2026-01-02T03:04:05Z"),
        ("2026-01-02T03:04:05.999Z", "2026-01-02T03:04:05Z"),
        ("2026-01-02T01:04:05+02:00", "2026-01-01T23:04:05Z"),
        ("0099-01-01T00:00:00Z", "0099-01-01T00:00:00Z"),
        ("0001-01-01T00:00:00Z", None),
    ],
)
def test_times_are_utc_with_whole_seconds(text: str, wanted: str | None) -> None:
    assert normalise_time(text) == wanted


@pytest.mark.parametrize(
    "text", ["", "now", "2026-13-01T00:00:00Z", "2026-01-01", "2026-01-01T00:00:00Z\n", "２026-01-01T00:00:00Z"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ScalarError, match="parsing time"):
        normalise_time(text)


def test_micro_times_need_six_decimals() -> None:
    assert normalise_micro_time("2026-01-02T03:04:05.000001Z") == "2026-01-02T03:04:05.000001Z"
    assert normalise_micro_time("2026-01-02T04:04:05.100000+01:00") == "2026-01-02T03:04:05.100000Z"
    with pytest.raises(ScalarError):
        normalise_micro_time("2026-01-02T03:04:05Z")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("0", "0"),
        ("0Ki", "0"),
        ("-0", "0"),
        ("1", "1"),
        ("+1", "1"),
        ("1000", "1k"),
        ("1500", "1500"),
        ("1000m", "1"),
        ("0.5", "500m"),
        (".5", "500m"),
        ("5.", "5"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("0.5Ki", "512"),
        ("1Ki", "1Ki"),
        ("-2048Ki", "-2Mi"),
        ("1e3", "1e3"),
        ("12E6", "12e6"),
        ("1E", "1E"),
        ("0.0000000001", "1n"),
        ("100000000000E", "9223372036854775807"),
    ],
)
def test_quantities_are_canonical(text: str, wanted: str) -> None:
    assert normalise_quantity(text) == wanted


@pytest.mark.parametrize("text", ["", ".", "1 ", "x", "1Kib", "--1", "1e", "1" * 65, "0x10", "１"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ScalarError):
        normalise_quantity(text)


@settings(deadline=None)
@given(st.from_regex(r"-?[0-9]{1,9}(\.[0-9]{1,4})?(n|u|m|k|M|G|Ki|Mi|e3)?", fullmatch=True))
def test_the_canonical_form_is_its_own(text: str) -> None:
    canonical = normalise_quantity(text)
    assert normalise_quantity(canonical) == canonical


def test_base64_is_standard() -> None:
    assert normalise_base64("YWI=\n") == "YWI="
    with pytest.raises(ScalarError, match="illegal base64 data at input byte 2"):
        normalise_base64("YW*=")
