"""A proxy whose only plane is user space: informers feed the proxier, sockets follow, and annotations tell where.

Needs no rights: what the host does not give is served elsewhere, and said (`seaway.dev/served-at`).
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import time
from collections.abc import Callable
from random import SystemRandom
from typing import Any

from seaway.api.endpointslice.types import LABEL_HEADLESS, EndpointSlice
from seaway.api.machinery.errors import ApiError, Forbidden, NotFound
from seaway.api.node.types import Node
from seaway.api.registry import ENDPOINT_SLICES, NODES, SERVICES
from seaway.api.service import served
from seaway.api.service.types import Service
from seaway.client.requests import Client, TransportError
from seaway.client.run import Change, Informer, run_all
from seaway.net.errors import OperationalError
from seaway.net.family import Family, family_of
from seaway.proxy.complaints import Complaint
from seaway.proxy.config import NodeView, ProxyConfig, choose_node_port_addresses
from seaway.proxy.forwarding import LABEL_PROXY_NAME, ServiceForwarding
from seaway.proxy.kernel import find_supported_families, list_interface_addresses
from seaway.proxy.proxier import Proxier, SyncReport
from seaway.proxy.telling.run import Teller
from seaway.proxy.userspace.figures import ConnectionFigures
from seaway.proxy.userspace.gate import Neighbours
from seaway.proxy.userspace.plan import HOST, Listening, Wanted, find_moved, plan_listeners
from seaway.proxy.userspace.plane import UserspacePlane
from seaway.proxy.userspace.serve import UserspaceSockets
from seaway.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

RETRY_SECONDS = 2.0
"""How often a place that somebody else has is tried again."""
LOOK_SECONDS = 30.0
"""How often the host's own addresses are looked at."""


async def run(config: ProxyConfig, client: Client, *, on_ready: Callable[[], None]) -> None:
    """Serve Services from user space until cancelled; `on_ready` is called once, when all are served.

    Connections end with the process. Raises OperationalError for a port of its own pages that is taken.
    """
    from seaway.proxy.run import watch_file

    families = (Family.IPV4,) if config.loopback is not None else find_supported_families(config.families)
    proxy = _Userspace(config, client, families)
    nodes = Informer(client, NODES, Node, field_selector=f"metadata.name={config.node_name}")
    services = Informer(client, SERVICES, Service, label_selector=f"!{LABEL_PROXY_NAME}")
    slices = Informer(client, ENDPOINT_SLICES, EndpointSlice, label_selector=f"!{LABEL_HEADLESS}")
    nodes.subscribe(proxy.on_node)
    services.subscribe(proxy.on_service)
    slices.subscribe(proxy.on_slice)
    informers: list[Informer[Any]] = [nodes, services, slices]
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(run_all(*informers))
            group.create_task(proxy.teller.run())
            group.create_task(proxy.tell_places())
            if config.configuration_file is not None:
                group.create_task(watch_file(config.configuration_file))
            for informer in informers:
                await informer.wait_synced()
            try:
                await proxy.follow(on_ready)
            finally:
                await proxy.teller.close()
    except* OperationalError as errors:
        raise errors.exceptions[0] from None
    finally:
        proxy.close()


