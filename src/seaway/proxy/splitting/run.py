"""The userspace plane beside the kernel's, in the process of a proxy that has both."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Callable, Iterable
from random import SystemRandom

from seaway.proxy.complaints import Complaint
from seaway.proxy.config import NodeView, ProxyConfig, config_at
from seaway.proxy.forwarding import Forwarding, Frontend, ServiceForwarding, Target
from seaway.proxy.proxier import Plane, PlaneError
from seaway.proxy.splitting.kernel import find_asked
from seaway.proxy.splitting.plan import plan_redirected
from seaway.proxy.splitting.plane import SplitPlane
from seaway.proxy.userspace.figures import ConnectionFigures
from seaway.proxy.userspace.gate import Neighbours, ServedPort
from seaway.proxy.userspace.plan import Listening, Place, Wanted
from seaway.proxy.userspace.plane import Listener, UserspacePlane
from seaway.proxy.userspace.serve import Tell, UserspaceSockets
from seaway.telemetry.metrics import Metrics

LATE_SECONDS = 5.0
"""For how long clients may come that were led here before: more than two tries of a SYN."""

log = logging.getLogger(__name__)


class Splitting:
    """Both planes of all families. Until a Service asks for user space it costs nothing."""

    def __init__(
        self,
        config: ProxyConfig,
        *,
        metrics: Metrics,
        tell: Tell,
        list_addresses: Callable[[], Iterable[str]],
    ) -> None:
        """list_addresses: the host's own, as they are now."""
        self._config, self._list_addresses = config, list_addresses
        self._neighbours = Neighbours()
        self._sockets = _SocketsOnDemand(
            lambda: UserspaceSockets(
                self._neighbours, figures=ConnectionFigures(metrics), tell=tell, find_asked=find_asked
            )
        )
        self._userspace: list[UserspacePlane] = []
        self._split: list[SplitPlane] = []

    def add(self, kernel: Plane) -> SplitPlane:
        """The plane of a family, made of the kernel's."""
        userspace = UserspacePlane(self._sockets, self._plan, pick=SystemRandom().randrange)

        def is_holding(key: str) -> bool:
            held = any(port.connections for port in userspace.ports() if port.service == key)
            return held or self._sockets.is_late(key)

        split = SplitPlane(kernel, userspace, find_listener=userspace.find_listener, is_holding=is_holding)
        self._userspace.append(userspace)
        self._split.append(split)
        return split

    def find_listener(self, key: str, frontend: Frontend) -> Target | None:
        """Where a frontend of a Service is listened for; None: nowhere."""
        return next((at for plane in self._userspace if (at := plane.find_listener(key, frontend)) is not None), None)

    def complaints(self, key: str) -> tuple[Complaint, ...]:
        """What of the Service user space cannot serve here."""
        return tuple(complaint for plane in self._userspace for complaint in plane.complaints(key))

    def close(self) -> None:
        """Let the kernel serve all by itself, and end every connection."""
        for split in self._split:
            try:
                split.hand_back()
            except PlaneError as error:
                log.warning("hand_back=failed error=%r", str(error))
        for userspace in self._userspace:
            userspace.close()
        self._sockets.close()

    def _plan(self, service: ServiceForwarding, node: NodeView) -> tuple[dict[Listening, Wanted], tuple[str, ...]]:
        cidrs = config_at(self._config, node).cluster_cidrs
        self._neighbours.cluster = tuple(ipaddress.ip_network(cidr, strict=False) for cidr in cidrs)
        self._neighbours.host = frozenset((*self._list_addresses(), *node.addresses))
        return plan_redirected(service, node)


class _SocketsOnDemand:
    """Sockets that are made when the first is to be opened: while they are there they tick and keep a buffer.

    A listener that no rule leads to any more takes clients for a while still: those who are about to connect were led
    here before.
    """

    def __init__(self, make: Callable[[], UserspaceSockets]) -> None:
        self._make = make
        self._made: UserspaceSockets | None = None
        self._late: dict[_LedListener, asyncio.TimerHandle] = {}

    def open(self, listening: Listening, wanted: Wanted, port: ServedPort) -> tuple[Listener, Place]:
        """As UserspaceSockets has it."""
        if self._made is None:
            self._made = self._make()
        listener, place = self._made.open(listening, wanted, port)
        return _LedListener(listener, listening.service, self._close_late), place

    def end(self, port: ServedPort) -> None:
        """As UserspaceSockets has it."""
        if self._made is not None:
            self._made.end(port)

    def now(self) -> float:
        """Monotonic seconds; before there is a socket nothing has begun."""
        return self._made.now() if self._made is not None else 0.0

    def is_late(self, service: str) -> bool:
        """A listener of the Service still takes clients, though nothing leads to it."""
        return any(listener.service == service for listener in self._late)

    def close(self) -> None:
        """End everything at once."""
        for listener, timer in self._late.items():
            timer.cancel()
            listener.inner.close()
        self._late.clear()
        if self._made is not None:
            self._made.close()

    def _close_late(self, listener: _LedListener) -> None:
        def close() -> None:
            del self._late[listener]
            listener.inner.close()

        self._late[listener] = asyncio.get_running_loop().call_later(LATE_SECONDS, close)


class _LedListener:
    """A listener that is closed some time after it is asked to."""

    def __init__(self, inner: Listener, service: str, close_late: Callable[[_LedListener], None]) -> None:
        self.inner, self.service, self._close_late = inner, service, close_late

    @property
    def forwarding(self) -> Forwarding:
        """What becomes of its clients."""
        return self.inner.forwarding

    @forwarding.setter
    def forwarding(self, forwarding: Forwarding) -> None:
        self.inner.forwarding = forwarding

    def close(self) -> None:
        """Serve nobody who is not on the way already."""
        self._close_late(self)
