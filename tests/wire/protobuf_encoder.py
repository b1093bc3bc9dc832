"""The other end of the protobuf codec: what a Go client sends, made from the same schema. For tests alone."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

from seaway.api.machinery.protobuf import MAGIC
from seaway.api.schema import Definition, Field, Shape, Type

Json = dict[str, Any]
_NUMBERS = (Shape.INT32, Shape.INT64, Shape.BOOLEAN)


def encode_varint(value: int) -> bytes:
    value &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def encode_bytes(number: int, payload: bytes) -> bytes:
    return encode_varint(number << 3 | 2) + encode_varint(len(payload)) + payload


def encode_number(number: int, value: int) -> bytes:
    return encode_varint(number << 3) + encode_varint(value)


def encode_body(obj: Json, definition: Definition) -> bytes:
    """The whole body: magic, envelope, message."""
    type_meta = encode_bytes(1, obj["apiVersion"].encode()) + encode_bytes(2, obj["kind"].encode())
    empty = encode_bytes(3, b"") + encode_bytes(4, b"")
    return MAGIC + encode_bytes(1, type_meta) + encode_bytes(2, encode_struct(obj, definition)) + empty


def encode_struct(obj: Json, definition: Definition) -> bytes:
    own: list[bytes] = []
    flattened: dict[int, bytes] = {}
    for name, value in obj.items():
        field = definition.fields[name]
        if not field.number:
            continue
        encoded = _encode_field(field, field.number[-1], value)
        if len(field.number) == 1:
            own.append(encoded)
        else:
            flattened[field.number[0]] = flattened.get(field.number[0], b"") + encoded
    return b"".join(own) + b"".join(encode_bytes(number, payload) for number, payload in flattened.items())


def _encode_field(field: Field, number: int, value: Any) -> bytes:
    kind = field.type
    if kind.shape is Shape.LIST:
        assert kind.item is not None
        return b"".join(_encode_value(number, kind.item, item) for item in value)
    if kind.shape is Shape.MAP:
        assert kind.item is not None
        return b"".join(
            encode_bytes(number, encode_bytes(1, key.encode()) + _encode_map_value(kind.item, item))
            for key, item in value.items()
        )
    return _encode_value(number, kind, value)


def _encode_map_value(item: Type, value: Any) -> bytes:
    if item.shape is Shape.LIST:
        return encode_bytes(2, b"".join(encode_bytes(1, text.encode()) for text in value))
    return _encode_value(2, item, value)


def _encode_value(number: int, kind: Type, value: Any) -> bytes:
    if kind.shape in _NUMBERS:
        return encode_number(number, int(value))
    return encode_bytes(number, _encode_payload(kind, value))


def _encode_payload(kind: Type, value: Any) -> bytes:
    if kind.shape is Shape.STRUCT:
        return encode_struct(value, kind.definition)
    if kind.shape is Shape.STRING:
        return str(value).encode()
    if kind.shape is Shape.BYTES:
        return base64.b64decode(value)
    if kind.shape in (Shape.TIME, Shape.MICRO_TIME):
        return _encode_time(value)
    if kind.shape is Shape.QUANTITY:
        return encode_bytes(1, value.encode())
    if kind.shape is Shape.INT_OR_STRING:
        if isinstance(value, int):
            return encode_number(1, 0) + encode_number(2, value) + encode_bytes(3, b"")
        return encode_number(1, 1) + encode_number(2, 0) + encode_bytes(3, value.encode())
    return encode_bytes(1, json.dumps(value).encode())


def _encode_time(text: str) -> bytes:
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    elapsed = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return encode_number(1, elapsed.days * 86400 + elapsed.seconds) + encode_number(2, elapsed.microseconds * 1000)
