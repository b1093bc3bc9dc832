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
import platform
import signal
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, replace
from typing import Any

import seaway
from seaway.api.registry import ENDPOINT_SLICES, NAMESPACES, PODS, SERVICES
from seaway.client.requests import Client
from seaway.client.run import Change, Informer, run_all
from seaway.dns.config import DnsConfig
from seaway.dns.counts import QueryCounts, note_build, parse_trigger_seconds
from seaway.dns.forwarding.counts import ForwardingCounts
from seaway.dns.forwarding.forward import Forwarder
from seaway.dns.forwarding.paths import PodNamespaces
from seaway.dns.forwarding.serve import Relay, Zone
from seaway.dns.forwarding.upstreams import parse_resolv_conf
from seaway.dns.forwarding.waste import WastedQueries
from seaway.dns.index import EVERYTHING, Index, service_key
from seaway.dns.lifecycle.pages import State
from seaway.dns.lifecycle.run import (
    PROBE_SECONDS,
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
from seaway.dns.records import Name
from seaway.dns.respond import Responder
from seaway.dns.serve import Server
from seaway.dns.settings.words import SettingsError
from seaway.dns.workers.changes import Counted, Kind, ObjectChange, Signal, apply_change, list_changes
from seaway.dns.workers.run import Hub, Leader
from seaway.telemetry.exposition import Family, collect_process
from seaway.telemetry.merging import encode_families
from seaway.telemetry.metrics import Metrics

__all__ = ["DnsConfig", "Load", "parse_resolv_conf", "run"]

log = logging.getLogger(__name__)

_LIVE_PODS = "status.phase!=Succeeded,status.phase!=Failed,status.phase!=Unknown"
DRAIN_SECONDS = 5.0
"""What queries in flight get when the sockets close."""
_NEEDS_RESTART = (
    "cluster_domain",
    "listen",
    "tls_listen",
    "lifecycle",
    "kubernetes",
    "max_connections",
    "max_connections_per_source",
    "workers",
    "loopback",
)
RELOAD_SIGNALS = (signal.SIGHUP, signal.SIGUSR1)

Load = Callable[[], tuple[DnsConfig, str]]
"""Read the configuration again: its value, and a checksum of what it was made from. Raises SettingsError."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where the configuration comes from: how it is read again, and the checksum of what is running."""

    load: Load
    checksum: str


async def run(
    config: DnsConfig,
    client: Client,
    *,
    on_ready: Callable[[], None],
    source: Source | None = None,
    hub_name: str = "",
) -> None:
    """Serve until cancelled; `on_ready` is called once, when every list has arrived and every address listens.

    Until then names that are known are answered, and SERVFAIL says that others are not known yet. When the API is lost
    later, what was known last is served. source: looked at again as the configuration wants; None: it never changes.
    hub_name: where the other workers of the configuration find this one, and learn what it learns.
    Raises DnsError when an address cannot be bound, or a query comes back from an upstream.
    """
    piece = _Piece(config, source)
    piece.watch(client, hub_name)
    async with serve_pages(config.lifecycle, piece.state, piece.metrics, piece.collect_others):
        await piece.serve(on_ready)


async def follow(
    config: DnsConfig, hub_name: str, *, on_ready: Callable[[], None], source: Source | None = None
) -> None:
    """Serve what another process watches, until cancelled; pages, signals and the search for a loop are its business.

    Sockets open when the whole state has come. What was known last is served while the other is gone.
    """
    piece = _Piece(config, source)
    piece.follow(hub_name)
    await piece.serve(on_ready)


class _Piece:
    """One server: what it knows, and what it is told to do now."""

    def __init__(self, config: DnsConfig, source: Source | None) -> None:
        self.state = State()
        self.metrics = Metrics()
        self._config = config
        self._source = source
        self._checksum = source.checksum if source else ""
        self._index = Index(config.kubernetes.namespaces, config.loopback)
        self._moves = Moves(self._index.slices_of)
        self._expiry: asyncio.TimerHandle | None = None
        self._pods = PodNamespaces()
        server = f"dns://:{config.listen[0][1]}"
        self._counts = ForwardingCounts(self.metrics, server=server)
        self._queries = QueryCounts(self.metrics, server=server, zones=_list_zones(config))
        note_build(self.metrics, seaway.__version__, platform.python_version())
        self._wasted = WastedQueries(self.metrics)
        self._responder = self._make_responder(config)
        self._relay = self._make_relay(config, self._responder, ())
        self._server = Server(config, self._responder, self._relay, wasted=self._wasted)
        self._informers: list[Informer[Any]] = []
        self._hub: Hub | None = None
        self._leader: Leader | None = None
        self._has_all = asyncio.Event()
        self._reload = asyncio.Event()
        self._hosts: list[asyncio.Task[None]] = []
        self._retiring: dict[Relay, asyncio.Task[None]] = {}

    def watch(self, client: Client, hub_name: str) -> None:
        """Learn from the API server, and tell the followers, if there are any."""
        self._informers = self._make_informers(client)
        if hub_name:
            self._hub = Hub(hub_name, self._config.workers - 1, lambda: list_changes(self._index))

    def follow(self, hub_name: str) -> None:
        """Learn from the leader."""
        self._leader = Leader(hub_name, has_details=self._config.kubernetes.endpoint_pod_names)

    async def collect_others(self) -> list[list[Family]]:
        """What the followers have counted."""
        return await self._hub.collect() if self._hub is not None else []

    async def serve(self, on_ready: Callable[[], None]) -> None:
        """All of it, until cancelled."""
        tasks = [self._start(self._follow() if self._leader is not None else run_all(*self._informers))]
        if self._hub is not None:
            tasks.append(self._start(self._hub.run()))
        synced = self._start(self._wait_synced())
        tasks.append(synced)
        try:
            if self._leader is not None:
                await self._wait_for(synced, None, tasks)
            elif self._config.lifecycle.startup_seconds:
                await self._wait_for(synced, self._config.lifecycle.startup_seconds, tasks)
            hosts = _load_hosts(self._relay)
            await self._server.open()
            tasks.append(self._start(self._become_ready(synced, on_ready)))
            tasks.append(self._start(tell_summaries(lambda: self._relay)))
            await _end(self._hosts)
            self._watch_hosts(hosts)
            search: list[asyncio.Task[None]] = []
            if self._config.lifecycle.detects_loops and self._leader is None:
                search = [self._start(find_loop(lambda: self._relay, self._server.addresses[0]))]
            tasks += search
            if self._hub is not None:
                tasks.append(self._start(self._let_others_serve(self._hub, [synced, *search])))
            if self._source is not None and self._leader is None:
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
        if self._leader is not None:
            await self._has_all.wait()
        for informer in self._informers:
            await informer.wait_synced()
        self._index.is_synced = self.state.is_synced = True
        gc.freeze()  # what is known now lives long: the collector need not walk it again and again

    async def _wait_for(
        self, synced: asyncio.Task[None], seconds: float | None, tasks: list[asyncio.Task[None]]
    ) -> None:
        """Returns when the first lists have come or have taken too long; an informer's failure is raised."""
        log.info("waiting for Kubernetes API before starting server")
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
        if not synced.done():
            log.warning("starting server with unsynced Kubernetes API")

    async def _become_ready(self, synced: asyncio.Task[None], on_ready: Callable[[], None]) -> None:
        await asyncio.wait((synced,))
        if self._leader is not None:
            self._leader.tell(Signal.READY)
        if self._hub is not None:
            await self._hub.wait_ready()
        self.state.is_listening = True
        log.info("ready listen=%s services=%d", self._server.addresses, len(self._index.list_shards()))
        on_ready()

    async def _let_others_serve(self, hub: Hub, before: list[asyncio.Task[None]]) -> None:
        """Not before the search for a loop, whose queries must come back to this process."""
        await before[0]
        await asyncio.wait(before, timeout=PROBE_SECONDS)
        hub.publish(Signal.SYNCED)

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

    def _make_responder(self, config: DnsConfig) -> Responder:
        return Responder(
            self._index,
            config.zone,
            max_udp_bytes=config.max_udp_bytes,
            counts=self._queries,
            nsid=config.nsid.encode(),
        )

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
            self._queries.note_version(self._checksum)
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
        self._queries.note_version(checksum)
        if self._hub is not None:
            self._hub.publish(Signal.RELOAD)
        log.info("Reloading complete; running configuration SHA512 = %s", checksum)
        return True

    async def _use(self, config: DnsConfig) -> None:
        """Answer by this configuration from now on; what is in flight is finished by the old one."""
        old = self._relay
        self._queries.use(_list_zones(config))
        responder = self._make_responder(config)
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

        def on_namespace(change: Change[Namespace]) -> None:
            self._take(Kind.NAMESPACE, change.old, change.new)

        def on_service(change: Change[Service]) -> None:
            self._take(Kind.SERVICE, change.old, change.new)

        def on_slice(change: Change[EndpointSlice]) -> None:
            self._apply_slices(self._moves.take(change.old, change.new, asyncio.get_running_loop().time()))
            if change.new is not None and self._index.is_synced:
                self._note_programming(change.new)

        namespaces.subscribe(on_namespace)
        services.subscribe(on_service)
        slices.subscribe(on_slice)
        informers: list[Informer[Any]] = [namespaces, services, *([] if options.no_endpoints else [slices])]
        if _watches_pods(self._config):
            pods = Informer(client, PODS, Pod, field_selector=_LIVE_PODS, label_selector=options.labels)

            def on_pod(change: Change[Pod]) -> None:
                self._take(Kind.POD, change.old, change.new)

            pods.subscribe(on_pod)
            informers.append(pods)
        return informers

    def _take(self, kind: Kind, old: Any, new: Any) -> None:
        """A change is in the answers, and on its way to the followers."""
        change = ObjectChange(kind, old, new, int(time.time()))
        self._responder.drop(apply_change(change, self._index, self._pods))
        if self._hub is not None:
            self._hub.publish(change)

    async def _follow(self) -> None:
        """Learn from a leader, and from the next when it is gone: of each the whole state, which then replaces ours."""
        assert self._leader is not None
        while True:
            index, pods, is_whole = (
                Index(self._config.kubernetes.namespaces, self._config.loopback),
                PodNamespaces(),
                False,
            )
            async for word in self._leader.connect():
                if isinstance(word, ObjectChange):
                    touched = apply_change(word, index, pods)
                    if is_whole:
                        self._responder.drop(touched)
                elif word is Signal.SYNCED:
                    index.is_synced = is_whole = True
                    self._index, self._pods = index, pods
                    await self._use(self._config)
                    if self._has_all.is_set():
                        self._leader.tell(Signal.READY)
                    self._has_all.set()
                elif word is Signal.RELOAD:
                    await self._reload_with_leader()
                elif word is Signal.COUNT:
                    families = [*self.metrics.collect(), *collect_process()]
                    self._leader.tell(Counted(encode_families(families)))
            log.warning("workers: the leader is gone; what it told last is served meanwhile")

    async def _reload_with_leader(self) -> None:
        """What the leader has read can be read again, unless it has changed meanwhile: then comes another word."""
        if self._source is not None:
            try:
                await self._load_again()
            except (SettingsError, OSError) as error:
                log.error("plugin/reload: the running configuration is kept: %s", error)

    def _apply_slices(self, changes: Iterable[SliceChange]) -> None:
        """Take them in, and see to it that what lingers goes in time."""
        for old, new in changes:
            self._take(Kind.SLICE, old, new)
        deadline = self._moves.next_deadline()
        if deadline is not None and self._expiry is None:
            self._expiry = asyncio.get_running_loop().call_at(deadline, self._expire)

    def _note_programming(self, endpoint_slice: EndpointSlice) -> None:
        """How long the change took to get here. What was there before this server came says nothing of it."""
        key = service_key(endpoint_slice)
        shard = self._index.find(key) if key is not None else None
        trigger = parse_trigger_seconds(endpoint_slice.metadata.annotations.trigger_time)
        if shard is None or shard.service is None or trigger is None:
            return
        kind = "headless_with_selector" if shard.service.is_headless else "cluster_ip"
        self._queries.note_programming(kind, max(0.0, time.time() - trigger))

    def _expire(self) -> None:
        self._expiry = None
        self._apply_slices(self._moves.expire(asyncio.get_running_loop().time()))


def _load_hosts(relay: Relay) -> dict[Zone, Stamp | None]:
    """Before the first query, so that none misses a name of a file."""
    return {zone: load_hosts(zone) for zone in relay.zones if zone.block.hosts is not None and zone.block.hosts.path}


def _list_zones(config: DnsConfig) -> tuple[Name, ...]:
    return tuple(block.zone for block in config.server_blocks)


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
