"""Rule: spec "controllers" §0.3."""

from __future__ import annotations

from typing import Any

from seaway.api.event.validation import validate_event
from seaway.api.machinery.meta import ObjectMeta
from seaway.api.registry import SERVICES
from seaway.controllers.events.plan import Happening, plan_repetition, render_event

THEN, NOW = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
WEB = ObjectMeta(name="web", namespace="shop", uid="u")


def render(reason: str = "Failed", message: str = "m", about: ObjectMeta = WEB, now: str = THEN) -> dict[str, Any]:
    return render_event(SERVICES, about, Happening("loop", reason, message), now)


def test_an_event_says_what_happened_to_which_object() -> None:
    event = render()
    assert event["involvedObject"] == {
        "apiVersion": "v1", "kind": "Service", "namespace": "shop", "name": "web", "uid": "u",
    }  # fmt: skip
    assert (event["type"], event["reason"], event["message"], event["count"]) == ("Warning", "Failed", "m", 1)
    assert event["source"] == {"component": "loop"}
    assert validate_event(event) == []


def test_the_same_reason_has_the_same_name_whatever_the_words() -> None:
    name = render()["metadata"]["name"]
    assert render(message="other", now=NOW)["metadata"]["name"] == name
    assert render(reason="Other")["metadata"]["name"] != name
    assert render(about=ObjectMeta(name="web", namespace="shop", uid="v"))["metadata"]["name"] != name


def test_what_repeats_is_counted_with_the_words_of_now() -> None:
    again = render(message="other", now=NOW)
    assert plan_repetition({**render(), "count": 4}, again) == {"count": 5, "lastTimestamp": NOW, "message": "other"}
    assert plan_repetition({}, again)["count"] == 2


def test_long_names_and_messages_fit() -> None:
    event = render(message="x" * 5000, about=ObjectMeta(name="a" * 253, namespace="shop"))
    assert len(event["message"]) == 1024 and len(event["metadata"]["name"]) <= 253
