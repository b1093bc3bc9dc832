"""The loop of cluster DNS: informers feed the index, the server answers from it.

Started in this order: pages, informers, sockets (when the first lists have come, or have taken too long), the search
for a loop. Ended in this: readiness goes, queries are answered a while longer (lameduck), sockets close, then pages.
Rule: spec "discovery" A4.1, A4.2.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, replace
from typing import Any

from seaway.api.registry import ENDPOINT_SLICES, NAMESPACES, PODS, SERVICES
from seaway.client.requests import Client
from seaway.client.run import Change, Informer, run_all
from seaway.dns.config import DnsConfig
from seaway.dns.forwarding.counts import ForwardingCounts
from seaway.dns.forwarding.forward import Forwarder
from seaway.dns.forwarding.paths import PodNamespaces
from seaway.dns.forwarding.serve import Relay, Zone
from seaway.dns.forwarding.upstreams import parse_resolv_conf
from seaway.dns.forwarding.waste import WastedQueries
from seaway.dns.index import EVERYTHING, Index
from seaway.dns.lifecycle.pages import State
from seaway.dns.lifecycle.run import (
    Stamp,
    find_loop,
    load_hosts,
    serve_pages,
    tell_summaries,
    watch_config,
    watch_hosts,
)
from seaway.dns.moving import Change as SliceChange
from seaway.dns.moving import Moves
from seaway.dns.objects import DetailedSlice, EndpointSlice, Namespace, Pod, Service
from seaway.dns.respond import Responder
from seaway.dns.serve import Server
from seaway.telemetry.metrics import Metrics

__all__ = ["DnsConfig", "Load", "parse_resolv_conf", "run"]

log = logging.getLogger(__name__)

_LIVE_PODS = "status.phase!=Succeeded,status.phase!=Failed,status.phase!=Unknown"
DRAIN_SECONDS = 5.0
"""What queries in flight get when the sockets close."""
_NEEDS_RESTART = (
    "cluster_domain",
    "listen",
    "lifecycle",
    "kubernetes",
    "max_connections",
    "max_connections_per_source",
)
RELOAD_SIGNALS = (signal.SIGHUP, signal.SIGUSR1)

Load = Callable[[], tuple[DnsConfig, str]]
"""Read the configuration again: its value, and a checksum of what it was made from. Raises SettingsError."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where the configuration comes from: how it is read again, and the checksum of what is running."""

    load: Load
    checksum: str


async def run(config: DnsConfig, client: Client, *, on_ready: Callable[[], None], source: Source | None = None) -> None:
    """Serve until cancelled; `on_ready` is called once, when every list has arrived and every address listens.

    Until then names that are known are answered, and SERVFAIL says that others are not known yet. When the API is lost
    later, what was known last is served. source: looked at again as the configuration wants; None: it never changes.
    Raises DnsError when an address cannot be bound, or a query comes back from an upstream.
    """
    piece = _Piece(config, client, source)
    async with serve_pages(config.lifecycle, piece.state, piece.metrics):
        await piece.serve(on_ready)


