"""Rule: spec "controllers" §7.7 (resource requests)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from seaway.api.pod.resources import measure, sum_requests
from seaway.api.pod.scheduling import SchedulingSpec


def ask(cpu: str, *, sidecar: bool = False, **rest: Any) -> dict[str, Any]:
    return {
        "resources": {"requests": {"cpu": cpu, **rest}},
        **({"restartPolicy": "Always"} if sidecar else {}),
    }


SUMS: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "nothing asked is nothing": ({"containers": [{}]}, {}),
    "containers run together": ({"containers": [ask("100m"), ask("1")]}, {"cpu": 1100}),
    "an init container runs alone": ({"containers": [ask("1")], "initContainers": [ask("3"), ask("2")]}, {"cpu": 3000}),
    "a sidecar runs with the containers": (
        {"containers": [ask("1")], "initContainers": [ask("500m", sidecar=True)]},
        {"cpu": 1500},
    ),
    "an init container runs beside the sidecars before it": (
        {"containers": [ask("1")], "initContainers": [ask("1", sidecar=True), ask("2"), ask("4", sidecar=True)]},
        {"cpu": 6000},
    ),
    "and not beside those after it": (
        {"containers": [ask("1")], "initContainers": [ask("5"), ask("1", sidecar=True)]},
        {"cpu": 5000},
    ),
    "a limit without a request is one": (
        {"containers": [{"resources": {"limits": {"memory": "1Ki"}}}]},
        {"memory": 1024},
    ),
    "overhead comes on top": ({"containers": [ask("1")], "overhead": {"cpu": "250m"}}, {"cpu": 1250}),
    "what the Pod asks for as a whole replaces the sum": (
        {"containers": [ask("1", memory="1Ki")], "resources": {"requests": {"cpu": "3"}}},
        {"cpu": 3000, "memory": 1024},
    ),
    "any resource counts": ({"containers": [ask("0", **{"example.com/gpu": "2"})]}, {"example.com/gpu": 2}),
}


@pytest.mark.parametrize(("spec", "total"), SUMS.values(), ids=SUMS.keys())
def test_requests(spec: dict[str, Any], total: dict[str, int]) -> None:
    assert sum_requests(msgspec.convert(spec, SchedulingSpec)) == total


@pytest.mark.parametrize(
    ("resource", "quantity", "amount"),
    [
        pytest.param("cpu", "1u", 1, id="a part of a thousandth is a whole one"),
        pytest.param("memory", "1500m", 2, id="a part of a byte is a whole one"),
        pytest.param("memory", "nonsense", 0, id="what cannot be read is nothing"),
    ],
)
def test_amounts(resource: str, quantity: str, amount: int) -> None:
    assert measure(resource, quantity) == amount
