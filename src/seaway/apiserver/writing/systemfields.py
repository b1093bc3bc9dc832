"""The metadata that the server alone decides: wiped on create, kept on update, set by deletes.

Rule: spec "api-machinery" §4.1-4.4, "service-api" §0.5 (META-U).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from seaway.api.machinery.errors import ApiError, BadRequest, make_conflict
from seaway.api.registry import Resource
from seaway.apiserver.effects import format_time
from seaway.apiserver.options import is_version, make_version_error

Json = dict[str, Any]

GENERATED_NAME_PREFIX_LENGTH = 58
MAX_GRACE_SECONDS = 1 << 32
"""136 years: a longer grace is kept as it was asked for, but no timestamp could show its end."""
_MAX_GENERATION = (1 << 63) - 1  # a client may have given it, where the server never counts
_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_SERVER_ONLY = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
)


def generate_name(prefix: str, random: Callable[[], float]) -> str:
    """The prefix, cut to 58 characters, and five random ones that spell no words."""
    letters = "".join(_SUFFIX_ALPHABET[int(random() * len(_SUFFIX_ALPHABET))] for _ in range(5))
    return prefix[:GENERATED_NAME_PREFIX_LENGTH] + letters


def wipe_for_create(obj: Json, resource: Resource, namespace: str) -> list[str]:
    """Drop what only the server sets and settle the namespace. Returns warnings. Raises BadRequest for another one."""
    meta = obj.setdefault("metadata", {})
    for key in _SERVER_ONLY:
        meta.pop(key, None)
    settle_namespace(meta, resource, namespace)
    return dedupe_owners(meta)


def check_no_version(given: str) -> None:
    """What is to be stored anew has no version yet; upstream's store says so, hence after all other rules.

    Raises the bare 500. Zero is none, and what is no number is not looked at.
    """
    if is_version(given) and int(given):
        raise ApiError("resourceVersion should not be set on objects to be created", code=500)


def settle_namespace(meta: Json, resource: Resource, namespace: str) -> None:
    """Empty means that of the URL; cluster-scoped objects have none. Raises BadRequest."""
    if meta.get("namespace") and meta["namespace"] != (namespace if resource.namespaced else ""):
        raise BadRequest("the namespace of the provided object does not match the namespace sent on the request")
    if resource.namespaced:
        meta["namespace"] = namespace
    else:
        meta.pop("namespace", None)


def dedupe_owners(meta: Json) -> list[str]:
    """Drop owner references that repeat one exactly. Returns the warning."""
    owners = meta.get("ownerReferences")
    if not owners:
        return []
    unique: list[Json] = []
    repeated: list[str] = []
    for owner in owners:
        if owner in unique:
            repeated.append(str(owner.get("uid", "")))
        else:
            unique.append(owner)
    if not repeated:
        return []
    meta["ownerReferences"] = unique
    return [
        ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may "
        "reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: "
        + ", ".join(dict.fromkeys(repeated))
    ]


def check_identity(obj: Json, resource: Resource, *, namespace: str, name: str) -> None:
    """The body of a PUT or the result of a PATCH names the object of the URL. Raises BadRequest."""
    meta = obj.setdefault("metadata", {})
    settle_namespace(meta, resource, namespace)
    found = meta.get("name", "")
    if not found:
        text = f"the name of the object ({name} based on URL) was undeterminable: name must be provided"
        raise BadRequest(text)
    if found != name:
        raise BadRequest(f"the name of the object ({found}) does not match the name on the URL ({name})")


def check_version(obj: Json, resource: Resource, revision: int, name: str) -> bool:
    """Whether the body gave a resourceVersion. Raises Conflict when it is not the stored one."""
    given = obj["metadata"].get("resourceVersion") or ""
    if given and not is_version(given):
        raise make_version_error(given, is_watch=True)
    if given in ("", "0"):
        return False
    if int(given) != revision:
        raise make_conflict(resource.plural, resource.group, name)
    return True


def check_uid(obj: Json, old: Json, resource: Resource, key: str) -> None:
    """A PUT with another object's uid is a 409. Raises Conflict."""
    given, stored = obj["metadata"].get("uid") or "", old["metadata"].get("uid", "")
    if given and given != stored:
        raise make_uid_conflict(resource, obj["metadata"]["name"], key, given, stored)


def make_uid_conflict(resource: Resource, name: str, key: str, given: str, stored: str) -> ApiError:
    why = (
        f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: "
        f"Precondition failed: UID in precondition: {given}, UID in object meta: {stored}"
    )
    return make_conflict(resource.plural, resource.group, name, why)


def keep_system_fields(obj: Json, old: Json) -> None:
    """Take from the stored object what a client may not change, and leave what validation must judge."""
    meta, stored = obj["metadata"], old["metadata"]
    for key in ("resourceVersion", "selfLink"):
        meta.pop(key, None)
    _take(meta, stored, "creationTimestamp")
    _take(meta, stored, "generation")
    if not meta.get("uid"):
        _take(meta, stored, "uid")
    if stored.get("deletionTimestamp"):
        meta["deletionTimestamp"] = stored["deletionTimestamp"]
        if meta.get("deletionGracePeriodSeconds") is None:
            _take(meta, stored, "deletionGracePeriodSeconds")


def grow_generation(obj: Json, old: Json, resource: Resource) -> None:
    """One more when the kind counts and its specification changed; else as stored."""
    strategy = resource.strategy
    if strategy.has_generation and strategy.spec_changed(obj, old):
        obj["metadata"]["generation"] = min(old["metadata"].get("generation", 0) + 1, _MAX_GENERATION)
    else:
        _take(obj["metadata"], old["metadata"], "generation")


def mark_deleted(obj: Json, wall_now: datetime, grace_seconds: int | None) -> Json:
    """A copy whose deletion has begun. grace_seconds None: the kind knows no grace (Namespace)."""
    meta = {**obj["metadata"]}
    grace = timedelta(seconds=min(grace_seconds or 0, MAX_GRACE_SECONDS))
    meta["deletionTimestamp"] = format_time(wall_now + grace)
    if grace_seconds is not None:
        meta["deletionGracePeriodSeconds"] = grace_seconds
    if meta.get("generation", 0) > 0:
        meta["generation"] = min(meta["generation"] + 1, _MAX_GENERATION)
    return {**obj, "metadata": meta}


def may_vanish(obj: Json) -> bool:
    """A deletion has begun and nothing holds the object any more."""
    meta = obj["metadata"]
    return bool(
        meta.get("deletionTimestamp")
        and not meta.get("finalizers")
        and not meta.get("deletionGracePeriodSeconds")
        and not (obj["kind"] == "Namespace" and obj.get("spec", {}).get("finalizers"))
    )


def _take(meta: Json, stored: Json, key: str) -> None:
    if key in stored:
        meta[key] = stored[key]
    else:
        meta.pop(key, None)
