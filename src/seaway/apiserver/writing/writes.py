"""Creates and updates: from a decoded object to a commit, and again when a race was lost.

Every write is one compare-and-swap on the object's key, together with what a Service takes and gives back. A create
needs the key to be absent, an update needs the revision that was read; a lost race reads again and decides again.
Rule: spec "api-machinery" §4.3-4.6, "service-api" §0.2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from seaway.api.machinery.codec import Decoded
from seaway.api.machinery.errors import (
    AlreadyExists,
    ApiError,
    InternalError,
    RequestEntityTooLarge,
    make_already_exists,
    make_invalid,
    make_not_found,
)
from seaway.api.machinery.field import FieldError, invalid
from seaway.api.machinery.http import Identity
from seaway.api.machinery.objectmeta import validate_create_meta, validate_update_meta
from seaway.api.machinery.strategy import Context, Json
from seaway.api.pod.ephemeral import validate_ephemeral_update
from seaway.api.registry import ENDPOINTS, INGRESSES, NAMESPACES, NODES, PODS, RESOURCE_QUOTAS, SERVICES, Resource
from seaway.apiserver.access.escalation import GRANTING, check_escalation
from seaway.apiserver.access.rbac import Attributes
from seaway.apiserver.allocation.allocate import Claim
from seaway.apiserver.builtin.bootstrap import make_first_objects
from seaway.apiserver.effects import format_time
from seaway.apiserver.quota.book import NO_CHARGE, Charge
from seaway.apiserver.record import Record, decode_object, encode_stored, show_stored, splice_revision
from seaway.apiserver.state import ServerState
from seaway.apiserver.writing.advice import warn_of_cluster_ips
from seaway.apiserver.writing.owners import naming_owners
from seaway.apiserver.writing.ownership import is_unchanged, own_created, own_updated
from seaway.apiserver.writing.systemfields import (
    check_identity,
    check_no_version,
    check_uid,
    check_version,
    dedupe_owners,
    generate_name,
    grow_generation,
    keep_system_fields,
    make_uid_conflict,
    may_vanish,
    wipe_for_create,
)
from seaway.store.contract import Precondition, PreconditionFailed, Write

GENERATE_ATTEMPTS = 8
"""Upstream's (spec "api-machinery" §4.1)."""
RACE_ATTEMPTS = 64
"""A race is lost to somebody who won it, so every attempt is progress of the whole; upstream stops after 34 s."""
MAX_STORED_BYTES = 3 << 19
"""Of one object: what etcd takes in a request (spec "api-machinery" §11)."""
NO_CLAIM = Claim()


@dataclass(frozen=True, slots=True)
class Target:
    """The object that a write is about, and who writes. `name` is empty for a create."""

    resource: Resource
    namespace: str
    name: str
    identity: Identity
    attributes: Attributes
    subresource: str = ""
    dry_run: bool = False
    manager: str | None = "unknown"
    """Who comes to own what the write changes; None for an apply: what it makes carries its managedFields."""

    @property
    def key(self) -> str:
        return self.resource.store_key(self.namespace, self.name)


@dataclass(frozen=True, slots=True)
class Written:
    """What a write answers with: the object's bytes, and what the client is warned of."""

    status: int
    body: bytes
    warnings: tuple[str, ...] = ()
    is_status: bool = False
    """The body is a Status: a delete has left nothing to show."""


Make = Callable[[Json], Decoded]
"""From the object as stored (a copy of its own, resourceVersion in place) to the object as wanted."""


class Replacement:
    """The `Make` of a PUT: one object, whatever is stored; each attempt gets its own, to change as it likes."""

    def __init__(self, decode: Callable[[], Decoded]) -> None:
        """decode: as often as it is called, the same. Called at once; raises what it raises."""
        self.decoded = decode()
        self._decode = decode
        self._is_taken = False

    def __call__(self, current: Json) -> Decoded:
        if self._is_taken:
            self.decoded = self._decode()
        self._is_taken = True
        return self.decoded


