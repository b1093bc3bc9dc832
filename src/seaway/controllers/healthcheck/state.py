"""One target over time: up or down, decided by a row of equal results, tried at even ticks. No clock, no chance.

A target that comes back is up after `rise` ticks, so within `rise` times the interval and the time of one probe; one
that breaks is down after `fall` of them. Between the ticks nothing is tried: the promise is also the load on the peer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from seaway.controllers.healthcheck.check import Check


@dataclass(frozen=True, slots=True)
class Outcome:
    """One try. `message` says what was wrong, and is empty when it passed."""

    passed: bool
    message: str = ""


@dataclass(frozen=True, slots=True)
class TargetState:
    """`streak` results in a row speak against `is_up`. `message`: of the last failure. `due_at`: the next try."""

    is_up: bool
    due_at: float
    streak: int = 0
    message: str = ""


def start(check: Check, *, is_up: bool, now: float, jitter: float) -> TargetState:
    """The state of a target that was found so; jitter from 0 to 1 spreads the first tries over an interval."""
    return TargetState(is_up, now + jitter * check.interval_seconds)


def step(state: TargetState, check: Check, outcome: Outcome, now: float) -> TargetState:
    """The state after the try that was due, which ended now."""
    due_at = _find_next_tick(state.due_at, check.interval_seconds, now)
    message = "" if outcome.passed else outcome.message
    if outcome.passed == state.is_up:
        return replace(state, due_at=due_at, streak=0, message=message)
    streak = state.streak + 1
    if streak < (check.rise if outcome.passed else check.fall):
        return replace(state, due_at=due_at, streak=streak, message=message)
    return TargetState(outcome.passed, due_at, 0, message)


def restart(state: TargetState, check: Check, *, now: float, jitter: float) -> TargetState:
    """The state under another check: what was decided stands, what was under way begins anew."""
    return replace(start(check, is_up=state.is_up, now=now, jitter=jitter), message=state.message)


def _find_next_tick(due_at: float, interval_seconds: float, now: float) -> float:
    """The tick after the one that was due; of several that were missed, the last is made up for."""
    passed = int((now - due_at) / interval_seconds)
    return due_at + max(1, passed) * interval_seconds
