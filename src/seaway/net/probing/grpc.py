"""One call of the gRPC health service, without a socket: bytes in, bytes out, and at last a verdict.

    call = HealthCall("10.0.0.1:50051", "my.Service"); send(call.start()); send(call.receive(data)) …; call.verdict

Rule: the gRPC health checking protocol (grpc.health.v1, `Check`), gRPC over HTTP/2, RFC 9113 (frames: the package h2).
Left out: TLS, and `Watch`, since what is promised is a rhythm.
"""

from __future__ import annotations

MAX_MESSAGE_BYTES = 4096
"""The answer has two bytes and what a later version may add to it."""
MAX_RECEIVED_BYTES = 256 * 1024
"""Of the connection, whatever it is."""

_STATUSES = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
_SERVING = 1
_CODES = {
    "5": "NOT_FOUND",
    "7": "PERMISSION_DENIED",
    "12": "UNIMPLEMENTED",
    "14": "UNAVAILABLE",
    "16": "UNAUTHENTICATED",
}


class HealthCall:
    """A call that is under way. authority: as HTTP has it. service: "" asks for the server as a whole.

    verdict: None while it is under way; then empty when the service serves, or what is wrong, in words of our own: the
    peer's may be a secret to who reads them. code and status: what the peer answered, by name; empty before.
    """

    def __init__(self, authority: str, service: str, *, agent: str = "seaway") -> None:
        from h2.config import H2Configuration
        from h2.connection import H2Connection

        self.verdict: str | None = None
        self.code = ""
        self.status = ""
        self._connection = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self._service = service.encode()
        self._headers = [
            (":method", "POST"), (":scheme", "http"), (":path", "/grpc.health.v1.Health/Check"),
            (":authority", authority), ("content-type", "application/grpc"), ("te", "trailers"), ("user-agent", agent),
        ]  # fmt: skip
        self._stream = 0
        self._received = 0
        self._message = b""
        self._fields: dict[str, str] = {}

    @property
    def is_begun(self) -> bool:
        """There was a connection to send the request on."""
        return self._stream > 0

    def start(self) -> bytes:
        """The preface and the whole request."""
        self._connection.initiate_connection()
        self._stream = self._connection.get_next_available_stream_id()
        self._connection.send_headers(self._stream, self._headers)
        self._connection.send_data(self._stream, encode_request(self._service), end_stream=True)
        return self._connection.data_to_send()

    def receive(self, data: bytes) -> bytes:
        """What is to be sent for what came."""
        from h2.exceptions import H2Error

        self._received += len(data)
        if self._received > MAX_RECEIVED_BYTES:
            self.verdict = "malformed gRPC response: too long"
            return b""
        try:
            for event in self._connection.receive_data(data):
                self._take(event)
        except (H2Error, UnicodeError, ValueError):
            self.verdict = "malformed gRPC response"
        return self._connection.data_to_send()

    def end(self) -> bytes:
        """The peer says no more."""
        if self.verdict is None:
            self.verdict = "the connection ended before the answer"
        return b""

    def _take(self, event: object) -> None:
        from h2 import events

        if isinstance(event, events.ResponseReceived | events.TrailersReceived):
            self._fields.update((str(name), str(value)) for name, value in event.headers or ())
        elif isinstance(event, events.DataReceived):
            self._message += event.data or b""
            self._connection.acknowledge_received_data(event.flow_controlled_length or 0, self._stream)
            if len(self._message) > MAX_MESSAGE_BYTES:
                self.verdict = "malformed gRPC response: too long"
        elif isinstance(event, events.StreamEnded):
            self.verdict = self.verdict or self._judge()
        elif isinstance(event, events.StreamReset | events.ConnectionTerminated) and self.verdict is None:
            self.verdict = f"the server ended the call: HTTP/2 error {event.error_code}"

    def _judge(self) -> str:
        if self._fields.get(":status") != "200":
            return "no gRPC: another HTTP status than 200"
        code = self._fields.get("grpc-status", "0")
        if code != "0":
            self.code = _CODES.get(code, "failure")
            return f"gRPC {self.code}"
        status = parse_status(self._message)
        self.status = _STATUSES.get(status, str(status))
        return "" if status == _SERVING else f"service unhealthy (responded with {self.status})"


def encode_request(service: bytes) -> bytes:
    """A gRPC message with a HealthCheckRequest; service: at most 2 KiB."""
    body = b"\x0a" + _encode_varint(len(service)) + service if service else b""
    return b"\x00" + len(body).to_bytes(4, "big") + body


def parse_status(message: bytes) -> int:
    """The status in a gRPC message with a HealthCheckResponse; absent is 0. Raises ValueError."""
    if len(message) < 5 or message[0] != 0 or int.from_bytes(message[1:5], "big") != len(message) - 5:
        raise ValueError("no whole gRPC message")
    status, at = 0, 5
    while at < len(message):
        tag, at = _decode_varint(message, at)
        if tag & 7 == 0:
            value, at = _decode_varint(message, at)
            status = value if tag >> 3 == 1 else status
        elif tag & 7 == 2:
            length, at = _decode_varint(message, at)
            at += length
        else:
            raise ValueError("an unknown wire type")
    if at != len(message):
        raise ValueError("a field that does not end")
    return status


def _encode_varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def _decode_varint(data: bytes, at: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        number |= (data[at] & 0x7F) << shift
        at += 1
        if not data[at - 1] & 0x80:
            return number, at
    raise ValueError("a number that does not end")