async def create(state: ServerState, target: Target, decoded: Decoded) -> Written:
    """Store the object, which is the caller's to lose. Raises ApiError."""
    resource, strategy = target.resource, target.resource.strategy
    obj = strategy.default(decoded.obj)
    warnings = [*decoded.warnings, *wipe_for_create(obj, resource, target.namespace)]
    meta = obj["metadata"]
    given_version = meta.pop("resourceVersion", "")
    state.admit_namespace(resource, target.namespace, meta.get("name", ""))
    state.admit_node(target.identity, target.attributes, None, obj)
    if resource in GRANTING:
        check_escalation(state.read_policy, target.identity, resource, obj, None)
    now = format_time(state.effects.wall_now())
    managed = own_created(resource, obj, target.manager, now)
    if resource is PODS:
        obj = state.admit_pod(obj, target.namespace)
    elif resource is INGRESSES:
        obj = state.admit_ingress(obj)
    elif resource is NODES:
        obj = state.admit_new_node(obj)
    meta = obj["metadata"]
    generates = not meta.get("name") and bool(meta.get("generateName"))
    names, races = 0, 0
    while True:
        if generates:
            meta["name"] = generate_name(meta["generateName"], state.effects.random)
            names += 1
        meta["uid"], meta["creationTimestamp"] = state.effects.new_uid(), now
        key = resource.store_key(target.namespace, meta.get("name", ""))
        draft = obj if resource is SERVICES else decode_object(encode_stored(obj))  # of a Service plans make a copy
        try:
            return await _create_once(state, target, draft, managed, given_version, warnings, now)
        except PreconditionFailed as failure:
            if failure.key != key:
                races += 1
                if races < RACE_ATTEMPTS:
                    continue
                raise InternalError(f"Internal error occurred: {failure.key}: too many conflicting writes") from None
            existing = state.find(resource, target.namespace, meta["name"])
            if not generates:
                raise _make_exists(target, existing, meta["name"]) from None
            if names >= GENERATE_ATTEMPTS:
                raise _make_generated_exists(target, meta["name"]) from None


async def _create_once(
    state: ServerState, target: Target, draft: Json, managed: Any, given_version: str, warnings: Iterable[str], now: str
) -> Written:
    """Raises ApiError, and PreconditionFailed when the object is there or what it needs has changed since."""
    resource = target.resource
    async with state.quotas.turn(resource, target.namespace):
        ready, claim, charge = _prepare_create(state, target, draft, now)
        name = ready["metadata"]["name"]
        ready["metadata"]["managedFields"] = managed
        advice = warn_of_cluster_ips(state, target.identity, resource, ready)
        told = tuple(dict.fromkeys((*warnings, *resource.strategy.warnings(ready, None), *advice)))
        if target.dry_run:
            existing = state.find(resource, target.namespace, name)
            if existing is not None:
                raise _make_exists(target, existing)
            return Written(201, show_stored(resource, ready, encode_stored(ready), state.allocator.families[0]), told)
        check_no_version(given_version)
        value = encode_within_limit(ready)
        key = resource.store_key(target.namespace, name)
        revision = await commit_with_claim(state, Precondition(key, 0), Write(key, value), claim, charge)
    shown = show_stored(resource, ready, value, state.allocator.families[0])
    return Written(201, splice_revision(shown, revision), told)


def _prepare_create(state: ServerState, target: Target, obj: Json, now: str) -> tuple[Json, Claim, Charge]:
    """The object as it will be stored, and what it takes. Raises Invalid, Forbidden."""
    resource, strategy = target.resource, target.resource.strategy
    claim = NO_CLAIM
    if resource is SERVICES:
        with naming_owners(state, target.identity):
            obj, claim = state.allocator.plan_create(obj, wall_now=now)
    elif resource is NAMESPACES and obj["metadata"].get("name"):
        claim = _claim_first_objects(state, obj["metadata"]["name"], now)
    obj = strategy.prepare_create(obj, Context(now, target.identity.user))
    if strategy.has_generation:
        obj["metadata"]["generation"] = 1
    errors = [*validate_create_meta(obj, resource), *strategy.validate_create(obj)]
    _raise_invalid(resource, obj["metadata"].get("name", ""), errors)
    if resource is SERVICES:
        state.admit_external_ips(obj, None)
    state.admit_limits(resource, target.namespace, None, obj)
    return obj, claim, state.admit_quota(resource, target.namespace, None, obj)


