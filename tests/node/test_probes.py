"""Rule: spec "node" §2.8."""

from __future__ import annotations

import pytest

from seaway.node.podspec import Container, ContainerPort, Probe
from seaway.node.probes import EAGER_DELAYS, Outcome, ProbeKind, ProbeState, resolve_port, start_probe, step

PASS, FAIL, ERROR = Outcome(True), Outcome(False, "no"), Outcome(False, "broken", error=True)


def feed(kind: ProbeKind, probe: Probe, outcomes: list[Outcome]) -> list[bool | None]:
    """The verdict after each try at a tick."""
    state = start_probe(kind, probe, running_seconds=0, now=0.0)
    verdicts = []
    for outcome in outcomes:
        state = step(state, probe, outcome, state.tick_at)
        verdicts.append(state.verdict)
    return verdicts


@pytest.mark.parametrize(
    ("kind", "probe", "outcomes", "expected"),
    [
        pytest.param(ProbeKind.READINESS, Probe(), [PASS], [True], id="one success makes ready"),
        pytest.param(
            ProbeKind.READINESS, Probe(), [PASS, FAIL, FAIL, PASS, FAIL, FAIL, FAIL],
            [True, True, True, True, True, True, False], id="only failures in a row make unready",
        ),
        pytest.param(
            ProbeKind.READINESS, Probe(success_threshold=2), [PASS, FAIL, PASS, PASS], [False, False, False, True],
            id="two successes in a row",
        ),
        pytest.param(
            ProbeKind.READINESS, Probe(failure_threshold=1), [PASS, ERROR, FAIL], [True, True, False],
            id="an error of the prober counts for nothing",
        ),
        pytest.param(ProbeKind.LIVENESS, Probe(), [FAIL, FAIL], [True, True], id="liveness begins as passed"),
        pytest.param(ProbeKind.LIVENESS, Probe(), [FAIL, FAIL, FAIL], [True, True, False], id="liveness fails"),
        pytest.param(ProbeKind.STARTUP, Probe(), [FAIL, PASS], [None, True], id="startup is unknown until it passes"),
        pytest.param(
            ProbeKind.STARTUP, Probe(failure_threshold=2), [FAIL, FAIL], [None, False], id="startup gives up"
        ),
    ],
)  # fmt: skip
def test_verdicts(kind: ProbeKind, probe: Probe, outcomes: list[Outcome], expected: list[bool | None]) -> None:
    assert feed(kind, probe, outcomes) == expected


def test_the_first_try_waits_for_the_initial_delay_since_the_start() -> None:
    probe = Probe(initial_delay_seconds=5)
    assert start_probe(ProbeKind.READINESS, probe, running_seconds=2, now=100.0).due_at == 103.0
    assert start_probe(ProbeKind.READINESS, probe, running_seconds=9, now=100.0).due_at == 100.0


def drive(state: ProbeState, probe: Probe, count: int) -> list[float]:
    """When the tries happen that all fail."""
    moments = []
    for _ in range(count):
        moments.append(state.due_at)
        state = step(state, probe, FAIL, state.due_at)
    return moments


def test_readiness_is_tried_between_ticks_until_it_has_passed() -> None:
    state = start_probe(ProbeKind.READINESS, Probe(), running_seconds=0, now=0.0)
    moments = drive(state, Probe(), len(EAGER_DELAYS) + 2)
    assert moments[:3] == [0.0, 0.02, pytest.approx(0.06)]
    assert moments[-1] == 10.0
    passed = step(state, Probe(), PASS, 0.0)
    assert passed.due_at == 0.02 and step(passed, Probe(), PASS, 0.02).due_at == 10.0


def test_a_failure_between_ticks_counts_for_nothing() -> None:
    probe = Probe(failure_threshold=2)
    state = start_probe(ProbeKind.STARTUP, probe, running_seconds=0, now=0.0)
    for _ in range(len(EAGER_DELAYS) + 1):
        state = step(state, probe, FAIL, state.due_at)
    assert state.verdict is None and state.due_at == 10.0
    assert step(state, probe, FAIL, 10.0).verdict is False


def test_liveness_and_what_was_ready_keep_to_the_ticks() -> None:
    assert drive(start_probe(ProbeKind.LIVENESS, Probe(), running_seconds=0, now=0.0), Probe(), 3) == [0.0, 10.0, 20.0]
    adopted = start_probe(ProbeKind.READINESS, Probe(), running_seconds=0, now=0.0, ready=True)
    assert adopted.verdict is True and drive(adopted, Probe(), 2) == [0.0, 10.0]


def test_a_late_try_does_not_shift_the_ticks() -> None:
    state = start_probe(ProbeKind.LIVENESS, Probe(), running_seconds=0, now=0.0)
    assert step(state, Probe(), PASS, 23.0).due_at == 30.0


@pytest.mark.parametrize(
    ("port", "expected"),
    [(80, 80), ("http", 8080), ("9090", 9090), ("absent", None), (0, None), (65536, None), ("70000", None)],
)
def test_ports(port: int | str, expected: int | None) -> None:
    container = Container(ports=(ContainerPort(name="http", container_port=8080),))
    assert resolve_port(port, container) == expected
