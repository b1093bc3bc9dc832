"""Goals and what was measured, as values, and the table that shows both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

COLUMNS = ("what", "goal", "measured", "verdict", "measured elsewhere")
"""The last column: stock Kubernetes parts, measured once on this class of machine (design page, §8)."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What is measured and its limit: at least so much, or at most; None for a figure without a goal."""

    what: str
    unit: str
    at_least: float | None = None
    at_most: float | None = None
    elsewhere: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measurement. `measured` is None when it was not possible; `note` says why, or how it was done."""

    goal: Goal
    measured: float | None
    note: str = ""


def find_goal(goals: Sequence[Goal], what: str) -> Goal:
    """The goal of that name. Raises KeyError."""
    for goal in goals:
        if goal.what == what:
            return goal
    raise KeyError(what)


def judge(figure: Figure) -> str:
    """The verdict, with the ratio to the goal: above 1 is better than asked."""
    goal, measured = figure.goal, figure.measured
    if measured is None:
        return "not measured"
    if goal.at_least is not None:
        ratio = measured / goal.at_least
    elif goal.at_most is not None:
        ratio = goal.at_most / max(measured, 1e-9)
    else:
        return ""
    return f"{'met' if ratio >= 1 else 'missed'}, {ratio:.2f} of it"


def render_table(figures: Sequence[Figure]) -> str:
    """The figures as aligned text, in the order given, notes below their row."""
    rows = [COLUMNS, *(_row(figure) for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    lines = [_align(rows[0], widths), "  ".join("-" * width for width in widths)]
    for figure, row in zip(figures, rows[1:], strict=True):
        lines.append(_align(row, widths))
        if figure.note:
            lines.append(f"    {figure.note}")
    return "\n".join(lines)


def median(values: Sequence[float]) -> float:
    """The middle value; of an even number the lower of the two, so that it was measured."""
    return sorted(values)[(len(values) - 1) // 2]


def percentile(values: Sequence[float], share: float) -> float:
    """The value that the share of all does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _row(figure: Figure) -> tuple[str, ...]:
    goal = figure.goal
    limit = "–"
    if goal.at_least is not None:
        limit = f"≥ {_amount(goal.at_least)} {goal.unit}"
    elif goal.at_most is not None:
        limit = f"≤ {_amount(goal.at_most)} {goal.unit}"
    measured = "–" if figure.measured is None else f"{_amount(figure.measured)} {goal.unit}"
    return goal.what, limit, measured, judge(figure), goal.elsewhere


def _amount(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _align(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
