"""Probes without a clock or a socket: when the next one is due, and what a row of results means.

Readiness starts as failed, liveness as passed, startup as unknown. A verdict changes only after as many equal results
in a row as its threshold says. Beyond upstream: until a readiness or startup probe has passed once, it is also tried
between the ticks (`EAGER_DELAYS`), so that a program that is up in 50 ms is ready in 100 ms; such a try can pass the
probe, but its failure counts for nothing, so thresholds keep their meaning. Rule: spec "node" §2.8.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from seaway.node.podspec import Container, Probe

EAGER_DELAYS = (0.02, 0.04, 0.08, 0.16, 0.32, 0.64)
"""Seconds between the tries before the first success; together 1.3 s."""


class ProbeKind(enum.Enum):
    """The value is how an event names the probe."""

    STARTUP = "Startup"
    LIVENESS = "Liveness"
    READINESS = "Readiness"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One try. `error`: the probe itself could not be made, which says nothing about the container."""

    passed: bool
    message: str = ""
    error: bool = False
    warning: str = ""


@dataclass(frozen=True, slots=True)
class ProbeState:
    """verdict None: startup has not been decided. `streak` equal results `last` in a row."""

    kind: ProbeKind
    verdict: bool | None
    due_at: float
    last: bool | None = None
    streak: int = 0
    tick_at: float = 0.0
    eager: int = 0
    is_done: bool = False


def find_probes(container: Container) -> tuple[tuple[ProbeKind, Probe], ...]:
    """The probes that the container declares."""
    declared = (
        (ProbeKind.STARTUP, container.startup_probe),
        (ProbeKind.LIVENESS, container.liveness_probe),
        (ProbeKind.READINESS, container.readiness_probe),
    )
    return tuple((kind, probe) for kind, probe in declared if probe is not None)


def start_probe(
    kind: ProbeKind, probe: Probe, *, running_seconds: float, now: float, ready: bool = False
) -> ProbeState:
    """The state for a run of the container that began `running_seconds` ago; `ready` is what was reported before."""
    verdict = {ProbeKind.STARTUP: None, ProbeKind.LIVENESS: True, ProbeKind.READINESS: ready}[kind]
    due = now + max(0.0, probe.initial_delay_seconds - running_seconds)
    eager = len(EAGER_DELAYS) if kind is ProbeKind.LIVENESS or ready else 0
    return ProbeState(kind, verdict, due, tick_at=due, eager=eager)


def step(state: ProbeState, probe: Probe, outcome: Outcome, now: float) -> ProbeState:
    """The state after one try that was due."""
    at_tick = now >= state.tick_at
    state = _schedule(state, probe, now, at_tick)
    if outcome.error or (not outcome.passed and not at_tick):
        return state
    streak = state.streak + 1 if outcome.passed == state.last else 1
    state = replace(state, last=outcome.passed, streak=streak)
    if streak < (probe.success_threshold if outcome.passed else probe.failure_threshold):
        return state
    decided = state.kind is ProbeKind.STARTUP or (state.kind is ProbeKind.LIVENESS and not outcome.passed)
    return replace(state, verdict=outcome.passed, is_done=decided, eager=len(EAGER_DELAYS))


def _schedule(state: ProbeState, probe: Probe, now: float, at_tick: bool) -> ProbeState:
    tick = state.tick_at
    if at_tick:
        periods = int((now - tick) / probe.period_seconds) + 1
        tick += periods * probe.period_seconds
    if state.eager < len(EAGER_DELAYS):
        return replace(state, tick_at=tick, due_at=min(tick, now + EAGER_DELAYS[state.eager]), eager=state.eager + 1)
    return replace(state, tick_at=tick, due_at=tick)


def resolve_port(port: int | str, container: Container) -> int | None:
    """The number of a port that is a number, a numeric text, or the name of one of this container's ports."""
    if isinstance(port, int):
        number = port
    else:
        named = {declared.name: declared.container_port for declared in container.ports if declared.name}
        if port in named:
            number = named[port]
        elif port.isdecimal():
            number = int(port)
        else:
            return None
    return number if 0 < number < 65536 else None
