"""Tables: what `kubectl get` prints, rendered by the server. Rule: spec "api-machinery" §2.3, "service-api" §11."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from seaway.api.columns import Printer, load_printer
from seaway.api.machinery.columns import Column
from seaway.api.machinery.errors import BadRequest
from seaway.api.machinery.field import render_value
from seaway.api.registry import Resource

Json = dict[str, Any]
_INCLUDES = ("", "Metadata", "Object", "None")


def render_table(
    resource: Resource,
    objects: Iterable[Json],
    *,
    version: str,
    include_object: str,
    wall_now: datetime,
    list_meta: Json,
    with_columns: bool = True,
) -> Json:
    """A Table of the objects, a row each, in their order. Always wide: clients hide what they do not show.

    version: of meta.k8s.io. include_object: `Metadata` (or empty), `Object`, `None`: see `check_include_object`.
    with_columns: False for later events of a watch, whose columns are null.
    """
    check_include_object(include_object)
    printer = load_printer(resource)
    api_version = f"meta.k8s.io/{version}"
    return {
        "kind": "Table",
        "apiVersion": api_version,
        "metadata": list_meta,
        "columnDefinitions": [_define(column) for column in printer.columns] if with_columns else None,
        "rows": [_render_row(printer, obj, api_version, include_object, wall_now) for obj in objects],
    }


def check_include_object(include_object: str) -> None:
    """Raises BadRequest for what rows cannot hold."""
    if include_object not in _INCLUDES:
        shown = render_value(include_object)
        raise BadRequest(
            "Unable to convert to Table as requested: includeObject: Invalid value: "
            f"{shown}: must be 'Metadata', 'Object', 'None', or empty"
        )


def _define(column: Column) -> Json:
    return {
        "name": column.name,
        "type": column.type,
        "format": column.format,
        "description": column.description,
        "priority": column.priority,
    }


def _render_row(printer: Printer, obj: Json, api_version: str, include_object: str, wall_now: datetime) -> Json:
    row: Json = {"cells": printer.cells(obj, wall_now)}
    if conditions := printer.conditions(obj):
        row["conditions"] = conditions
    if include_object == "Object":
        row["object"] = obj
    elif include_object == "None":
        row["object"] = None
    else:
        row["object"] = {"kind": "PartialObjectMetadata", "apiVersion": api_version, "metadata": obj["metadata"]}
    return row
