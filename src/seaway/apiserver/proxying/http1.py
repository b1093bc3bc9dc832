"""HTTP/1.1 as a client speaks it: heads as bytes, and bodies out of their frames.

Everything from a backend has a limit: it is as strange as any client. Rule: RFC 9112 §4 to §7.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from seaway.apiserver.proxying.headers import find_field

MAX_HEAD_BYTES = 256 << 10
MAX_CHUNK_LINE_BYTES = 4096
"""Of a chunk's size with its extensions, and of one trailer."""
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: [^\r\n]*)?", re.ASCII)
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00\r\n]*?)[ \t]*", re.ASCII)
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?")
_BODILESS = frozenset((204, 304))


class WireError(Exception):
    """Bytes of a backend that are no answer."""


@dataclass(frozen=True, slots=True)
class Head:
    """Status and header fields of an answer, in order."""

    status: int
    fields: tuple[tuple[str, str], ...]


def render_head(method: str, target: str, fields: Sequence[tuple[str, str]]) -> bytes:
    """The request up to its body. Fields hold no line ends: they were parsed from a request."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields)]
    return "\r\n".join((*lines, "", "")).encode("utf-8", "surrogateescape")


def parse_head(data: bytes) -> Head:
    """The head up to and with its empty line. Raises WireError."""
    first, *lines = data.removesuffix(b"\r\n\r\n").split(b"\r\n")
    found = _STATUS_LINE.fullmatch(first)
    if found is None:
        raise WireError(f"malformed HTTP response {first[:64].decode('ascii', 'backslashreplace')!r}")
    fields = []
    for line in lines:
        field = _FIELD.fullmatch(line)
        if field is None:
            raise WireError(f"malformed header line {line[:64].decode('ascii', 'backslashreplace')!r}")
        fields.append((field[1].decode(), field[2].decode("utf-8", "surrogateescape")))
    return Head(int(found[1]), tuple(fields))


class Framing(Enum):
    """How the end of a body is found."""

    NONE = "none"
    LENGTH = "length"
    CHUNKED = "chunked"
    CLOSE = "close"


def find_framing(method: str, head: Head) -> tuple[Framing, int]:
    """Of the answer to the method, with its length where it is told. Raises WireError. Rule: RFC 9112 §6.3."""
    if method == "HEAD" or head.status in _BODILESS or head.status < 200:
        return Framing.NONE, 0
    coding = find_field(head.fields, "transfer-encoding")
    if coding is not None:
        if coding.strip().lower() != "chunked":
            raise WireError(f"unsupported transfer encoding {coding[:64]!r}")
        return Framing.CHUNKED, 0
    lengths = {value for name, value in head.fields if name.lower() == "content-length"}
    if not lengths:
        return Framing.CLOSE, 0
    length = lengths.pop()
    if lengths or not (length.isascii() and length.isdigit() and len(length) < 19):
        raise WireError(f"bad Content-Length {length[:64]!r}")
    return (Framing.LENGTH, int(length)) if int(length) else (Framing.NONE, 0)


class Unchunker:
    """Takes a chunked body in any pieces, gives what is in it. `is_done` after the last chunk and the trailers."""

    def __init__(self) -> None:
        self.is_done = False
        self._rest = b""
        self._left = 0
        self._in_trailers = False
        self._ends_chunk = False

    def feed(self, data: bytes) -> bytes:
        """The content of the piece. Raises WireError."""
        found: list[bytes] = []
        data = self._rest + data
        while data and not self.is_done:
            if self._left:
                found.append(data[: self._left])
                self._left -= len(found[-1])
                data = data[len(found[-1]) :]
                self._ends_chunk = not self._left
                continue
            line, end, after = data.partition(b"\r\n")
            if not end:
                if len(data) > MAX_CHUNK_LINE_BYTES:
                    raise WireError("chunk line too long")
                break
            data = after
            self._take_line(line)
        self._rest = data
        return b"".join(found)

    def _take_line(self, line: bytes) -> None:
        if self._ends_chunk:
            if line:
                raise WireError("chunk longer than its size")
            self._ends_chunk = False
        elif self._in_trailers:
            self.is_done = not line
        else:
            size = _CHUNK_SIZE.fullmatch(line)
            if size is None:
                raise WireError(f"bad chunk size {line[:32]!r}")
            self._left = int(size[1], 16)
            self._in_trailers = not self._left
