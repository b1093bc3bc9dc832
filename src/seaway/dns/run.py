"""The loop of cluster DNS: informers feed the index, the server answers from it."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Callable
from typing import Any

from seaway.api.registry import ENDPOINT_SLICES, NAMESPACES, PODS, SERVICES
from seaway.client.requests import Client
from seaway.client.run import Change, Informer, run_all
from seaway.dns.config import DnsConfig
from seaway.dns.forwarding.forward import Forwarder
from seaway.dns.forwarding.serve import Relay
from seaway.dns.forwarding.upstreams import parse_resolv_conf
from seaway.dns.index import Index
from seaway.dns.objects import DetailedSlice, EndpointSlice, Namespace, Pod, Service
from seaway.dns.respond import Responder
from seaway.dns.serve import Server

__all__ = ["DnsConfig", "parse_resolv_conf", "run"]

log = logging.getLogger(__name__)

_LIVE_PODS = "status.phase!=Succeeded,status.phase!=Failed,status.phase!=Unknown"


async def run(config: DnsConfig, client: Client, *, on_ready: Callable[[], None]) -> None:
    """Serve until cancelled; `on_ready` is called once, when every list has arrived and every address listens.

    Until then names that are known are answered, and SERVFAIL says that others are not known yet. When the API is lost
    later, what was known last is served. Raises DnsError when an address cannot be bound.
    Rule: spec "discovery" A4.1.
    """
    index = Index(config.kubernetes.namespaces)
    responder = Responder(index, config.zone, max_udp_bytes=config.max_udp_bytes)
    forwarders = tuple(Forwarder(block, udp_bytes=config.max_udp_bytes) for block in config.server_blocks)
    server = Server(config, responder, Relay(config, responder, forwarders))
    informers = _make_informers(config, client, index, responder)
    await server.open()
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(run_all(*informers))
            for informer in informers:
                await informer.wait_synced()
            index.is_synced = True
            gc.freeze()  # what is known now lives long: the collector need not walk it again and again
            log.info("ready listen=%s services=%d", server.addresses, len(informers[1].objects))
            on_ready()
    finally:
        await server.close()


def _make_informers(config: DnsConfig, client: Client, index: Index, responder: Responder) -> list[Informer[Any]]:
    """Namespaces first: names exist only below them."""
    options = config.kubernetes
    namespaces = Informer(client, NAMESPACES, Namespace, label_selector=options.namespace_labels)
    services = Informer(client, SERVICES, Service, label_selector=options.labels)
    slice_type = DetailedSlice if options.endpoint_pod_names else EndpointSlice
    slices: Informer[EndpointSlice] = Informer(client, ENDPOINT_SLICES, slice_type, label_selector=options.labels)

    def on_namespace(change: Change[Namespace]) -> None:
        responder.drop(index.apply_namespace(change.old, change.new))

    def on_service(change: Change[Service]) -> None:
        responder.drop(index.apply_service(change.old, change.new, wall_seconds=int(time.time())))

    def on_slice(change: Change[EndpointSlice]) -> None:
        responder.drop(index.apply_slice(change.old, change.new, wall_seconds=int(time.time())))

    namespaces.subscribe(on_namespace)
    services.subscribe(on_service)
    slices.subscribe(on_slice)
    informers: list[Informer[Any]] = [namespaces, services] if options.no_endpoints else [namespaces, services, slices]
    if config.pods == "verified":
        pods = Informer(client, PODS, Pod, field_selector=_LIVE_PODS, label_selector=options.labels)

        def on_pod(change: Change[Pod]) -> None:
            responder.drop(index.apply_pod(change.old, change.new, wall_seconds=int(time.time())))

        pods.subscribe(on_pod)
        informers.append(pods)
    return informers
