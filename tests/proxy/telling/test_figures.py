"""Rule: spec "proxy" §7.4 (names), §2.3 (no local endpoints)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from seaway.api.endpointslice.types import EndpointSlice
from seaway.api.service.types import Service
from seaway.net.family import Family
from seaway.proxy.config import NodeView
from seaway.proxy.forwarding import ServiceForwarding, forward_service
from seaway.proxy.proxier import SyncReport
from seaway.proxy.telling.figures import CONNECTIONS, PROGRAMMING_BOUNDS, Figures
from seaway.proxy.telling.page import Checks, answer_page
from seaway.telemetry.metrics import Metrics
from seaway.telemetry.page import Request
from seaway.testing.builders import make_service, make_slice
from tests.telemetry.test_metrics import read

BOTH = (Family.IPV4, Family.IPV6)
NAMES = [
    "sync_proxy_rules_duration_seconds",
    "sync_full_proxy_rules_duration_seconds",
    "sync_partial_proxy_rules_duration_seconds",
    "sync_proxy_rules_last_timestamp_seconds",
    "sync_proxy_rules_last_queued_timestamp_seconds",
    "network_programming_duration_seconds",
    "sync_proxy_rules_endpoint_changes_pending",
    "sync_proxy_rules_endpoint_changes_total",
    "sync_proxy_rules_service_changes_pending",
    "sync_proxy_rules_service_changes_total",
    "sync_proxy_rules_no_local_endpoints_total",
    "proxy_healthz_total",
    "proxy_livez_total",
    "sync_proxy_rules_nftables_sync_failures_total",
    "sync_proxy_rules_nftables_cleanup_failures_total",
    "conntrack_reconciler_sync_duration_seconds",
    "conntrack_reconciler_deleted_entries_total",
]


def test_every_metric_of_the_nftables_mode_is_there() -> None:
    figures = Figures(Metrics(), BOTH)
    assert {family.name for family in figures.metrics.collect()} == {"kubeproxy_" + name for name in NAMES} | {
        CONNECTIONS
    }


def test_a_sync_is_counted_by_family_and_kind() -> None:
    figures = Figures(Metrics(), BOTH)
    figures.queue("service", 5)
    figures.queue("endpoint", 6)
    figures.queue("endpoint", 7)
    page = read(figures.metrics)
    assert page["kubeproxy_sync_proxy_rules_endpoint_changes_pending"] == 2
    assert page["kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds ip_family=IPv6"] == 7
    seconds = {Family.IPV4: 0.5, Family.IPV6: 0.25}
    figures.observe_sync(SyncReport(seconds=seconds, failed=frozenset((Family.IPV6,))), 9)
    figures.observe_sync(SyncReport(seconds=seconds, full=frozenset(BOTH)), 10)
    page = read(figures.metrics)
    expected = {
        "sync_proxy_rules_endpoint_changes_pending": 0,
        "sync_proxy_rules_endpoint_changes_total": 2,
        "sync_proxy_rules_service_changes_total": 1,
        "sync_proxy_rules_duration_seconds_sum ip_family=IPv4": 1,
        "sync_full_proxy_rules_duration_seconds_count ip_family=IPv4": 1,
        "sync_full_proxy_rules_duration_seconds_count ip_family=IPv6": 2,
        "sync_partial_proxy_rules_duration_seconds_count ip_family=IPv4": 1,
        "sync_proxy_rules_nftables_sync_failures_total ip_family=IPv4": 0,
        "sync_proxy_rules_nftables_sync_failures_total ip_family=IPv6": 1,
        "sync_proxy_rules_last_timestamp_seconds ip_family=IPv6": 10,
    }
    assert {name: page["kubeproxy_" + name] for name in expected} == expected


def test_bounds_of_programming_latency() -> None:
    assert PROGRAMMING_BOUNDS[:3] == (0.25, 0.5, 1)
    assert PROGRAMMING_BOUNDS[60:63] == (59, 60, 65)
    assert PROGRAMMING_BOUNDS[-8:] == (115, 120, 150, 180, 210, 240, 270, 300)


def forward(node_name: str | None, **spec: Any) -> ServiceForwarding:
    wire = make_service("web", **{"clusterIP": "10.96.0.10", **spec})
    slices = [make_slice("a", "web", ["10.244.0.2"], nodeName=node_name)] if node_name else []
    found = forward_service(
        msgspec.convert(wire, Service),
        [msgspec.convert(s, EndpointSlice) for s in slices],
        family=Family.IPV4,
        node=NodeView("node-1"),
    )
    assert found is not None
    return found


NODE_PORT = {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}]}
NO_LOCAL: dict[str, tuple[str | None, dict[str, Any], tuple[int, int]]] = {
    "Cluster policies count nothing": ("node-2", NODE_PORT, (0, 0)),
    "an internal Local policy without an endpoint here": ("node-2", {"internalTrafficPolicy": "Local"}, (1, 0)),
    "an external one": ("node-2", {**NODE_PORT, "externalTrafficPolicy": "Local"}, (0, 1)),
    "with an endpoint here": ("node-1", {**NODE_PORT, "externalTrafficPolicy": "Local"}, (0, 0)),
    "no endpoint at all counts nothing": (None, {**NODE_PORT, "externalTrafficPolicy": "Local"}, (0, 0)),
    "several addresses of a port count once": (
        "node-2", {**NODE_PORT, "externalTrafficPolicy": "Local", "externalIPs": ["203.0.113.1"]}, (0, 1),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("node", "spec", "counts"), NO_LOCAL.values(), ids=NO_LOCAL.keys())
def test_no_local_endpoints(node: str | None, spec: dict[str, Any], counts: tuple[int, int]) -> None:
    figures = Figures(Metrics(), (Family.IPV4,))
    figures.read_forwardings(lambda family: [forward(node, **spec)])
    page = read(figures.metrics)
    name = "kubeproxy_sync_proxy_rules_no_local_endpoints_total ip_family=IPv4 traffic_policy="
    assert (page[name + "internal"], page[name + "external"]) == counts


PAGES = {
    "the mode, to the letter": ("/proxyMode", 200, b"nftables", "text/plain; charset=utf-8"),
    "alive": ("/healthz", 200, b"ok", "text/plain; charset=utf-8"),
    "the configuration": ("/configz", 200, b'{"kubeproxy.config.k8s.io":{"kind":"K"}}', "application/json"),
    "another path": ("/debug/pprof/", 404, b"404 page not found\n", "text/plain; charset=utf-8"),
}


@pytest.mark.parametrize(("path", "code", "body", "kind"), PAGES.values(), ids=PAGES.keys())
def test_pages(path: str, code: int, body: bytes, kind: str) -> None:
    answer = answer_page(Request("GET", path, {}), Metrics(), {"kind": "K"}, Checks())
    assert (answer.code, answer.body, answer.content_type) == (code, body, kind)


def test_pages_only_answer_questions() -> None:
    assert answer_page(Request("POST", "/metrics", {}), Metrics(), {}, Checks()).code == 405
    assert not answer_page(Request("HEAD", "/metrics", {}), Metrics(), {}, Checks()).has_body


def test_slis_tell_how_often_the_server_was_found_to_be_there() -> None:
    """Rule: KEP 3466; spec "proxy" §7.3."""
    checks = Checks()
    assert answer_page(Request("GET", "/metrics/slis", {}), Metrics(), {}, checks).body.count(b"ping") == 0
    for _ in range(2):
        answer_page(Request("GET", "/healthz", {}), Metrics(), {}, checks)
    page = answer_page(Request("GET", "/metrics/slis", {}), Metrics(), {}, checks).body.decode()
    assert 'kubernetes_healthcheck{name="ping",type="healthz"} 1' in page
    assert 'kubernetes_healthchecks_total{name="ping",status="success",type="healthz"} 2' in page
