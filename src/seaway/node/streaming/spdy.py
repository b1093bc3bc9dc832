"""SPDY/3.1 as a server that opens no stream speaks it: bytes in, events out, and frames as bytes.

Nothing here waits or sends. The peer is always moby/spdystream, and only what that does is here; there is no flow
control: the caller stops reading the socket when it cannot take more. What breaks the protocol raises SpdyError, after
which the connection is of no use.
Invariants: one zlib stream per direction for the whole connection, so every header block passes through `_inflate`;
nothing is sent on a stream before its reply. Rule: spec "node" §5.8.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

VERSION = 3
SYN_STREAM, SYN_REPLY, RST_STREAM, SETTINGS, PING, GOAWAY, HEADERS, WINDOW_UPDATE = 1, 2, 3, 4, 6, 7, 8, 9
FIN = 1
PROTOCOL_ERROR, INVALID_STREAM, REFUSED_STREAM, CANCEL = 1, 2, 3, 5
MAX_FRAME_BYTES = 1 << 20
"""The protocol allows 16 MiB; clients send copy buffers of 32 KiB."""
MAX_HEADER_BYTES = 16 << 10
"""Of a decompressed block, which names four short fields."""
MAX_STREAMS = 1024
_WORDS = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow "
    "authorization cache-control connection content-base content-encoding content-language content-length "
    "content-location content-md5 content-range content-type date etag expect expires from host if-match "
    "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie "
    "keep-alive origin"
)
_TAIL = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden"
    "404 Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug "
    "Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,"
    "application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,"
    "sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
DICTIONARY = (
    b"".join(struct.pack(">I", len(w)) + w.encode() for w in (w.replace("_", " ") for w in _WORDS.split()))
    + _TAIL.encode()
)


class SpdyError(Exception):
    """The peer broke the protocol."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A new stream; it waits for `reply` or `reset`. is_ended: nothing will come on it."""

    stream: int
    headers: Mapping[str, str]
    is_ended: bool


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes of a stream."""

    stream: int
    data: bytes
    is_ended: bool


@dataclass(frozen=True, slots=True)
class Reset:
    """The peer gives the stream up."""

    stream: int


@dataclass(frozen=True, slots=True)
class GoneAway:
    """The peer will open no more streams."""


@dataclass(frozen=True, slots=True)
class Pinged:
    """`frame` is to be sent."""

    frame: bytes


Event = Opened | Data | Reset | GoneAway | Pinged


class SpdyConnection:
    """One connection. Frames that it makes are to be sent in the order in which they were made."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._inflater = zlib.decompressobj(zdict=DICTIONARY)
        self._deflater = zlib.compressobj(zdict=DICTIONARY)
        self._last = 0
        self._ended: dict[int, bool] = {}
        """Streams that are open, and whether the peer has said all on them."""

    def feed(self, data: bytes) -> list[Event]:
        """What the bytes mean, as far as frames are whole. Raises SpdyError."""
        buffer = self._buffer
        buffer += data
        events: list[Event] = []
        while len(buffer) >= 8:
            size = int.from_bytes(buffer[5:8])
            if size > MAX_FRAME_BYTES:
                raise SpdyError(f"a frame of {size} bytes found, {MAX_FRAME_BYTES} allowed")
            if len(buffer) < 8 + size:
                break
            head, body = bytes(buffer[:8]), bytes(buffer[8 : 8 + size])
            del buffer[: 8 + size]
            event = self._take_control(head, body) if head[0] & 0x80 else self._take_data(head, body)
            if event is not None:
                events.append(event)
        return events

    def reply(self, stream: int) -> bytes:
        """Accept the stream."""
        block = self._deflater.compress(struct.pack(">I", 0)) + self._deflater.flush(zlib.Z_SYNC_FLUSH)
        return _make_control(SYN_REPLY, struct.pack(">I", stream) + block)

    def data(self, stream: int, data: bytes, *, ends: bool = False) -> bytes:
        """Bytes on a stream."""
        return struct.pack(">IB", stream, FIN if ends else 0) + len(data).to_bytes(3) + data

    def reset(self, stream: int, status: int = CANCEL) -> bytes:
        """Give the stream up, in both directions."""
        self._ended.pop(stream, None)
        return _make_control(RST_STREAM, struct.pack(">2I", stream, status))

    def forget(self, stream: int) -> None:
        """Both sides have said all."""
        self._ended.pop(stream, None)

    def go_away(self) -> bytes:
        """No more streams, and no fault."""
        return _make_control(GOAWAY, struct.pack(">2I", self._last, 0))

    def _take_control(self, head: bytes, body: bytes) -> Event | None:
        version, kind = struct.unpack(">HH", head[:4])
        if version & 0x7FFF != VERSION:
            raise SpdyError(f"version {version & 0x7FFF} found, {VERSION} expected")
        match kind:
            case 1:
                return self._open(head[4], body)
            case 2 | 8:
                self._inflate(_part(body, 4))  # keeps the compression's state, and says nothing to a server
            case 3:
                (stream,) = struct.unpack(">I", _part(body, 0, 4))
                self._ended.pop(stream & 0x7FFFFFFF, None)
                return Reset(stream & 0x7FFFFFFF)
            case 6:
                (number,) = struct.unpack(">I", _part(body, 0, 4))
                return Pinged(_make_control(PING, body[:4])) if number % 2 else None
            case 7:
                return GoneAway()
        return None

    def _open(self, flags: int, body: bytes) -> Event:
        stream = struct.unpack(">I", _part(body, 0, 4))[0] & 0x7FFFFFFF
        headers = self._inflate(_part(body, 10))
        if stream % 2 == 0 or stream <= self._last:
            raise SpdyError(f"stream {stream} opened after {self._last}")
        if len(self._ended) >= MAX_STREAMS:
            raise SpdyError(f"{MAX_STREAMS} streams are open, no more are allowed")
        self._last = stream
        self._ended[stream] = bool(flags & FIN)
        return Opened(stream, headers, bool(flags & FIN))

    def _take_data(self, head: bytes, body: bytes) -> Event | None:
        stream = int.from_bytes(head[:4])
        if self._ended.get(stream, True):
            return None  # of a stream that was reset a moment ago
        ends = bool(head[4] & FIN)
        self._ended[stream] = ends
        return Data(stream, body, ends)

    def _inflate(self, block: bytes) -> dict[str, str]:
        try:
            plain = self._inflater.decompress(block, MAX_HEADER_BYTES)
        except zlib.error as error:
            raise SpdyError(f"header block: {error}") from None
        if self._inflater.unconsumed_tail:
            raise SpdyError(f"header block: more than {MAX_HEADER_BYTES} bytes")
        return _decode_pairs(plain)


