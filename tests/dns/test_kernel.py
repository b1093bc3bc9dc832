"""Datagrams in batches, on loopback. Rule: recvmmsg(2), sendmmsg(2)."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from seaway.dns.kernel import SLOT_BYTES, SLOTS, Batch

pytestmark = pytest.mark.skipif(not Batch.is_possible, reason="this system has no recvmmsg")


@pytest.fixture(params=["127.0.0.1", "::1"])
def sockets(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, list[socket.socket]]]:
    """A server's, and those of three clients that have sent it their number."""
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    server, *clients = (socket.socket(family, socket.SOCK_DGRAM) for _ in range(4))
    server.bind((request.param, 0))
    for number, client in enumerate(clients):
        client.connect(server.getsockname())
        client.settimeout(5)
        client.send(b"query %d" % number)
    yield server, clients
    for sock in (server, *clients):
        sock.close()


def test_what_waits_is_received_at_once_with_its_senders(
    sockets: tuple[socket.socket, list[socket.socket]],
) -> None:
    server, clients = sockets
    batch = Batch(server)
    lengths = batch.receive()
    found = [bytes(batch.queries[i * SLOT_BYTES : i * SLOT_BYTES + size]) for i, size in enumerate(lengths)]
    assert found == [b"query 0", b"query 1", b"query 2"]
    assert [batch.find_peer(i) for i in range(3)] == [client.getsockname() for client in clients]
    assert batch.receive() == []


def test_replies_reach_those_whom_they_answer(sockets: tuple[socket.socket, list[socket.socket]]) -> None:
    server, clients = sockets
    batch = Batch(server)
    batch.receive()
    batch.put(0, 2, b"to the third")
    batch.put(1, 0, b"x" * SLOT_BYTES)
    batch.send(2)
    assert clients[2].recv(SLOT_BYTES) == b"to the third"
    assert clients[0].recv(SLOT_BYTES) == b"x" * SLOT_BYTES
    clients[1].setblocking(False)
    with pytest.raises(BlockingIOError):
        clients[1].recv(SLOT_BYTES)


def test_a_reply_that_cannot_be_sent_does_not_keep_others_back(
    sockets: tuple[socket.socket, list[socket.socket]],
) -> None:
    server, clients = sockets
    batch = Batch(server)
    batch.receive()
    batch._names[2:4] = b"\0\0"  # of the first: nobody is at port 0
    for number in range(3):
        batch.put(number, number, b"reply")
    batch.send(3)
    assert [client.recv(64) for client in clients[1:]] == [b"reply"] * 2


def test_more_than_a_batch_takes_several(sockets: tuple[socket.socket, list[socket.socket]]) -> None:
    server, clients = sockets
    for _ in range(SLOTS):
        clients[0].send(b"again")
    batch = Batch(server)
    assert [len(batch.receive()), len(batch.receive()), len(batch.receive())] == [SLOTS, 3, 0]
