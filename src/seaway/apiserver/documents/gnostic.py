"""An OpenAPI 2 document as the protobuf message that kubectl up to 1.28 downloads.

Only the fields that this server's documents have are known; another one is a bug and raises KeyError.
Rule: spec "api-machinery" Appendix B (messages and field numbers); protobuf encoding of varints and lengths.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

Json = dict[str, Any]


def encode_document(document: Json) -> bytes:
    """The message `openapi.v2.Document`."""
    info = _text(1, document["info"]["title"]) + _text(2, document["info"]["version"])
    paths = b"".join(_bytes(2, _named(name, _path_item(item))) for name, item in document["paths"].items())
    definitions = _named_list(1, document["definitions"], _schema)
    return _text(1, document["swagger"]) + _bytes(2, info) + _bytes(8, paths) + _bytes(9, definitions)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _bytes(number: int, payload: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _text(number: int, text: str) -> bytes:
    return _bytes(number, text.encode())


def _flag(number: int, value: bool) -> bytes:
    return _varint(number << 3) + _varint(int(value))


def _named(name: str, payload: bytes) -> bytes:
    """NamedPathItem, NamedSchema, NamedAny: a name and a value."""
    return _text(1, name) + _bytes(2, payload)


def _named_list(number: int, values: Json, encode: Callable[[Any], bytes]) -> bytes:
    return b"".join(_bytes(number, _named(name, encode(value))) for name, value in values.items())


def _any(value: Any) -> bytes:
    """A value of any type travels as text."""
    return _text(2, json.dumps(value) + "\n")


def _encode(known: dict[str, Callable[[Any], bytes]], extension_number: int, value: Json) -> bytes:
    """The message of `value`: known members by their encoders, `x-…` members as vendor extensions."""
    out = []
    for name, member in value.items():
        if name.startswith("x-"):
            out.append(_bytes(extension_number, _named(name, _any(member))))
        else:
            out.append(known[name](member))
    return b"".join(out)


def _path_item(item: Json) -> bytes:
    return _encode(_PATH_ITEM, 10, item)


def _operation(operation: Json) -> bytes:
    return _encode(_OPERATION, 13, operation)


def _schema(schema: Json) -> bytes:
    return _encode(_SCHEMA, 31, schema)


def _responses(responses: Json) -> bytes:
    """Responses { 1 response_code: NamedResponseValue { name, value: ResponseValue { 1 response } } }."""
    return _named_list(1, responses, lambda response: _bytes(1, _response(response)))


def _response(response: Json) -> bytes:
    """Response { 1 description, 2 schema: SchemaItem { 1 schema } }."""
    return _text(1, response["description"]) + _bytes(2, _bytes(1, _schema(response["schema"])))


def _parameters(number: int) -> Callable[[list[Json]], bytes]:
    def encode(parameters: list[Json]) -> bytes:
        return b"".join(_bytes(number, _bytes(1, _parameter(parameter))) for parameter in parameters)

    return encode


def _parameter(parameter: Json) -> bytes:
    """Parameter { 1 body_parameter, 2 non_body_parameter { 3 query…, 4 path… } }."""
    if parameter["in"] == "body":
        body = _text(2, parameter["name"]) + _text(3, "body") + _flag(4, parameter.get("required", False))
        return _bytes(1, body + _bytes(5, _schema(parameter["schema"])))
    shared = {"in": 2, "description": 3, "name": 4}
    texts = b"".join(_text(number, parameter[name]) for name, number in shared.items())
    required = _flag(1, True) if parameter.get("required") else b""
    if parameter["in"] == "query":
        return _bytes(2, _bytes(3, required + texts + _text(6, parameter["type"])))
    return _bytes(2, _bytes(4, required + texts + _text(5, parameter["type"])))


_PATH_ITEM: dict[str, Callable[[Any], bytes]] = {
    "get": lambda value: _bytes(2, _operation(value)),
    "put": lambda value: _bytes(3, _operation(value)),
    "post": lambda value: _bytes(4, _operation(value)),
    "delete": lambda value: _bytes(5, _operation(value)),
    "options": lambda value: _bytes(6, _operation(value)),
    "head": lambda value: _bytes(7, _operation(value)),
    "patch": lambda value: _bytes(8, _operation(value)),
    "parameters": _parameters(9),
}
_OPERATION: dict[str, Callable[[Any], bytes]] = {
    "operationId": lambda value: _text(5, value),
    "produces": lambda value: b"".join(_text(6, media) for media in value),
    "consumes": lambda value: b"".join(_text(7, media) for media in value),
    "parameters": _parameters(8),
    "responses": lambda value: _bytes(9, _responses(value)),
}
_SCHEMA: dict[str, Callable[[Any], bytes]] = {
    "$ref": lambda value: _text(1, value),
    "format": lambda value: _text(2, value),
    "description": lambda value: _text(4, value),
    "default": lambda value: _bytes(5, _any(value)),
    "required": lambda value: b"".join(_text(19, name) for name in value),
    "additionalProperties": lambda value: _bytes(21, _bytes(1, _schema(value))),
    "type": lambda value: _bytes(22, _text(1, value)),
    "items": lambda value: _bytes(23, _bytes(1, _schema(value))),
    "properties": lambda value: _bytes(25, _named_list(1, value, _schema)),
}
