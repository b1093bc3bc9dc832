"""Datagrams: who sent some stays with the endpoint that it got until both are silent for a while, or it has gone.

An association is what conntrack is in the kernel: 30 seconds without an answer, 120 with one. Its socket is connected
to the endpoint, so that nobody else's datagrams come in by it; answers leave by the socket that the client asked.
Rule: spec "proxy" §6 (an endpoint that has gone takes its UDP flows with it at once); nf_conntrack_udp_timeout,
nf_conntrack_udp_timeout_stream.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

from seaway.proxy.forwarding import Forwarding, Target
from seaway.proxy.userspace.connections.forward import Splicer
from seaway.proxy.userspace.gate import ServedPort, is_loopback
from seaway.proxy.userspace.kernel import FULL, IN, bind_source
from seaway.proxy.userspace.plan import Listening

DATAGRAMS = 64
"""Taken at once, before others have their turn."""
UNANSWERED_SECONDS, ANSWERED_SECONDS = 30.0, 120.0
MAX_ASSOCIATIONS = 4096
"""Of one frontend; of more the one that was silent for longest goes."""
MAX_DATAGRAM = 65535

Client = tuple[str, int]


class UdpListener:
    """A socket where datagrams of clients of one frontend come in."""

    def __init__(
        self, splicer: Splicer, bound: socket.socket, listening: Listening, forwarding: Forwarding, port: ServedPort
    ) -> None:
        """bound: does not block."""
        self.splicer, self.socket, self.listening = splicer, bound, listening
        self.port, self.is_closed = port, False
        self._forwarding = forwarding
        self._associations: dict[Client, Association] = {}
        """The one that was used last is the last."""
        splicer.poller.watch(bound.fileno(), IN, self)

    def __len__(self) -> int:
        return len(self._associations)

    @property
    def forwarding(self) -> Forwarding:
        """What becomes of its clients."""
        return self._forwarding

    @forwarding.setter
    def forwarding(self, forwarding: Forwarding) -> None:
        self._forwarding = forwarding
        stays = {*forwarding.endpoints, *(forwarding.outside or ()), *forwarding.serving}
        for association in [a for a in self._associations.values() if a.target not in stays]:
            association.close()

    def close(self) -> None:
        """Take and answer nothing more."""
        self.is_closed = True
        for association in tuple(self._associations.values()):
            association.close()
        self.splicer.poller.close(self.socket)

    def on_events(self, events: int) -> None:
        """Datagrams are waiting."""
        view = self.splicer.view
        for _ in range(DATAGRAMS):
            try:
                count, address = self.socket.recvfrom_into(view, MAX_DATAGRAM)
            except BlockingIOError:
                return
            except OSError:
                continue  # what became of an earlier answer
            client: Client = address[:2]
            association = self._associations.pop(client, None) or self._associate(client)
            if association is not None:
                self._associations[client] = association
                association.send(view[:count])

    def forget_silent(self, now: float) -> None:
        """Associations whose time is over end."""
        for association in [a for a in self._associations.values() if a.is_over(now)]:
            association.close()

    def forget(self, client: Client) -> None:
        """Its association has ended."""
        self._associations.pop(client, None)

    def _associate(self, client: Client) -> Association | None:
        splicer, address = self.splicer, client[0]
        if not splicer.neighbours.may_ask(address, self._forwarding.source_ranges):
            return None
        target = self.port.choice.choose(
            self._forwarding,
            address,
            is_inside=splicer.neighbours.is_inside(address),
            now=splicer.loop.time(),
        )
        if target is None:
            return None
        if len(self._associations) >= MAX_ASSOCIATIONS:
            next(iter(self._associations.values())).close()
        dialled = splicer.neighbours.dial(target.address)
        try:
            connected = socket.socket(socket.AF_INET6 if ":" in dialled else socket.AF_INET, socket.SOCK_DGRAM)
        except OSError as error:
            if error.errno in FULL:
                splicer.telling.on_full(self.port)
            return None
        connected.setblocking(False)
        if is_loopback(dialled) and (pod := splicer.neighbours.find_pod(address)):
            bind_source(connected, pod)
        try:
            connected.connect((dialled, target.port))
        except OSError:
            connected.close()
            return None
        try:
            return Association(self, client, connected, target)
        except OSError:  # the kernel can watch no more
            connected.close()
            splicer.telling.on_full(self.port)
            return None


class Association:
    """A client, and the endpoint that it has."""

    __slots__ = ("_client", "_is_answered", "_last", "_listener", "_socket", "target")

    def __init__(self, listener: UdpListener, client: Client, connected: socket.socket, target: Target) -> None:
        self._listener, self._client, self._socket, self.target = listener, client, connected, target
        self._is_answered = False
        self._last = listener.splicer.loop.time()
        listener.splicer.poller.watch(connected.fileno(), IN, self)

    def is_over(self, now: float) -> bool:
        """Both were silent for too long."""
        return now - self._last >= (ANSWERED_SECONDS if self._is_answered else UNANSWERED_SECONDS)

    def send(self, datagram: memoryview) -> None:
        """To the endpoint. One that cannot be sent is lost, as datagrams are."""
        self._last = self._listener.splicer.loop.time()
        try:
            self._socket.send(datagram)
        except BlockingIOError:
            pass
        except OSError:
            self.close()  # nobody listens there: the next one may go to another

    def on_events(self, events: int) -> None:
        """The endpoint has answered, or does not listen."""
        listener = self._listener
        view = listener.splicer.view
        for count in self._receive():
            self._is_answered = True
            self._last = listener.splicer.loop.time()
            with contextlib.suppress(OSError):
                listener.socket.sendto(view[:count], self._client)

    def _receive(self) -> Iterator[int]:
        view = self._listener.splicer.view
        for _ in range(DATAGRAMS):
            try:
                yield self._socket.recv_into(view, MAX_DATAGRAM)
            except BlockingIOError:
                return
            except OSError:
                self.close()
                return

    def close(self) -> None:
        """The client's next datagram may go to another endpoint."""
        self._listener.forget(self._client)
        self._listener.splicer.poller.close(self._socket)