class _Piece:
    """One server: what it knows, and what it is told to do now."""

    def __init__(self, config: DnsConfig, client: Client, source: Source | None) -> None:
        self.state = State()
        self.metrics = Metrics()
        self._config = config
        self._source = source
        self._checksum = source.checksum if source else ""
        self._index = Index(config.kubernetes.namespaces)
        self._moves = Moves(self._index.slices_of)
        self._expiry: asyncio.TimerHandle | None = None
        self._pods = PodNamespaces()
        self._counts = ForwardingCounts(self.metrics)
        self._wasted = WastedQueries(self.metrics)
        self._responder = Responder(self._index, config.zone, max_udp_bytes=config.max_udp_bytes)
        self._relay = self._make_relay(config, self._responder, ())
        self._server = Server(config, self._responder, self._relay, wasted=self._wasted)
        self._informers = self._make_informers(client)
        self._reload = asyncio.Event()
        self._hosts: list[asyncio.Task[None]] = []
        self._retiring: dict[Relay, asyncio.Task[None]] = {}

    async def serve(self, on_ready: Callable[[], None]) -> None:
        """All of it, until cancelled."""
        tasks = [self._start(run_all(*self._informers))]
        synced = self._start(self._wait_synced())
        tasks.append(synced)
        try:
            await self._wait_for(synced, self._config.lifecycle.startup_seconds, tasks)
            hosts = _load_hosts(self._relay)
            await self._server.open()
            self.state.is_listening = True
            tasks.append(self._start(self._become_ready(synced, on_ready)))
            tasks.append(self._start(tell_summaries(lambda: self._relay)))
            self._watch_hosts(hosts)
            if self._config.lifecycle.detects_loops:
                tasks.append(self._start(find_loop(lambda: self._relay, self._server.addresses[0])))
            if self._source is not None:
                tasks.append(self._start(self._watch_source()))
            await _wait_for_failure(tasks)
        except asyncio.CancelledError:
            await self._leave()
            raise
        finally:
            if self._expiry is not None:
                self._expiry.cancel()
            await _end((*tasks, *self._hosts, *self._retiring.values()))
            for old in self._retiring:
                await old.close()
            await self._server.close()

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(work)

    # -- start and end -------------------------------------------------------------------------------------------------

    async def _wait_synced(self) -> None:
        for informer in self._informers:
            await informer.wait_synced()
        self._index.is_synced = self.state.is_synced = True
        gc.freeze()  # what is known now lives long: the collector need not walk it again and again

    async def _wait_for(self, synced: asyncio.Task[None], seconds: float, tasks: list[asyncio.Task[None]]) -> None:
        """Returns when the first lists have come or have taken too long; an informer's failure is raised."""
        if not seconds:
            return
        log.info("waiting for Kubernetes API before starting server")
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
        if not synced.done():
            log.warning("starting server with unsynced Kubernetes API")

    async def _become_ready(self, synced: asyncio.Task[None], on_ready: Callable[[], None]) -> None:
        await asyncio.wait((synced,))
        log.info("ready listen=%s services=%d", self._server.addresses, len(self._informers[1].objects))
        on_ready()

    async def _leave(self) -> None:
        """What is asked while others learn that we go is still answered."""
        self.state.is_leaving = True
        seconds = self._config.lifecycle.lameduck_seconds
        if seconds and self.state.is_listening:
            log.info("Going into lameduck mode for %gs", seconds)
            await asyncio.sleep(seconds)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await self._server.drain()

    # -- the configuration ---------------------------------------------------------------------------------------------

    def _make_relay(self, config: DnsConfig, responder: Responder, old: tuple[Forwarder, ...]) -> Relay:
        """With the forwarders of blocks that are as they were: their caches and what they know of upstreams stay."""
        kept = {forwarder.block: forwarder for forwarder in old}
        forwarders = tuple(
            kept.get(block) or Forwarder(block, udp_bytes=config.max_udp_bytes, counts=self._counts)
            for block in config.server_blocks
        )
        return Relay(config, responder, forwarders, find_namespace=self._pods.find)

    async def _watch_source(self) -> None:
        loop = asyncio.get_running_loop()
        for number in RELOAD_SIGNALS:
            loop.add_signal_handler(number, self._reload.set)
        log.info("Running configuration SHA512 = %s", self._checksum)
        try:
            await watch_config(self._load_again, self._config.lifecycle, self._reload, self._counts.reload_failures.inc)
        finally:
            for number in RELOAD_SIGNALS:
                loop.remove_signal_handler(number)

    async def _load_again(self) -> bool:
        """Take what the source says now, if it differs. Raises SettingsError, and all stays as it was."""
        assert self._source is not None
        config, checksum = await asyncio.to_thread(self._source.load)
        if checksum == self._checksum:
            return False
        for name in _NEEDS_RESTART:
            if getattr(config, name) != getattr(self._config, name):
                log.warning("plugin/reload: %s has changed, which needs a restart; the rest is taken", name)
                config = replace(config, **{name: getattr(self._config, name)})
        if _watches_pods(config) and not _watches_pods(self._config):
            log.warning("plugin/reload: pods are not watched, which needs a restart; the rest is taken")
            config = replace(config, pods=self._config.pods)
        await self._use(config)
        self._checksum = checksum
        log.info("Reloading complete; running configuration SHA512 = %s", checksum)
        return True

    async def _use(self, config: DnsConfig) -> None:
        """Answer by this configuration from now on; what is in flight is finished by the old one."""
        old = self._relay
        responder = Responder(self._index, config.zone, max_udp_bytes=config.max_udp_bytes)
        relay = self._make_relay(config, responder, old.forwarders)
        hosts = _load_hosts(relay)
        self._server.use(config, responder, relay)
        self._config, self._responder, self._relay = config, responder, relay
        await _end(self._hosts)
        self._watch_hosts(hosts)
        self._retiring[old] = self._start(self._retire(old))

    async def _retire(self, old: Relay) -> None:
        """Let it finish what it began, then close what nobody else goes on with."""
        await old.drain()
        del self._retiring[old]
        used = {forwarder for relay in (self._relay, *self._retiring) for forwarder in relay.forwarders}
        await old.close(spare=used)

    def _watch_hosts(self, stamps: dict[Zone, Stamp | None]) -> None:
        def forget() -> None:
            self._responder.drop([EVERYTHING])

        self._hosts = [self._start(watch_hosts(zone, stamp, forget)) for zone, stamp in stamps.items()]

    # -- the cluster ---------------------------------------------------------------------------------------------------

    def _make_informers(self, client: Client) -> list[Informer[Any]]:
        """Namespaces first: names exist only below them."""
        options = self._config.kubernetes
        slice_type = DetailedSlice if options.endpoint_pod_names else EndpointSlice
        namespaces = Informer(client, NAMESPACES, Namespace, label_selector=options.namespace_labels)
        services = Informer(client, SERVICES, Service, label_selector=options.labels)
        slices: Informer[EndpointSlice] = Informer(client, ENDPOINT_SLICES, slice_type, label_selector=options.labels)
        index = self._index

        def on_namespace(change: Change[Namespace]) -> None:
            self._responder.drop(index.apply_namespace(change.old, change.new))

        def on_service(change: Change[Service]) -> None:
            self._responder.drop(index.apply_service(change.old, change.new, wall_seconds=int(time.time())))

        def on_slice(change: Change[EndpointSlice]) -> None:
            self._apply_slices(self._moves.take(change.old, change.new, asyncio.get_running_loop().time()))

        namespaces.subscribe(on_namespace)
        services.subscribe(on_service)
        slices.subscribe(on_slice)
        informers: list[Informer[Any]] = [namespaces, services, *([] if options.no_endpoints else [slices])]
        if _watches_pods(self._config):
            pods = Informer(client, PODS, Pod, field_selector=_LIVE_PODS, label_selector=options.labels)

            def on_pod(change: Change[Pod]) -> None:
                self._pods.apply(change.old, change.new)
                self._responder.drop(index.apply_pod(change.old, change.new, wall_seconds=int(time.time())))

            pods.subscribe(on_pod)
            informers.append(pods)
        return informers

    def _apply_slices(self, changes: Iterable[SliceChange]) -> None:
        """Take them in, and see to it that what lingers goes in time."""
        for old, new in changes:
            self._responder.drop(self._index.apply_slice(old, new, wall_seconds=int(time.time())))
        deadline = self._moves.next_deadline()
        if deadline is not None and self._expiry is None:
            self._expiry = asyncio.get_running_loop().call_at(deadline, self._expire)

    def _expire(self) -> None:
        self._expiry = None
        self._apply_slices(self._moves.expire(asyncio.get_running_loop().time()))


def _load_hosts(relay: Relay) -> dict[Zone, Stamp | None]:
    """Before the first query, so that none misses a name of a file."""
    return {zone: load_hosts(zone) for zone in relay.zones if zone.block.hosts is not None and zone.block.hosts.path}


def _watches_pods(config: DnsConfig) -> bool:
    return config.pods == "verified" or any(block.finds_paths for block in config.blocks)


async def _wait_for_failure(tasks: list[asyncio.Task[None]]) -> None:
    """Until one of them raises; that some come to an end is no failure."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    for task in done:
        task.result()


async def _end(tasks: Iterable[asyncio.Task[None]]) -> None:
    tasks = tuple(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
