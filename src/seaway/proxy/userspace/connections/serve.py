"""Where clients of one frontend are taken. Rule: issue of the userspace plane, part 2."""

from __future__ import annotations

import socket

from seaway.proxy.forwarding import Forwarding, Frontend, Target
from seaway.proxy.userspace.connections.forward import Connection, Splicer
from seaway.proxy.userspace.gate import ServedPort
from seaway.proxy.userspace.kernel import FULL, IN, reset_on_close
from seaway.proxy.userspace.plan import Listening
from seaway.proxy.userspace.proxyprotocol import Peer

ACCEPTS = 64
"""Clients that are taken at once, before others have their turn."""
PAUSE_SECONDS = 0.1
"""Of a listener when the process cannot even refuse."""


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
        Connection(splicer, self.port, forwarding, client=client, peer=Peer(address, port), asked=Peer(*asked)).begin()


def _is_for(frontend: Frontend, asked: Target) -> bool:
    """The rules that led the client here are the frontend's; those of another Service say nothing of this one."""
    return asked.port == frontend.port and frontend.address in ("", asked.address)


def refuse(splicer: Splicer, client: socket.socket) -> None:
    """The client sees a reset."""
    reset_on_close(client)
    splicer.poller.close(client)
