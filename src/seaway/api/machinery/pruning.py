"""Objects as the server keeps them: known fields only, of the right type, in canonical form.

What enters is what a codec read from a body (any JSON value). What leaves is a new dict, owned by the caller:

1. Only fields of the schema, in alphabetical order; unknown ones are dropped and reported by path.
2. Nulls are dropped. Zero scalars and empty lists and maps are dropped where zero means absence (not where the schema
   says `pointer`, nor in required fields). Empty structs stay: `sessionAffinityConfig: {}` is not absent.
3. Times are RFC 3339 in UTC, quantities canonical strings, bytes standard base64.

A definition becomes a function once (`_compile`), and paths are put together only where something was found: on the way
out, each level adds its key. A value of the wrong type raises DecodeError in the words of upstream's decoder, e.g.
`json: cannot unmarshal string into Go struct field ServicePort.spec.ports.port of type int32`.
Rule: spec "api-machinery" §1.4, §2.5, §4.6.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from seaway.api.machinery.scalars import (
    ScalarError,
    normalise_base64,
    normalise_micro_time,
    normalise_quantity,
    normalise_time,
)
from seaway.api.schema import Definition, Shape, Type

Json = dict[str, Any]
MAX_FINDINGS = 100  # upstream's limit of strict findings per body

_Path = list[str | int]
"""Keys and indexes from the inside out."""
_Prune = Callable[[Any, list[_Path]], Any]
"""From a value to its canonical form. Appends the paths of unknown fields; raises _WrongType and DecodeError."""


class DecodeError(ValueError):
    """A body that cannot be read as its kind; the text is what the client sees after the kind."""


class _WrongType(Exception):
    """A value that is not of its type, on its way up to where its place is known."""

    def __init__(self, kind: Type, value: Any, *, shown: str = "") -> None:
        super().__init__()
        self.kind = kind
        self.found = f"number {shown}" if shown else _name_json(value)
        self.struct = ""
        self.names: list[str] = []

    def leave(self, definition: Definition, key: str) -> None:
        """Note the field that the error passes. Upstream names the innermost struct, and no indexes or keys of maps."""
        self.struct = self.struct or definition.short_name
        self.names.append(key)

    def to_error(self) -> DecodeError:
        place = ".".join([self.struct, *reversed(self.names)])
        kind = self.kind.go_name
        return DecodeError(f"json: cannot unmarshal {self.found} into Go struct field {place} of type {kind}")


def prune(value: Json, definition: Definition, unknown: list[str]) -> Json:
    """The object in canonical form. Paths of unknown fields are appended to `unknown`; `value` is not modified."""
    found: list[_Path] = []
    try:
        pruned: Json = _compile(definition)(value, found)
    except _WrongType as error:
        raise error.to_error() from None
    unknown.extend(map(_render_path, found))
    return pruned


def _render_path(path: _Path) -> str:
    """`spec.ports[0].port`."""
    text = ""
    for key in reversed(path):
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else key
    return text


_KEPT_EMPTY = frozenset((Shape.STRUCT, Shape.INT_OR_STRING, Shape.FIELDS, Shape.RAW))
_PLAIN = {Shape.STRING: str, Shape.BOOLEAN: bool}
"""Shapes of which every value of that Python type is in canonical form."""


@functools.cache
def _compile(definition: Definition) -> _Prune:
    """The pruner of a struct. The rules of its fields are made when they are met: definitions can hold themselves."""
    kind = Type(Shape.STRUCT, None, definition.name)
    rules: dict[str, tuple[type | None, _Prune, bool]] = {}

    def find_rule(key: str) -> tuple[type | None, _Prune, bool] | None:
        field = definition.fields.get(key)
        if field is None:
            return None
        shape = field.type.shape
        keeps_zero = field.required or field.pointer or shape in _KEPT_EMPTY
        rule = rules[key] = _PLAIN.get(shape), _compile_type(field.type), keeps_zero
        return rule

    def prune_struct(value: Any, unknown: list[_Path]) -> Any:
        if not isinstance(value, dict):
            raise _WrongType(kind, value)
        result: Json = {}
        for key in sorted(value):
            rule = rules.get(key) or find_rule(key)
            if rule is None:
                if len(unknown) < MAX_FINDINGS:
                    unknown.append([key])
                continue
            item = value[key]
            if item is None:
                continue
            plain, prune_item, keeps_zero = rule
            if type(item) is not plain:
                known = len(unknown)
                try:
                    item = prune_item(item, unknown)
                except _WrongType as error:
                    error.leave(definition, key)
                    raise
                if len(unknown) > known:
                    _extend_paths(unknown, known, key)
            if item or (keeps_zero and item is not None):
                result[key] = item
        return result

    return prune_struct


def _extend_paths(unknown: list[_Path], start: int, key: str | int) -> None:
    for path in unknown[start:]:
        path.append(key)


@functools.cache
def _compile_type(kind: Type) -> _Prune:
    match kind.shape:
        case Shape.STRUCT:
            return _compile(kind.definition)
        case Shape.LIST:
            return _compile_list(kind)
        case Shape.MAP:
            return _compile_map(kind)
    prune_scalar = _SCALARS[kind.shape]
    return lambda value, unknown: prune_scalar(value, kind)


def _compile_list(kind: Type) -> _Prune:
    item = kind.item
    assert item is not None
    plain, prune_item = _PLAIN.get(item.shape), _compile_type(item)

    def prune_list(value: Any, unknown: list[_Path]) -> Any:
        if not isinstance(value, list):
            raise _WrongType(kind, value)
        result = []
        for index, element in enumerate(value):
            if type(element) is not plain:
                known = len(unknown)
                element = _zero(item) if element is None else prune_item(element, unknown)
                if len(unknown) > known:
                    _extend_paths(unknown, known, index)
            result.append(element)
        return result

    return prune_list


def _compile_map(kind: Type) -> _Prune:
    item = kind.item
    assert item is not None
    plain, prune_item = _PLAIN.get(item.shape), _compile_type(item)

    def prune_map(value: Any, unknown: list[_Path]) -> Any:
        if not isinstance(value, dict):
            raise _WrongType(kind, value)
        result: Json = {}
        for key in sorted(value):
            element = value[key]
            if type(element) is not plain:
                known = len(unknown)
                element = _zero(item) if element is None else prune_item(element, unknown)
                if len(unknown) > known:
                    _extend_paths(unknown, known, key)
            result[key] = element
        return result

    return prune_map


def _zero(kind: Type) -> Any:
    """What null means as an element: the zero value."""
    if kind.shape is Shape.LIST:
        return []
    if kind.shape in (Shape.STRUCT, Shape.MAP, Shape.RAW, Shape.FIELDS):
        return {}
    return _ZEROS.get(kind.shape, "")


_ZEROS = {
    Shape.INT32: 0,
    Shape.INT64: 0,
    Shape.INT_OR_STRING: 0,
    Shape.BOOLEAN: False,
    Shape.DOUBLE: 0.0,
    Shape.QUANTITY: "0",
    Shape.TIME: None,
    Shape.MICRO_TIME: None,
}


def _prune_string(value: Any, kind: Type) -> Any:
    if type(value) is not str:
        raise _WrongType(kind, value)
    return value


def _prune_boolean(value: Any, kind: Type) -> Any:
    if type(value) is not bool:
        raise _WrongType(kind, value)
    return value


def _prune_integer(value: Any, kind: Type) -> Any:
    if type(value) is not int:
        raise _WrongType(kind, value)
    limit = 1 << (31 if kind.shape is Shape.INT32 else 63)
    if not -limit <= value < limit:
        raise _WrongType(kind, value, shown=str(value))
    return value


def _prune_double(value: Any, kind: Type) -> Any:
    if type(value) not in (int, float):
        raise _WrongType(kind, value)
    return value


def _prune_int_or_string(value: Any, kind: Type) -> Any:
    if type(value) is str:
        return value
    if type(value) is not int or not -(1 << 31) <= value < 1 << 31:
        raise DecodeError(f"json: cannot unmarshal {_name_json(value)} into Go value of type int32")
    return value


def _prune_quantity(value: Any, kind: Type) -> Any:
    if type(value) in (int, float):
        value = repr(value)
    return _normalise(normalise_quantity, value, kind)


def _prune_scalar_text(normal_form: Callable[[str], str | None]) -> Callable[[Any, Type], Any]:
    return lambda value, kind: _normalise(normal_form, value, kind)


def _normalise(normal_form: Callable[[str], str | None], value: Any, kind: Type) -> Any:
    if type(value) is not str:
        raise _WrongType(kind, value)
    try:
        return normal_form(value)
    except ScalarError as error:
        raise DecodeError(str(error)) from None


def _prune_object(value: Any, kind: Type) -> Any:
    if not isinstance(value, dict):
        raise _WrongType(kind, value)
    return value


_SCALARS: dict[Shape, Callable[[Any, Type], Any]] = {
    Shape.STRING: _prune_string,
    Shape.BOOLEAN: _prune_boolean,
    Shape.INT32: _prune_integer,
    Shape.INT64: _prune_integer,
    Shape.DOUBLE: _prune_double,
    Shape.INT_OR_STRING: _prune_int_or_string,
    Shape.QUANTITY: _prune_quantity,
    Shape.TIME: _prune_scalar_text(normalise_time),
    Shape.MICRO_TIME: _prune_scalar_text(normalise_micro_time),
    Shape.BYTES: _prune_scalar_text(normalise_base64),
    Shape.FIELDS: _prune_object,
    Shape.RAW: lambda value, kind: value,
}


def _name_json(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "number"
    if isinstance(value, float):
        return f"number {value!r}"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"
