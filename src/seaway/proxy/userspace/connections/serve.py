"""The splice: bytes of a client to the endpoint that was chosen for it, and back.

A read is followed by a write of the same bytes, from one buffer that all connections share; what the other end does not
take is kept, and nothing more is read until it is taken (back-pressure). So an idle connection holds no buffer at all.
1. The end of one direction is passed on when all before it was, and the other goes on (half-close).
   Half-closed and silent for an hour, the connection is over.
2. A reset of one end is a reset of the other, once what the endpoint had sent before was delivered.
3. Until an endpoint has accepted, nothing of the client was read: another may be tried.
Rule: issue of the userspace plane, parts 2 and 3; docs/design/0027.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable
from typing import Protocol

from seaway.proxy.forwarding import Forwarding, Frontend, Target
from seaway.proxy.userspace.ejection import Ejected, Outcome
from seaway.proxy.userspace.figures import ConnectionFigures
from seaway.proxy.userspace.gate import Neighbours, ServedPort, is_loopback
from seaway.proxy.userspace.kernel import (
    ERR,
    FULL,
    HUP,
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
from seaway.proxy.userspace.plan import Listening
from seaway.proxy.userspace.proxyprotocol import Peer, Version, encode_header, name_ends

ACCEPTS = 64
"""Clients that are taken at once, before others have their turn."""
PAUSE_SECONDS = 0.1
"""Of a listener when the process cannot even refuse."""
FIRST_READ, LEAST_READ, MOST_READ = 16 * 1024, 4 * 1024, 512 * 1024
"""Bytes of a read: doubled while reads are full and taken whole, halved when the other end does not take them."""
HALF_CLOSED_SECONDS = 3600.0
"""How long a connection of which one end has said all may be silent, as conntrack has it for the kernel plane.

Who has gone looks the same as who only says no more, and an endpoint that never ends would keep both for ever.
"""
LAST_READS = 32
"""Reads of what an endpoint said before it reset the connection."""
_NOT_WATCHED, _CLOSED = -1, -2
_OUTCOMES = {errno.ECONNREFUSED: Outcome.REFUSED, errno.ETIMEDOUT: Outcome.TIMED_OUT}


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


class TcpListener:
    """A socket where clients of one frontend are taken."""

    __slots__ = ("forwarding", "listening", "port", "socket", "splicer")

    def __init__(
        self, splicer: Splicer, bound: socket.socket, listening: Listening, forwarding: Forwarding, port: ServedPort
    ) -> None:
        """bound: listens already, and does not block."""
        self.splicer, self.socket, self.listening = splicer, bound, listening
        self.forwarding, self.port = forwarding, port
        splicer.poller.watch(bound.fileno(), IN, self)

    def close(self) -> None:
        """Take nobody more; connections that are there go on."""
        self.splicer.poller.close(self.socket)

    def on_events(self, events: int) -> None:
        """Clients are waiting."""
        for _ in range(ACCEPTS):
            try:
                client, address = self.socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno not in FULL:
                    continue  # that client has gone again: ECONNABORTED and its like (accept(2))
                if not self.splicer.spare.refuse(self.socket):
                    self._pause()
                    return
                self.splicer.telling.on_full(self.port)
                continue
            client.setblocking(False)
            self._take(client, address[0], address[1])

    def _pause(self) -> None:
        """Nobody can even be refused: to be told of them again and again would help nobody."""
        self.splicer.poller.change(self.socket.fileno(), 0)
        self.splicer.loop.call_later(PAUSE_SECONDS, self._go_on)

    def _go_on(self) -> None:
        if self.socket.fileno() >= 0:
            self.splicer.poller.change(self.socket.fileno(), IN)

    def _take(self, client: socket.socket, address: str, port: int) -> None:
        splicer, forwarding = self.splicer, self.forwarding
        asked = Target(self.listening.at, forwarding.frontend.port)
        if splicer.find_asked is not None:
            found = splicer.find_asked(client)
            if found is None or not _is_for(forwarding.frontend, found):
                refuse(splicer, client)
                return
            asked = found
        if not splicer.neighbours.may_ask(address, forwarding.source_ranges):
            refuse(splicer, client)
            return
        Connection(splicer, self, client, Peer(address, port), Peer(*asked)).begin()


def _is_for(frontend: Frontend, asked: Target) -> bool:
    """The rules that led the client here are the frontend's; those of another Service say nothing of this one."""
    return asked.port == frontend.port and frontend.address in ("", asked.address)


