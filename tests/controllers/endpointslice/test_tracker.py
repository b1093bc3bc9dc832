"""Rule: spec "controllers" §1.12."""

from __future__ import annotations

import msgspec

from seaway.api.endpointslice.types import EndpointSlice
from seaway.controllers.endpointslice.tracker import SliceTracker
from tests.controllers.endpointslice.slices import make_existing


def at(generation: int, name: str = "a") -> EndpointSlice:
    slice_ = make_existing(name, [])
    return msgspec.structs.replace(slice_, metadata=msgspec.structs.replace(slice_.metadata, generation=generation))


def test_an_own_write_is_laid_over_a_cache_that_lags() -> None:
    tracker = SliceTracker()
    tracker.record_write(at(2), at(1))
    assert tracker.overlay([at(1)]) == [at(2)]


def test_a_new_slice_is_there_before_the_cache_shows_it() -> None:
    tracker = SliceTracker()
    tracker.record_write(at(1), None)
    assert tracker.overlay([]) == [at(1)]


def test_an_own_deletion_counts_before_the_cache_shows_it() -> None:
    tracker = SliceTracker()
    tracker.record_deletion(at(1), at(1))
    assert tracker.overlay([at(1)]) == []
    assert not tracker.observe_deletion(at(1))
    assert len(tracker) == 0


def test_echoes_are_nobody_elses_changes() -> None:
    tracker = SliceTracker()
    tracker.record_write(at(3), at(1))
    assert not tracker.observe(at(2))
    assert tracker.overlay([at(2)]) == [at(3)]
    assert not tracker.observe(at(3))
    assert len(tracker) == 0


def test_a_newer_state_is_somebody_elses() -> None:
    tracker = SliceTracker()
    tracker.record_write(at(2), at(1))
    assert tracker.observe(at(3))
    assert tracker.overlay([at(3)]) == [at(3)]


def test_foreign_changes_and_deletions_are_noticed() -> None:
    tracker = SliceTracker()
    assert tracker.observe(at(1))
    assert tracker.observe_deletion(at(1))
    tracker.record_write(at(2), at(1))
    assert tracker.observe_deletion(at(2))
    assert tracker.overlay([]) == []


def test_an_echo_that_came_before_the_answer_is_not_waited_for() -> None:
    tracker = SliceTracker()
    tracker.record_write(at(2), at(2))
    tracker.record_deletion(at(2, "b"), None)
    assert len(tracker) == 0


def test_what_was_refused_is_forgotten() -> None:
    tracker = SliceTracker()
    tracker.record_write(at(2), at(1))
    tracker.forget(at(2))
    assert tracker.overlay([at(1)]) == [at(1)]


def test_an_own_write_is_not_believed_once_the_cache_has_passed_it_without_showing_it() -> None:
    tracker = SliceTracker()
    tracker.record_write(at(1), None)  # revision 7
    assert tracker.overlay([], reached="6") == [at(1)]
    assert tracker.overlay([], reached="unknown") == [at(1)]
    assert tracker.overlay([], reached="7") == []
    assert len(tracker) == 0
