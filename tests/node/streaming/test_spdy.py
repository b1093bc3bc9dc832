"""SPDY/3.1 as the node speaks it. Rule: spec "node" §5.8."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.node.streaming.spdy import (
    DICTIONARY,
    FIN,
    MAX_FRAME_BYTES,
    MAX_STREAMS,
    Data,
    Event,
    GoneAway,
    Opened,
    Pinged,
    Reset,
    SpdyConnection,
    SpdyError,
    encode_pairs,
)


class Peer:
    """Makes a client's frames."""

    def __init__(self, dictionary: bytes | None = DICTIONARY) -> None:
        self._deflater = zlib.compressobj(zdict=dictionary) if dictionary is not None else zlib.compressobj()

    def open(self, stream: int, headers: Mapping[str, str], flags: int = 0) -> bytes:
        block = self._deflater.compress(encode_pairs(headers)) + self._deflater.flush(zlib.Z_SYNC_FLUSH)
        return control(1, struct.pack(">IIBB", stream, 0, 0, 0) + block, flags)


def control(kind: int, body: bytes, flags: int = 0, version: int = 3) -> bytes:
    return struct.pack(">HHB", 0x8000 | version, kind, flags) + len(body).to_bytes(3) + body


def data(stream: int, body: bytes, flags: int = 0) -> bytes:
    return struct.pack(">IB", stream, flags) + len(body).to_bytes(3) + body


def test_the_dictionary_is_the_protocols() -> None:
    assert len(DICTIONARY) == 1423
    assert hashlib.sha256(DICTIONARY).hexdigest() == "51d27341373f923f3cd88e1eb7162aeaa3723d7585ff2399201dc06498407f02"


def make_conversation() -> tuple[bytes, list[Event]]:
    peer = Peer()
    sent = (
        peer.open(1, {"streamType": "error"}, FIN)
        + peer.open(3, {"streamType": "data", "port": "80"})
        + data(3, b"hello")
        + control(4, b"\0\0\0\0")
        + control(6, struct.pack(">I", 7))
        + control(6, struct.pack(">I", 8))
        + data(3, b"", FIN)
        + control(3, struct.pack(">II", 1, 5))
        + control(7, struct.pack(">II", 3, 0))
    )
    return sent, [
        Opened(1, {"streamtype": "error"}, True),
        Opened(3, {"streamtype": "data", "port": "80"}, False),
        Data(3, b"hello", False),
        Pinged(control(6, struct.pack(">I", 7))),
        Data(3, b"", True),
        Reset(1),
        GoneAway(),
    ]


@given(st.lists(st.integers(0, 400), max_size=12))
def test_events_do_not_depend_on_how_the_bytes_were_cut(cuts: list[int]) -> None:
    sent, events = make_conversation()
    connection, found = SpdyConnection(), []
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(sent)], strict=True):
        found += connection.feed(sent[start:end])
    assert found == events


def test_a_peer_may_leave_the_dictionary_out() -> None:
    opened = SpdyConnection().feed(Peer(dictionary=None).open(1, {"a": "b"}))
    assert opened == [Opened(1, {"a": "b"}, False)]


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        pytest.param(Peer().open(2, {}), "stream 2", id="a client's streams are odd"),
        pytest.param(control(1, b"\0\0"), "too early", id="a frame that is cut"),
        pytest.param(control(1, struct.pack(">IIBB", 1, 0, 0, 0) + b"nonsense"), "header block", id="no compression"),
        pytest.param(control(1, b"", version=2), "version 2", id="another version"),
        pytest.param(Peer().open(1, {"a": "b" * 20_000}), "more than", id="a header block that grows"),
        pytest.param(struct.pack(">IB", 1, 0) + (MAX_FRAME_BYTES + 1).to_bytes(3), "allowed", id="a frame too large"),
    ],
)
def test_what_breaks_the_protocol_is_said(sent: bytes, text: str) -> None:
    with pytest.raises(SpdyError, match=text):
        SpdyConnection().feed(sent)


def test_streams_grow_and_are_few() -> None:
    peer, connection = Peer(), SpdyConnection()
    connection.feed(peer.open(3, {}))
    with pytest.raises(SpdyError, match="opened after 3"):
        connection.feed(peer.open(1, {}))
    peer, connection = Peer(), SpdyConnection()
    for number in range(MAX_STREAMS):
        connection.feed(peer.open(2 * number + 1, {}))
    with pytest.raises(SpdyError, match="no more are allowed"):
        connection.feed(peer.open(2 * MAX_STREAMS + 1, {}))


def test_data_of_a_stream_that_is_over_is_nobodys() -> None:
    connection = SpdyConnection()
    connection.feed(Peer().open(1, {}))
    connection.reset(1)
    assert connection.feed(data(1, b"late") + data(5, b"never opened")) == []


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(sent: bytes) -> None:
    connection = SpdyConnection()
    try:
        connection.feed(sent)
    except SpdyError:
        return


@given(st.dictionaries(st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=8), st.text(max_size=8)))
def test_headers_come_as_they_were_sent(headers: dict[str, str]) -> None:
    wanted = {name.lower(): value.split("\0")[0] for name, value in headers.items()}
    (opened,) = SpdyConnection().feed(Peer().open(1, {k.lower(): v for k, v in headers.items()}))
    assert isinstance(opened, Opened)
    assert opened.headers == wanted
