"""The gRPC health call against a server made of h2's other side. Rule: the gRPC health checking protocol."""

from __future__ import annotations

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded
from hypothesis import given
from hypothesis import strategies as st

from seaway.net.probing.grpc import MAX_MESSAGE_BYTES, HealthCall, encode_request, parse_status

SERVING, NOT_SERVING = b"\x00\x00\x00\x00\x02\x08\x01", b"\x00\x00\x00\x00\x02\x08\x02"
OK = [(":status", "200"), ("content-type", "application/grpc")]


class Server:
    """Answers the one call; what was asked is kept."""

    def __init__(self, message: bytes, *, head: list[tuple[str, str]], trailers: list[tuple[str, str]]) -> None:
        self.connection = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.connection.initiate_connection()
        self.asked: dict[str, str] = {}
        self.body = b""
        self._message, self._head, self._trailers = message, head, trailers

    def receive(self, data: bytes) -> bytes:
        for event in self.connection.receive_data(data):
            if isinstance(event, RequestReceived):
                self.asked = dict(event.headers)
            elif isinstance(event, DataReceived):
                self.body += event.data
            elif isinstance(event, StreamEnded):
                self._answer(event.stream_id)
        return self.connection.data_to_send()

    def _answer(self, stream: int) -> None:
        is_short = not self._message and not self._trailers
        self.connection.send_headers(stream, self._head, end_stream=is_short)
        if self._message:
            self.connection.send_data(stream, self._message, end_stream=not self._trailers)
        if self._trailers:
            self.connection.send_headers(stream, self._trailers, end_stream=True)


def converse(call: HealthCall, server: Server, *, piece_bytes: int = 1 << 20) -> str | None:
    """Both speak until neither has anything to say."""
    to_server, to_client = call.start(), b""
    while to_server or to_client:
        to_client += server.receive(to_server) if to_server else b""
        piece, to_client = to_client[:piece_bytes], to_client[piece_bytes:]
        to_server = call.receive(piece) if piece else b""
    return call.verdict


GOOD = [("grpc-status", "0")]
ANSWERS: dict[str, tuple[Server, str]] = {
    "a service that serves": (Server(SERVING, head=OK, trailers=GOOD), ""),
    "one that does not": (
        Server(NOT_SERVING, head=OK, trailers=GOOD), "service unhealthy (responded with NOT_SERVING)"
    ),
    "an empty answer is an unknown status": (
        Server(b"\0" * 5, head=OK, trailers=GOOD), "service unhealthy (responded with UNKNOWN)"
    ),
    "a service that nobody knows": (
        Server(b"", head=[*OK, ("grpc-status", "5"), ("grpc-message", "unknown%20service")], trailers=[]),
        "gRPC NOT_FOUND",
    ),
    "a server without the health service": (
        Server(b"", head=OK, trailers=[("grpc-status", "12")]), "gRPC UNIMPLEMENTED"
    ),
    "a code that has no name here": (Server(SERVING, head=OK, trailers=[("grpc-status", "secret")]), "gRPC failure"),
    "a server that speaks HTTP alone": (
        Server(b"", head=[(":status", "404")], trailers=[]), "no gRPC: another HTTP status than 200"
    ),
    "an answer that is too long": (
        Server(b"x" * (MAX_MESSAGE_BYTES + 1), head=OK, trailers=GOOD), "malformed gRPC response: too long"
    ),
    "an answer that is half a message": (
        Server(SERVING[:-1], head=OK, trailers=GOOD), "malformed gRPC response"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ANSWERS)
@pytest.mark.parametrize("piece_bytes", [1, 1 << 20])
def test_what_an_answer_means(case: str, piece_bytes: int) -> None:
    kept, wanted = ANSWERS[case]
    server = Server(kept._message, head=kept._head, trailers=kept._trailers)
    assert converse(HealthCall("192.0.2.1:50051", "my.Service"), server, piece_bytes=piece_bytes) == wanted


def test_what_is_asked() -> None:
    server = Server(SERVING, head=OK, trailers=GOOD)
    assert converse(HealthCall("192.0.2.1:50051", "my.Service", agent="me"), server) == ""
    assert server.asked == {
        ":method": "POST", ":scheme": "http", ":path": "/grpc.health.v1.Health/Check", ":authority": "192.0.2.1:50051",
        "content-type": "application/grpc", "te": "trailers", "user-agent": "me",
    }  # fmt: skip
    assert server.body == b"\x00\x00\x00\x00\x0c\x0a\x0amy.Service"


def test_the_server_as_a_whole_is_an_empty_request() -> None:
    assert encode_request(b"") == b"\x00" * 5


def test_an_end_before_the_answer() -> None:
    call = HealthCall("192.0.2.1:1", "")
    call.start()
    call.end()
    assert call.verdict == "the connection ended before the answer"


def test_a_server_that_never_stops_talking_is_cut_off() -> None:
    call, server = HealthCall("192.0.2.1:1", ""), H2Connection(H2Configuration(client_side=False))
    server.initiate_connection()
    server.receive_data(call.start())
    pieces = 0
    while call.verdict is None and pieces < 100_000:
        server.ping(b"12345678")
        call.receive(server.data_to_send())
        pieces += 1
    assert call.verdict == "malformed gRPC response: too long"


@given(st.binary(max_size=200))
def test_whatever_a_server_sends_is_a_verdict_or_not_enough(data: bytes) -> None:
    call = HealthCall("192.0.2.1:1", "")
    call.start()
    call.receive(data)
    assert call.verdict != ""


@given(st.binary(max_size=40))
def test_whatever_a_message_holds_is_a_status_or_malformed(body: bytes) -> None:
    try:
        status = parse_status(b"\x00" + len(body).to_bytes(4, "big") + body)
    except ValueError:
        return
    assert status >= 0


STATUSES: dict[str, tuple[bytes, int]] = {
    "absent is 0": (b"", 0),
    "the status": (b"\x08\x01", 1),
    "later fields are passed over": (b"\x12\x03abc\x08\x01\x18\xff\x01", 1),
    "the last one counts": (b"\x08\x01\x08\x02", 2),
}


@pytest.mark.parametrize("case", STATUSES.values(), ids=STATUSES)
def test_what_a_message_says(case: tuple[bytes, int]) -> None:
    body, wanted = case
    assert parse_status(b"\x00" + len(body).to_bytes(4, "big") + body) == wanted