def refuse(splicer: Splicer, client: socket.socket) -> None:
    """The client sees a reset."""
    reset_on_close(client)
    splicer.poller.close(client)


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

    def __init__(self, splicer: Splicer, listener: TcpListener, client: socket.socket, peer: Peer, asked: Peer) -> None:
        self.splicer, self.port, self._forwarding = splicer, listener.port, listener.forwarding
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
        self.client.mask = _CLOSED
        endpoint, target, port = self.endpoint, self.target, self.port
        if endpoint is None or target is None:
            return
        splicer.poller.close(endpoint.socket)
        endpoint.mask = _CLOSED
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


class End:
    """One end of a connection: its socket, and what is on the way to it."""

    __slots__ = ("at_end", "connection", "fd", "is_finished", "mask", "other", "pending", "socket", "window")

    other: End

    def __init__(self, connection: Connection, connected: socket.socket) -> None:
        self.connection, self.socket, self.fd = connection, connected, connected.fileno()
        self.pending: memoryview | None = None
        """What it has not taken yet."""
        self.mask = _NOT_WATCHED
        self.window = FIRST_READ
        self.at_end = False
        """It sends nothing more."""
        self.is_finished = False
        """It was told that nothing more comes."""

    def watch(self, mask: int) -> None:
        """Only these events from now on, and errors."""
        poller = self.connection.splicer.poller
        if self.mask == _NOT_WATCHED:
            poller.watch(self.fd, mask, self)
        elif mask != self.mask:
            poller.change(self.fd, mask)
        self.mask = mask

    def on_events(self, events: int) -> None:
        """It can take more, or has sent something, or has ended."""
        if events & OUT and self.mask > 0 and self.mask & OUT:
            self._flush()
        if events & (IN | ERR | HUP) and self.mask != _CLOSED:
            if self.mask > 0 and self.mask & IN:
                self._read()
            elif events & ERR:
                self.connection.reset()
            elif events & HUP and self.mask == 0:
                # Nobody may read now, and it would be told for ever.
                self.connection.splicer.poller.forget(self.fd)
                self.mask = _NOT_WATCHED
                if self.connection.endpoint is None:
                    self.connection.reset()

    def _read(self) -> None:
        connection, other = self.connection, self.other
        view = connection.splicer.view
        try:
            count = self.socket.recv_into(view, self.window)
        except BlockingIOError:
            return
        except OSError:
            connection.reset()
            return
        if not count:
            self.at_end = True
            connection.splicer.half_closed[connection] = (connection.moved, connection.splicer.loop.time())
            self.watch(self.mask & ~IN)
            if other.pending is None:
                other.finish()
            return
        connection.moved += count
        if other.is_finished:
            return  # nobody is there to take it
        try:
            sent = other.socket.send(view[:count])
        except BlockingIOError:
            sent = 0
        except OSError:
            other.deliver_last_words()
            connection.reset()
            return
        if sent == count:
            if count == self.window and count < MOST_READ:
                self.window = count * 2
            return
        self.window = max(LEAST_READ, self.window // 2)
        other.pending = memoryview(bytes(view[sent:count]))
        self.watch(self.mask & ~IN)
        other.watch(other.mask | OUT if other.mask > 0 else OUT)

    def _flush(self) -> None:
        pending, other = self.pending, self.other
        if pending is not None:
            try:
                sent = self.socket.send(pending)
            except BlockingIOError:
                return
            except OSError:
                self.deliver_last_words()
                self.connection.reset()
                return
            if sent < len(pending):
                self.pending = pending[sent:]
                return
            self.pending = None
        self.watch(self.mask & ~OUT)
        if other.at_end or self.connection.is_finishing:
            self.finish()
        if not other.at_end and self.connection.is_open:
            other.watch((other.mask if other.mask > 0 else 0) | IN)

    def finish(self) -> None:
        """Tell it that nothing more comes."""
        if not self.is_finished:
            self.is_finished = True
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)
        if self.at_end and self.other.at_end and self.other.is_finished:
            self.connection.close()

    def deliver_last_words(self) -> None:
        """What it sent before it reset the connection still is for the other end, as far as that takes it."""
        view, other = self.connection.splicer.view, self.other
        if other.pending is not None or other.is_finished:
            return
        for _ in range(LAST_READS):
            try:
                count = self.socket.recv_into(view, FIRST_READ)
                if not count or other.socket.send(view[:count]) < count:
                    return
            except OSError:
                return


_NONBLOCK = getattr(socket, "SOCK_NONBLOCK", 0)
