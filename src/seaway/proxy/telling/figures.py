"""What the proxy counts, under upstream's names. Rule: spec "proxy" §7.4."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from seaway.net.family import Family
from seaway.proxy.counting.plan import Port
from seaway.proxy.forwarding import Refusal, ServiceForwarding, TrafficClass
from seaway.proxy.proxier import SyncReport
from seaway.telemetry.metrics import Metrics, exponential_bounds

PREFIX = "kubeproxy_"
SYNC = PREFIX + "sync_proxy_rules_"
CONNECTIONS = "seaway_proxy_service_connections_total"
SYNC_BOUNDS = exponential_bounds(0.001, 2, 15)
PROGRAMMING_BOUNDS = (0.25, 0.5, *map(float, (*range(1, 60), *range(60, 120, 5), *range(120, 301, 30))))


class Figures:
    """The metrics of one proxy."""

    def __init__(self, metrics: Metrics, families: Iterable[Family]) -> None:
        self.metrics = metrics
        by = "ip_family"
        self._sync = metrics.histogram(SYNC + "duration_seconds", "Duration of a sync.", by, bounds=SYNC_BOUNDS)
        self._full = metrics.histogram(
            PREFIX + "sync_full_proxy_rules_duration_seconds", "Duration of a sync that compared all.", by,
            bounds=SYNC_BOUNDS,
        )  # fmt: skip
        self._partial = metrics.histogram(
            PREFIX + "sync_partial_proxy_rules_duration_seconds", "Duration of a sync of what changed.", by,
            bounds=SYNC_BOUNDS,
        )  # fmt: skip
        self._synced_at = metrics.gauge(SYNC + "last_timestamp_seconds", "When a sync last succeeded.", by)
        self._queued_at = metrics.gauge(SYNC + "last_queued_timestamp_seconds", "When a sync was last asked for.", by)
        self._programming = metrics.histogram(
            PREFIX + "network_programming_duration_seconds", "From a change until it is in the kernel.", by,
            bounds=PROGRAMMING_BOUNDS,
        )  # fmt: skip
        self._pending = {
            kind: metrics.gauge(f"{SYNC}{kind}_changes_pending", f"Changes of {kind}s that wait for a sync.")
            for kind in ("endpoint", "service")
        }
        self._changes = {
            kind: metrics.counter(f"{SYNC}{kind}_changes_total", f"Changes of {kind}s.")
            for kind in ("endpoint", "service")
        }
        self._no_local = metrics.gauge(
            SYNC + "no_local_endpoints_total", "Service ports with a Local policy and no endpoint here.",
            "traffic_policy", by,
        )  # fmt: skip
        self.pages = {
            path: metrics.counter(f"{PREFIX}proxy_{path}_total", f"Answers of /{path}.", "code")
            for path in ("healthz", "livez")
        }
        self._failures = metrics.counter(SYNC + "nftables_sync_failures_total", "Syncs that failed.", by)
        self._cleanup = metrics.counter(SYNC + "nftables_cleanup_failures_total", "Cleanups that failed.", by)
        self._conntrack = metrics.histogram(
            PREFIX + "conntrack_reconciler_sync_duration_seconds", "Duration of a look at the flows.", by,
            bounds=SYNC_BOUNDS,
        )  # fmt: skip
        self._deleted = metrics.counter(
            PREFIX + "conntrack_reconciler_deleted_entries_total", "Flows that were forgotten.", by
        )
        self._connections = metrics.counter(
            CONNECTIONS,
            "First packets of connections to the port of a Service, by all of its addresses and node ports, refused or"
            " not; what source ranges keep out is not among them.",
            "namespace", "service", "port",
        )  # fmt: skip
        self._families = tuple(families)
        for family in self._families:
            self._failures.inc(family.value, by=0)
            self._cleanup.inc(family.value, by=0)
            self._deleted.inc(family.value, by=0)

    def read_forwardings(self, forwardings: Callable[[Family], Iterable[ServiceForwarding]]) -> None:
        """Where to look, when somebody asks, for Services without endpoints here."""
        for family in self._families:
            for policy in ("internal", "external"):
                self._no_local.read(_Count(forwardings, family, is_internal=policy == "internal"), policy, family.value)

    def queue(self, kind: str, wall: float) -> None:
        """An endpoint or a service changed."""
        self._changes[kind].inc()
        self._pending[kind].set(self._pending[kind].cells.get((), 0.0) + 1)
        for family in self._families:
            self._queued_at.set(wall, family.value)

    def observe_sync(self, report: SyncReport, wall: float) -> None:
        """What a sync did, and when it ended."""
        for gauge in self._pending.values():
            gauge.set(0)
        for family, seconds in report.seconds.items():
            name = family.value
            self._sync.observe(seconds, name)
            (self._full if family in report.full or family in report.failed else self._partial).observe(seconds, name)
            if family in report.failed:
                self._failures.inc(name)
            else:
                self._synced_at.set(wall, name)

    def observe_programming(self, family: Family, seconds: float) -> None:
        """From a change until it was in the kernel."""
        self._programming.observe(max(0.0, seconds), family.value)

    def set_connections(self, totals: Mapping[Port, int]) -> None:
        """How many connections there were to each port of a Service, of those that are there."""
        self._connections.cells = {port: float(total) for port, total in totals.items()}

    def observe_flows(self, family: Family, seconds: float, deleted: int) -> None:
        """A look at the flows of a family."""
        self._conntrack.observe(seconds, family.value)
        self._deleted.inc(family.value, by=deleted)


class _Count:
    """A gauge's reader."""

    def __init__(
        self, forwardings: Callable[[Family], Iterable[ServiceForwarding]], family: Family, *, is_internal: bool
    ) -> None:
        self._forwardings, self._family, self._is_internal = forwardings, family, is_internal

    def __call__(self) -> float:
        return float(sum(count_no_local(f, is_internal=self._is_internal) for f in self._forwardings(self._family)))


def count_no_local(service: ServiceForwarding, *, is_internal: bool) -> int:
    """Ports of the Service that have endpoints, but none here, where the policy is Local. Rule: spec "proxy" §2.3."""
    return len(
        {
            (f.port_name, f.frontend.protocol)
            for f in service.forwardings
            if f.refusal is Refusal.DROP and (f.frontend.traffic_class is TrafficClass.CLUSTER_IP) is is_internal
        }
    )
