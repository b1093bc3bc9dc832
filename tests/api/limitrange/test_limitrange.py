"""Rule: upstream's LimitRange defaults and validation; spec "api-machinery" §1.3."""

from __future__ import annotations

from typing import Any

import pytest

from seaway.api.registry import LIMIT_RANGES
from tests.api.kindtable import Case, cases
from tests.api.manifests import create_texts, make_stored

Json = dict[str, Any]


def limits(*items: Json) -> Json:
    return {"spec": {"limits": list(items)}}


def container(**bounds: str) -> Json:
    return {"type": "Container", **{name: {"cpu": value} for name, value in bounds.items()}}


CREATE: list[Case] = [
    ("of a known type", limits({"type": "Node"}),
     ['spec.limits[0].type: Invalid value: "Node": must be a standard limit type or fully qualified']),
    ("or one with a domain", limits({"type": "example.com/widget"}), []),
    ("once", limits({"type": "Pod"}, {"type": "Pod"}), ['spec.limits[1].type: Duplicate value: "Pod"']),
    ("a Pod has no defaults", limits({"type": "Pod", "default": {"cpu": "1"}, "defaultRequest": {"cpu": "1"}}),
     ["spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'",
      "spec.limits[0].defaultRequest: Forbidden: may not be specified when `type` is 'Pod'"]),
    ("a claim has a bound", limits({"type": "PersistentVolumeClaim"}),
     ["spec.limits[0].limits: Required value: "
      "either minimum or maximum storage value is required, but neither was provided"]),
    ("the least is no more than the most", limits(container(min="2", max="1500m", default="1500m", defaultRequest="1")),
     ['spec.limits[0].min[cpu]: Invalid value: "2": min value 2 is greater than max value 1500m',
      'spec.limits[0].defaultRequest[cpu]: Invalid value: "1": min value 2 is greater than default request value 1',
      'spec.limits[0].default[cpu]: Invalid value: "1500m": min value 2 is greater than default value 1500m']),
    ("a default is between", limits(container(max="1", default="2", defaultRequest="3")),
     ['spec.limits[0].defaultRequest[cpu]: Invalid value: "3": default request value 3 is greater than max value 1',
      'spec.limits[0].default[cpu]: Invalid value: "2": default value 2 is greater than max value 1',
      'spec.limits[0].defaultRequest[cpu]: Invalid value: "3": '
      "default request value 3 is greater than default value 2"]),
    ("a ratio is at least one", limits(container(maxLimitRequestRatio="500m")),
     ['spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: "500m": ratio 500m is less than 1']),
    ("and can be reached", limits(container(min="1", max="4", maxLimitRequestRatio="5", defaultRequest="1")),
     ['spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: "5": ratio 5 is greater than max/min = 4.000000']),
]  # fmt: skip


@cases(CREATE)
def test_create(changes: Json, texts: list[str]) -> None:
    assert create_texts(LIMIT_RANGES, **changes) == texts


@pytest.mark.parametrize(
    ("given", "default", "asked"),
    [
        pytest.param({"max": "1"}, "1", "1", id="the limit is the most, and asked for"),
        pytest.param({"max": "2", "default": "1"}, "1", "1", id="a limit that is given"),
        pytest.param({"min": "1"}, None, "1", id="the least is asked for"),
        pytest.param({"min": "1", "max": "2"}, "2", "2", id="the limit comes before the least"),
        pytest.param({"max": "2", "defaultRequest": "1"}, "2", "1", id="a request that is given"),
    ],
)
def test_one_bound_gives_another(given: dict[str, str], default: str | None, asked: str) -> None:
    (item,) = make_stored(LIMIT_RANGES, **limits(container(**given)))["spec"]["limits"]
    assert item.get("default", {}).get("cpu") == default
    assert item["defaultRequest"] == {"cpu": asked}


def test_put_creates() -> None:
    assert LIMIT_RANGES.strategy.creates_on_update
