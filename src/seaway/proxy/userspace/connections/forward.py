"""A client's connection and the one to its endpoint: who is tried, how they end, and what is told of them.

Until an endpoint has accepted, nothing of the client was read: another may be tried. Half-closed and silent for an
hour, a connection is over. Rule: issue of the userspace plane, parts 2 and 3.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable
from typing import Protocol

from seaway.proxy.forwarding import Forwarding, Target
from seaway.proxy.userspace.connections.transport import CLOSED, MOST_READ, End
from seaway.proxy.userspace.ejection import Ejected, Outcome
from seaway.proxy.userspace.figures import ConnectionFigures
from seaway.proxy.userspace.gate import Neighbours, ServedPort, is_loopback
from seaway.proxy.userspace.kernel import (
    IN,
    OUT,
    Poller,
    SpareDescriptor,
    bind_source,
    pending_error,
    reset_on_close,
    send_at_once,
)
from seaway.proxy.userspace.leastconnections import LeastConnections
from seaway.proxy.userspace.proxyprotocol import Peer, Version, encode_header, name_ends

HALF_CLOSED_SECONDS = 3600.0
"""How long a connection of which one end has said all may be silent, as conntrack has it for the kernel plane.

Who has gone looks the same as who only says no more, and an endpoint that never ends would keep both for ever.
"""
_OUTCOMES = {errno.ECONNREFUSED: Outcome.REFUSED, errno.ETIMEDOUT: Outcome.TIMED_OUT}
_NONBLOCK = getattr(socket, "SOCK_NONBLOCK", 0)


class Telling(Protocol):
    """Who is told what connections meet."""

    def on_ejected(self, port: ServedPort, ejected: Ejected) -> None:
        """An endpoint gets no connections for a while."""

    def on_full(self, port: ServedPort) -> None:
        """A client was refused because nothing more can be opened."""

    def on_opened(self, connection: Connection) -> None:
        """A connection is there."""

    def on_closed(self, connection: Connection) -> None:
        """It has ended."""


class Splicer:
    """What all connections share."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        poller: Poller,
        neighbours: Neighbours,
        *,
        figures: ConnectionFigures,
        telling: Telling,
        find_asked: Callable[[socket.socket], Target | None] | None = None,
    ) -> None:
        """find_asked: whom the client of a socket asked for, where rules lead clients here; None: refuse it."""
        self.loop, self.poller, self.neighbours = loop, poller, neighbours
        self.figures, self.telling, self.find_asked = figures, telling, find_asked
        self.view = memoryview(bytearray(MOST_READ))
        self.spare = SpareDescriptor()
        self.connections: set[Connection] = set()
        self.half_closed: dict[Connection, tuple[int, float]] = {}
        """The bytes that had moved when each was looked at, and since when no more have."""

    def end_forgotten(self, now: float) -> None:
        """Reset connections that are half-closed and were silent for too long."""
        for connection, (moved, since) in tuple(self.half_closed.items()):
            if connection.moved != moved:
                self.half_closed[connection] = (connection.moved, now)
            elif now - since >= HALF_CLOSED_SECONDS:
                connection.reset()

    def close(self) -> None:
        """Reset every connection."""
        for connection in tuple(self.connections):
            connection.reset()
        self.spare.close()


