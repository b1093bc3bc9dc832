"""Objects as the server keeps them: known fields only, of the right type, in canonical form.

What enters is what a codec read from a body (any JSON value). What leaves is a new dict, owned by the caller:

1. Only fields of the schema, in alphabetical order; unknown ones are dropped and reported by path.
2. Nulls and zero times are dropped. Zero scalars and empty lists and maps are dropped where zero means absence (not
   where the schema says `pointer`, nor in required fields). Empty structs stay: `sessionAffinityConfig: {}` is not
   absent.
3. Times are RFC 3339 in UTC, quantities canonical strings, bytes standard base64.

A value of the wrong type raises DecodeError in the words of upstream's decoder, e.g. `json: cannot unmarshal string
into Go struct field ServicePort.spec.ports.port of type int32`. Rule: spec "api-machinery" §1.4, §2.5, §4.6.
"""

from __future__ import annotations

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


class DecodeError(ValueError):
    """A body that cannot be read as its kind; the text is what the client sees after the kind."""


class Place:
    """Where a value stands: a chain of keys towards the root, turned into text only when somebody must be told."""

    __slots__ = ("definition", "key", "parent")

    def __init__(self, parent: Place | None, key: str | int, definition: Definition | None) -> None:
        self.parent = parent
        self.key = key
        self.definition = definition
        """Of the struct that holds the key; None inside lists and maps."""

    def render(self) -> str:
        """The JSON path: `spec.ports[0].port`."""
        before = self.parent.render() if self.parent is not None else ""
        if isinstance(self.key, int):
            return f"{before}[{self.key}]"
        return f"{before}.{self.key}" if before else self.key

    def render_go(self) -> str:
        """The path as upstream's decoder names it: struct of the last field, then fields without indexes."""
        names: list[str] = []
        struct = ""
        place: Place | None = self
        while place is not None:
            if place.definition is not None:
                struct = struct or place.definition.short_name
                names.append(str(place.key))
            place = place.parent
        return ".".join([struct, *reversed(names)])


def prune(value: Json, definition: Definition, unknown: list[str]) -> Json:
    """The object in canonical form. Paths of unknown fields are appended to `unknown`; `value` is not modified."""
    return _prune_struct(value, definition, None, unknown)


def _prune_struct(value: Json, definition: Definition, place: Place | None, unknown: list[str]) -> Json:
    fields = definition.fields
    result: Json = {}
    for key in sorted(value):
        item = value[key]
        field = fields.get(key)
        if field is None:
            if len(unknown) < MAX_FINDINGS:
                unknown.append(Place(place, key, definition).render())
            continue
        if item is None:
            continue
        here = Place(place, key, definition)
        shape = field.type.shape
        pruned = _PRUNERS[shape](item, field.type, here, unknown)
        if pruned or (pruned is not None and (field.required or field.pointer or shape in _KEPT_EMPTY)):
            result[key] = pruned
    return result


_KEPT_EMPTY = frozenset((Shape.STRUCT, Shape.INT_OR_STRING, Shape.FIELDS, Shape.RAW))


def _prune_nested(value: Any, kind: Type, place: Place, unknown: list[str]) -> Any:
    if not isinstance(value, dict):
        raise _wrong_type(value, kind, place)
    return _prune_struct(value, kind.definition, place, unknown)


def _prune_list(value: Any, kind: Type, place: Place, unknown: list[str]) -> Any:
    if not isinstance(value, list):
        raise _wrong_type(value, kind, place)
    item = kind.item
    assert item is not None
    prune_item = _PRUNERS[item.shape]
    return [
        _zero(item) if element is None else prune_item(element, item, Place(place, index, None), unknown)
        for index, element in enumerate(value)
    ]


def _prune_map(value: Any, kind: Type, place: Place, unknown: list[str]) -> Any:
    if not isinstance(value, dict):
        raise _wrong_type(value, kind, place)
    item = kind.item
    assert item is not None
    prune_item = _PRUNERS[item.shape]
    return {
        key: _zero(item)
        if (element := value[key]) is None
        else prune_item(element, item, Place(place, key, None), unknown)
        for key in sorted(value)
    }


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
}


def _prune_string(value: Any, kind: Type, place: Place, unknown: list[str]) -> Any:
    if type(value) is not str:
        raise _wrong_type(value, kind, place)
    return value


def _prune_boolean(value: Any, kind: Type, place: Place, unknown: list[str]) -> Any:
    if type(value) is not bool:
        raise _wrong_type(value, kind, place)
    return value


def _prune_integer(value: Any, kind: Type, place: Place, unknown: list[str]) -> Any:
    if type(value) is not int:
        raise _wrong_type(value, kind, place)
    limit = 1 << (31 if kind.shape is Shape.INT32 else 63)
    if not -limit <= value < limit:
        raise _wrong_type(value, kind, place, shown=str(value))
    return value


def _prune_double(value: Any, kind: Type, place: Place, unknown: list[str]) -> Any:
    if type(value) not in (int, float):
        raise _wrong_type(value, kind, place)
    return value


def _prune_int_or_string(value: Any, kind: Type, place: Place, unknown: list[str]) -> Any:
    if type(value) is str:
        return value
    if type(value) is not int or not -(1 << 31) <= value < 1 << 31:
        raise DecodeError(f"json: cannot unmarshal {_name_json(value)} into Go value of type int32")
    return value


def _prune_quantity(value: Any, kind: Type, place: Place, unknown: list[str]) -> Any:
    if type(value) in (int, float):
        value = repr(value)
    return _normalise(normalise_quantity, value, kind, place)


def _prune_scalar_text(normal_form: Callable[[str], str | None]) -> Callable[[Any, Type, Place, list[str]], Any]:
    def prune_text(value: Any, kind: Type, place: Place, unknown: list[str]) -> Any:
        return _normalise(normal_form, value, kind, place)

    return prune_text


def _normalise(normal_form: Callable[[str], str | None], value: Any, kind: Type, place: Place) -> Any:
    if type(value) is not str:
        raise _wrong_type(value, kind, place)
    try:
        return normal_form(value)
    except ScalarError as error:
        raise DecodeError(str(error)) from None


def _prune_object(value: Any, kind: Type, place: Place, unknown: list[str]) -> Any:
    if not isinstance(value, dict):
        raise _wrong_type(value, kind, place)
    return value


_PRUNERS: dict[Shape, Callable[[Any, Type, Place, list[str]], Any]] = {
    Shape.STRUCT: _prune_nested,
    Shape.LIST: _prune_list,
    Shape.MAP: _prune_map,
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
    Shape.RAW: lambda value, kind, place, unknown: value,
}


def _wrong_type(value: Any, kind: Type, place: Place, *, shown: str = "") -> DecodeError:
    found = f"number {shown}" if shown else _name_json(value)
    return DecodeError(
        f"json: cannot unmarshal {found} into Go struct field {place.render_go()} of type {kind.go_name}"
    )


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
