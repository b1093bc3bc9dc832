"""Where writes meet field ownership: the managedFields that an object is stored with.

Rule: spec "api-machinery" §4.4 (times put back), §5.5. The rules themselves: `seaway.apiserver.managedfields`.
"""

from __future__ import annotations

from typing import Any

from seaway.api.machinery.errors import ApiError, BadRequest, Conflict, make_conflict, make_invalid
from seaway.api.registry import Resource
from seaway.api.schema import find_definition, parse_api_version
from seaway.apiserver.managedfields import (
    ApplyConflicts,
    TypedError,
    Writer,
    apply_as,
    check_config,
    choose_entries,
    differ_in_times_only,
    find_owned_schema,
    read_entries,
    render_entries,
    track_write,
    validate_entries,
)

Json = dict[str, Any]
_UNTRACKED = frozenset(("binding",))
"""What the server does on its own account through these is nobody's, as upstream has it."""


def own_created(resource: Resource, obj: Json, manager: str | None, wall_now: str) -> list[Json]:
    """The managedFields of a new object, which loses those that it came with. manager: None when those are final.

    Raises Invalid for entries of the client that no object may have.
    """
    given = obj["metadata"].pop("managedFields", None)
    schema = find_owned_schema(resource, "")
    if manager is None or schema is None:
        return given or []
    entries = choose_entries(given, {}, subresource="")
    _check_entries(resource, obj, entries)
    return render_entries(track_write(schema, None, obj, entries, Writer(manager, resource.api_version, wall_now)))


def own_updated(
    resource: Resource, subresource: str, obj: Json, old: Json, *, manager: str | None, wall_now: str
) -> list[Json]:
    """The managedFields after an update, from which `obj` loses those that it came with. `old` is not modified.

    Raises Invalid for entries of the client that no object may have.
    """
    given = obj["metadata"].pop("managedFields", None)
    stored: list[Json] = old["metadata"].get("managedFields", [])
    if manager is None:
        return given or []
    schema = find_owned_schema(resource, subresource)
    if schema is None or subresource in _UNTRACKED:
        return stored
    had = read_entries(stored)
    entries = had if given == stored else choose_entries(given, had, subresource=subresource)
    if entries is not had:
        _check_entries(resource, obj, entries)
    after = track_write(schema, old, obj, entries, Writer(manager, resource.api_version, wall_now, subresource))
    return stored if after is had else render_entries(after)


def is_unchanged(new: Json, old: Json) -> bool:
    """Nothing but the times of managedFields differs: then the old times stay, and nothing is written."""
    if new == old:
        return True
    if {**new, "metadata": None} != {**old, "metadata": None}:
        return False
    after, before = ({**obj["metadata"]} for obj in (new, old))
    mine, theirs = after.pop("managedFields", []), before.pop("managedFields", [])
    return after == before and differ_in_times_only(mine, theirs)


def _check_entries(resource: Resource, obj: Json, entries: Any) -> None:
    errors = validate_entries(entries)
    if errors:
        raise make_invalid(resource.kind, resource.group, obj["metadata"].get("name", ""), errors)


def check_applied(resource: Resource, config: Json) -> None:
    """The body is a configuration of the kind that the URL names. Raises BadRequest, and 500 for unknown fields."""
    api_version, kind = config.get("apiVersion"), config.get("kind")
    api_version = api_version if isinstance(api_version, str) and api_version.count("/") <= 1 else ""
    kind = kind if isinstance(kind, str) and api_version else ""
    group, version = parse_api_version(api_version)
    if (group, version, kind) != (resource.group, resource.version, resource.kind):
        if (group, kind) == (resource.group, resource.kind) and find_definition(group, version, kind) is not None:
            versions = f"Specified patch version: {api_version}, expected: {resource.api_version}"
            raise BadRequest(f"Incorrect version specified in apply patch. {versions}")
        raise BadRequest(f"invalid object type: {group}/{version}, Kind={kind}")
    meta = config.get("metadata")
    if isinstance(meta, dict) and meta.get("managedFields") is not None:
        raise BadRequest("metadata.managedFields must be nil")
    schema = find_owned_schema(resource, "")
    assert schema is not None, "every kind of the registry has a definition"
    if what := check_config(schema, config):
        raise ApiError(f"failed to create typed patch object ({_describe(resource, config)}): {what}", code=500)


def apply_to(
    resource: Resource,
    subresource: str,
    current: Json,
    config: Json,
    *,
    manager: str,
    force: bool,
    name: str,
    wall_now: str,
) -> Json:
    """The current object (`{}` when there is none) with the configuration applied, its managedFields in place.

    config: has passed `check_applied`. Raises Conflict.
    """
    schema = find_owned_schema(resource, subresource)
    assert schema is not None, "every kind of the registry has a definition"
    meta = {**current.get("metadata", {})}
    entries = read_entries(meta.pop("managedFields", []))
    live = {**current, "metadata": meta} if current else {}
    writer = Writer(manager, resource.api_version, wall_now, subresource)
    try:
        applied = apply_as(schema, live, config, entries, writer, force=force)
    except ApplyConflicts as refusal:
        raise Conflict(str(refusal), {"causes": refusal.causes}) from None
    except TypedError as error:
        raise ApiError(f"failed to create typed live object ({_describe(resource, live)}): {error}", code=500) from None
    made = {**(applied.obj.get("metadata") or {})}
    if not current and made.get("uid"):
        why = f"uid mismatch: the provided object specified uid {made['uid']}, and no existing object was found"
        raise make_conflict(resource.plural, resource.group, name, why)
    return {**applied.obj, "metadata": {**made, "managedFields": render_entries(applied.entries)}}


def _describe(resource: Resource, obj: Json) -> str:
    """The object as upstream's errors name it: `ns/name; group/version, Kind=Kind`."""
    meta = obj.get("metadata")
    names = [meta.get(key) if isinstance(meta, dict) else "" for key in ("namespace", "name")]
    namespace, name = (text if isinstance(text, str) else "" for text in names)
    return f"{namespace}/{name}; {resource.group}/{resource.version}, Kind={resource.kind}"
