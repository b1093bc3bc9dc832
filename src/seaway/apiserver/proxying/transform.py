"""What happens to a backend's answer on its way: its `Location`, and the links of HTML, also of compressed HTML.

Rule: spec "service-api" §8.3.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence

from seaway.api.machinery.errors import InternalError
from seaway.apiserver.proxying.headers import Fields, find_field
from seaway.apiserver.proxying.html import HtmlRewriter
from seaway.apiserver.proxying.links import Links

_PIECE_BYTES = 64 << 10
"""Of what a compressed piece becomes at a time: a small body may become an endless one."""
_GZIP_BITS = 31
_ZLIB_BITS = 15


def rewrite_location(fields: Fields, links: Links) -> Fields:
    """The fields with a Location that leads through the proxy. Raises InternalError for one that is no URL."""
    try:
        return tuple((name, links.rewrite(value) if name.lower() == "location" else value) for name, value in fields)
    except ValueError as error:
        text = f"error trying to parse Location header: {error}"
        cause = {"causes": [{"message": text}]}
        raise InternalError(f"Internal error occurred: {text}", cause) from None


class Transformer:
    """A body in pieces of any size."""

    def __init__(self, rewrite: Callable[[str], str], coding: str) -> None:
        self._html = HtmlRewriter(rewrite)
        self._coding = coding
        self._inflate: zlib._Decompress | None = None
        self._deflate: zlib._Compress | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What becomes of the piece. Raises ValueError when it is not compressed as was said."""
        for piece in self._decode(data):
            yield from self._encode(self._html.feed(piece))

    def flush(self) -> bytes:
        """What the reader shall have now."""
        return self._deflate.flush(zlib.Z_SYNC_FLUSH) if self._deflate is not None else b""

    def finish(self) -> bytes:
        """The end."""
        if not self._coding:
            return self._html.finish()
        if self._inflate is None or self._deflate is None:
            return b""
        rest = self._html.feed(self._inflate.flush()) + self._html.finish()
        return self._deflate.compress(rest) + self._deflate.flush()

    def _decode(self, data: bytes) -> Iterator[bytes]:
        if not self._coding:
            yield data
            return
        if self._inflate is None:
            bits = self._find_bits(data)
            self._inflate, self._deflate = zlib.decompressobj(bits), zlib.compressobj(wbits=bits)
        try:
            while data:
                yield self._inflate.decompress(data, _PIECE_BYTES)
                data = self._inflate.unconsumed_tail
        except zlib.error as error:
            raise ValueError(str(error)) from None

    def _find_bits(self, data: bytes) -> int:
        """`deflate` is a zlib stream by the standard, and a bare one from many servers."""
        if self._coding == "gzip":
            return _GZIP_BITS
        is_zlib = len(data) >= 2 and data[0] & 15 == 8 and int.from_bytes(data[:2]) % 31 == 0
        return _ZLIB_BITS if is_zlib else -_ZLIB_BITS

    def _encode(self, data: bytes) -> Iterator[bytes]:
        piece = data if self._deflate is None else self._deflate.compress(data)
        if piece:
            yield piece


def find_transformer(fields: Sequence[tuple[str, str]], links: Links) -> Transformer | None:
    """For HTML whose encoding is known; everything else passes as it is. One that has a Location does, as upstream."""
    media = (find_field(fields, "content-type") or "").partition(";")[0].strip()
    coding = find_field(fields, "content-encoding") or ""
    if media != "text/html" or coding not in ("", "gzip", "deflate") or find_field(fields, "location"):
        return None
    return Transformer(links.rewrite, coding)
