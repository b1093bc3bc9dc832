"""Evictions: a delete of a Pod that asks its disruption budget first.

1. The budget is spent in one compare-and-swap, once; who loses that race reads again and decides again.
2. Then the Pod is marked and deleted. A Pod that no budget counts goes only as it was looked at: when it has changed
   since, it is decided again.
Rule: spec "api-machinery" §9.2.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from seaway.api.machinery.errors import Timeout, make_not_found
from seaway.api.registry import POD_DISRUPTION_BUDGETS, PODS
from seaway.apiserver.effects import format_time
from seaway.apiserver.options import DeleteOptions
from seaway.apiserver.record import Record, decode_object, encode_stored
from seaway.apiserver.state import ServerState
from seaway.apiserver.subresources.disruption import Permission, decide_eviction, mark_evicted
from seaway.apiserver.writing.deletes import check_preconditions, delete
from seaway.apiserver.writing.writes import Target
from seaway.store.contract import Precondition, PreconditionFailed, Write

Json = dict[str, Any]
EVICTION_ATTEMPTS = 20
"""Upstream's: a budget that many evict from at once changes between reading and writing."""
_RETRY_SECONDS = 10


async def evict(state: ServerState, target: Target, options: DeleteOptions) -> None:
    """target: the Pod. options: of its delete. Raises ApiError."""
    for _ in range(EVICTION_ATTEMPTS):
        record = _get_pod(state, target, options)
        try:
            permission = await _ask_budget(state, target, record)
            if permission.is_bound:
                await _end(state, target, record, options)
        except PreconditionFailed:
            continue
        break
    else:
        raise _make_exhausted(target)
    if not permission.is_bound:
        await _end_whatever_it_is(state, target, options)


def _get_pod(state: ServerState, target: Target, options: DeleteOptions) -> Record:
    """Raises NotFound, Forbidden for another node's, and Conflict when it is not what the options ask for."""
    record = state.find(PODS, target.namespace, target.name)
    if record is None:
        raise make_not_found(PODS.plural, PODS.group, target.name)
    state.admit_node(target.identity, target.attributes, decode_object(record.body), None)
    check_preconditions(PODS, record, options)
    return record


async def _ask_budget(state: ServerState, target: Target, record: Record) -> Permission:
    """Raises the refusals of `decide_eviction`, and PreconditionFailed when the budget changed since it was read."""
    pod, now = decode_object(record.body), format_time(state.effects.wall_now())
    budgets = list(state.watch_cache.cache(POD_DISRUPTION_BUDGETS).select(target.namespace))
    permission = decide_eviction(pod, (decode_object(budget.body) for budget in budgets), now)
    if permission.budget is not None and not target.dry_run:
        name = permission.budget["metadata"]["name"]
        revision = next(budget.revision for budget in budgets if budget.name == name)
        await _put(state, POD_DISRUPTION_BUDGETS.store_key(target.namespace, name), permission.budget, revision)
    return permission


async def _end_whatever_it_is(state: ServerState, target: Target, options: DeleteOptions) -> None:
    for _ in range(EVICTION_ATTEMPTS):
        try:
            return await _end(state, target, _get_pod(state, target, options), options)
        except PreconditionFailed:
            continue
    raise _make_exhausted(target)


async def _end(state: ServerState, target: Target, record: Record, options: DeleteOptions) -> None:
    """Mark the Pod as evicted and delete it. Raises PreconditionFailed when it has changed since it was read."""
    revision = record.revision
    if not target.dry_run and not record.is_deleting:
        marked = mark_evicted(decode_object(record.body), format_time(state.effects.wall_now()))
        revision = await _put(state, target.key, marked, revision)
    if options.resource_version is not None:
        options = replace(options, resource_version=str(revision))
    await delete(state, replace(target, subresource=""), options)


async def _put(state: ServerState, key: str, obj: Json, revision: int) -> int:
    return (await state.commit([Precondition(key, revision)], [Write(key, encode_stored(obj))]))[-1]


def _make_exhausted(target: Target) -> Timeout:
    details = {"name": target.name, "kind": PODS.plural, "retryAfterSeconds": _RETRY_SECONDS}
    return Timeout(f'Timeout: couldn\'t evict pod "{target.name}" due to conflicts', details)
