"""Rule: spec "controllers" §1.13."""

from __future__ import annotations

from seaway.api.pod.types import Pod
from seaway.controllers.endpointslice.trigger import advance_trigger
from tests.controllers.endpointslice.slices import pod, service


def ready_since(name: str, time: str) -> Pod:
    condition = {"type": "Ready", "status": "True", "lastTransitionTime": time}
    return pod(name, "10.0.0.1", status={"conditions": [condition]})


def test_the_first_sync_dates_from_the_service() -> None:
    _, time = advance_trigger(None, service(), [ready_since("a", "2026-01-05T00:00:00Z")])
    assert time == "2026-01-01T00:00:00Z"


def test_later_syncs_date_from_the_earliest_change() -> None:
    state, _ = advance_trigger(None, service(), [ready_since("a", "2026-01-05T00:00:00Z")])
    state, time = advance_trigger(
        state,
        service(),
        [
            ready_since("a", "2026-01-05T00:00:00Z"),
            ready_since("b", "2026-01-07T00:00:00Z"),
            ready_since("c", "2026-01-06T00:00:00Z"),
        ],
    )
    assert time == "2026-01-06T00:00:00Z"
    _, time = advance_trigger(state, service(), [ready_since("a", "2026-01-08T00:00:00Z")])
    assert time == "2026-01-08T00:00:00Z"


def test_a_deletion_has_no_time() -> None:
    state, _ = advance_trigger(None, service(), [ready_since("a", "2026-01-05T00:00:00Z")])
    assert advance_trigger(state, service(), [])[1] is None
