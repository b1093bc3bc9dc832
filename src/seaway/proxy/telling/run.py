"""Tells what the proxy does, beside its loop: nothing here holds up a sync, and no failure here ends one."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from seaway.api.endpointslice.types import EndpointSlice
from seaway.api.machinery.errors import AlreadyExists, ApiError
from seaway.api.node.types import Node
from seaway.api.registry import EVENTS_OF_GROUP
from seaway.client.requests import Client, TransportError
from seaway.client.run import Change
from seaway.net.family import Family
from seaway.proxy.config import ProxyConfig, choose_node_port_addresses
from seaway.proxy.counting.plan import Port, Reading, Tally, find_ports, list_labels
from seaway.proxy.forwarding import ServiceForwarding
from seaway.proxy.health.ports import HealthPort, Key, explain_failure, plan_health_ports
from seaway.proxy.health.serve import HealthPortServers, run_page
from seaway.proxy.health.status import Moment, ProxyHealth
from seaway.proxy.proxier import PlaneError, Proxier, SyncReport
from seaway.proxy.telling.events import Occurrence, Told, format_event_time, make_event, not_listening, starting
from seaway.proxy.telling.figures import Figures
from seaway.proxy.telling.page import Checks, answer_page, without_body
from seaway.proxy.telling.triggers import Triggers
from seaway.telemetry.metrics import Metrics
from seaway.telemetry.page import Answer, Request

log = logging.getLogger(__name__)

MAX_WAITING_EVENTS = 1000
"""More than these wait for nobody."""


class Teller:
    """Metrics, health, health-check ports and Events of one proxy."""

    def __init__(
        self,
        config: ProxyConfig,
        client: Client,
        proxier: Proxier,
        families: tuple[Family, ...],
        *,
        list_addresses: Callable[[], tuple[str, ...]],
        read_connections: Callable[[], list[Reading]] = list,
        metrics: Metrics | None = None,
    ) -> None:
        """read_connections: the counters of the kernel; takes its time, and may raise PlaneError.

        metrics: others' as well; None: the proxy's alone.
        """
        self._config, self._client, self._proxier, self._families = config, client, proxier, families
        self._list_addresses = list_addresses
        self._read_connections, self._tally = read_connections, Tally()
        self.health = ProxyHealth(families, timeout_seconds=config.health_timeout_seconds)
        self.figures = Figures(metrics if metrics is not None else Metrics(), families)
        self.figures.read_forwardings(proxier.forwardings)
        self._checks = Checks()
        self._triggers = Triggers(started_at=time.time())
        self._ports = HealthPortServers(lambda: self.health.is_healthy(_now()), self._on_port_refused)
        self._asked: dict[Key, ServiceForwarding] = {}
        self._told = Told()
        self._events: asyncio.Queue[Occurrence] = asyncio.Queue(MAX_WAITING_EVENTS)
        self._to_inspect: dict[str, None] = {}
        self._inspect = asyncio.Event()
        self._has_started = False
        self._counting = asyncio.Lock()

    async def run(self) -> None:
        """Serve the pages, and tell Events, until cancelled. Raises OperationalError for a port that is taken."""
        config = self._config
        self._events.put_nowait(starting(config.node_name))
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tell_events())
            group.create_task(self._inspect_services())
            if config.healthz_address is not None:
                group.create_task(self._serve(config.healthz_address, self._answer_health, "healthz"))
            if config.metrics_address is not None:
                group.create_task(self._serve(config.metrics_address, self._answer_metrics, "metrics"))

    async def close(self) -> None:
        """Listen on no health-check port."""
        await self._ports.close()

    def on_service(self) -> None:
        """A Service changed."""
        self._queue("service")

    def on_slice(self, change: Change[EndpointSlice]) -> None:
        """A slice changed."""
        self._triggers.note(change.old, change.new)
        self._queue("endpoint")

    def on_node(self, node: Node | None) -> None:
        """The Node changed."""
        self.health.see_node(node)

    def start(self) -> None:
        """What comes from now on is waited for."""
        self._has_started = True

    def note(self, report: SyncReport) -> None:
        """A sync has ended; called before anything else can come."""
        now = _now()
        self.figures.observe_sync(report, now.wall)
        for family in self._families:
            if family not in report.failed:
                self.health.update(family, now)
                for begun in self._triggers.take(family):
                    self.figures.observe_programming(family, now.wall - begun)
        for key in report.touched:
            self._to_inspect[key] = None
        self._inspect.set()

    async def follow(self, report: SyncReport) -> None:
        """Open and close health-check ports as the sync has left them."""
        for family in self._families:
            for key in report.touched:
                forwarding = self._proxier.forwarding(family, key)
                if forwarding is not None and forwarding.health_port:
                    self._asked[family, key] = forwarding
                else:
                    self._asked.pop((family, key), None)
        await self._ports.follow(self._plan_ports() if self._asked else {})

    def _plan_ports(self) -> dict[Key, HealthPort]:
        listed = self._list_addresses() if self._config.node_port_addresses is not None else ()
        planned: dict[Key, HealthPort] = {}
        for family in self._families:
            chosen = choose_node_port_addresses(self._config, self._proxier.node, family, listed)
            asked = [f for (of, _), f in self._asked.items() if of is family]
            planned.update(plan_health_ports(asked, chosen, family))
        return planned

    def _queue(self, kind: str) -> None:
        now = _now()
        self.figures.queue(kind, now.wall)
        if self._has_started:
            self.health.queue(now)

    async def _serve(
        self, address: tuple[str, int], answer: Callable[[Request], Answer | Awaitable[Answer]], name: str
    ) -> None:
        reason = "FailedToStartProxierHealthcheck" if name == "healthz" else "FailedToStartMetricServer"

        async def on_refused() -> None:
            await self._post(not_listening(self._config.node_name, reason))

        is_fatal = self._config.bind_address_hard_fail
        await run_page(*address, answer, name=name, is_fatal=is_fatal, on_refused=on_refused)

    def _answer_health(self, request: Request) -> Answer:
        answer = self.health.answer(request.path, _now())
        page = self.figures.pages.get(request.path.removeprefix("/"))
        if page is not None:
            page.inc(str(answer.code))
        return without_body(answer, request)

    async def _answer_metrics(self, request: Request) -> Answer:
        if request.path == "/metrics":
            await self._count_connections()
        return answer_page(request, self.figures.metrics, self._config.shown, self._checks)

    async def _count_connections(self) -> None:
        """Ask the kernel, beside the loop; what it cannot tell stays as it was."""
        async with self._counting:
            try:
                readings = await asyncio.to_thread(self._read_connections)
            except (PlaneError, OSError) as error:
                log.warning("connections=unknown error=%r", str(error))
                return
            totals = self._tally.take(readings)
            self.figures.set_connections(find_ports(totals, self._list_labels))

    def _list_labels(self) -> dict[str, Port]:
        return list_labels(self._proxier.forwardings(family) for family in self._families)

    def _on_port_refused(self, port: HealthPort, reason: str) -> None:
        note = explain_failure(self._config.node_name, port, reason)
        self.tell_service(port.service, "FailedToStartServiceHealthcheck", note, "Listen")

    def tell_service(self, key: str, reason: str, note: str, action: str = "Sync") -> None:
        """Warn the Service's owner, once; never waits."""
        service = self._proxier.service(key)
        uid = service.metadata.uid if service is not None else ""
        told = Occurrence("Service", key, "Warning", reason, action, note, uid)
        if not self._events.full() and self._told.is_new(told):
            self._events.put_nowait(told)

    async def _inspect_services(self) -> None:
        """Look for what cannot be served, one Service at a time, whenever nothing else is to be done."""
        while True:
            await self._inspect.wait()
            self._inspect.clear()
            while self._to_inspect:
                key = next(iter(self._to_inspect))
                del self._to_inspect[key]
                for complaint in self._proxier.complaints(key):
                    self.tell_service(key, complaint.reason, complaint.text)
                await asyncio.sleep(0)

    async def _tell_events(self) -> None:
        while True:
            await self._post(await self._events.get())

    async def _post(self, told: Occurrence) -> None:
        """Tell it once; nobody waits for it, and one that is there already is as good."""
        seconds = time.time()
        suffix = "" if told.kind == "Service" else f"{time.time_ns():x}"
        event = make_event(
            told,
            host_name=self._config.host_name or self._config.node_name,
            time=format_event_time(seconds),
            name_suffix=suffix,
        )
        try:
            await self._client.create(EVENTS_OF_GROUP, event, told.namespace)
        except (ApiError, TransportError) as error:
            if not isinstance(error, AlreadyExists):
                log.warning("event=lost reason=%s about=%s error=%r", told.reason, told.key, str(error))


def _now() -> Moment:
    return Moment(time.monotonic(), time.time())
