"""Verdicts and the table."""

from __future__ import annotations

import pytest
from bench.figures import Figure, Goal, judge, median, percentile, render_table

RATE = Goal("rate", "/s", at_least=1000, elsewhere="10/s")
DELAY = Goal("delay", "ms", at_most=20)
PLAIN = Goal("size", "MB")


@pytest.mark.parametrize(
    ("goal", "measured", "verdict"),
    [
        pytest.param(RATE, 2000, "met, 2.00 of it", id="twice the rate asked for"),
        pytest.param(RATE, 500, "missed, 0.50 of it", id="half of the rate"),
        pytest.param(DELAY, 10, "met, 2.00 of it", id="half of the delay allowed"),
        pytest.param(DELAY, 40, "missed, 0.50 of it", id="twice the delay"),
        pytest.param(DELAY, 20, "met, 1.00 of it", id="the limit itself"),
        pytest.param(PLAIN, 3, "", id="no goal, no verdict"),
        pytest.param(RATE, None, "not measured", id="nothing was measured"),
    ],
)
def test_verdict(goal: Goal, measured: float | None, verdict: str) -> None:
    assert judge(Figure(goal, measured)) == verdict


def test_the_table_shows_what_is_missing_and_why() -> None:
    table = render_table([Figure(RATE, 54321.5), Figure(DELAY, None, "wrk is not installed; install the package wrk")])
    lines = table.splitlines()
    assert lines[0].split("  ")[0] == "what"
    cells = [cell.strip() for cell in lines[2].split("  ") if cell]
    assert cells == [
        "rate",
        "≥ 1,000 /s",
        "54,322 /s",
        "met, 54.32 of it",
        "10/s",
    ]
    assert "not measured" in lines[3]
    assert lines[4].strip() == "wrk is not installed; install the package wrk"


def test_middle_and_percentile_are_values_that_were_measured() -> None:
    assert median([3, 1, 2]) == 2
    assert median([4, 1, 2, 3]) == 2
    assert percentile(list(range(100)), 0.99) == 99
    assert percentile([5.0], 0.99) == 5.0
