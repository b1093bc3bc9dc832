"""Bodies of answers: one object, a list, a watch event, each as it is, as metadata alone, or as a Table.

Rule: spec "api-machinery" §2.3, §2.4, §2.5, §6, §7.3.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from seaway.api.registry import Resource
from seaway.apiserver.forms import show
from seaway.apiserver.negotiation import Accepted
from seaway.apiserver.reading.lists import Page
from seaway.apiserver.reading.tables import check_include_object, render_table
from seaway.apiserver.reading.watchcache import ADDED, Change, encode_event
from seaway.apiserver.record import Record, decode_object, encode_metadata_only, encode_object

_TABLE = "Table"
INITIAL_EVENTS_END = "k8s.io/initial-events-end"


def render_object(resource: Resource, body: bytes, form: Accepted, *, include_object: str, wall_now: datetime) -> bytes:
    """One object in the form that the client asked for."""
    if form.kind == "object":
        return show(resource, body)
    if form.kind != "table":
        return encode_metadata_only(body, form.version)
    obj = decode_object(show(resource, body))
    list_meta = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
    return _render_table(resource, [obj], form, include_object, wall_now, list_meta)


def render_list(resource: Resource, page: Page, form: Accepted, *, include_object: str, wall_now: datetime) -> bytes:
    """A list in the form that the client asked for."""
    meta: dict[str, Any] = {"resourceVersion": str(page.revision)}
    if page.continue_token:
        meta["continue"] = page.continue_token
    if page.remaining is not None:
        meta["remainingItemCount"] = page.remaining
    if form.kind == "table":
        objects = [decode_object(show(resource, record.body)) for record in page.records]
        return _render_table(resource, objects, form, include_object, wall_now, meta)
    if form.kind == "metadata":
        items = [encode_metadata_only(record.body, form.version) for record in page.records]
        return join_list("PartialObjectMetadataList", f"meta.k8s.io/{form.version}", meta, b",".join(items))
    return join_list(f"{resource.kind}List", resource.api_version, meta, join_items(resource, page.records))


def join_items(resource: Resource, records: tuple[Record, ...]) -> bytes:
    """The objects, joined by commas."""
    if resource.stored_as is not None:
        return b",".join([show(resource, record.body) for record in records])
    return b",".join([record.body for record in records])


def join_list(kind: str, api_version: str, meta: dict[str, Any], items: bytes) -> bytes:
    """A list around items that are already joined."""
    head = encode_object({"kind": kind, "apiVersion": api_version, "metadata": meta})
    return b"".join((head[:-1], b',"items":[', items, b"]}"))  # formatting a megabyte costs ten times as much


class EventEncoder:
    """Turns records and changes into the lines of one watch. Plain and metadata lines are shared by all watches."""

    def __init__(
        self, resource: Resource, form: Accepted, *, include_object: str, wall_now: Callable[[], datetime]
    ) -> None:
        """Raises BadRequest for rows that no Table has: once events come, a watch can no longer say so."""
        self._resource = resource
        self._form = form
        self._include_object = include_object
        self._wall_now = wall_now
        if form.kind == "table":
            check_include_object(include_object)
        self._is_plain = form.kind == "object"
        self._is_stored_form = self._is_plain and resource.stored_as is None
        self._has_columns = False

    @property
    def is_ordered(self) -> bool:
        """Lines must be encoded in the order in which they are sent: the first one names the columns."""
        return self._form.kind == "table"

    def encode_added(self, record: Record) -> bytes:
        """The event of an object that is there when the watch starts."""
        return encode_event(ADDED, self._render(record.body))

    def encode_change(self, event_type: bytes, change: Change) -> bytes:
        """The event of a change."""
        if self._is_stored_form:
            return change.line(event_type)
        if self._form.kind != "table":
            key = event_type + (self._resource.group if self._is_plain else self._form.version).encode()
            return change.shared_line(key, lambda: encode_event(event_type, self._render(change.body(event_type))))
        return encode_event(event_type, self._render(change.body(event_type)))

    def encode_bookmark(self, revision: int, *, is_initial_end: bool = False) -> bytes:
        """Everything up to the revision was delivered."""
        meta: dict[str, Any] = {"resourceVersion": str(revision)}
        if is_initial_end:
            meta["annotations"] = {INITIAL_EVENTS_END: "true"}
        version = f"meta.k8s.io/{self._form.version}"
        obj: dict[str, Any]
        if self._is_plain:
            obj = {"kind": self._resource.kind, "apiVersion": self._resource.api_version, "metadata": meta}
        elif self._form.kind != "table":
            obj = {"kind": "PartialObjectMetadata", "apiVersion": version, "metadata": meta}
        else:
            inner = {"kind": self._resource.kind, "apiVersion": self._resource.api_version, "metadata": meta}
            row = {"cells": [], "object": inner}
            obj = {"kind": _TABLE, "apiVersion": version, "metadata": {"resourceVersion": str(revision)}}
            obj |= {"columnDefinitions": None, "rows": [row]}
        return encode_event(b"BOOKMARK", encode_object(obj))

    def _render(self, body: bytes) -> bytes:
        if self._is_plain:
            return show(self._resource, body)
        if self._form.kind != "table":
            return encode_metadata_only(body, self._form.version)
        obj = decode_object(show(self._resource, body))
        meta = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
        with_columns = not self._has_columns
        self._has_columns = True
        now, include = self._wall_now(), self._include_object
        return _render_table(self._resource, [obj], self._form, include, now, meta, with_columns=with_columns)


def _render_table(
    resource: Resource,
    objects: list[dict[str, Any]],
    form: Accepted,
    include_object: str,
    wall_now: datetime,
    list_meta: dict[str, Any],
    *,
    with_columns: bool = True,
) -> bytes:
    table = render_table(
        resource,
        objects,
        version=form.version,
        include_object=include_object,
        wall_now=wall_now,
        list_meta=list_meta,
        with_columns=with_columns,
    )
    return encode_object(table)
