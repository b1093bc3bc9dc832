"""The sockets of the plane: bound where they may be, and looked after while time passes."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from random import SystemRandom

from seaway.proxy.forwarding import Target
from seaway.proxy.userspace.ageing import Ageing, Step
from seaway.proxy.userspace.associations.serve import UdpListener
from seaway.proxy.userspace.connections.forward import Connection, Splicer
from seaway.proxy.userspace.connections.serve import TcpListener
from seaway.proxy.userspace.ejection import Ejected
from seaway.proxy.userspace.figures import ConnectionFigures
from seaway.proxy.userspace.gate import Neighbours, ServedPort
from seaway.proxy.userspace.kernel import FULL, Poller, raise_file_limit
from seaway.proxy.userspace.plan import Listening, Place, Wanted
from seaway.proxy.userspace.plane import Listener, NoPlace

BACKLOG = 4096
"""Clients that may wait; the host's own limit (net.core.somaxconn) is often the same."""
TICK_SECONDS = 1.0
SWEEP_TICKS = 5
"""How often silent associations and half-closed connections are looked for."""
FULL_SECONDS = 60.0
"""How often it is told of a Service that its clients are refused for want of descriptors."""

Tell = Callable[[str, str, str], None]
"""Service, reason, text: an Event about it."""


class UserspaceSockets:
    """Listeners, connections and associations of this process, in the running loop."""

    def __init__(
        self,
        neighbours: Neighbours,
        *,
        figures: ConnectionFigures,
        tell: Tell,
        find_asked: Callable[[socket.socket], Target | None] | None = None,
    ) -> None:
        """find_asked: as `Splicer` has it."""
        self._loop = asyncio.get_running_loop()
        self._limit = raise_file_limit()
        self._poller = Poller(self._loop)
        self.splicer = Splicer(
            self._loop, self._poller, neighbours, figures=figures, telling=self, find_asked=find_asked
        )
        self._figures, self._tell = figures, tell
        self._ages: Ageing[Connection] = Ageing()
        self._draw = SystemRandom().random
        self._ports: dict[ServedPort, None] = {}
        self._associating: set[UdpListener] = set()
        self._told_full: dict[str, float] = {}
        self._ticks = 0
        self._timer = self._loop.call_later(TICK_SECONDS, self._tick)

    def now(self) -> float:
        """Monotonic seconds."""
        return self._loop.time()

    def open(self, listening: Listening, wanted: Wanted, port: ServedPort) -> tuple[Listener, Place]:
        """Bind the first place that can be had. Raises NoPlace."""
        bound = self._bind(listening, wanted.places)
        place = Place(*bound.getsockname()[:2])
        self._ports[port] = None
        if listening.frontend.protocol == "TCP":
            return TcpListener(self.splicer, bound, listening, wanted.forwarding, port), place
        listener = UdpListener(self.splicer, bound, listening, wanted.forwarding, port)
        self._associating.add(listener)
        return listener, place

    def end(self, port: ServedPort) -> None:
        """The port is no Service's any more: its connections end as `linger_seconds` says."""
        if not port.connections:
            self._forget(port)

    def close(self) -> None:
        """End everything at once. Listeners must have been closed before."""
        self._timer.cancel()
        self.splicer.close()
        self._poller.end()

    def on_ejected(self, port: ServedPort, ejected: Ejected) -> None:
        """An endpoint gets no connections for a while."""
        self._figures.set_ejected(port.name, port.choice.count_ejected(self.now()))
        target = ejected.target
        text = (
            f"endpoint {target.address}:{target.port} of port {port.name[2]} gets no new connections for "
            f"{ejected.seconds:g}s: {ejected.failures} in a row were {ejected.outcome.value}"
        )
        self._tell(port.service, "EndpointEjected", text)

    def on_full(self, port: ServedPort) -> None:
        """A client was refused because nothing more can be opened."""
        now = self.now()
        if now < self._told_full.get(port.service, now):
            return
        self._told_full[port.service] = now + FULL_SECONDS
        text = (
            f"connections to port {port.name[2]} are refused: this proxy holds {len(self.splicer.connections)}, and no "
            f"descriptor is left ({self._limit} allowed); raise the limit of open files (ulimit -n, LimitNOFILE=)"
        )
        self._tell(port.service, "TooManyConnections", text)

    def on_opened(self, connection: Connection) -> None:
        """A connection is there."""
        age = connection.port.policy.max_age_seconds
        if age is not None:
            self._ages.open(connection, age, self.now(), draw=self._draw())

    def on_closed(self, connection: Connection) -> None:
        """It has ended."""
        self._ages.close(connection)

    def _bind(self, listening: Listening, places: tuple[Place, ...]) -> socket.socket:
        frontend = listening.frontend
        kind = socket.SOCK_STREAM if frontend.protocol == "TCP" else socket.SOCK_DGRAM
        code = 0
        for index, place in enumerate(places):
            family = socket.AF_INET6 if ":" in place.address else socket.AF_INET
            try:
                bound = socket.socket(family, kind)
            except OSError as error:
                raise NoPlace(_explain(listening, place, error.errno or 0, self._limit)) from None
            try:
                if kind == socket.SOCK_STREAM:
                    bound.setsockopt(
                        socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
                    )  # connections that ended hold nothing up
                bound.bind(tuple(place))
                if kind == socket.SOCK_STREAM:
                    bound.listen(BACKLOG)
                bound.setblocking(False)
                return bound
            except OSError as error:
                bound.close()
                code = error.errno or 0
            if code in FULL or (code == errno.EADDRINUSE and not index):
                break  # somebody has what is ours: to be elsewhere would hide it
        raise NoPlace(_explain(listening, places[0], code, self._limit))

    def _tick(self) -> None:
        self._timer = self._loop.call_later(TICK_SECONDS, self._tick)
        now = self.now()
        for port in [port for port in self._ports if port.leaving]:
            for connection in port.take_ended(now):
                connection.reset()
            if not port.usable and not port.connections:
                self._forget(port)
        for connection, step in self._ages.take_due(now, lambda connection: connection.moved):
            if step is Step.FINISH:
                connection.finish()
            else:
                connection.close()
        self._ticks += 1
        if self._ticks % SWEEP_TICKS == 0:
            self.splicer.end_forgotten(now)
            for listener in tuple(self._associating):
                if listener.is_closed:
                    self._associating.discard(listener)
                else:
                    listener.forget_silent(now)
            for port in self._ports:
                self._figures.set_ejected(port.name, port.choice.count_ejected(now))

    def _forget(self, port: ServedPort) -> None:
        self._ports.pop(port, None)
        self._figures.forget(port.name)


def _explain(listening: Listening, place: Place, code: int, limit: int) -> str:
    frontend = listening.frontend
    what = f"{frontend.traffic_class.value} {listening.at}:{frontend.port}/{frontend.protocol}"
    where = "" if place.address == listening.at else f", which is {place.address}:{place.port} here,"
    match code:
        case errno.EADDRINUSE:
            return f"{what}{where} is taken by another program; end it, and it is served within seconds"
        case errno.EADDRNOTAVAIL:
            return f"{what}{where} is no address of this host"
        case errno.EACCES:
            return f"{what}{where} may not be bound: ports below 1024 need CAP_NET_BIND_SERVICE"
        case _ if code in FULL:
            return (
                f"{what}{where} is not served: no descriptor is left ({limit} allowed); raise the limit of open files"
            )
        case _:
            return f"{what}{where} is not served: {os.strerror(code)}"
