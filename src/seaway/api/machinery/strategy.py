"""What a kind may decide about its own reads and writes.

A kind with rules of its own has a folder whose `strategy.py` defines `STRATEGY`; one that is only stored has the
default. All functions are pure. An object is a dict of the wire form, freshly decoded, pruned and owned by the request:
`default`, `prepare_*` may change it in place and return it; `old` is shared and is never changed.

Order of use (spec "service-api" §0.2, "api-machinery" §4.3, §4.4):
create: default, generic metadata, [allocation hook], prepare_create, validate_create, generic metadata validation,
warnings, commit. update: default, [allocation hook], metadata from old, prepare_update, generic validation,
validate_update, warnings, commit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from seaway.api.machinery.field import FieldError

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Context:
    """What a decision may know besides the object. `wall_now` is RFC 3339, UTC, whole seconds."""

    wall_now: str
    user: str = ""


def _keep(obj: Json, context: Context) -> Json:
    return obj


def _keep_update(obj: Json, old: Json, context: Context) -> Json:
    return obj


def prepare_status_default(obj: Json, old: Json, context: Context) -> Json:
    """A status write changes the status and nothing else (metadata is merged by the server)."""
    return {**old, "metadata": obj.get("metadata", old["metadata"]), "status": obj.get("status", {})}


@dataclass(frozen=True, slots=True)
class StatusRule:
    """The prepare functions of a kind whose status is its controller's: nobody else gives or changes it.

    empty: the status of an object that no controller has looked at: the counts that clients expect even at zero.
    """

    empty: Json

    def on_create(self, obj: Json, context: Context) -> Json:
        """What a client says of the status is dropped."""
        return {**obj, "status": {**self.empty}}

    def on_update(self, obj: Json, old: Json, context: Context) -> Json:
        """The status changes only through `/status`."""
        return {**obj, "status": {**self.empty, **(old.get("status") or {})}}

    def on_status_update(self, obj: Json, old: Json, context: Context) -> Json:
        """A status write changes the status, and metadata as the server allows."""
        changed = prepare_status_default(obj, old, context)
        return {**changed, "status": {**self.empty, **(changed["status"] or {})}}


def _no_fields(obj: Json) -> dict[str, str]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """The rules of one kind. `fields` gives the selectable fields besides metadata.name and metadata.namespace."""

    default: Callable[[Json], Json] = lambda obj: obj
    prepare_create: Callable[[Json, Context], Json] = _keep
    prepare_update: Callable[[Json, Json, Context], Json] = _keep_update
    prepare_status_update: Callable[[Json, Json, Context], Json] = prepare_status_default
    validate_name: Callable[[str], Sequence[str]] | None = None
    """None: a DNS subdomain. Returns the texts of what is wrong."""
    validate_create: Callable[[Json], list[FieldError]] = lambda obj: []
    validate_update: Callable[[Json, Json], list[FieldError]] = lambda obj, old: []
    validate_status_update: Callable[[Json, Json], list[FieldError]] = lambda obj, old: []
    warnings: Callable[[Json, Json | None], list[str]] = lambda obj, old: []
    status_warnings: Callable[[Json, Json | None], list[str]] = lambda obj, old: []
    on_read: Callable[[Json, str], Json | None] = lambda obj, primary_family: None
    """The object as the main resource shows it, or None: as it is stored. Changes nothing in `obj`. Asked when memory
    takes a stored value, so reads do not pay for it. primary_family: the cluster's first."""
    fields: Callable[[Json], dict[str, str]] = _no_fields
    field_aliases: Mapping[str, str] = field(default_factory=dict)
    """Selectable fields that are other names of what `fields` of the stored object gives."""
    has_generation: bool = False
    spec_changed: Callable[[Json, Json], bool] = lambda obj, old: obj.get("spec") != old.get("spec")
    """When generation grows (only with has_generation)."""
    creates_on_update: bool = False
    """PUT of a missing object creates it."""
    allows_unconditional_update: bool = True
    deletes_gracefully: bool = False
    answers_delete_with_object: bool = False
    reset_fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    """Dotted paths that a write to the subresource ("" is the main resource) puts back to what they were: nobody comes
    to own them that way. A subresource that is not named here: the kinds' common rule."""
    orphans_dependents: bool = False
    """A delete that names no policy leaves what the object owns."""
    has_dependents: bool = True
    """False: nothing may be owned by the kind, so that propagation policies leave no finalizer."""