def _claim_first_objects(state: ServerState, namespace: str, now: str) -> Claim:
    """A namespace is born with the account that Pods run as: nobody can be too early for it.

    Upstream leaves that to a controller, and refuses Pods until it has come by. Ours keeps them from then on. What an
    earlier namespace of the name has left behind stays as it is.
    """
    preconditions, writes = [], []
    for resource, obj in make_first_objects(namespace, ca_pem=state.authenticator.credentials.root_ca_pem):
        meta = {**obj["metadata"], "uid": state.effects.new_uid(), "creationTimestamp": now}
        if state.find(resource, namespace, meta["name"]) is not None:
            continue
        key = resource.store_key(namespace, meta["name"])
        preconditions.append(Precondition(key, 0))
        writes.append(Write(key, encode_stored({**obj, "metadata": meta})))
    return Claim(tuple(preconditions), tuple(writes))


async def update(state: ServerState, target: Target, make: Make, *, is_patch: bool, creates: bool = False) -> Written:
    """Bring the object to what `make` wants, on whatever is stored when the write succeeds. Raises ApiError.

    creates: a missing object is created instead; the caller has checked that it may be.
    """
    resource = target.resource
    for _ in range(RACE_ATTEMPTS):
        try:
            written = await _update_once(state, target, make, is_patch=is_patch)
            if written is not None:
                return written
            if not creates:
                raise make_not_found(resource.plural, resource.group, target.name)
            return await _create_by_update(state, target, make)
        except (AlreadyExists, PreconditionFailed):
            continue  # somebody else was first
    raise InternalError(f"Internal error occurred: {target.key}: too many conflicting writes")


async def _update_once(state: ServerState, target: Target, make: Make, *, is_patch: bool) -> Written | None:
    """None: there is no such object. Raises ApiError, and PreconditionFailed when it has changed since."""
    async with state.quotas.turn(target.resource, target.namespace, is_update=True):
        record = state.find(target.resource, target.namespace, target.name)
        if record is None:
            return None
        attempt = _plan_update(state, target, make, record, is_patch=is_patch)
        if attempt.value is None and not attempt.deletes:
            return Written(200, record.stored if target.subresource else record.body, attempt.warnings)
        if not target.dry_run and not attempt.deletes:
            assert attempt.value is not None
            write, precondition = Write(target.key, attempt.value), Precondition(target.key, record.revision)
            revision = await commit_with_claim(state, precondition, write, attempt.claim, attempt.charge)
            return Written(200, _show(state, target, attempt.obj, attempt.value, revision), attempt.warnings)
    if not target.dry_run:
        await remove(state, target.resource, record)  # in a turn of its own
    body = _show(state, target, attempt.obj, encode_stored(attempt.obj), record.revision)
    return Written(200, body, attempt.warnings)


def _show(state: ServerState, target: Target, obj: Json, value: bytes, revision: int) -> bytes:
    """What an update answers: a subresource shows what is stored."""
    if not target.subresource:
        value = show_stored(target.resource, obj, value, state.allocator.families[0])
    return splice_revision(value, revision)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """`value` None: nothing to write, unless `deletes`."""

    obj: Json
    value: bytes | None
    deletes: bool
    claim: Claim
    charge: Charge
    warnings: tuple[str, ...]


