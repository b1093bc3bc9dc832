"""Headers of the PROXY protocol. Rule: HAProxy's proxy-protocol.txt, §2.1 and §2.2."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.net.loopback import LoopbackMap
from seaway.proxy.userspace.proxyprotocol import (
    MAX_V1,
    SIGNATURE,
    Ends,
    HeaderError,
    Peer,
    Version,
    decode_header,
    encode_header,
    name_ends,
)

FOUR = Ends(Peer("172.19.0.1", 42578), Peer("172.19.0.3", 80))
SIX = Ends(Peer("fd10:244::7", 40000), Peer("fd10:96::a", 443))
V4 = bytes.fromhex("0d0a0d0a000d0a515549540a 21 11 000c ac130001 ac130003 a652 0050")
V6 = bytes.fromhex(
    "0d0a0d0a000d0a515549540a 21 21 0024fd100244000000000000000000000007 fd10009600000000000000000000000a 9c40 01bb"
)
LONGEST = b"PROXY TCP6 " + b" ".join([b"ffff:" * 7 + b"ffff"] * 2) + b" 65535 65535\r\n"

GOLDEN = {
    "version 1, IPv4": (Version.V1, FOUR, b"PROXY TCP4 172.19.0.1 172.19.0.3 42578 80\r\n"),
    "version 1, IPv6": (Version.V1, SIX, b"PROXY TCP6 fd10:244::7 fd10:96::a 40000 443\r\n"),
    "version 1, not known": (Version.V1, None, b"PROXY UNKNOWN\r\n"),
    "version 2, IPv4, as haproxy writes it": (Version.V2, FOUR, V4),
    "version 2, IPv6": (Version.V2, SIX, V6),
    "version 2, not known": (Version.V2, None, SIGNATURE + b"\x20\x00\x00\x00"),
}


@pytest.mark.parametrize(("version", "ends", "wire"), GOLDEN.values(), ids=GOLDEN.keys())
def test_a_header_is_these_bytes(version: Version, ends: Ends | None, wire: bytes) -> None:
    assert encode_header(version, ends) == wire
    assert decode_header(wire) == (ends, len(wire))


@pytest.mark.parametrize("version", Version)
@pytest.mark.parametrize(
    "ends",
    [
        Ends(Peer("10.0.0.1", 1), Peer("fd00::1", 2)),
        Ends(Peer("", 1), Peer("10.0.0.1", 2)),
        Ends(Peer("10.0.0.1", 65536), Peer("10.0.0.2", 2)),
    ],
    ids=["two families", "no address", "no port"],
)
def test_ends_that_cannot_be_told_are_not_known(version: Version, ends: Ends) -> None:
    assert encode_header(version, ends) == encode_header(version, None)


def test_a_scope_is_left_out_and_a_mapped_address_is_what_it_maps() -> None:
    scoped = Ends(Peer("fe80::1%eth0", 1), Peer("fd00::1", 2))
    assert encode_header(Version.V1, scoped) == b"PROXY TCP6 fe80::1 fd00::1 1 2\r\n"
    mapped = Ends(Peer("::ffff:10.0.0.1", 1), Peer("10.0.0.2", 2))
    assert encode_header(Version.V1, mapped) == b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n"


def test_ends_on_loopback_are_named_as_the_cluster_knows_them() -> None:
    pod, asked = Peer("127.244.0.7", 40000), Peer("127.96.0.10", 80)
    named = Ends(Peer("10.244.0.7", 40000), Peer("10.96.0.10", 80))
    assert name_ends(pod, asked, LoopbackMap()) == named
    assert name_ends(pod, asked, None) == Ends(pod, asked)


def test_an_end_that_is_no_address_of_the_cluster_keeps_its_own() -> None:
    host = Peer("127.0.0.1", 40000)
    assert name_ends(host, Peer("127.96.0.10", 80), LoopbackMap()) == Ends(host, Peer("10.96.0.10", 80))


PORTS = st.integers(0, 65535)
ENDS = st.sampled_from((4, 6)).flatmap(
    lambda v: st.builds(
        lambda a, p, b, q: Ends(Peer(str(a), p), Peer(str(b), q)),
        st.ip_addresses(v=v).filter(lambda a: not getattr(a, "ipv4_mapped", None)),  # type: ignore[arg-type]
        PORTS,
        st.ip_addresses(v=v).filter(lambda a: not getattr(a, "ipv4_mapped", None)),  # type: ignore[arg-type]
        PORTS,
    )
)


@given(st.sampled_from(Version), ENDS | st.none(), st.binary(max_size=40))
def test_what_was_written_is_read_and_what_follows_is_left(version: Version, ends: Ends | None, rest: bytes) -> None:
    wire = encode_header(version, ends)
    assert decode_header(wire + rest) == (ends, len(wire))


@given(st.sampled_from(Version), ENDS | st.none())
def test_a_part_of_a_header_needs_more(version: Version, ends: Ends | None) -> None:
    wire = encode_header(version, ends)
    assert all(decode_header(wire[:size]) is None for size in range(len(wire)))


@given(st.sampled_from(Version), ENDS)
def test_a_line_of_version_1_is_never_too_long(version: Version, ends: Ends) -> None:
    assert len(encode_header(version, ends)) <= MAX_V1


@given(st.sampled_from((b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11")), st.binary(max_size=300))
def test_whatever_comes_is_read_refused_or_waited_for(start: bytes, data: bytes) -> None:
    try:
        found = decode_header(start + data)
    except HeaderError:
        return
    assert found is None or 0 < found[1] <= len(start + data)


def v2(command: int, kind: int, body: bytes, length: int | None = None) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, kind, len(body) if length is None else length) + body


ALLOWED = {
    "the longest line": (LONGEST, Ends(Peer("ffff:" * 7 + "ffff", 65535), Peer("ffff:" * 7 + "ffff", 65535))),
    "unknown with what follows": (b"PROXY UNKNOWN ffff::1 x\r\n", None),
    "a health check of the proxy itself": (v2(0x20, 0x11, V4[16:]), None),
    "no addresses": (v2(0x21, 0x00, b""), None),
    "datagrams": (v2(0x21, 0x12, V4[16:]), None),
    "TLVs after the addresses": (v2(0x21, 0x11, V4[16:] + b"\x04\0\x01\0"), FOUR),
}


@pytest.mark.parametrize(("wire", "ends"), ALLOWED.values(), ids=ALLOWED.keys())
def test_what_others_may_write_is_read(wire: bytes, ends: Ends | None) -> None:
    assert decode_header(wire) == (ends, len(wire))


REFUSED = {
    "a request": b"GET / HTTP/1.1\r\n",
    "a line without an end": b"PROXY TCP4 " + b"1" * MAX_V1,
    "two blanks": b"PROXY TCP4  10.0.0.1 10.0.0.2 1 2\r\n",
    "an address of the other family": b"PROXY TCP4 fd00::1 fd00::2 1 2\r\n",
    "a leading zero": b"PROXY TCP4 10.0.0.1 10.0.0.2 01 2\r\n",
    "a port beyond 65535": b"PROXY TCP4 10.0.0.1 10.0.0.2 1 65536\r\n",
    "datagrams in version 1": b"PROXY UDP4 10.0.0.1 10.0.0.2 1 2\r\n",
    "version 3": v2(0x31, 0x11, V4[16:]),
    "an unknown command": v2(0x22, 0x11, V4[16:]),
    "an unknown family": v2(0x21, 0x41, V4[16:]),
    "fewer bytes than addresses need": v2(0x21, 0x11, b"", 11),
    "more than is read": v2(0x21, 0x11, b"", 65535),
}


@pytest.mark.parametrize("wire", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_header_is_refused(wire: bytes) -> None:
    with pytest.raises(HeaderError):
        decode_header(wire)
