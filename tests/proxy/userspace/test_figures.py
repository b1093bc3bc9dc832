"""What is counted. Rule: issue of the userspace plane, part 3 ("in metrics")."""

from __future__ import annotations

from seaway.proxy.userspace.ejection import Outcome
from seaway.proxy.userspace.figures import ConnectionFigures
from seaway.telemetry.metrics import Metrics

WEB, OTHER = ("default", "web", "http"), ("default", "other", "http")


def collect(metrics: Metrics) -> dict[str, dict[tuple[str, ...], float]]:
    return {
        family.name.removeprefix("seaway_proxy_userspace_"): {
            values: number for values, number in family.rows if isinstance(number, float)
        }
        for family in metrics.collect()
    }


def test_connections_attempts_retries_and_who_is_out() -> None:
    metrics = Metrics()
    figures = ConnectionFigures(metrics)
    figures.attempted(WEB, Outcome.REFUSED)
    figures.retried(WEB)
    figures.attempted(WEB, Outcome.CONNECTED)
    figures.opened(WEB)
    figures.opened(WEB)
    figures.closed(WEB)
    figures.set_ejected(WEB, 1)
    assert collect(metrics) == {
        "connections": {WEB: 1.0},
        "connects_total": {(*WEB, "refused"): 1.0, (*WEB, "connected"): 1.0},
        "retries_total": {WEB: 1.0},
        "ejected_endpoints": {WEB: 1.0},
    }


def test_of_a_port_that_has_gone_nothing_is_left_and_its_last_connections_bring_nothing_back() -> None:
    metrics = Metrics()
    figures = ConnectionFigures(metrics)
    for port in (WEB, OTHER):
        figures.opened(port)
        figures.attempted(port, Outcome.CONNECTED)
    figures.forget(WEB)
    figures.closed(WEB)
    assert collect(metrics)["connections"] == {OTHER: 1.0}
    assert collect(metrics)["connects_total"] == {(*OTHER, "connected"): 1.0}


def test_of_endpoints_that_are_out_is_told_until_none_is_and_never_before() -> None:
    metrics = Metrics()
    figures = ConnectionFigures(metrics)
    figures.set_ejected(WEB, 0)
    assert collect(metrics)["ejected_endpoints"] == {}
    figures.set_ejected(WEB, 2)
    figures.set_ejected(WEB, 0)
    assert collect(metrics)["ejected_endpoints"] == {WEB: 0.0}
