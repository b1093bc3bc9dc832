"""Which benchmarks there are, and what happens when one cannot run."""

from __future__ import annotations

from types import ModuleType

import pytest
from bench.__main__ import find_components, main, measure
from bench.figures import Figure, Goal

GOALS = (Goal("one", "s"), Goal("two", "s"))


def broken() -> list[Figure]:
    raise RuntimeError("the port is taken")


def test_components_are_the_modules_with_goals() -> None:
    components = find_components()
    assert {"store", "apiserver", "dns", "proxy", "up"} <= set(components)
    for module in components.values():
        whats = [goal.what for goal in module.GOALS]
        assert len(set(whats)) == len(whats)


def test_a_benchmark_that_breaks_shows_every_goal_with_the_reason() -> None:
    module = ModuleType("broken")
    module.__dict__.update(GOALS=GOALS, run=broken)
    assert measure("broken", module) == [Figure(goal, None, "RuntimeError: the port is taken") for goal in GOALS]


def test_an_unknown_component_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nothing"]) == 2
    assert "no component nothing; there are allocation, apiserver" in capsys.readouterr().err
