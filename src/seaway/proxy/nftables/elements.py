"""Sets and elements as netlink attributes, both ways. Rule: include/uapi/linux/netfilter/nf_tables.h."""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from seaway.net.family import Family
from seaway.net.netlink.messages import (
    iterate_attributes,
    pack_attribute,
    pack_nested,
    pack_string,
    pack_u32,
    parse_attributes,
)
from seaway.proxy.nftables.objects import Comment, SetSpec, Type, Value, Verdict

SET_ANONYMOUS, SET_CONSTANT, SET_INTERVAL, SET_MAP = 0x1, 0x2, 0x4, 0x8
SET_TIMEOUT, SET_DYNAMIC, SET_CONCAT = 0x10, 0x20, 0x80
REMEMBERED = 65535
"""The most elements of a set that rules fill: nft's own default for such sets, and kube-proxy's."""
DATA_TYPE_VERDICT = 0xFFFFFF00
VERDICT_JUMP, VERDICT_GOTO, VERDICT_RETURN = -3 & 0xFFFFFFFF, -4 & 0xFFFFFFFF, -5 & 0xFFFFFFFF
PROTOCOL_FAMILY = {Family.IPV4: 2, Family.IPV6: 10}
_LENGTHS: dict[Type, int] = {Type.PROTOCOL: 1, Type.SERVICE: 2, Type.MARK: 4}
ELEMENTS_PER_MESSAGE = 400  # an attribute holds at most 65,535 bytes; an element at most 160

_NAMED = 0x7FFFFFFF  # the number of sets that are found by name; those found by number count from 1


def type_length(kind: Type, family: Family) -> int:
    """Bytes of a value, unpadded."""
    return _LENGTHS.get(kind) or family.bits // 8


def key_length(types: tuple[Type, ...], family: Family) -> int:
    """Bytes of a key: a single type as it is, several padded to four each."""
    if len(types) == 1:
        return type_length(types[0], family)
    return sum((type_length(t, family) + 3) & ~3 for t in types)


def type_number(types: tuple[Type, ...], family: Family) -> int:
    """nft's number for a type or a concatenation: six bits for each part."""
    number = 0
    for kind in types:
        number = number << 6 | _single_type(kind, family)
    return number


def _single_type(kind: Type, family: Family) -> int:
    if kind is Type.ADDRESS:
        return 7 if family is Family.IPV4 else 8
    return int(kind.value)


_EXPRESSION = 17
_COUNTER = pack_nested(_EXPRESSION, pack_string(1, "counter"), pack_nested(2))
"""What the kernel copies to each element of a set."""


def encode_set(spec: SetSpec, family: Family) -> bytes:
    """The attributes of a set but for table and name."""
    flags = (SET_MAP if spec.data or spec.is_verdict_map else 0) | (SET_INTERVAL if spec.is_interval else 0)
    # The kernel picks an interval set for concatenations by the flag; other sets need no such flag.
    flags |= SET_CONCAT if spec.is_interval and len(spec.key) > 1 else 0
    flags |= SET_TIMEOUT | SET_DYNAMIC if spec.timeout_seconds is not None else 0
    attributes = [
        pack_u32(3, flags),
        pack_u32(4, type_number(spec.key, family)),
        pack_u32(5, key_length(spec.key, family)),
        pack_u32(10, _NAMED),
    ]
    if spec.is_verdict_map:
        attributes += [pack_u32(6, DATA_TYPE_VERDICT), pack_u32(7, 0)]
    elif spec.data:
        attributes += [pack_u32(6, type_number(spec.data, family)), pack_u32(7, key_length(spec.data, family))]
    if spec.is_interval:
        fields = [pack_nested(1, pack_u32(1, type_length(t, family))) for t in spec.key]
        attributes.append(pack_nested(9, pack_nested(2, *fields)))
    if spec.timeout_seconds is not None:
        attributes += [pack_nested(9, pack_u32(1, REMEMBERED)), _pack_milliseconds(11, spec.timeout_seconds)]
    if spec.is_counted:
        attributes.append(_COUNTER)
    if spec.key == (Type.MARK,):
        attributes.append(pack_byte_order_note(1))
    return b"".join(attributes)


def pack_byte_order_note(order: int) -> bytes:
    """What nft writes beside a set to remember its keys' byte order: 1 the host's, 2 the network's."""
    return pack_attribute(13, bytes((0, 4)) + struct.pack("=I", order))


def encode_element(key: bytes, value: Value) -> bytes:
    """An element of a set or map."""
    padding = -len(key) % 4
    packed = _KEY.pack(len(key) + padding + 8, 1 | 0x8000, len(key) + 4, 1) + key + b"\0" * padding
    if value is not None:
        packed += _encode_value(value)
    return _ATTRIBUTE.pack(len(packed) + 4, 1 | 0x8000) + packed


def encode_entry(key: bytes, left_seconds: float) -> bytes:
    """An element of a set that rules fill, to be forgotten after the time that is left."""
    return pack_nested(1, pack_nested(1, pack_attribute(1, key)), _pack_milliseconds(5, left_seconds))


def _pack_milliseconds(kind: int, seconds: float) -> bytes:
    return pack_attribute(kind, struct.pack(">Q", round(seconds * 1000)))


