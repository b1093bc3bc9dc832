"""The PROXY protocol: who the client is and whom it asked, said to the endpoint before the client's first byte.

Version 1 is a line of text, version 2 is binary. Neither carries more than addresses here: no TLVs are written.
The decoder is strict, takes what the encoder writes and what the specification allows, and is what tests (and
whoever writes an endpoint) read headers with.
Rule: HAProxy's proxy-protocol.txt of 2020-03-05, §2.1 (version 1), §2.2 (version 2).
"""

from __future__ import annotations

import enum
import ipaddress
import re
import struct
from typing import NamedTuple

from seaway.net.loopback import LoopbackMap

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
MAX_V1 = 107
"""Bytes of the longest line of version 1, its end included."""
MAX_V2 = 16 + 216 + 4096
"""Bytes of the longest header of version 2 that is read: a header, the longest addresses, and some TLVs."""
_FAMILIES_V1 = {4: "TCP4", 6: "TCP6"}
_LINE = re.compile(rb"PROXY (TCP4|TCP6) (\S+) (\S+) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})")
_HEAD = struct.Struct("!12sBBH")
_LOCAL, _PROXY = 0x20, 0x21
_UNSPEC, _TCP4, _TCP6 = 0x00, 0x11, 0x21
_KNOWN = frozenset(family << 4 | transport for family in range(4) for transport in range(3))
_BYTES = {_TCP4: 4, _TCP6: 16}


class Version(enum.Enum):
    """Which form the header has."""

    V1 = "v1"
    V2 = "v2"


class Peer(NamedTuple):
    """One end of a connection."""

    address: str
    port: int


class Ends(NamedTuple):
    """The client, and the address that it asked for: of one family."""

    client: Peer
    asked: Peer


class HeaderError(ValueError):
    """What was received is no header of this protocol."""


def name_ends(client: Peer, asked: Peer, loopback: LoopbackMap | None) -> Ends:
    """The ends as the cluster knows them: a Pod that is on loopback, and a Service that is, by its own address.

    loopback: where addresses of the cluster are on this host; None: where they are anyway.
    """
    if loopback is None:
        return Ends(client, asked)
    (client_address, client_port), (asked_address, asked_port) = client, asked
    return Ends(
        Peer(loopback.from_loopback(client_address) or client_address, client_port),
        Peer(loopback.from_loopback(asked_address) or asked_address, asked_port),
    )


def encode_header(version: Version, ends: Ends | None) -> bytes:
    """The header. None, and ends of two families or with a port beyond 65535: the connection's ends are not known.

    Never raises for addresses that a socket gave; a scope (`fe80::1%eth0`) is left out.
    """
    packed = _pack(ends) if ends is not None else None
    return _encode_v1(packed) if version is Version.V1 else _encode_v2(packed)


class _Packed(NamedTuple):
    source: ipaddress.IPv4Address | ipaddress.IPv6Address
    destination: ipaddress.IPv4Address | ipaddress.IPv6Address
    source_port: int
    destination_port: int


def _pack(ends: Ends) -> _Packed | None:
    (client, client_port), (asked, asked_port) = ends
    try:
        source, destination = _parse(client.partition("%")[0]), _parse(asked.partition("%")[0])
    except ValueError:
        return None
    if source.version != destination.version or not (0 <= client_port <= 65535 and 0 <= asked_port <= 65535):
        return None
    return _Packed(source, destination, client_port, asked_port)


def _parse(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An IPv4 client of a socket of both families is an IPv4 client."""
    address = ipaddress.ip_address(text)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _encode_v1(ends: _Packed | None) -> bytes:
    if ends is None:
        return b"PROXY UNKNOWN\r\n"
    family = _FAMILIES_V1[ends.source.version]
    return (f"PROXY {family} {ends.source} {ends.destination} {ends.source_port} {ends.destination_port}\r\n").encode()


def _encode_v2(ends: _Packed | None) -> bytes:
    if ends is None:
        # As a check of the proxy's own, which every receiver has to take: haproxy resets PROXY without addresses.
        return _HEAD.pack(SIGNATURE, _LOCAL, _UNSPEC, 0)
    family = _TCP4 if ends.source.version == 4 else _TCP6
    ports = struct.pack("!HH", ends.source_port, ends.destination_port)
    body = ends.source.packed + ends.destination.packed + ports
    return _HEAD.pack(SIGNATURE, _PROXY, family, len(body)) + body


def decode_header(data: bytes) -> tuple[Ends | None, int] | None:
    """The ends (None: not known, or not of TCP) and the header's length. None: more bytes are needed.

    Raises HeaderError as soon as no further byte could make it a header.
    """
    if _begins(data, SIGNATURE):
        return _decode_v2(data) if len(data) >= _HEAD.size else None
    if _begins(data, b"PROXY "):
        return _decode_v1(data)
    raise HeaderError("neither a line that begins with PROXY nor the signature of version 2")


def _begins(data: bytes, prefix: bytes) -> bool:
    return data[: len(prefix)] == prefix[: len(data)]


def _decode_v1(data: bytes) -> tuple[Ends | None, int] | None:
    end = data.find(b"\r\n", 0, MAX_V1)
    if end < 0:
        if len(data) >= MAX_V1:
            raise HeaderError(f"version 1: no end of the line within {MAX_V1} bytes")
        return None
    line = data[:end]
    if line == b"PROXY UNKNOWN" or line.startswith(b"PROXY UNKNOWN "):
        return None, end + 2
    found = _LINE.fullmatch(line)
    if found is None:
        raise HeaderError(f"version 1: {line!r} is no header")
    kind, source, destination, *ports = (part.decode("ascii", "replace") for part in found.groups())
    parse = ipaddress.IPv4Address if kind == "TCP4" else ipaddress.IPv6Address
    try:
        ends = [Peer(str(parse(text)), int(port)) for text, port in zip((source, destination), ports, strict=True)]
    except ValueError as error:
        raise HeaderError(f"version 1: {error}") from None
    if any(peer.port > 65535 for peer in ends):
        raise HeaderError(f"version 1: {line!r} has a port beyond 65535")
    return Ends(*ends), end + 2


def _decode_v2(data: bytes) -> tuple[Ends | None, int] | None:
    _, command, kind, length = _HEAD.unpack_from(data)
    if command not in (_LOCAL, _PROXY):
        raise HeaderError(f"version 2: version and command {command:#04x}; 0x20 and 0x21 allowed")
    if kind not in _KNOWN:
        raise HeaderError(f"version 2: family and transport {kind:#04x} are not known")
    size = _HEAD.size + length
    width = _BYTES.get(kind, 0)
    if size > MAX_V2 or (command == _PROXY and width and length < 2 * width + 4):
        raise HeaderError(f"version 2: a length of {length} for family and transport {kind:#04x}")
    if len(data) < size:
        return None
    if command == _LOCAL or not width:
        return None, size
    parse = ipaddress.IPv4Address if width == 4 else ipaddress.IPv6Address
    body = data[_HEAD.size : size]
    source, destination = (str(parse(body[at : at + width])) for at in (0, width))
    source_port, destination_port = struct.unpack_from("!HH", body, 2 * width)
    return Ends(Peer(source, source_port), Peer(destination, destination_port)), size
