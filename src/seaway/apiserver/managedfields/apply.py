"""Server-side apply: a configuration on top of a live object, with what that does to everybody's ownership.

1. merged = live object with the configuration on top, by list types.
2. What this applier owned before, does not name any more, and nobody else owns, is removed from merged.
3. What changed against the live object and is owned by another is a conflict, unless it is forced.
4. The applier owns exactly what it named.

Applying the same configuration again changes nothing. Rule: spec "api-machinery" §5.5 (Apply), steps by number.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from seaway.apiserver.managedfields.entries import APPLY, UPDATE, Entries, Entry
from seaway.apiserver.managedfields.fieldsets import Tree, difference, intersection, list_paths, unite
from seaway.apiserver.managedfields.schema import OwnedSchema
from seaway.apiserver.managedfields.tracking import Writer, record_change, release_fields

Json = dict[str, Any]
BEFORE_FIRST_APPLY = "before-first-apply"
# The metadata itself is nobody's, and stays whoever lets go of all that is in it.
_METADATA: Tree = {"f:metadata": {}}


@dataclass(frozen=True, slots=True)
class Conflict:
    """Fields of another owner that the configuration wants otherwise."""

    entry: Entry
    fields: Tree

    @property
    def owner(self) -> str:
        """The owner as messages name it: `"kubectl-edit" using v1`."""
        text = f'"{self.entry.manager}"'
        if self.entry.subresource:
            text += f' with subresource "{self.entry.subresource}"'
        return f"{text} using {self.entry.api_version}" if self.entry.operation == UPDATE else text


class ApplyConflicts(Exception):
    """Not forced, hence refused. `conflicts` is sorted by owner."""

    def __init__(self, conflicts: tuple[Conflict, ...]) -> None:
        super().__init__(render_conflicts(conflicts))
        self.conflicts = conflicts

    @property
    def causes(self) -> list[Json]:
        """The causes of the Status, one for each field."""
        return [
            {"reason": "FieldManagerConflict", "message": f"conflict with {conflict.owner}", "field": path}
            for conflict in self.conflicts
            for path in list_paths(conflict.fields)
        ]


@dataclass(frozen=True, slots=True)
class Applied:
    """The object as it shall be, not yet defaulted or pruned, and who owns it then."""

    obj: Json
    entries: Entries


def check_config(schema: OwnedSchema, config: Json) -> str:
    """What does not fit the schema, in one text; empty when everything does."""
    errors: list[str] = []
    schema.full.check(config, "", errors)
    return errors[0] if len(errors) == 1 else "\n  ".join(["errors:", *errors]) if errors else ""


def apply_config(
    schema: OwnedSchema, live: Json, config: Json, entries: Entries, writer: Writer, *, force: bool
) -> Applied:
    """live: `{}` when the object is missing; without managedFields. config: has passed `check_config`.

    Raises ApplyConflicts, TypedError.
    """
    if not entries and live:
        entries = record_change(schema, {}, live, entries, replace(writer, manager=BEFORE_FIRST_APPLY))
    merged: Json = schema.full.merge(live, config)
    owned = difference(schema.owned.own(config) or {}, _METADATA)
    mine = Entry(writer.manager, APPLY, writer.api_version, owned, writer.subresource)
    last = entries.get(mine.identity)
    others = {identity: entry for identity, entry in entries.items() if identity != mine.identity}
    if last is not None:
        kept = unite(owned, _METADATA)
        for entry in others.values():
            kept = unite(kept, entry.fields)
        merged = schema.full.release(merged, last.fields, kept, inside=False, gone=False)
    changed, removed = schema.owned.compare(live, merged)
    if changed and not force:
        _raise_conflicts(others, changed)
    result = release_fields(others, changed or {}, removed or {})
    if owned:
        time = writer.wall_now if merged != live else last.time if last is not None else ""
        result[mine.identity] = replace(mine, time=time)
    return Applied(merged, result)


def _raise_conflicts(others: Entries, changed: Tree) -> None:
    found = [Conflict(entry, fields) for entry in others.values() if (fields := intersection(entry.fields, changed))]
    if found:
        raise ApplyConflicts(sort_conflicts(found))


def sort_conflicts(conflicts: list[Conflict]) -> tuple[Conflict, ...]:
    return tuple(sorted(conflicts, key=lambda c: (c.entry.manager, c.entry.identity)))


def render_conflicts(conflicts: tuple[Conflict, ...]) -> str:
    """The message of the 409."""
    paths = [(conflict, list(list_paths(conflict.fields))) for conflict in conflicts]
    count = sum(len(found) for _, found in paths)
    if count == 1:
        return f"Apply failed with 1 conflict: conflict with {conflicts[0].owner}: {paths[0][1][0]}"
    lines = []
    for conflict, found in paths:
        lines.append(f"conflicts with {conflict.owner}:")
        lines += [f"- {path}" for path in found]
    return f"Apply failed with {count} conflicts: " + "\n".join(lines)
