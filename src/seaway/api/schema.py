"""The types of the built-in kinds: one table for codecs, patches, OpenAPI and printing.

The table is package data, one definition a line (made by tools/make_schema.py). It is read on first use and kept as
text; a definition becomes a value when somebody asks for it, so a process pays for the kinds that it serves.

1. A type is a scalar (`string boolean int32 int64 double bytes`), a list, a map with string keys, or a definition.
2. A definition without fields is a scalar with a spelling of its own (`format`), or opaque.
3. `pointer`: the scalar's zero value differs from its absence. Without it zero and absence are the same thing.

Rule: spec "api-machinery" §2.5, §5.4, Appendix A.
"""

from __future__ import annotations

import enum
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

_PACKAGE_DATA = Path(__file__).with_name("data")
_META = "io.k8s.apimachinery.pkg.apis.meta.v1"
OBJECT_META = f"{_META}.ObjectMeta"


class Shape(enum.Enum):
    """How a value of a type looks in JSON."""

    STRING = "string"
    BOOLEAN = "boolean"
    INT32 = "integer:int32"
    INT64 = "integer:int64"
    DOUBLE = "number:double"
    BYTES = "string:byte"
    LIST = "array"
    MAP = "map"
    STRUCT = "struct"
    TIME = "time"
    MICRO_TIME = "micro-time"
    QUANTITY = "quantity"
    INT_OR_STRING = "int-or-string"
    FIELDS = "fields"
    """The field set of a managed field: any JSON object."""
    RAW = "raw"
    """Any JSON value: what the server stores without knowing."""


_SCALAR_DEFINITIONS = {
    f"{_META}.Time": Shape.TIME,
    f"{_META}.MicroTime": Shape.MICRO_TIME,
    f"{_META}.FieldsV1": Shape.FIELDS,
    "io.k8s.apimachinery.pkg.api.resource.Quantity": Shape.QUANTITY,
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": Shape.INT_OR_STRING,
    "io.k8s.apimachinery.pkg.runtime.RawExtension": Shape.RAW,
}


@dataclass(frozen=True, slots=True)
class Type:
    """`item` is the element of a list or map; `name` is the definition's OpenAPI name, empty for plain scalars."""

    shape: Shape
    item: Type | None = None
    name: str = ""

    @property
    def definition(self) -> Definition:
        """The definition of a struct."""
        return get_definition(self.name)

    @property
    def go_name(self) -> str:
        """The type as decoder errors name it: `int32`, `[]v1.ServicePort`, `map[string]string`."""
        if self.item is not None:
            return f"[]{self.item.go_name}" if self.shape is Shape.LIST else f"map[string]{self.item.go_name}"
        if self.name:
            package, short = self.name.rsplit(".", 2)[-2:]
            return f"{package}.{short}"
        return _GO_NAMES[self.shape]


_GO_NAMES = {
    Shape.STRING: "string",
    Shape.BOOLEAN: "bool",
    Shape.INT32: "int32",
    Shape.INT64: "int64",
    Shape.DOUBLE: "float64",
    Shape.BYTES: "[]uint8",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of a struct, by its JSON name.

    number: the protobuf field, or (outer, inner) for a field of a message that JSON flattens; empty when there is none.
    list_type, map_type: of server-side apply; patch_strategy, patch_merge_key: of the strategic merge patch.
    """

    name: str
    type: Type
    number: tuple[int, ...] = ()
    pointer: bool = False
    required: bool = False
    list_type: str = ""
    list_map_keys: tuple[str, ...] = ()
    map_type: str = ""
    patch_strategies: frozenset[str] = frozenset()
    patch_merge_key: str = ""
    default: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Definition:
    """One struct. `name` is the OpenAPI name; `gvks` the (group, version, kind) that it stands for.

    There is one per name, so each equals only itself, and others remember what they made of it.
    """

    name: str
    fields: dict[str, Field]
    gvks: tuple[tuple[str, str, str], ...] = ()
    required: tuple[str, ...] = ()
    map_type: str = ""

    @property
    def short_name(self) -> str:
        """The name without its package: `ServicePort`."""
        return self.name.rsplit(".", 1)[-1]


def get_definition(name: str) -> Definition:
    """The definition of that OpenAPI name. Raises KeyError for one that the table lacks."""
    return _load_definition(name)


def find_definition(group: str, version: str, kind: str) -> Definition | None:
    """The definition of the kind, or None for one that the table lacks."""
    name = _kinds().get((group, version, kind))
    return None if name is None else _load_definition(name)


def find_kind_groups(kind: str) -> tuple[tuple[str, str], ...]:
    """The (group, version) pairs that know a kind of this name, sorted."""
    return tuple(sorted((g, v) for g, v, k in _kinds() if k == kind))


def parse_api_version(api_version: str) -> tuple[str, str]:
    """(group, version) of `v1` or `discovery.k8s.io/v1`."""
    group, _, version = api_version.rpartition("/")
    return group, version


def describe(name: str, field: str = "") -> str:
    """What the definition, or its field, means in a sentence for people; empty where nobody wrote one."""
    texts = _descriptions()
    return texts.get(name, {}).get(field, "") or texts["*"].get(field, "")


@functools.cache
def _descriptions() -> dict[str, dict[str, str]]:
    return msgspec.json.decode((_PACKAGE_DATA / "descriptions.json").read_bytes(), type=dict[str, dict[str, str]])


@functools.cache
def _table() -> dict[str, msgspec.Raw]:
    return msgspec.json.decode((_PACKAGE_DATA / "schema.json").read_bytes(), type=dict[str, msgspec.Raw])


class _KindsOnly(msgspec.Struct):
    gvk: tuple[str, ...] = ()


@functools.cache
def _kinds() -> dict[tuple[str, str, str], str]:
    decoder = msgspec.json.Decoder(_KindsOnly)
    return {_parse_gvk(text): name for name, raw in _table().items() for text in decoder.decode(raw).gvk}


def _parse_gvk(text: str) -> tuple[str, str, str]:
    api_version, _, kind = text.rpartition("/")
    return (*parse_api_version(api_version), kind)


@functools.cache
def _load_definition(name: str) -> Definition:
    raw = msgspec.json.decode(_table()[name])
    required = tuple(raw.get("required", ()))
    return Definition(
        name=name,
        fields={key: _load_field(key, facts, key in required) for key, facts in raw.get("fields", {}).items()},
        gvks=tuple(_parse_gvk(text) for text in raw.get("gvk", ())),
        required=required,
        map_type=raw.get("mapType", ""),
    )


def _load_field(name: str, facts: dict[str, Any], required: bool) -> Field:
    number = facts.get("proto", ())
    return Field(
        name=name,
        type=_load_type(facts["type"]),
        number=(number,) if isinstance(number, int) else tuple(number),
        pointer=facts.get("pointer", False),
        required=required,
        list_type=facts.get("listType", ""),
        list_map_keys=tuple(facts.get("listMapKeys", ())),
        map_type=facts.get("mapType", ""),
        patch_strategies=frozenset(filter(None, facts.get("patchStrategy", "").split(","))),
        patch_merge_key=facts.get("patchMergeKey", ""),
        default=facts.get("default", ""),
    )


def _load_type(text: str | list[Any]) -> Type:
    if isinstance(text, list):
        return Type(Shape(text[0]), _load_type(text[1]))
    return _load_named_type(text)


@functools.cache
def _load_named_type(text: str) -> Type:
    if not text.startswith("io.k8s."):
        return Type(Shape(text))
    return Type(_SCALAR_DEFINITIONS.get(text, Shape.STRUCT), None, text)
