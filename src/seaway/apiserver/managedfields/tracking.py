"""Who owns what after a plain write: a create, an update, or a patch that is no apply.

The writer gains what it added or changed, everybody else loses it, and what was removed is nobody's. The cost follows
the change: equal parts are compared by the interpreter in one step and sets are only touched along changed paths.
Rule: spec "api-machinery" §5.5 (Update/Patch/Create).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Any

from seaway.apiserver.managedfields.entries import (
    MAX_MANAGER_BYTES,
    NO_ENTRIES,
    UNKNOWN_MANAGER,
    UPDATE,
    Entries,
    Entry,
    Identity,
    fold_ancient,
    is_reset,
    parse_entries,
)
from seaway.apiserver.managedfields.fieldsets import FieldsError, Tree, difference, unite
from seaway.apiserver.managedfields.schema import OwnedSchema
from seaway.apiserver.managedfields.typed import TypedError

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes what, when. `wall_now` is RFC 3339."""

    manager: str
    api_version: str
    wall_now: str
    subresource: str = ""


@functools.lru_cache(maxsize=512)
def choose_manager(field_manager: str, user_agent: str) -> str:
    """The name under which a write is recorded: the client's word, or the program that its User-Agent names."""
    if field_manager:
        return field_manager
    name, size = "", 0
    for char in user_agent.partition("/")[0]:
        if not char.isprintable():
            continue
        size += len(char.encode(errors="replace"))
        if size > MAX_MANAGER_BYTES:
            break
        name += char
    return name or UNKNOWN_MANAGER


def choose_entries(given: Any, stored: Entries, *, subresource: str) -> Entries:
    """The entries that a write starts from. given: managedFields of the body, None when it has none.

    A body replaces the stored ones when it makes sense and clears them when it is empty; through a subresource nobody
    rewrites history.
    """
    if subresource or given is None:
        return stored
    if is_reset(given):
        return NO_ENTRIES
    try:
        return parse_entries(given) or stored
    except FieldsError:
        return stored


def track_write(schema: OwnedSchema, old: Json | None, new: Json, entries: Entries, writer: Writer) -> Entries:
    """The entries after the write; the same mapping when it changed nothing that anybody can own.

    old: None for a create. An object that exists and has no entries is not tracked.
    """
    if old is not None and not entries:
        return entries
    return record_change(schema, old or {}, new, entries, writer)


def record_change(schema: OwnedSchema, old: Json, new: Json, entries: Entries, writer: Writer) -> Entries:
    """As `track_write`, whether or not there are entries."""
    try:
        changed, removed = schema.owned.compare(old, new)
    except TypedError:
        return entries  # a list whose items have no keys can be stored, but not owned
    if not changed and not removed:
        return entries
    result = release_fields(entries, changed or {}, removed or {})
    if changed:
        fresh = Entry(writer.manager, UPDATE, writer.api_version, changed, writer.subresource, writer.wall_now)
        mine = result.get(fresh.identity)
        result[fresh.identity] = fresh if mine is None else replace(fresh, fields=unite(mine.fields, changed))
    return fold_ancient(result)


def release_fields(entries: Entries, *gone: Tree) -> dict[Identity, Entry]:
    """The entries without these paths; those that are left with nothing vanish."""
    result: dict[Identity, Entry] = {}
    for identity, entry in entries.items():
        fields = entry.fields
        for paths in gone:
            fields = difference(fields, paths)
        if fields is entry.fields:
            result[identity] = entry
        elif fields:
            result[identity] = replace(entry, fields=fields)
    return result
