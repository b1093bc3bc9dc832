"""The proxy's loop: informers feed the proxier, what is queued becomes one sync, the kernel follows at once.

Rules stay when the loop ends: connections go on, and the next start finds them (spec "proxy" §11.3).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from seaway.api.endpointslice.types import LABEL_HEADLESS, EndpointSlice
from seaway.api.node.types import Node
from seaway.api.registry import ENDPOINT_SLICES, NODES, SERVICE_CIDRS, SERVICES
from seaway.api.service.types import Service
from seaway.api.servicecidr.types import ServiceCIDR
from seaway.client.requests import Client
from seaway.client.run import Change, Informer, run_all
from seaway.net.errors import OperationalError
from seaway.net.family import Family
from seaway.proxy.bridges.run import BridgeWatch
from seaway.proxy.config import DetectLocal, NodeView, ProxyConfig
from seaway.proxy.counting.run import read_connections
from seaway.proxy.families import find_family_faults
from seaway.proxy.flows.run import FlowKeeper
from seaway.proxy.forwarding import LABEL_PROXY_NAME
from seaway.proxy.kernel import apply_oom_score, apply_sysctls, find_supported_families, list_interface_addresses
from seaway.proxy.nftables.kernel import NftKernel
from seaway.proxy.nftables.plane import NftablesPlane, NftError
from seaway.proxy.proxier import Plane, Proxier, SyncReport
from seaway.proxy.ranges.kernel import RouteError, ServiceRanges
from seaway.proxy.replacing.run import take_over
from seaway.proxy.splitting.run import Splitting
from seaway.proxy.telling.run import Teller
from seaway.proxy.uplinks.kernel import Uplinks, restore
from seaway.telemetry.metrics import Metrics

__all__ = ["ProxyConfig", "cleanup", "prepare_host", "run", "watch_file"]

log = logging.getLogger(__name__)

VERIFY_SECONDS = 30.0  # how long a table that somebody else deleted may be missing (spec "proxy" §14)
RETRY_SECONDS = (0.1, 1.0, 5.0, 30.0)
FILE_SECONDS = 2.0
"""How often the configuration's file is looked at."""
NODE_SECONDS, POD_CIDR_SECONDS = 30.0, 300.0
"""How long a start waits for the Node, and then for its ranges of Pods, if Pods are known by them."""
SERVICE_CIDRS_SECONDS = 2.0
"""How long a start waits for the list of ServiceCIDRs: servers before 1.33 have none. It is followed when it comes."""
_HOPELESS = frozenset((errno.EPERM, errno.EACCES, errno.EOPNOTSUPP))


async def run(config: ProxyConfig, client: Client, *, on_ready: Callable[[], None]) -> None:
    """Keep the kernel in step with Services until cancelled; `on_ready` is called once, after the first full sync.

    Nothing is written before every list has arrived. Raises PlaneError at the start when the kernel will never do, or
    when it is not known what an earlier proxy changed.
    Rule: spec "proxy" §11.2 (what is watched), §11.3 (what stays).
    """
    if config.plane == "userspace":
        from seaway.proxy.userspace.run import run as run_userspace

        await run_userspace(config, client, on_ready=on_ready)
        return
    prepare_host(config)
    if config.oom_score is not None and (refused := apply_oom_score(config.oom_score)):
        log.warning("oom_score_adj=%d error=%r", config.oom_score, refused)
    uplinks = _find_uplinks(config)
    kernel, metrics = NftKernel(), Metrics()
    splitting = Splitting(
        config,
        metrics=metrics,
        tell=lambda key, reason, text: teller.tell_service(key, reason, text, "Connect"),
        list_addresses=_InterfaceAddresses(),
    )
    try:
        cidrs = Informer(client, SERVICE_CIDRS, ServiceCIDR)
        families = find_supported_families(config.families)
        ranges = ServiceRanges(config, families, is_complete=lambda: cidrs.is_synced)
        planes = _make_planes(config, kernel, uplinks, ranges, splitting)
        proxier = Proxier(
            planes,
            config.first_view,
            service_cidrs=lambda: ranges.accepted,
            clock=time.perf_counter,
            unserved=splitting.complaints,
        )

        def on_synced() -> None:
            take_over(kernel, families, replaces=config.replaces)
            on_ready()

        teller = Teller(
            config,
            client,
            proxier,
            families,
            list_addresses=_InterfaceAddresses(),
            read_connections=partial(read_connections, families if config.counts_connections else (), config.table),
            metrics=metrics,
        )
        loop = _Loop(config, proxier, uplinks, ranges, teller)
        informers = _make_informers(config, client, loop)
        cidrs.subscribe(loop.on_service_cidr)
        async with asyncio.TaskGroup() as group:
            group.create_task(run_all(*informers, cidrs))
            group.create_task(teller.run())
            if config.configuration_file is not None:
                group.create_task(watch_file(config.configuration_file))
            for informer in informers:
                await informer.wait_synced()
            await loop.wait_for_pod_cidrs()
            check_families(config, proxier.node, families)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(cidrs.wait_synced(), SERVICE_CIDRS_SECONDS)
            try:
                await loop.run(on_synced)
            finally:
                await teller.close()
    except* OperationalError as errors:
        raise errors.exceptions[0] from None
    finally:
        splitting.close()
        kernel.close()


