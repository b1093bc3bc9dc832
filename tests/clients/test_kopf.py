"""A small operator that watches Services: finalizer, annotation, event. Rule: spec "api-machinery" §13 (kopf)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import kopf
import pytest

from seaway.testing.fixture import Seaway

NOTE = "tests.example.com/ports"
CLIENT = "kopf"


@pytest.fixture
def operator(seaway: Seaway, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What the operator's handlers were called for, while it runs."""
    monkeypatch.setenv("KUBECONFIG", str(seaway.kubeconfig))
    registry = kopf.OperatorRegistry()
    kopf.on.login(registry=registry)(kopf.login_with_kubeconfig)
    called: list[str] = []

    @kopf.on.create("services", registry=registry)
    @kopf.on.update("services", registry=registry)
    def note(body: Any, spec: Any, patch: Any, reason: Any, **_: Any) -> None:
        patch.metadata.annotations[NOTE] = ",".join(str(port["port"]) for port in spec["ports"])
        called.append(str(reason))
        kopf.info(body, reason="Noted", message="its ports are noted")

    @kopf.on.delete("services", registry=registry)
    def forget(**_: Any) -> None:
        called.append("delete")

    stop, ready = threading.Event(), threading.Event()
    settings = kopf.OperatorSettings()
    settings.posting.level = 0
    settings.networking.error_backoffs = [0.01]
    options: dict[str, Any] = {"registry": registry, "settings": settings, "namespaces": [seaway.namespace]}
    options |= {"standalone": True, "stop_flag": stop, "ready_flag": ready}
    thread = threading.Thread(target=kopf.run, kwargs=options)
    thread.start()
    try:
        assert ready.wait(30)
        yield called
    finally:
        stop.set()
        thread.join()


def is_noted(ports: str) -> Any:
    return lambda obj: obj["metadata"].get("annotations", {}).get(NOTE) == ports


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # sessions of a loop that was ended
@pytest.mark.covers(CLIENT, "watch, patch, finalizer", "Service")
@pytest.mark.covers(CLIENT, "post", "Event")
@pytest.mark.covers(CLIENT, "resume after a watch that is gone (410), and after a refusal (503)", "Service")
def test_an_operator_sees_notes_and_lets_go(seaway: Seaway, operator: list[str]) -> None:
    seaway.make_service("web")
    service = seaway.wait_for("service", "web", is_noted("80"))
    assert service["metadata"]["finalizers"] == ["kopf.zalando.org/KopfFinalizerMarker"]
    assert seaway.wait_event("Noted", "web")["message"] == "its ports are noted"

    seaway.cut_watches("services", expired=True)
    order = seaway.fail_next(503, verb="patch", kind="service")
    seaway.patch("service", "web", {"spec": {"ports": [{"port": 81}]}})
    seaway.wait_for("service", "web", is_noted("81"))
    assert order.is_spent

    seaway.delete("service", "web")
    seaway.wait_gone("service", "web")
    assert (operator[0], operator[-1]) == ("create", "delete")
