"""The entries of managedFields: who owns what, by which kind of write.

Entries are kept by identity; `render_entries` alone knows their order. Stored entries are trusted to be canonical,
those of a client are parsed. Rule: spec "api-machinery" §4.2, §5.5.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from seaway.api.machinery.field import FieldError, invalid, too_long
from seaway.apiserver.managedfields.fieldsets import FieldsError, Tree, parse_fields, unite

Json = dict[str, Any]
APPLY, UPDATE = "Apply", "Update"
FIELDS_TYPE = "FieldsV1"
MAX_MANAGER_BYTES = 128
MAX_SUBRESOURCE_BYTES = 256
MAX_UPDATE_ENTRIES = 10
ANCIENT_CHANGES = "ancient-changes"
UNKNOWN_MANAGER = "unknown"
Identity = tuple[str, str, str, str]
"""(operation, manager, apiVersion, subresource); the version counts for updates only."""


@dataclass(frozen=True, slots=True)
class Entry:
    """`time` is RFC 3339 in whole seconds, or empty."""

    manager: str
    operation: str
    api_version: str
    fields: Tree
    subresource: str = ""
    time: str = ""

    @property
    def identity(self) -> Identity:
        version = self.api_version if self.operation == UPDATE else ""
        return (self.operation, self.manager, version, self.subresource)


Entries = Mapping[Identity, Entry]
NO_ENTRIES: Entries = {}


def read_entries(stored: Sequence[Json]) -> dict[Identity, Entry]:
    """The entries as the server itself wrote them."""
    entries = map(_read_entry, stored)
    return {entry.identity: entry for entry in entries}


def _read_entry(value: Json) -> Entry:
    return Entry(
        manager=value.get("manager", ""),
        operation=value["operation"],
        api_version=value["apiVersion"],
        fields=value["fieldsV1"],
        subresource=value.get("subresource", ""),
        time=value.get("time", ""),
    )


def parse_entries(given: Sequence[Json]) -> dict[Identity, Entry]:
    """The entries that a client sent, without empty ones. Raises FieldsError when one of them makes no sense."""
    entries: dict[Identity, Entry] = {}
    for value in given:
        if value.get("operation") not in (APPLY, UPDATE):
            raise FieldsError("operation must be `Apply` or `Update`")
        if not value.get("apiVersion"):
            raise FieldsError("apiVersion must not be empty")
        if value.get("fieldsType") != FIELDS_TYPE:
            raise FieldsError(f"fieldsType must be {FIELDS_TYPE}")
        entry = _read_entry({**value, "fieldsV1": parse_fields(value.get("fieldsV1") or {})})
        if entry.fields:
            entries[entry.identity] = entry
    return entries


def validate_entries(entries: Entries) -> list[FieldError]:
    """What a client's entries may not say although they can be understood."""
    errors: list[FieldError] = []
    for index, entry in enumerate(sort_entries(entries.values())):
        path = f"metadata.managedFields[{index}]"
        if len(entry.manager.encode()) > MAX_MANAGER_BYTES:
            errors.append(too_long(f"{path}.manager", MAX_MANAGER_BYTES))
        for at, char in enumerate(entry.manager):
            if not char.isprintable():
                detail = f"invalid character U+{ord(char):04X} (at position {at})"
                errors.append(invalid(f"{path}.manager", entry.manager, detail))
                break
        if len(entry.subresource.encode()) > MAX_SUBRESOURCE_BYTES:
            errors.append(too_long(f"{path}.subresource", MAX_SUBRESOURCE_BYTES))
    return errors


def sort_entries(entries: Iterable[Entry]) -> list[Entry]:
    """Apply before Update, then by time, manager, version, subresource. Times of one length sort as texts."""
    return sorted(entries, key=lambda e: (e.operation, e.time, e.manager, e.api_version, e.subresource))


def render_entries(entries: Entries) -> list[Json]:
    """The entries as they go on the wire, sorted."""
    found: Iterable[Entry] = entries.values()
    return [_render_entry(entry) for entry in (sort_entries(found) if len(entries) > 1 else found)]


def _render_entry(entry: Entry) -> Json:
    value = {"operation": entry.operation, "apiVersion": entry.api_version}
    if entry.manager:
        value = {"manager": entry.manager, **value}
    if entry.time:
        value["time"] = entry.time
    wire: Json = {**value, "fieldsType": FIELDS_TYPE, "fieldsV1": entry.fields}
    if entry.subresource:
        wire["subresource"] = entry.subresource
    return wire


def is_reset(given: Any) -> bool:
    """A client clears all entries by sending none, or one that is empty."""
    return given in ([], [{}])


def differ_in_times_only(a: Sequence[Json], b: Sequence[Json]) -> bool:
    """The same owners of the same fields, whenever they wrote them."""
    if len(a) != len(b):
        return False

    def timeless(entries: Sequence[Json]) -> dict[Identity, Entry]:
        return {identity: replace(entry, time="") for identity, entry in read_entries(entries).items()}

    return timeless(a) == timeless(b)


def fold_ancient(entries: Entries) -> Entries:
    """The entries with at most ten of plain writes: the oldest give their fields to one bucket per version."""
    updates = [entry for entry in entries.values() if entry.operation == UPDATE]
    excess = len(updates) - MAX_UPDATE_ENTRIES
    if excess <= 0:
        return entries
    updates.sort(key=lambda e: (e.time, e.manager, e.api_version, e.subresource))
    result = dict(entries)
    oldest: dict[str, Entry] = {}
    for entry in updates:
        if excess <= 0:
            break
        first = oldest.get(entry.api_version)
        if first is None or entry.identity == first.identity:
            oldest.setdefault(entry.api_version, entry)  # alone it is no bucket yet
            continue
        del result[first.identity], result[entry.identity]
        bucket = Entry(ANCIENT_CHANGES, UPDATE, entry.api_version, unite(first.fields, entry.fields), time=entry.time)
        excess -= 1
        filled = result.get(bucket.identity)
        if filled is not None:  # a bucket that is younger than what goes into it
            bucket = replace(bucket, fields=unite(bucket.fields, filled.fields), time=max(filled.time, bucket.time))
            excess -= 1
        result[bucket.identity] = oldest[entry.api_version] = bucket
    return result