def _plan_update(state: ServerState, target: Target, make: Make, record: Record, *, is_patch: bool) -> _Attempt:
    """What this update does to the record as it is now. Raises ApiError."""
    resource, strategy = target.resource, target.resource.strategy
    old = decode_object(record.stored)
    decoded = make(old if isinstance(make, Replacement) else decode_object(record.stored))  # that does not look at it
    obj = decoded.obj if target.subresource == "binding" else strategy.default(decoded.obj)
    state.admit_node(target.identity, target.attributes, old, obj)
    check_identity(obj, resource, namespace=target.namespace, name=target.name)
    if not is_patch:
        check_uid(obj, old, resource, target.key)
    if not check_version(obj, resource, record.revision, target.name) and not is_patch:
        _require_version(resource, target.name)
    owner_warnings = dedupe_owners(obj["metadata"])
    now = format_time(state.effects.wall_now())
    managed = own_updated(resource, target.subresource, obj, old, manager=target.manager, wall_now=now)
    claim = NO_CLAIM
    if resource is SERVICES and not target.subresource:
        with naming_owners(state, target.identity):
            obj, claim = state.allocator.plan_update(obj, old, wall_now=now)
    keep_system_fields(obj, old)
    context = Context(now, target.identity.user)
    if target.subresource in ("status", "binding"):
        obj = strategy.prepare_status_update(obj, old, context) if target.subresource == "status" else obj
        kind_errors = strategy.validate_status_update(obj, old) if target.subresource == "status" else []
        _keep_generation(obj, old)
    elif target.subresource == "finalize":
        spec = {key: value for key, value in (old.get("spec") or {}).items() if key != "finalizers"}
        if finalizers := (obj.get("spec") or {}).get("finalizers"):
            spec["finalizers"] = finalizers
        obj = strategy.default({**old, "metadata": obj["metadata"], "spec": spec})
        kind_errors = strategy.validate_create(obj)
    elif target.subresource == "ephemeralcontainers":
        grow_generation(obj, old, resource)
        kind_errors = validate_ephemeral_update(obj, old)
    else:
        obj = strategy.prepare_update(obj, old, context)
        grow_generation(obj, old, resource)
        kind_errors = strategy.validate_update(obj, old)
        if resource in GRANTING:
            check_escalation(state.read_policy, target.identity, resource, obj, old)
    _raise_invalid(resource, target.name, [*validate_update_meta(obj, old), *kind_errors])
    if resource is SERVICES and not target.subresource:
        state.admit_external_ips(obj, old)
    warn = strategy.status_warnings if target.subresource == "status" else strategy.warnings
    advice = warn_of_cluster_ips(state, target.identity, resource, obj)
    warnings = (*decoded.warnings, *owner_warnings, *warn(obj, old), *advice)
    obj["metadata"] = {**obj["metadata"], "managedFields": managed}
    value = encode_within_limit(obj)
    is_main = not target.subresource
    if is_main:
        state.admit_limits(resource, target.namespace, old, obj)
    charge = state.admit_quota(resource, target.namespace, old, obj, judged=is_main)
    unchanged = _is_same_content(obj, old) and is_unchanged(decode_object(value), _without_revision(old))
    deletes = may_vanish(obj)
    return _Attempt(obj, None if unchanged else value, deletes, claim, charge, tuple(dict.fromkeys(warnings)))


async def _create_by_update(state: ServerState, target: Target, make: Make) -> Written:
    """PUT of a missing object. A resourceVersion in the body is ignored; a uid names an object that is not there."""
    resource = target.resource
    attributes = replace(target.attributes, verb="create", name="")
    state.authorize(target.identity, attributes)
    decoded = make({})
    check_identity(decoded.obj, resource, namespace=target.namespace, name=target.name)
    meta = decoded.obj["metadata"]
    meta.pop("resourceVersion", None)
    if meta.get("uid"):
        raise make_uid_conflict(resource, target.name, target.key, meta["uid"], "")
    creator = replace(target, name="", attributes=attributes, subresource="")
    return await create(state, creator, decoded)


async def commit_with_claim(
    state: ServerState, precondition: Precondition, write: Write, claim: Claim, charge: Charge
) -> int:
    """Commit the object with the claim and what it changes of quotas; the object's revision.

    Raises PreconditionFailed, after the allocator was shown what it had not known.
    """
    if not claim.preconditions and not claim.writes:
        return (await state.commit([precondition, *charge.preconditions], [*charge.writes, write]))[-1]
    begun = state.effects.monotonic()
    try:
        preconditions = [precondition, *claim.preconditions, *charge.preconditions]
        revisions = await state.commit(preconditions, [*claim.writes, *charge.writes, write])
    except PreconditionFailed as failure:
        if failure.key != precondition.key and not failure.key.startswith(RESOURCE_QUOTAS.store_prefix):
            entry = await state.store.get(failure.key)
            at = entry.revision if entry else state.store.current_revision
            state.allocator.observe(failure.key, entry.value if entry else None, at)
        raise
    state.allocator.commit_claim(claim, revisions[: len(claim.writes)])
    for cidr, _ in claim.origins.values():
        if cidr:
            state.metrics.count_address(cidr, state.effects.monotonic() - begun)
    return revisions[-1]