def encode_interval(key: bytes, value: Value) -> bytes:
    """An element of an interval set: first and last key."""
    half = len(key) // 2
    ends = pack_nested(1, pack_attribute(1, key[:half])) + pack_nested(10, pack_attribute(1, key[half:]))
    return pack_nested(1, ends, _encode_value(value))


_KEY = struct.Struct("=HHHH")
_ATTRIBUTE = struct.Struct("=HH")


def _encode_value(value: Value) -> bytes:
    match value:
        case bytes():
            return _KEY.pack(len(value) + 8, 2 | 0x8000, len(value) + 4, 1) + value
        case Verdict(chain):
            return _encode_verdict_data(chain)
        case Comment(text):
            body = text.encode() + b"\0"
            return pack_attribute(6, bytes((0, len(body))) + body)
        case None:
            return b""


@functools.cache
def _encode_verdict_data(chain: str) -> bytes:
    return pack_nested(2, pack_verdict(VERDICT_GOTO, chain) if chain else pack_verdict(0))


def pack_verdict(code: int, chain: str = "") -> bytes:
    """A verdict as data hold it."""
    return pack_nested(2, pack_u32(1, code), pack_string(2, chain) if chain else b"")


def in_parts(elements: tuple[tuple[bytes, Value], ...]) -> Iterator[tuple[tuple[bytes, Value], ...]]:
    """The elements in pieces that fit in a message."""
    for start in range(0, len(elements), ELEMENTS_PER_MESSAGE):
        yield elements[start : start + ELEMENTS_PER_MESSAGE]


@dataclass(frozen=True, slots=True)
class KernelSet:
    """A set as the kernel describes it."""

    name: str
    flags: int
    key_type: int
    key_length: int
    data_type: int
    is_counted: bool = False

    @property
    def is_anonymous(self) -> bool:
        """It belongs to a rule."""
        return bool(self.flags & SET_ANONYMOUS)


def decode_set(payload: bytes) -> KernelSet:
    """The set of a NEWSET message. Raises ValueError or KeyError on what no kernel sends."""
    attributes = parse_attributes(payload[4:])
    flags, key_type, key_length, data_type = (
        int.from_bytes(attributes.get(kind, b"\0"), "big") for kind in (3, 4, 5, 6)
    )
    return KernelSet(
        decode_text(attributes[2]), flags, key_type, key_length, data_type, is_counted=_EXPRESSION in attributes
    )


def is_same_set(found: KernelSet, spec: SetSpec, family: Family) -> bool:
    """The kernel's set is what `spec` says."""
    wanted = parse_attributes(encode_set(spec, family))
    compared = SET_MAP | SET_INTERVAL | SET_TIMEOUT
    return (found.key_type, found.key_length, found.flags & compared, found.data_type, found.is_counted) == (
        int.from_bytes(wanted[4], "big"),
        int.from_bytes(wanted[5], "big"),
        int.from_bytes(wanted[3], "big") & compared,
        int.from_bytes(wanted.get(6, b"\0"), "big"),
        spec.is_counted,
    )


def decode_elements(payload: bytes) -> Iterator[tuple[bytes, Value]]:
    """(key, value) of each element of a NEWSETELEM message."""
    attributes = parse_attributes(payload[4:])
    for _, packed in iterate_attributes(attributes.get(3, b"")):
        parts = parse_attributes(packed)
        key = _value(parts[1])
        if 10 in parts:
            key += _value(parts[10])
        yield key, _decode_value(parts)


def decode_entries(payload: bytes) -> Iterator[tuple[bytes, float]]:
    """(key, seconds left) of each element of a NEWSETELEM message about a set that rules fill."""
    attributes = parse_attributes(payload[4:])
    for _, packed in iterate_attributes(attributes.get(3, b"")):
        parts = parse_attributes(packed)
        if 5 in parts:
            yield _value(parts[1]), int.from_bytes(parts[5], "big") / 1000


def decode_counts(payload: bytes) -> Iterator[tuple[bytes, str, int]]:
    """(key as it is packed, comment, packets) of each element of a NEWSETELEM message about a set that counts."""
    attributes = parse_attributes(payload[4:])
    for _, packed in iterate_attributes(attributes.get(3, b"")):
        parts = parse_attributes(packed)
        if 7 in parts and isinstance(value := _decode_value(parts), Comment):
            counter = parse_attributes(parse_attributes(parts[7])[2])
            yield parts[1] + parts.get(10, b""), value.text, int.from_bytes(counter[2], "big")


def _decode_value(parts: dict[int, bytes]) -> Value:
    if 2 in parts:
        data = parse_attributes(parts[2])
        return _decode_verdict(data[2]) if 2 in data else data[1]
    if 6 in parts and parts[6][:1] == b"\0":
        return Comment(decode_text(parts[6][2 : 2 + parts[6][1]]))
    return None


@functools.lru_cache(maxsize=4096)
def _decode_verdict(packed: bytes) -> Verdict:
    """One object for the elements of a map that lead to the same chain; there are few chains."""
    verdict = parse_attributes(packed)
    return Verdict(decode_text(verdict[2]) if 2 in verdict else "")


def _value(nested: bytes) -> bytes:
    return parse_attributes(nested)[1]


def decode_text(value: bytes) -> str:
    """A string without its end."""
    return value.rstrip(b"\0").decode(errors="replace")
