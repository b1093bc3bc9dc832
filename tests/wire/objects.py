"""Objects drawn from the schema: any field may be there, every scalar is canonical and is not zero."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Any

from hypothesis import strategies as st

from seaway.api.schema import Definition, Shape, Type

MAX_DEPTH = 7
_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=6)
_MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1))
_SCALARS: dict[Shape, st.SearchStrategy[Any]] = {
    Shape.STRING: _TEXT,
    Shape.BOOLEAN: st.just(True),
    Shape.INT32: st.integers(-(2**31), 2**31 - 1).filter(bool),
    Shape.INT64: st.integers(-(2**63), 2**63 - 1).filter(bool),
    Shape.BYTES: st.binary(min_size=1, max_size=8).map(lambda raw: base64.b64encode(raw).decode()),
    Shape.TIME: _MOMENTS.map(lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%SZ")),
    Shape.MICRO_TIME: _MOMENTS.map(lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")),
    Shape.QUANTITY: st.sampled_from(("1", "100m", "1Gi", "250M", "-3", "1500n", "12e6")),
    Shape.INT_OR_STRING: st.integers(0, 65535) | _TEXT,
    Shape.FIELDS: st.just({"f:metadata": {"f:labels": {".": {}}}}),
    Shape.RAW: st.just({"spec": {"replicas": 1, "note": None}}),
}


def draw_objects(definition: Definition, depth: int = 0) -> st.SearchStrategy[dict[str, Any]]:
    """Values of the definition in canonical form."""
    fields = {
        name: _draw_values(field.type, depth)
        for name, field in definition.fields.items()
        if name not in ("kind", "apiVersion") and not (depth >= MAX_DEPTH and _is_nested(field.type))
    }
    names = st.lists(st.sampled_from(sorted(fields)), max_size=5, unique=True) if fields else st.just([])
    return names.flatmap(lambda chosen: st.fixed_dictionaries({name: fields[name] for name in sorted(chosen)}))


def _is_nested(kind: Type) -> bool:
    return _is_nested(kind.item) if kind.item is not None else kind.shape is Shape.STRUCT


def _draw_values(kind: Type, depth: int) -> st.SearchStrategy[Any]:
    if kind.item is not None:
        items = _draw_values(kind.item, depth)
        if kind.shape is Shape.LIST:
            return st.lists(items, min_size=1, max_size=2)
        return st.dictionaries(_TEXT, items, min_size=1, max_size=2)
    if kind.shape is Shape.STRUCT:
        return st.deferred(lambda: draw_objects(kind.definition, depth + 1))
    return _SCALARS[kind.shape]