class Connection:
    """A client's connection, and the one to its endpoint."""

    __slots__ = (
        "_attempt",
        "_forwarding",
        "_ledger",
        "_timer",
        "_tried",
        "asked",
        "client",
        "endpoint",
        "is_finishing",
        "is_open",
        "moved",
        "peer",
        "port",
        "splicer",
        "target",
    )

    def __init__(
        self,
        splicer: Splicer,
        port: ServedPort,
        forwarding: Forwarding,
        *,
        client: socket.socket,
        peer: Peer,
        asked: Peer,
    ) -> None:
        """client: taken, and does not block. peer: who it is. asked: whom it wants."""
        self.splicer, self.port, self._forwarding = splicer, port, forwarding
        self.peer, self.asked = peer, asked
        self.client = End(self, client)
        self.endpoint: End | None = None
        self.target: Target | None = None
        self.moved = 0
        """Bytes that went through, in both directions."""
        self.is_open = self.is_finishing = False
        self._tried: list[Target] = []
        self._attempt: socket.socket | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ledger: LeastConnections | None = None

    def begin(self) -> None:
        """Find an endpoint that accepts."""
        splicer = self.splicer
        splicer.connections.add(self)
        try:
            self._try_next()
            if self.endpoint is None and self in splicer.connections:
                self.client.watch(0)  # a client that goes meanwhile is noticed
        except OSError:
            self._refuse_for_want()

    def _try_next(self) -> None:
        """Raises OSError when the kernel has no room for another socket."""
        splicer, address = self.splicer, self.peer.address
        while len(self._tried) <= self.port.policy.connect_retries:
            target = self.port.choice.choose(
                self._forwarding,
                address,
                is_inside=splicer.neighbours.is_inside(address),
                now=splicer.loop.time(),
                tried=self._tried,
            )
            if target is None:
                break
            if self._tried:
                splicer.figures.retried(self.port.name)
            self._tried.append(target)
            dialled = splicer.neighbours.dial(target.address)
            dialling = socket.socket(
                socket.AF_INET6 if ":" in dialled else socket.AF_INET, socket.SOCK_STREAM | _NONBLOCK
            )
            if not _NONBLOCK:
                dialling.setblocking(False)
            if is_loopback(dialled) and (pod := splicer.neighbours.find_pod(address)):
                bind_source(dialling, pod)
            code = dialling.connect_ex((dialled, target.port))
            if code == 0:
                self._connected(dialling, target)
                return
            if code == errno.EINPROGRESS:
                attempt = Attempt(self, dialling, target)
                self._attempt = dialling
                splicer.poller.watch(dialling.fileno(), OUT, attempt)
                self._timer = splicer.loop.call_later(self.port.policy.connect_timeout_seconds, attempt.time_out)
                return
            splicer.poller.close(dialling)
            self._note(target, _OUTCOMES.get(code, Outcome.UNREACHABLE))
        self.reset()

    def _note(self, target: Target, outcome: Outcome) -> None:
        splicer, port = self.splicer, self.port
        splicer.figures.attempted(port.name, outcome)
        ejected = port.choice.report(target, outcome, splicer.loop.time())
        if ejected is not None:
            splicer.telling.on_ejected(port, ejected)

    def on_attempt(self, dialling: socket.socket, target: Target, code: int) -> None:
        """An attempt has ended. code: an errno; 0: it succeeded."""
        self._stop_attempt()
        try:
            if code == 0:
                self.splicer.poller.forget(dialling.fileno())
                self._connected(dialling, target)
            else:
                self.splicer.poller.close(dialling)
                self._note(target, _OUTCOMES.get(code, Outcome.UNREACHABLE))
                self._try_next()
        except OSError:
            self._refuse_for_want()

    def _refuse_for_want(self) -> None:
        """The kernel has no room for another socket, or to watch it."""
        self.splicer.telling.on_full(self.port)
        self.reset()

    def _connected(self, dialled: socket.socket, target: Target) -> None:
        port = self.port
        self._note(target, Outcome.CONNECTED)
        endpoint = self.endpoint = End(self, dialled)
        client = self.client
        client.other, endpoint.other = endpoint, client
        self.target, self.is_open = target, True
        port.connections.setdefault(target, set()).add(self)
        if target not in port.usable:
            port.leaving.setdefault(target, self.splicer.loop.time() + port.linger_seconds)
        self._ledger = port.choice.open(target)
        send_at_once(client.socket)
        send_at_once(dialled)
        if not is_loopback(self.peer.address):
            with contextlib.suppress(OSError):
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # one that vanishes leaves nothing
        self.splicer.figures.opened(port.name)
        self.splicer.telling.on_opened(self)
        if port.policy.proxy_protocol is not None:
            ends = name_ends(self.peer, self.asked, self.splicer.neighbours.loopback)
            endpoint.pending = memoryview(encode_header(Version(port.policy.proxy_protocol), ends))
        client.watch(IN if endpoint.pending is None else 0)
        endpoint.watch(IN if endpoint.pending is None else IN | OUT)

    def finish(self) -> None:
        """Tell both ends that nothing more comes; what they still send is read and dropped."""
        self.is_finishing = True
        for end in (self.client, self.endpoint):
            if end is not None and end.pending is None:
                end.finish()

    def reset(self) -> None:
        """End both at once; who is left sees a reset."""
        for end in (self.client, self.endpoint):
            if end is not None:
                reset_on_close(end.socket)
        self.close()

    def close(self) -> None:
        """Both have ended. Again: nothing."""
        splicer = self.splicer
        if self not in splicer.connections:
            return
        splicer.connections.discard(self)
        splicer.half_closed.pop(self, None)
        if self._attempt is not None:
            splicer.poller.close(self._attempt)
        self._stop_attempt()
        splicer.poller.close(self.client.socket)
        self.client.mask = CLOSED
        endpoint, target, port = self.endpoint, self.target, self.port
        if endpoint is None or target is None:
            return
        splicer.poller.close(endpoint.socket)
        endpoint.mask = CLOSED
        endpoint.pending = self.client.pending = None
        self.is_open = False
        held = port.connections[target]
        held.discard(self)
        if not held:
            del port.connections[target]
            port.leaving.pop(target, None)
        if self._ledger is not None:
            self._ledger.close(target)
        splicer.figures.closed(port.name)
        splicer.telling.on_closed(self)

    def _stop_attempt(self) -> None:
        self._attempt = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Attempt:
    """An endpoint that has not answered yet."""

    __slots__ = ("connection", "socket", "target")

    def __init__(self, connection: Connection, dialling: socket.socket, target: Target) -> None:
        self.connection, self.socket, self.target = connection, dialling, target

    def on_events(self, events: int) -> None:
        """It has answered, one way or another."""
        code = pending_error(self.socket)
        self.connection.on_attempt(self.socket, self.target, code)

    def time_out(self) -> None:
        """It has not, in time."""
        self.connection.on_attempt(self.socket, self.target, errno.ETIMEDOUT)
