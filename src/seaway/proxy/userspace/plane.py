"""The userspace plane of one family: Services in, sockets in step out.

Order of a sync: what is new listens first, then endpoints of what is there are exchanged, then what is no longer wanted
is closed. A place that is taken is tried again, and is told as a complaint about its Service meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

from seaway.proxy.complaints import Complaint
from seaway.proxy.config import NodeView
from seaway.proxy.counting.plan import Port
from seaway.proxy.forwarding import Forwarding, Frontend, ServiceForwarding, Target
from seaway.proxy.userspace.choose import PortChoice
from seaway.proxy.userspace.gate import ServedPort
from seaway.proxy.userspace.plan import Listening, Place, Wanted

LINGER_SECONDS = 30.0
"""How long connections go on whose endpoint has gone, if the Service does not say: a Pod's usual time to end."""


_T = TypeVar("_T")


class NoPlace(Exception):
    """A socket cannot be bound: why, in words for the Service's owner."""


class Listener(Protocol):
    """A socket that serves a frontend."""

    forwarding: Forwarding

    def close(self) -> None:
        """Serve nobody new."""


class Sockets(Protocol):
    """Who opens sockets: the kernel, or a test's."""

    def open(self, listening: Listening, wanted: Wanted, port: ServedPort) -> tuple[Listener, Place]:
        """Bind the first place that can be had. Raises NoPlace."""

    def end(self, port: ServedPort) -> None:
        """The port is no Service's any more: end its connections as `linger_seconds` says."""

    def now(self) -> float:
        """Monotonic seconds."""


PlanListeners = Callable[[ServiceForwarding, NodeView], tuple[dict[Listening, Wanted], tuple[str, ...]]]


class UserspacePlane:
    """One family. `plan`: the sockets of a Service, and what of it has no place here."""

    def __init__(self, sockets: Sockets, plan: PlanListeners, *, pick: Callable[[int], int]) -> None:
        self._sockets, self._plan, self._pick = sockets, plan, pick
        self._services: dict[str, ServiceForwarding] = {}
        self._ports: dict[tuple[str, str, str], ServedPort] = {}
        """By Service, name of the port, and protocol."""
        self._listeners: dict[str, dict[Listening, tuple[Listener, Place]]] = {}
        self._refused: dict[str, dict[Listening, str]] = {}
        self._unserved: dict[str, tuple[str, ...]] = {}
        self._node: NodeView | None = None

    def sync(self, changed: Mapping[str, ServiceForwarding | None], node: NodeView) -> bool:
        """Take these Services (None: gone). Never raises: what cannot be bound is a complaint, and tried again."""
        is_whole = node != self._node
        self._node = node
        for key, service in changed.items():
            if service is None:
                self._services.pop(key, None)
            else:
                self._services[key] = service
        for key in {**self._services, **changed} if is_whole else changed:
            self._settle(key, node)
        return is_whole

    def look_again(self) -> None:
        """The host's addresses have changed: the next sync plans every Service anew."""
        self._node = None

    def verify(self) -> None:
        """Nobody else can take a socket from us; what had no place is tried again."""
        self.retry()

    def retry(self) -> tuple[str, ...]:
        """Try again what had no place; the Services that have one more now."""
        if self._node is None:
            return ()
        before = {key: len(refused) for key, refused in self._refused.items()}
        for key in before:
            self._settle(key, self._node)
        return tuple(key for key, count in before.items() if len(self._refused.get(key, ())) < count)

    @property
    def has_refused(self) -> bool:
        """Something has no place yet."""
        return bool(self._refused)

    def complaints(self, key: str) -> tuple[Complaint, ...]:
        """What of the Service is served by nobody here, and why."""
        taken = tuple(Complaint("PortNotServed", text) for text in self._refused.get(key, {}).values())
        return taken + tuple(Complaint("NotServedHere", text) for text in self._unserved.get(key, ()))

    def bound(self, key: str) -> dict[Listening, Place]:
        """Where the Service is served."""
        return {listening: place for listening, (_, place) in self._listeners.get(key, {}).items()}

    def find_listener(self, key: str, frontend: Frontend) -> Target | None:
        """Where the frontend is served; None: nowhere."""
        for listening, (_, place) in self._listeners.get(key, {}).items():
            if listening.frontend == frontend:
                return Target(*place)
        return None

    def ports(self) -> tuple[ServedPort, ...]:
        """All that are served."""
        return tuple(self._ports.values())

    def close(self) -> None:
        """Listen nowhere."""
        for listeners in self._listeners.values():
            for listener, _ in listeners.values():
                listener.close()
        self._listeners.clear()

    def _settle(self, key: str, node: NodeView) -> None:
        service = self._services.get(key)
        wanted: dict[Listening, Wanted] = {}
        unserved: tuple[str, ...] = ()
        if service is not None:
            wanted, unserved = self._plan(service, node)
        _put(self._unserved, key, unserved)
        self._settle_ports(key, service)
        self._settle_listeners(key, wanted)

    def _settle_ports(self, key: str, service: ServiceForwarding | None) -> None:
        by_port: dict[tuple[str, str, str], list[Forwarding]] = {}
        for forwarding in service.forwardings if service is not None else ():
            by_port.setdefault((key, forwarding.port_name, forwarding.frontend.protocol), []).append(forwarding)
        now = self._sockets.now()
        for at in [at for at in self._ports if at[0] == key and at not in by_port]:
            port = self._ports.pop(at)
            port.follow((), now)
            self._sockets.end(port)
        for at, forwardings in by_port.items():
            assert service is not None
            if at not in self._ports:
                name = _name_port(key, forwardings[0])
                self._ports[at] = ServedPort(name, PortChoice(pick=self._pick))
            port = self._ports[at]
            port.policy = service.policy
            after = service.reset_after_seconds
            port.linger_seconds = LINGER_SECONDS if after is None else after
            port.follow(forwardings, now)

    def _settle_listeners(self, key: str, wanted: Mapping[Listening, Wanted]) -> None:
        have = self._listeners.setdefault(key, {})
        refused: dict[Listening, str] = {}
        for listening, want in wanted.items():
            if listening in have:
                have[listening][0].forwarding = want.forwarding
                continue
            port = self._ports[key, want.forwarding.port_name, listening.frontend.protocol]
            try:
                have[listening] = self._sockets.open(listening, want, port)
            except NoPlace as error:
                refused[listening] = str(error)
        for listening in [listening for listening in have if listening not in wanted]:
            have.pop(listening)[0].close()
        if not have:
            del self._listeners[key]
        _put(self._refused, key, refused)


def _name_port(key: str, forwarding: Forwarding) -> Port:
    namespace, _, name = key.rpartition("/")
    return (namespace, name, forwarding.port_name or str(forwarding.frontend.port))


def _put(table: dict[str, _T], key: str, value: _T) -> None:
    """Empty values are not kept."""
    if value:
        table[key] = value
    else:
        table.pop(key, None)