def prepare_host(config: ProxyConfig) -> None:
    """Set what needs all of root's rights. Raises OperationalError for what must be done and cannot be.

    Rule: spec "proxy" §6.2, §10.1 (`--init-only`).
    """
    for refused in apply_sysctls(config.sysctls):
        if config.sysctls_must_do:
            raise OperationalError(f"could not set conntrack parameters from kube-proxy configuration: {refused}")
        log.warning("sysctl=%s", refused)


def check_families(config: ProxyConfig, node: NodeView, families: tuple[Family, ...]) -> None:
    """Tell of ranges of the wrong family. Raises OperationalError where nothing can be right with them.

    Rule: spec "proxy" §11.1, step 10.
    """
    for fault in find_family_faults(config, node, families):
        if fault.is_fatal:
            raise OperationalError(f"kube-proxy configuration is incorrect: {fault.text}")
        log.warning("kube-proxy configuration may be incorrect: %s", fault.text)


async def watch_file(path: Path, *, pause: Callable[[], Awaitable[None]] | None = None) -> None:
    """Until its content changes; pause: between two looks. Raises OperationalError then. Rule: spec "proxy" §10.1."""

    def look() -> bytes | None:
        try:
            return path.read_bytes()
        except OSError:
            return None  # while it is being replaced

    before = look()
    while True:
        await (pause() if pause is not None else asyncio.sleep(FILE_SECONDS))
        if (now := await asyncio.to_thread(look)) is not None and now != before:
            break
    raise OperationalError("content of the proxy server's configuration file was updated")


def cleanup(table: str = "seaway", *, uplink_state: Path | None = None) -> None:
    """Turn off the forwarding that a proxy turned on, then remove every rule that it left, guards among them.

    Raises PlaneError; the rules stay when forwarding could not be turned off.
    """
    if uplink_state is not None:
        restore(uplink_state)
    kernel = NftKernel()
    try:
        for family in find_supported_families(Family):
            kernel.delete(family, table)
    finally:
        kernel.close()


def _find_uplinks(config: ProxyConfig) -> Uplinks | None:
    """The uplinks to serve; None: they are not served, and what an earlier proxy turned on is off."""
    if config.uplink_state is None:
        return None
    if not config.serves_uplinks:
        restore(config.uplink_state)
        return None
    return Uplinks(find_supported_families(config.families), config.uplink_state)


def _make_planes(
    config: ProxyConfig, kernel: NftKernel, uplinks: Uplinks | None, ranges: ServiceRanges, splitting: Splitting
) -> Mapping[Family, Plane]:
    """The data planes of the families that the host has."""

    def make(family: Family) -> Plane:
        def guarded() -> tuple[str, ...]:
            return uplinks.guarded(family) if uplinks is not None else ()

        rules = NftablesPlane(
            kernel,
            config,
            family,
            interface_addresses=_InterfaceAddresses(),
            guarded_links=guarded,
            service_cidrs=lambda: ranges.accepted,
        )
        return splitting.add(rules)

    return {family: make(family) for family in find_supported_families(config.families)}


def _make_informers(config: ProxyConfig, client: Client, loop: _Loop) -> list[Informer[Any]]:
    """Services without a cluster IP, and slices of such, never arrive: the server filters."""
    services = Informer(client, SERVICES, Service, label_selector=f"!{LABEL_PROXY_NAME}")
    slices = Informer(client, ENDPOINT_SLICES, EndpointSlice, label_selector=f"!{LABEL_HEADLESS}")
    node = Informer(client, NODES, Node, field_selector=f"metadata.name={config.node_name}")
    services.subscribe(loop.on_service)
    slices.subscribe(loop.on_slice)
    node.subscribe(loop.on_node)
    return [node, services, slices]


class _InterfaceAddresses:
    """The host's addresses; the last known ones when they cannot be read."""

    def __init__(self) -> None:
        self._last: tuple[str, ...] = ()

    def __call__(self) -> tuple[str, ...]:
        try:
            self._last = list_interface_addresses()
        except OSError as error:
            log.warning("interface_addresses=unreadable error=%r", str(error))
        return self._last


