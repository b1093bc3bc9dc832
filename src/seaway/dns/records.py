"""Names, records and their text form. A name is a tuple of labels as bytes, without the root, in the case given."""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import msgspec

from seaway.dns.packing import V4, Packed

Name = tuple[bytes, ...]

MAX_LABEL_BYTES = 63  # RFC 1035 2.3.4
MAX_NAME_BYTES = 255  # RFC 1035 2.3.4, length octets and the root included


class RRType(enum.IntEnum):
    """Record and question types that have a meaning here; any other 16-bit number may be asked."""

    A = 1
    NS = 2
    CNAME = 5
    SOA = 6
    PTR = 12
    TXT = 16
    AAAA = 28
    SRV = 33
    OPT = 41
    IXFR = 251
    AXFR = 252


class RCode(enum.IntEnum):
    """Response codes. Rule: RFC 1035 4.1.1, RFC 6891 9 (BADVERS: its upper bits travel in the OPT record)."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5
    BADVERS = 16


class Address(msgspec.Struct, frozen=True, gc=False):
    """Of an A record 4 bytes, of an AAAA record 16."""

    packed: bytes


class Target(msgspec.Struct, frozen=True, gc=False):
    """Of CNAME, NS and PTR."""

    name: Name


class Srv(msgspec.Struct, frozen=True, gc=False):
    priority: int
    weight: int
    port: int
    target: Name


@dataclass(frozen=True, slots=True)
class Soa:
    mname: Name
    rname: Name
    serial: int
    refresh: int
    retry: int
    expire: int
    minimum: int


@dataclass(frozen=True, slots=True)
class Text:
    strings: tuple[bytes, ...]


RData = Address | Target | Srv | Soa | Text


class Record(msgspec.Struct, frozen=True, gc=False):
    """One resource record of class IN."""

    owner: Name
    rrtype: int
    ttl_seconds: int
    rdata: RData


@dataclass(frozen=True, slots=True)
class AddressSet(Sequence[Record]):
    """The addresses of one name, sorted. Records are made when they are looked at: of thousands nobody looks at all."""

    owner: Name
    ttl_seconds: int
    packed: Packed

    @property
    def rrtype(self) -> RRType:
        """A or AAAA."""
        return RRType.A if self.packed.size == V4 else RRType.AAAA

    def __len__(self) -> int:
        return len(self.packed)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | Sequence[Record]:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(len(self))))
        at = range(len(self))[index] * self.packed.size
        address = Address(self.packed.addresses[at : at + self.packed.size])
        return Record(self.owner, self.rrtype, self.ttl_seconds, address)


def parse_name(text: str) -> Name:
    """The labels of a domain name, with or without its trailing dot. Raises ValueError when it cannot be one.

    Escapes are not understood: names come from API objects and options, which have none.
    """
    stripped = text[:-1] if text.endswith(".") else text
    name = tuple(label.encode() for label in stripped.split(".")) if stripped else ()
    if not is_encodable(name):
        raise ValueError(f"{text!r}: not a domain name; labels have 1 to 63 bytes, names at most 255")
    return name


def is_encodable(name: Name) -> bool:
    """The labels and the whole have lengths that the wire allows."""
    return all(0 < len(label) <= MAX_LABEL_BYTES for label in name) and encoded_size(name) <= MAX_NAME_BYTES


def encoded_size(name: Name) -> int:
    """The bytes that the name takes when it is not compressed."""
    return sum(map(len, name)) + len(name) + 1


def lower_name(name: Name) -> Name:
    """The name in the form in which names compare equal. Rule: RFC 4343 (ASCII letters only)."""
    return tuple(label.lower() for label in name)


def is_within(name: Name, zone: Name) -> bool:
    """The name is the zone's or below it; both in lower case."""
    return name[len(name) - len(zone) :] == zone if len(name) >= len(zone) else False


def render_name(name: Name) -> str:
    """Presentation form with the trailing dot. Rule: RFC 1035 5.1 (escapes)."""
    return ".".join("".join(_render_byte(byte) for byte in label) for label in name) + "."


def render_record(record: Record) -> str:
    """The record as a line of a zone file."""
    try:
        mnemonic = RRType(record.rrtype).name
    except ValueError:
        mnemonic = f"TYPE{record.rrtype}"
    return f"{render_name(record.owner)} {record.ttl_seconds} IN {mnemonic} {_render_rdata(record.rdata)}"


def _render_rdata(rdata: RData) -> str:
    match rdata:
        case Address(packed):
            return str(ipaddress.ip_address(packed))
        case Target(name):
            return render_name(name)
        case Srv(priority, weight, port, target):
            return f"{priority} {weight} {port} {render_name(target)}"
        case Soa(mname, rname, serial, refresh, retry, expire, minimum):
            return f"{render_name(mname)} {render_name(rname)} {serial} {refresh} {retry} {expire} {minimum}"
        case Text(strings):
            return " ".join(f'"{text.decode(errors="backslashreplace")}"' for text in strings)


def _render_byte(byte: int) -> str:
    if byte in b'.\\"();@$':
        return "\\" + chr(byte)
    return chr(byte) if 0x21 <= byte <= 0x7E else f"\\{byte:03d}"
