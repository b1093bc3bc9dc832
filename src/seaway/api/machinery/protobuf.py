"""Protobuf bodies to JSON values, by the schema's field numbers. Nothing is ever encoded: every client accepts JSON.

What enters is `k8s\\0` and an Unknown message: typeMeta (apiVersion, kind), raw (the object's message). What leaves is
the value that the same client would have sent as JSON, zero scalars included: pruning drops them as for JSON.

1. Unknown field numbers are skipped; a known number with another wire type is an error.
2. Messages that JSON flattens (`Probe.handler`) write into their parent.
3. Depth follows the schema and is limited; lengths are checked against the buffer before anything is built.
Rule: spec "api-machinery" Appendix A.
"""

from __future__ import annotations

import base64
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from seaway.api.machinery.json_codec import JsonError, parse_json
from seaway.api.schema import Definition, Field, Shape, Type, find_definition, get_definition, parse_api_version

MAGIC = b"k8s\x00"
MAX_DEPTH = 100
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ZERO_SECONDS = -62135596800  # the year 1, Go's zero time
Json = dict[str, Any]


class ProtobufError(ValueError):
    """A body that is not the message it should be."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """What surrounds the object on the wire."""

    api_version: str
    kind: str
    raw: bytes


def decode_envelope(body: bytes) -> Envelope:
    """The type and the message in a body. Raises ProtobufError."""
    if not body.startswith(MAGIC):
        raise ProtobufError("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    type_meta, raw = b"", b""
    for number, wire, value in read_fields(body[len(MAGIC) :]):
        if number in (1, 2, 3) and wire != _BYTES:
            raise ProtobufError(f"proto: wrong wireType = {wire} for field {number} of Unknown")
        if number == 1:
            type_meta = value
        elif number == 2:
            raw = value
        elif number == 3 and value:
            raise ProtobufError(f"unsupported content encoding {value.decode(errors='replace')!r}")
    names = {number: value for number, wire, value in read_fields(type_meta) if wire == _BYTES}
    return Envelope(names.get(1, b"").decode(errors="replace"), names.get(2, b"").decode(errors="replace"), raw)


def decode_message(raw: bytes, definition: Definition) -> Json:
    """The message as a JSON object. Raises ProtobufError."""
    try:
        return _decode_struct(raw, definition, 0)
    except RecursionError:  # envelopes within envelopes
        raise ProtobufError("proto: exceeded max depth") from None


def read_fields(raw: bytes) -> Iterator[tuple[int, int, Any]]:
    """(field number, wire type, value) of each field; value is an int for numbers, bytes for the rest."""
    position, end = 0, len(raw)
    while position < end:
        tag, position = _read_varint(raw, position)
        number, wire = tag >> 3, tag & 7
        if not number:
            raise ProtobufError("proto: illegal tag 0")
        if wire == _VARINT:
            value, position = _read_varint(raw, position)
            yield number, wire, value
            continue
        if wire == _BYTES:
            length, position = _read_varint(raw, position)
        elif wire in (_FIXED64, _FIXED32):
            length = 8 if wire == _FIXED64 else 4
        else:
            raise ProtobufError(f"proto: illegal wireType {wire}")
        if length > end - position:
            raise ProtobufError("unexpected EOF")
        yield number, wire, raw[position : position + length]
        position += length


def _read_varint(raw: bytes, position: int) -> tuple[int, int]:
    result = 0
    for shift in range(0, 70, 7):
        if position >= len(raw):
            raise ProtobufError("unexpected EOF")
        byte = raw[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result & 0xFFFFFFFFFFFFFFFF, position
    raise ProtobufError("proto: integer overflow")


@functools.cache
def _plan(name: str) -> tuple[dict[int, Field], dict[int, dict[int, Field]]]:
    """Fields by number, and the flattened messages by number."""
    own: dict[int, Field] = {}
    flattened: dict[int, dict[int, Field]] = {}
    for field in get_definition(name).fields.values():
        if len(field.number) == 1:
            own[field.number[0]] = field
        elif field.number:
            flattened.setdefault(field.number[0], {})[field.number[1]] = field
    return own, flattened


def _decode_struct(raw: bytes, definition: Definition, depth: int) -> Json:
    if depth > MAX_DEPTH:
        raise ProtobufError("proto: exceeded max depth")
    own, flattened = _plan(definition.name)
    result: Json = {}
    for number, wire, value in read_fields(raw):
        if field := own.get(number):
            _store(result, field, wire, value, depth)
        elif (inner := flattened.get(number)) and wire == _BYTES:
            for inner_number, inner_wire, inner_value in read_fields(value):
                if field := inner.get(inner_number):
                    _store(result, field, inner_wire, inner_value, depth)
    return result


def _store(result: Json, field: Field, wire: int, value: Any, depth: int) -> None:
    kind = field.type
    if kind.shape is Shape.LIST:
        assert kind.item is not None
        elements = result.setdefault(field.name, [])
        if wire == _BYTES and kind.item.shape in (Shape.INT32, Shape.INT64, Shape.BOOLEAN):
            elements.extend(_decode_value(kind.item, _VARINT, n, field, depth) for n in _read_packed(value))
        else:
            elements.append(_decode_value(kind.item, wire, value, field, depth))
    elif kind.shape is Shape.MAP:
        assert kind.item is not None
        if wire != _BYTES:
            raise _wrong_wire(field, wire)
        key, item = _decode_entry(value, kind.item, field, depth)
        result.setdefault(field.name, {})[key] = item
    else:
        result[field.name] = _decode_value(kind, wire, value, field, depth)


def _read_packed(raw: bytes) -> Iterator[int]:
    position = 0
    while position < len(raw):
        value, position = _read_varint(raw, position)
        yield value


def _decode_entry(raw: bytes, item: Type, field: Field, depth: int) -> tuple[str, Any]:
    key, found = "", None
    for number, wire, value in read_fields(raw):
        if number == 1 and wire == _BYTES:
            key = value.decode(errors="replace")
        elif number == 2:
            found = (wire, value)
    if item.shape is Shape.LIST:  # a named list of strings is a message of its own
        return key, [v.decode(errors="replace") for n, w, v in read_fields(found[1] if found else b"") if n == 1]
    if found is None:
        found = (_VARINT, 0) if item.shape in _DECODERS_OF_NUMBERS else (_BYTES, b"")
    return key, _decode_value(item, found[0], found[1], field, depth)


def _decode_value(kind: Type, wire: int, value: Any, field: Field, depth: int) -> Any:
    if number_decoder := _DECODERS_OF_NUMBERS.get(kind.shape):
        if wire != _VARINT:
            raise _wrong_wire(field, wire)
        return number_decoder(value)
    if wire != _BYTES:
        raise _wrong_wire(field, wire)
    if kind.shape is Shape.STRUCT:
        return _decode_struct(value, kind.definition, depth + 1)
    return _DECODERS_OF_BYTES[kind.shape](value)


def _wrong_wire(field: Field, wire: int) -> ProtobufError:
    return ProtobufError(f"proto: wrong wireType = {wire} for field {field.name}")


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def _decode_time(raw: bytes) -> str | None:
    moment = _decode_moment(raw)
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0")


def _decode_micro_time(raw: bytes) -> str | None:
    moment = _decode_moment(raw)
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


def _decode_moment(raw: bytes) -> datetime | None:
    """None for the zero time, which an empty message is, too."""
    numbers = {number: value for number, wire, value in read_fields(raw) if wire == _VARINT}
    seconds, nanos = _signed(numbers.get(1, 0), 64), _signed(numbers.get(2, 0), 32)
    if not numbers or seconds == _ZERO_SECONDS:
        return None
    try:
        return _EPOCH + timedelta(seconds=seconds, microseconds=nanos // 1000)
    except OverflowError:
        raise ProtobufError(f"time out of range: {seconds} seconds") from None


def _decode_int_or_string(raw: bytes) -> int | str:
    fields = {number: (wire, value) for number, wire, value in read_fields(raw)}
    if fields.get(1, (_VARINT, 0))[1] == 1:
        wire, text = fields.get(3, (_BYTES, b""))
        return text.decode(errors="replace") if wire == _BYTES else ""
    wire, number = fields.get(2, (_VARINT, 0))
    return _signed(number, 32) if wire == _VARINT else 0


def _decode_quantity(raw: bytes) -> str:
    texts = [value for number, wire, value in read_fields(raw) if number == 1 and wire == _BYTES]
    return texts[-1].decode(errors="replace") if texts and texts[-1] else "0"


def _decode_json_message(raw: bytes) -> Any:
    """A message whose field 1 holds JSON text, or an enveloped object of a known kind."""
    texts = [value for number, wire, value in read_fields(raw) if number == 1 and wire == _BYTES]
    if not texts or not texts[-1]:
        return None
    if texts[-1].startswith(MAGIC):
        envelope = decode_envelope(texts[-1])
        definition = find_definition(*parse_api_version(envelope.api_version), envelope.kind)
        if definition is None:
            raise ProtobufError(f'no kind "{envelope.kind}" is registered for version "{envelope.api_version}"')
        inner = decode_message(envelope.raw, definition)
        return {"kind": envelope.kind, "apiVersion": envelope.api_version, **inner}
    try:
        return parse_json(texts[-1])[0]
    except JsonError as error:
        raise ProtobufError(str(error)) from None


_DECODERS_OF_NUMBERS: dict[Shape, Callable[[int], Any]] = {
    Shape.INT32: lambda value: _signed(value, 32),
    Shape.INT64: lambda value: _signed(value, 64),
    Shape.BOOLEAN: bool,
}
_DECODERS_OF_BYTES: dict[Shape, Callable[[bytes], Any]] = {
    Shape.STRING: lambda raw: raw.decode(errors="replace"),
    Shape.BYTES: lambda raw: base64.b64encode(raw).decode(),
    Shape.TIME: _decode_time,
    Shape.MICRO_TIME: _decode_micro_time,
    Shape.QUANTITY: _decode_quantity,
    Shape.INT_OR_STRING: _decode_int_or_string,
    Shape.FIELDS: _decode_json_message,
    Shape.RAW: _decode_json_message,
}