def encode_pairs(headers: Mapping[str, str]) -> bytes:
    """A header block before its compression."""
    parts = [struct.pack(">I", len(headers))]
    for name, value in headers.items():
        for text in (name.lower(), value):
            raw = text.encode()
            parts += (struct.pack(">I", len(raw)), raw)
    return b"".join(parts)


def _decode_pairs(plain: bytes) -> dict[str, str]:
    """Names in lower case; of several values the first. Raises SpdyError."""
    texts: list[str] = []
    at = 4
    count = int.from_bytes(_part(plain, 0, 4))
    for _ in range(2 * min(count, MAX_HEADER_BYTES)):
        size = int.from_bytes(_part(plain, at, at + 4))
        texts.append(_part(plain, at + 4, at + 4 + size).split(b"\0")[0].decode("utf-8", "replace"))
        at += 4 + size
    return {name.lower(): value for name, value in zip(texts[::2], texts[1::2], strict=True)}


def _part(body: bytes, start: int, end: int | None = None) -> bytes:
    """A part that must be there. Raises SpdyError."""
    if len(body) < (start if end is None else end):
        raise SpdyError("a frame ends too early")
    return body[start:end]


def _make_control(kind: int, body: bytes, flags: int = 0) -> bytes:
    return struct.pack(">HHB", 0x8000 | VERSION, kind, flags) + len(body).to_bytes(3) + body
