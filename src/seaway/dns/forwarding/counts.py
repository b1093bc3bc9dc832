"""What forwarding counts, under upstream's names. Rule: spec "discovery" A4.3."""

from __future__ import annotations

import functools
import weakref

from seaway.dns.forwarding.cache import ReplyCache
from seaway.dns.forwarding.config import RCODES, CacheConfig
from seaway.dns.forwarding.upstreams import Upstream
from seaway.telemetry.metrics import Metrics, exponential_bounds

_SECONDS = exponential_bounds(0.00025, 2.0, 16)
_RCODE_NAMES = {value: name for name, value in RCODES.items()}
_PROXY = "forward"
"""The only kind of proxy here; upstream's label has others too."""


class ForwardingCounts:
    """The counters of all zones of one server."""

    def __init__(self, metrics: Metrics | None = None, *, server: str = "dns://") -> None:
        metrics = metrics or Metrics()
        self._server = server
        self.broken = metrics.counter(
            "coredns_forward_healthcheck_broken_total", "Times that all upstreams of a route were down."
        )
        self.concurrent_rejects = metrics.counter(
            "coredns_forward_max_concurrent_rejects_total", "Queries refused because too many were in flight."
        )
        self._exchanges = metrics.histogram(
            "coredns_proxy_request_duration_seconds", "What upstreams took to answer.", "proxy_name", "to", "rcode",
            bounds=_SECONDS,
        )  # fmt: skip
        self.check_failures = metrics.counter(
            "coredns_proxy_healthcheck_failures_total", "Checks of an upstream that failed.", "proxy_name", "to"
        )
        labels = ("proxy_name", "to", "proto")
        self._reused = metrics.counter(
            "coredns_proxy_conn_cache_hits_total", "Queries that found an open connection.", *labels
        )
        self._opened = metrics.counter(
            "coredns_proxy_conn_cache_misses_total", "Queries that had to open a connection.", *labels
        )
        kept = ("server", "zones", "view")
        self._hits = metrics.counter("coredns_cache_hits_total", "Replies that were kept.", "server", "type", *kept[1:])
        self._asked = metrics.counter("coredns_cache_requests_total", "Questions that the cache was asked.", *kept)
        self._misses = metrics.counter("coredns_cache_misses_total", "Questions that it did not know.", *kept)
        self._prefetches = metrics.counter("coredns_cache_prefetch_total", "Replies fetched before their end.", *kept)
        self._stale = metrics.counter("coredns_cache_served_stale_total", "Replies given after their end.", *kept)
        self._evictions = metrics.counter(
            "coredns_cache_evictions_total", "Replies that had to make room.", "server", "type", *kept[1:]
        )
        self._entries = metrics.gauge("coredns_cache_entries", "Replies kept now.", "server", "type", *kept[1:])
        self.reload_failures = metrics.counter("coredns_reload_failed_total", "Configurations that were not taken.")

    def note_exchange(self, upstream: str, rcode: int, seconds: float) -> None:
        """An upstream has answered."""
        self._exchanges.observe(seconds, _PROXY, upstream, _RCODE_NAMES.get(rcode, str(rcode)))

    def note_connections(self, upstream: Upstream, opened: int, reused: int) -> None:
        """Of streams; UDP sockets are never kept."""
        if opened or reused:
            where = _PROXY, str(upstream), "unix" if upstream.path else "tcp-tls" if upstream.is_tls else "tcp"
            if opened:
                self._opened.inc(*where, by=opened)
            if reused:
                self._reused.inc(*where, by=reused)

    def note_lookup(self, zone: str, kind: str) -> None:
        """kind: `success` or `denial` when it was found, "" when not."""
        self._asked.inc(self._server, zone, "")
        if kind:
            self._hits.inc(self._server, kind, zone, "")
        else:
            self._misses.inc(self._server, zone, "")

    def note_prefetch(self, zone: str) -> None:
        self._prefetches.inc(self._server, zone, "")

    def note_stale(self, zone: str) -> None:
        self._stale.inc(self._server, zone, "")

    def make_cache(self, config: CacheConfig, zone: str) -> ReplyCache:
        """A cache that is counted under its zone, in the place of the one before."""

        def note_evicted(kind: str) -> None:
            self._evictions.inc(self._server, kind, zone, "")

        cache = ReplyCache(config, on_evict=note_evicted)
        found = weakref.ref(cache)  # a zone that is gone keeps its rows, and not its replies
        for kind in ("success", "denial"):
            self._entries.read(functools.partial(_count, found, kind), self._server, kind, zone, "")
        return cache


def _count(found: weakref.ref[ReplyCache], kind: str) -> int:
    cache = found()
    return 0 if cache is None else cache.count(kind)