async def remove(state: ServerState, resource: Resource, record: Record) -> int:
    """Delete the record with what it holds; the revision of its end. Raises PreconditionFailed."""
    key = resource.store_key(record.namespace, record.name)
    async with state.quotas.turn(resource, record.namespace):
        claim, charge = NO_CLAIM, NO_CHARGE
        if resource is SERVICES:
            claim = state.allocator.plan_delete(decode_object(record.body))
        if state.quotas.has_quotas(record.namespace):
            charge = state.quotas.charge(resource, record.namespace, decode_object(record.body), None)
        revision = await commit_with_claim(state, Precondition(key, record.revision), Write(key, None), claim, charge)
    if resource is SERVICES:
        await _remove_endpoints(state, record)
    return revision


async def _remove_endpoints(state: ServerState, service: Record) -> None:
    """The Endpoints of a Service go with it. Losing a race is no harm: the endpoints controller clears the rest.

    Rule: spec "service-api" §0.2 (after-delete).
    """
    record = state.find(ENDPOINTS, service.namespace, service.name)
    if record is None:
        return
    try:
        await remove(state, ENDPOINTS, record)
    except (PreconditionFailed, ApiError):
        return


def encode_within_limit(obj: Json) -> bytes:
    """The bytes to store; what is too big is tried without the record of its managers. Raises RequestEntityTooLarge.

    Rule: spec "api-machinery" §11. Upstream passes on the words of its store, with a 500; the fault is the request's.
    """
    value = encode_stored(obj)
    if len(value) <= MAX_STORED_BYTES:
        return value
    meta = {key: item for key, item in obj["metadata"].items() if key != "managedFields"}
    value = encode_stored({**obj, "metadata": meta})
    if len(value) > MAX_STORED_BYTES:
        raise RequestEntityTooLarge(f"Request entity too large: limit is {MAX_STORED_BYTES}")
    return value


def _keep_generation(obj: Json, old: Json) -> None:
    if "generation" in old["metadata"]:
        obj["metadata"]["generation"] = old["metadata"]["generation"]


def _require_version(resource: Resource, name: str) -> None:
    if resource.strategy.allows_unconditional_update:
        return
    error = invalid("metadata.resourceVersion", 0, "must be specified for an update")
    # The one 422 whose kind is the plural (spec "api-machinery" trap 10).
    raise make_invalid(resource.plural, resource.group, name, [error])


def _raise_invalid(resource: Resource, name: str, errors: Iterable[FieldError]) -> None:
    found = list(errors)
    if found:
        raise make_invalid(resource.kind, resource.group, name, found)


def _without_revision(obj: Json) -> Json:
    meta = {key: value for key, value in obj["metadata"].items() if key != "resourceVersion"}
    return {**obj, "metadata": meta}


def _is_same_content(obj: Json, old: Json) -> bool:
    """What an object holds beside its metadata is the same, before anything is decoded to compare the rest."""
    return {**obj, "metadata": None} == {**old, "metadata": None}


def _make_exists(target: Target, existing: Record | None, name: str = "") -> ApiError:
    resource = target.resource
    found = existing.name if existing else name
    terminating = existing is not None and existing.is_deleting
    return make_already_exists(resource.plural, resource.group, found, terminating=terminating)


def _make_generated_exists(target: Target, name: str) -> ApiError:
    resource = target.resource
    error = make_already_exists(resource.plural, resource.group, name)
    error.message += ", the server was not able to generate a unique name for the object"
    error.details = {**(error.details or {}), "retryAfterSeconds": 1}
    return error
