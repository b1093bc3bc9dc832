"""Deletes: at once, or begun and finished by whoever holds a finalizer or stops the Pod.

Rule: spec "api-machinery" §8.1-8.3.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from seaway.api.machinery.errors import InternalError, NotFound, make_conflict, make_not_found
from seaway.api.machinery.strategy import Strategy
from seaway.api.registry import NAMESPACES, Resource
from seaway.apiserver.effects import format_time
from seaway.apiserver.options import DeleteOptions
from seaway.apiserver.reading.lists import Page
from seaway.apiserver.record import (
    Record,
    decode_object,
    encode_object,
    encode_stored,
    replace_revision,
    show_stored,
    splice_revision,
)
from seaway.apiserver.state import ServerState
from seaway.apiserver.writing.systemfields import MAX_GRACE_SECONDS, mark_deleted, may_vanish
from seaway.apiserver.writing.writes import RACE_ATTEMPTS, Target, Written, remove
from seaway.store.contract import Precondition, PreconditionFailed, Write

Json = dict[str, Any]
DEFAULT_GRACE_SECONDS = 30
"""Upstream's terminationGracePeriodSeconds."""
_FOREGROUND, _ORPHAN = "foregroundDeletion", "orphan"


async def delete(state: ServerState, target: Target, options: DeleteOptions) -> Written:
    """End the object, or begin its end. Raises ApiError."""
    resource = target.resource
    if resource is NAMESPACES:
        state.admit_namespace_end(target.name)
    for _ in range(RACE_ATTEMPTS):
        record = state.find(resource, target.namespace, target.name)
        if record is None:
            raise make_not_found(resource.plural, resource.group, target.name)
        check_preconditions(resource, record, options)
        obj = decode_object(record.stored)
        state.admit_node(target.identity, target.attributes, obj, None)
        try:
            written = await _delete_once(state, target, record, obj, options)
        except PreconditionFailed:
            continue
        return written
    raise InternalError(f"Internal error occurred: {target.key}: too many conflicting writes")


async def _delete_once(
    state: ServerState, target: Target, record: Record, obj: Json, options: DeleteOptions
) -> Written:
    """Raises PreconditionFailed when the record has changed since."""
    resource = target.resource
    begun = plan_deletion(obj, resource, options, wall_now=state.effects.wall_now())
    if begun is None:
        if target.dry_run:
            return _answer_removed(resource, record, record.body)
        revision = await remove(state, resource, record)
        return _answer_removed(resource, record, replace_revision(record.body, revision))
    # Upstream's one 202: the old way of asking for a cascade, and an object that is still there.
    status = 202 if options.orphan_dependents is False else 200
    if begun == obj:
        return Written(status, record.body)
    value = encode_stored(begun)
    shown = show_stored(resource, begun, value, state.allocator.families[0])
    if target.dry_run:
        return Written(status, splice_revision(shown, record.revision))
    key = resource.store_key(record.namespace, record.name)
    revision = (await state.commit([Precondition(key, record.revision)], [Write(key, value)]))[-1]
    return Written(status, splice_revision(shown, revision))


def plan_deletion(obj: Json, resource: Resource, options: DeleteOptions, *, wall_now: datetime) -> Json | None:
    """The object as the delete leaves it, or None when it goes at once. `obj` is not modified.

    Equal to `obj` when an earlier delete has done all that this one asks for.
    """
    obj = _with_propagation(obj, options, resource.strategy)
    meta = obj["metadata"]
    if resource is NAMESPACES:
        return _plan_namespace(obj, wall_now)
    if meta.get("deletionTimestamp"):
        shortened = _shorten_grace(obj, options)
        return None if may_vanish(shortened) else shortened
    grace = _choose_grace(obj, options) if resource.strategy.deletes_gracefully else 0
    if not grace and not meta.get("finalizers"):
        return None
    return mark_deleted(obj, wall_now, grace)


def _plan_namespace(obj: Json, wall_now: datetime) -> Json | None:
    """The first delete only marks, whatever the finalizers; it is for the controller or another delete to finish."""
    if obj["metadata"].get("deletionTimestamp"):
        return None if may_vanish(obj) else obj
    marked = mark_deleted(obj, wall_now, None)
    return {**marked, "status": {**obj.get("status", {}), "phase": "Terminating"}}


