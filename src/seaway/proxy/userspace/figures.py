"""What the userspace plane counts, by port of a Service."""

from __future__ import annotations

from seaway.proxy.counting.plan import Port
from seaway.proxy.userspace.ejection import Outcome
from seaway.telemetry.metrics import Metrics

PREFIX = "seaway_proxy_userspace_"
_LABELS = ("namespace", "service", "port")


class ConnectionFigures:
    """The metrics of the userspace plane of one proxy. `port`: (namespace, Service, port's name or number)."""

    def __init__(self, metrics: Metrics) -> None:
        self._open = metrics.gauge(PREFIX + "connections", "TCP connections that are held now.", *_LABELS)
        self._connects = metrics.counter(
            PREFIX + "connects_total", "Attempts to connect to an endpoint, by how they ended.", *_LABELS, "outcome"
        )
        self._retries = metrics.counter(
            PREFIX + "retries_total", "Attempts at another endpoint after one that failed.", *_LABELS
        )
        self._ejected = metrics.gauge(
            PREFIX + "ejected_endpoints", "Endpoints that get no connections for a while because they failed.", *_LABELS
        )

    def opened(self, port: Port) -> None:
        """A connection to an endpoint is there."""
        self._open.set(self._open.cells.get(port, 0.0) + 1, *port)

    def closed(self, port: Port) -> None:
        """It has ended; one whose Service has gone meanwhile is not counted any more."""
        if port in self._open.cells:
            self._open.set(max(0.0, self._open.cells[port] - 1), *port)

    def attempted(self, port: Port, outcome: Outcome) -> None:
        """An attempt to connect ended so."""
        self._connects.inc(*port, outcome.value)

    def retried(self, port: Port) -> None:
        """Another endpoint is tried."""
        self._retries.inc(*port)

    def set_ejected(self, port: Port, count: int) -> None:
        """So many endpoints are out now; nothing is said of a port that never had one out."""
        if count or port in self._ejected.cells:
            self._ejected.set(float(count), *port)

    def forget(self, port: Port) -> None:
        """The port has gone, and nothing more is to be said of it."""
        for gauge in (self._open, self._ejected):
            gauge.forget(*port)
        self._retries.cells.pop(port, None)
        for outcome in Outcome:
            self._connects.cells.pop((*port, outcome.value), None)
