"""Answers of backends out of their bytes. Rule: RFC 9112 §4 to §7."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.apiserver.proxying.http1 import (
    Framing,
    Head,
    Unchunker,
    WireError,
    find_framing,
    parse_head,
    render_head,
)


def test_a_request_is_written_as_it_came() -> None:
    head = render_head("GET", "/a?b", (("Host", "h"), ("X", "é"), ("x", "2")))
    assert head == "GET /a?b HTTP/1.1\r\nHost: h\r\nX: é\r\nx: 2\r\n\r\n".encode()


def test_a_head_is_a_status_and_fields_in_order() -> None:
    head = parse_head(b"HTTP/1.0 404 Not Found\r\nA: 1\r\nB:\r\na:  2 \r\n\r\n")
    assert head == Head(404, (("A", "1"), ("B", ""), ("a", "2")))
    assert parse_head(b"HTTP/1.1 200\r\n\r\n") == Head(200, ())


@pytest.mark.parametrize(
    "data",
    [b"", b"HTTP/2 200 OK", b"HTTP/1.1 20 OK", b"HTTP/1.1 200 OK\r\nno colon", b"HTTP/1.1 200 OK\r\nA : 1",
     b"HTTP/1.1 200 OK\r\nA: 1\r\n folded", b"HTTP/1.1 200 OK\r\nA: 1\n2", b"HTTP/1.1 200 OK\r\nA: \x00"],
)  # fmt: skip
def test_what_is_no_head_is_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        parse_head(data + b"\r\n\r\n")


@pytest.mark.parametrize(
    ("method", "status", "fields", "framing"),
    [
        ("GET", 200, (), (Framing.CLOSE, 0)),
        ("GET", 200, (("content-length", "5"),), (Framing.LENGTH, 5)),
        ("GET", 200, (("Content-Length", "0"),), (Framing.NONE, 0)),
        ("GET", 200, (("Content-Length", "5"), ("content-length", "5")), (Framing.LENGTH, 5)),
        ("GET", 200, (("Content-Length", "5"), ("Transfer-Encoding", "chunked")), (Framing.CHUNKED, 0)),
        ("HEAD", 200, (("Content-Length", "5"),), (Framing.NONE, 0)),
        ("GET", 204, (("Transfer-Encoding", "chunked"),), (Framing.NONE, 0)),
        ("GET", 304, (("Content-Length", "5"),), (Framing.NONE, 0)),
    ],
)
def test_how_a_body_ends(
    method: str, status: int, fields: tuple[tuple[str, str], ...], framing: tuple[Framing, int]
) -> None:
    assert find_framing(method, Head(status, fields)) == framing


@pytest.mark.parametrize(
    "fields",
    [(("Content-Length", "5"), ("Content-Length", "6")), (("Content-Length", "+5"),), (("Content-Length", "5,5"),),
     (("Content-Length", "٣"),), (("Transfer-Encoding", "gzip, chunked"),)],
)  # fmt: skip
def test_a_body_whose_end_is_unclear_is_refused(fields: tuple[tuple[str, str], ...]) -> None:
    with pytest.raises(WireError):
        find_framing("GET", Head(200, fields))


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.data())
def test_chunks_are_the_same_however_they_are_cut(parts: list[bytes], data: st.DataObject) -> None:
    wire = b"".join(b"%x;ext=1\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\nTrailer: x\r\n\r\n"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    unchunker = Unchunker()
    found = b"".join(unchunker.feed(wire[a:b]) for a, b in zip([0, *cuts], [*cuts, len(wire)], strict=True))
    assert (found, unchunker.is_done) == (b"".join(parts), True)


@pytest.mark.parametrize("wire", [b"zz\r\n", b"-1\r\n", b"\r\n", b"3\r\nabcd\r\n", b"1" * 20 + b"\r\n", b"1" * 5000])
def test_chunks_that_are_none_are_refused(wire: bytes) -> None:
    with pytest.raises(WireError):
        Unchunker().feed(wire)
