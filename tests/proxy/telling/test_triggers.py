"""Rule: spec "proxy" §1.6 (trigger time)."""

from __future__ import annotations

import msgspec
import pytest

from seaway.api.endpointslice.types import EndpointSlice
from seaway.net.family import Family
from seaway.proxy.telling.triggers import MAX_WAITING, Triggers, parse_trigger
from seaway.testing.builders import make_slice

START = 1_700_000_000.0


def piece(name: str, time: str = "2023-11-14T22:13:21.123456789Z") -> EndpointSlice:
    made = msgspec.convert(make_slice(name, "web", ["10.244.0.2"]), EndpointSlice)
    annotations = {"endpoints.kubernetes.io/last-change-trigger-time": time}
    return msgspec.structs.replace(made, metadata=msgspec.structs.replace(made.metadata, annotations=annotations))


def test_every_change_of_a_slice_is_measured_once() -> None:
    triggers = Triggers(started_at=START)
    triggers.note(None, piece("a"))
    triggers.note(piece("a"), piece("a", "2023-11-14T22:13:22Z"))
    assert triggers.take(Family.IPV6) == []
    assert triggers.take(Family.IPV4) == pytest.approx([START + 1.123456, START + 2])
    assert triggers.take(Family.IPV4) == []


def test_what_changed_before_the_start_is_not_measured() -> None:
    triggers = Triggers(started_at=START)
    triggers.note(None, piece("a", "2023-11-14T22:13:19Z"))
    assert triggers.take(Family.IPV4) == []


def test_a_slice_that_goes_takes_along_what_waits_for_its_service() -> None:
    triggers = Triggers(started_at=START)
    triggers.note(None, piece("a"))
    triggers.note(None, piece("b"))
    triggers.note(piece("a"), None)
    assert triggers.take(Family.IPV4) == []


def test_what_waits_is_limited() -> None:
    triggers = Triggers(started_at=START)
    for _ in range(MAX_WAITING + 5):
        triggers.note(None, piece("a"))
    assert len(triggers.take(Family.IPV4)) == MAX_WAITING


@pytest.mark.parametrize("text", ["", "yesterday", "2023-11-14T22:13:19", "0001-01-01T00:00:00+23:59"])
def test_what_is_no_time_is_none(text: str) -> None:
    assert parse_trigger(text) is None or parse_trigger(text) < START  # type: ignore[operator]