def _choose_grace(obj: Json, options: DeleteOptions) -> int:
    """Only a Pod that may be running somewhere gets time."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    if not spec.get("nodeName") or status.get("phase") in ("Succeeded", "Failed"):
        return 0
    given = options.grace_seconds
    if given is None:
        given = spec.get("terminationGracePeriodSeconds", DEFAULT_GRACE_SECONDS)
    return 1 if given < 0 else int(given)


def _shorten_grace(obj: Json, options: DeleteOptions) -> Json:
    """What a repeated delete makes of the time that is left: less, counted from the first delete, and only if asked."""
    meta, given = obj["metadata"], options.grace_seconds
    had = meta.get("deletionGracePeriodSeconds") or 0
    if given is None:
        return obj
    wanted = 1 if given < 0 else given
    if wanted >= had:
        return obj
    ends = datetime.strptime(meta["deletionTimestamp"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    ends += timedelta(seconds=min(wanted, MAX_GRACE_SECONDS) - min(had, MAX_GRACE_SECONDS))
    return {**obj, "metadata": {**meta, "deletionTimestamp": format_time(ends), "deletionGracePeriodSeconds": wanted}}


def _with_propagation(obj: Json, options: DeleteOptions, strategy: Strategy) -> Json:
    """The object with the garbage collector's finalizers that the policy asks for.

    What the request says counts, then what the object has, then what its kind does by itself.
    """
    policy = options.propagation
    if options.orphan_dependents is not None:
        policy = "Orphan" if options.orphan_dependents else "Background"
    had = obj["metadata"].get("finalizers") or []
    if not strategy.has_dependents:
        policy = "Background"
    elif not policy:
        is_begun = "deletionTimestamp" in obj["metadata"]
        if is_begun or _FOREGROUND in had or _ORPHAN in had or not strategy.orphans_dependents:
            return obj
        policy = "Orphan"
    kept = [finalizer for finalizer in had if finalizer not in (_FOREGROUND, _ORPHAN)]
    added = {"Foreground": [_FOREGROUND], "Orphan": [_ORPHAN]}.get(policy, [])
    wanted = had if set(had) == {*kept, *added} else [*kept, *added]
    if wanted == had:
        return obj
    meta = {key: value for key, value in obj["metadata"].items() if key != "finalizers"}
    return {**obj, "metadata": {**meta, "finalizers": wanted} if wanted else meta}


async def delete_collection(state: ServerState, target: Target, page: Page, options: DeleteOptions) -> None:
    """Delete what the page shows, one by one. What has gone meanwhile is no error; the first error ends it.

    Raises ApiError.
    """
    for record in page.records:
        try:
            await delete(state, replace(target, namespace=record.namespace, name=record.name), options)
        except NotFound:
            continue


def check_preconditions(resource: Resource, record: Record, options: DeleteOptions) -> None:
    """Raises Conflict. Here the error names the Kind, not the plural (spec "api-machinery" trap 10)."""
    if options.uid is not None and options.uid != record.uid:
        why = (
            f"the UID in the precondition ({options.uid}) does not match the UID in record ({record.uid}). "
            "The object might have been deleted and then recreated"
        )
        raise make_conflict(resource.kind, resource.group, record.name, why)
    if options.resource_version is not None and options.resource_version != str(record.revision):
        why = (
            f"the ResourceVersion in the precondition ({options.resource_version}) does not match the ResourceVersion "
            f"in record ({record.revision}). The object might have been modified"
        )
        raise make_conflict(resource.kind, resource.group, record.name, why)


def _answer_removed(resource: Resource, record: Record, body: bytes) -> Written:
    if resource.strategy.answers_delete_with_object:
        return Written(200, body)
    details: Json = {"name": record.name}
    if resource.group:
        details["group"] = resource.group
    details |= {"kind": resource.plural, "uid": record.uid}
    status: Json = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
    return Written(200, encode_object(status), is_status=True)
