"""The columns of each kind: those of its folder, or the two that fit everything. Used by the server and the CLI."""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from seaway.api.machinery.columns import NAME, Column
from seaway.api.registry import Resource

Json = dict[str, Any]
DEFAULT_COLUMNS = (NAME, Column(name="Created At", type="date", description="When the object was created."))


def default_cells(obj: Json, wall_now: datetime) -> list[Any]:
    """The cells of a kind without columns of its own."""
    return [obj["metadata"].get("name", ""), obj["metadata"].get("creationTimestamp", "")]


def no_conditions(obj: Json) -> list[Json]:
    """Most rows have no conditions."""
    return []


@dataclass(frozen=True, slots=True)
class Printer:
    """How a kind is printed: its columns, the cells of an object, and the row's conditions."""

    columns: tuple[Column, ...]
    cells: Callable[[Json, datetime], list[Any]]
    conditions: Callable[[Json], list[Json]] = no_conditions


@functools.cache
def load_printer(resource: Resource) -> Printer:
    """The printer of the kind: `columns.py` of its folder exports COLUMNS, cells and, if rows have any, conditions."""
    module_name = f"seaway.api.{resource.folder}.columns"
    if not resource.folder or importlib.util.find_spec(module_name) is None:
        return Printer(DEFAULT_COLUMNS, default_cells)
    module = importlib.import_module(module_name)
    return Printer(module.COLUMNS, module.cells, getattr(module, "conditions", no_conditions))