class _Userspace:
    """One sync at a time; what arrives meanwhile is the next one's."""

    def __init__(self, config: ProxyConfig, client: Client, families: tuple[Family, ...]) -> None:
        self._config, self._client, self._families = config, client, families
        self._neighbours = Neighbours(
            config.loopback, tuple(ipaddress.ip_network(cidr, strict=False) for cidr in config.cluster_cidrs)
        )
        self._listed: tuple[str, ...] = ()
        self._wake = asyncio.Event()
        self._moved: asyncio.Queue[str] = asyncio.Queue()
        metrics = Metrics()
        self._sockets = UserspaceSockets(self._neighbours, figures=ConnectionFigures(metrics), tell=self._tell)
        pick = SystemRandom().randrange
        self._planes = {family: UserspacePlane(self._sockets, self._plan, pick=pick) for family in families}
        self.proxier = Proxier(
            self._planes, config.first_view, clock=time.perf_counter, is_userspace=True, unserved=self._list_unserved
        )
        self.teller = Teller(
            config, client, self.proxier, families, list_addresses=lambda: self._listed, metrics=metrics
        )

    def on_service(self, change: Change[Service]) -> None:
        self.proxier.set_service(change.key, change.new)
        self.teller.on_service()
        self._wake.set()

    def on_slice(self, change: Change[EndpointSlice]) -> None:
        self.proxier.set_slice(change.key, change.new)
        self.teller.on_slice(change)
        self._wake.set()

    def on_node(self, change: Change[Node]) -> None:
        self.teller.on_node(change.new)
        if self.proxier.set_node(change.new):
            self._wake.set()

    async def follow(self, on_ready: Callable[[], None]) -> None:
        """Sync, and sync again when something came, until cancelled."""
        self.teller.start()
        self._look()
        await self._sync()
        log.info("ready services=%d", self.proxier.service_count)
        on_ready()
        looked_at = time.monotonic()
        while True:
            has_refused = any(plane.has_refused for plane in self._planes.values())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RETRY_SECONDS if has_refused else LOOK_SECONDS):
                    await self._wake.wait()
            if time.monotonic() - looked_at >= LOOK_SECONDS:
                looked_at = time.monotonic()
                self._look()
            for plane in self._planes.values():
                for key in plane.retry() if has_refused else ():
                    self._moved.put_nowait(key)
            await self._sync()

    async def _sync(self) -> SyncReport:
        self._wake.clear()
        self._neighbours.host = frozenset((*self._listed, *self.proxier.node.addresses))
        report = self.proxier.sync()
        self.teller.note(report)
        for error in report.failures:
            log.error("sync=failed error=%r", str(error))
        if self._config.loopback is not None:
            for key in report.touched:
                self._moved.put_nowait(key)
        await self.teller.follow(report)
        return report

    def close(self) -> None:
        """Listen nowhere, and end every connection."""
        for plane in self._planes.values():
            plane.close()
        self._sockets.close()

    async def tell_places(self) -> None:
        """Keep the annotation of Services right that says which of their ports are served elsewhere."""
        is_told = False
        while True:
            key = await self._moved.get()
            try:
                await self._tell_place(key)
            except NotFound:
                continue  # it has gone meanwhile
            except Forbidden as error:
                if not is_told:  # it would be said for every Service, at every change of it
                    is_told = True
                    log.warning("served_at=untold service=%s error=%r", key, str(error))
            except (ApiError, TransportError) as error:
                log.warning("served_at=later service=%s error=%r", key, str(error))
                asyncio.get_running_loop().call_later(RETRY_SECONDS, self._moved.put_nowait, key)

    async def _tell_place(self, key: str) -> None:
        service = self.proxier.service(key)
        if service is None:
            return
        moved = find_moved(self._planes[Family.IPV4].bound(key), loopback=self._config.loopback)
        text = served.encode_served_at(
            {served.Frontend(f.address, f.port, f.protocol): (place.address, place.port) for f, place in moved.items()}
        )
        if text == (service.metadata.annotations or {}).get(served.SERVED_AT, ""):
            return
        namespace, _, name = key.rpartition("/")
        patch = {"metadata": {"annotations": {served.SERVED_AT: text or None}, "uid": service.metadata.uid}}
        await self._client.patch(SERVICES, name, namespace, patch=patch)

    def _tell(self, key: str, reason: str, text: str) -> None:
        self.teller.tell_service(key, reason, text, "Connect")

    def _plan(self, service: ServiceForwarding, node: NodeView) -> tuple[dict[Listening, Wanted], tuple[str, ...]]:
        addresses = self._list_node_addresses(service.family, node)
        return plan_listeners(service, loopback=self._config.loopback, node_addresses=addresses)

    def _list_node_addresses(self, family: Family, node: NodeView) -> list[str]:
        """Where node ports are served: as the proxy of the kernel does, and on loopback if addresses are there."""
        config = self._config
        own = tuple(a for a in self._listed if family_of(a) is family and not ipaddress.ip_address(a).is_loopback)
        loopback = config.loopback
        if loopback is None:
            chosen = choose_node_port_addresses(config, node, family, self._listed)
            return list(own if chosen.is_all else chosen.addresses)
        networks = [ipaddress.ip_network(cidr, strict=False) for cidr in config.node_port_addresses or ("0.0.0.0/0",)]
        moved = [place for a in node.addresses if (place := loopback.to_loopback(a))]
        asked = [*moved, HOST, *own]
        return [a for a in asked if any(ipaddress.ip_address(a) in network for network in networks)]

    def _list_unserved(self, key: str) -> tuple[Complaint, ...]:
        found = [complaint for plane in self._planes.values() for complaint in plane.complaints(key)]
        service = self.proxier.service(key)
        if service is not None and self._config.loopback is not None:
            found += [
                Complaint(
                    "NotServedHere", f"cluster IP {ip}: IPv6 has no place on loopback; it is served by no proxy here"
                )
                for ip in service.spec.cluster_ips
                if ":" in ip
            ]
        return tuple(found)

    def _look(self) -> None:
        """At the host's own addresses; the last known ones when they cannot be read."""
        try:
            listed = list_interface_addresses()
        except (OSError, AttributeError) as error:  # no netlink here
            log.info("interface_addresses=unreadable error=%r", str(error))
            return
        if listed != self._listed:
            self._listed = listed
            for plane in self._planes.values():
                plane.look_again()