class _Loop:
    """One sync at a time; what arrives meanwhile is the next one's."""

    def __init__(
        self,
        config: ProxyConfig,
        proxier: Proxier,
        uplinks: Uplinks | None,
        ranges: ServiceRanges,
        teller: Teller,
    ) -> None:
        self._config = config
        self._proxier = proxier
        self._bridges = BridgeWatch(config, find_supported_families(config.families))
        self._uplinks = uplinks
        self._teller = teller
        self._flows = FlowKeeper(proxier, teller.figures.observe_flows)
        self._ranges = ranges
        self._must_see_uplinks = True
        self._must_see_ranges = True
        self._has_node = False
        self._wake = asyncio.Event()

    def on_service(self, change: Change[Service]) -> None:
        self._proxier.set_service(change.key, change.new)
        self._teller.on_service()
        self._wake.set()

    def on_slice(self, change: Change[EndpointSlice]) -> None:
        self._proxier.set_slice(change.key, change.new)
        self._teller.on_slice(change)
        self._wake.set()

    def on_service_cidr(self, change: Change[ServiceCIDR]) -> None:
        if self._ranges.set_object(change.key, change.new):
            self._must_see_ranges = True
            self._wake.set()

    def on_node(self, change: Change[Node]) -> None:
        self._has_node = change.new is not None
        self._teller.on_node(change.new)
        if self._proxier.set_node(change.new):
            self._must_see_uplinks = True
            self._wake.set()

    async def wait_for_pod_cidrs(self) -> None:
        """Where Pods are known by what their Node says, until it says so. Raises OperationalError.

        Nothing is written meanwhile: without it every Pod would be masqueraded. Rule: spec "proxy" §11.1, step 4.
        """
        if self._config.detect_local is not DetectLocal.NODE_CIDR:
            return
        name = self._config.node_name
        await self._wait_until(lambda: self._has_node, NODE_SECONDS, f'timeout waiting for node "{name}" to exist')
        text = f'timeout waiting for PodCIDR allocation on node "{name}"'
        await self._wait_until(lambda: bool(self._proxier.node.pod_cidrs), POD_CIDR_SECONDS, text)

    async def _wait_until(self, is_there: Callable[[], bool], seconds: float, text: str) -> None:
        """Raises OperationalError, with the text, when the time is over."""
        try:
            async with asyncio.timeout(seconds):
                while not is_there():
                    self._wake.clear()
                    await self._wake.wait()
        except TimeoutError:
            raise OperationalError(text) from None

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Sync, and sync again when something came, when it failed, or to see whether the table is still there."""
        self._teller.start()
        failures = await self._start()
        self._bridges.look(self._proxier.node)
        log.info("ready services=%d", self._proxier.service_count)
        on_ready()
        gc.freeze()  # what is known now lives long: the collector need not walk it again and again
        now = asyncio.get_running_loop().time
        looks_at = now() + VERIFY_SECONDS
        while True:
            delay = RETRY_SECONDS[min(failures, len(RETRY_SECONDS)) - 1] if failures else math.inf
            await self._sleep(min(delay, looks_at - now(), self._until_flows_end()))
            if now() >= looks_at:  # by the clock: changes that never end are no reason not to look
                await self._look()
                looks_at = now() + VERIFY_SECONDS
            failures = failures + 1 if (await self._sync()).failures else 0

    async def _look(self) -> None:
        """See whether everything is still as it should be. What comes meanwhile is applied between two steps."""
        for _ in self._proxier.look():
            await asyncio.sleep(0)
            if self._wake.is_set():
                await self._sync()
        self._bridges.look(self._proxier.node)
        self._must_see_uplinks = self._must_see_ranges = True

    def _until_flows_end(self) -> float:
        """Seconds until flows are to be reset; forever, if none are."""
        wakes_at = self._flows.wakes_at
        return math.inf if wakes_at is None else max(0.0, wakes_at - asyncio.get_running_loop().time())

    async def _start(self) -> int:
        """Sync until every plane is in step; what no retry can cure is raised. Returns 0, the failures since."""
        failures = 0
        while (report := await self._sync()).failures:
            for error in report.failures:
                if isinstance(error, NftError) and error.errno in _HOPELESS:
                    raise error
            await asyncio.sleep(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
            failures += 1
        return 0

    async def _sleep(self, seconds: float) -> None:
        """Until something comes, or the time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    async def _sync(self) -> SyncReport:
        self._wake.clear()
        self._prepare_uplinks()
        is_time_for_ranges = self._prepare_ranges()
        report = self._proxier.sync()
        self._teller.note(report)
        if is_time_for_ranges:
            report = self._route(report)
        if self._uplinks is not None and not report.failures:
            self._uplinks.turn_on()  # the guards are in the kernel now
        for error in report.failures:
            log.error("sync=failed error=%r", str(error))
        await self._flows.follow(report)
        await self._teller.follow(report)
        return report

    def _prepare_uplinks(self) -> None:
        """Look at the host's links again if something may have changed; a failure is tried again with the next look."""
        if self._uplinks is None or not self._must_see_uplinks:
            return
        self._must_see_uplinks = False
        try:
            self._uplinks.prepare(self._proxier.node.addresses)
        except OSError as error:
            log.warning("uplinks=unknown error=%r", str(error))

    def _prepare_ranges(self) -> bool:
        """Look at the ranges of Services again if something may have changed; whether it was time for it."""
        if not self._must_see_ranges:
            return False
        self._must_see_ranges = False
        try:
            self._ranges.prepare()
        except OSError as error:
            log.warning("service_ranges=unknown error=%r", str(error))
        return True

    def _route(self, report: SyncReport) -> SyncReport:
        """The report, with the failure to keep the routes, which is tried again as a sync is."""
        try:
            self._ranges.route()
        except RouteError as error:
            self._must_see_ranges = True
            return replace(report, failures=(*report.failures, error))
        return report
