"""Pods as the loops keep them: what many have alike is kept once.

A hundred thousand Pods come from few templates and say little that is their own: a name, a uid, an address. Labels,
containers, owners and most conditions are equal to those of others, and are the same object here.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable
from typing import Any, TypeVar

import msgspec

from seaway.api.pod.types import Pod

T = TypeVar("T")
MAX_KEPT = 100_000
"""Values that are remembered; beyond, all are forgotten, which costs memory and changes nothing."""
_kept: dict[Hashable, Any] = {}
_decode = msgspec.json.Decoder(Pod).decode
_replace = msgspec.structs.replace


def keep_one(value: T, identity: Hashable) -> T:
    """The first value that had the identity."""
    kept: T | None = _kept.get(identity)
    if kept is None:
        if len(_kept) >= MAX_KEPT:
            _kept.clear()
        kept = _kept[identity] = value
    return kept


def decode_pod(body: bytes | msgspec.Raw) -> Pod:
    """The Pod of the wire form, equal to what it says. Raises msgspec.DecodeError."""
    pod = _decode(body)
    meta, spec, status = pod.metadata, pod.spec, pod.status
    conditions = tuple([keep_one(condition, condition) for condition in status.conditions])
    return Pod(
        _replace(
            meta,
            namespace=sys.intern(meta.namespace),
            creation_timestamp=sys.intern(meta.creation_timestamp),
            labels=keep_one(meta.labels, ("labels", *meta.labels.items())),
            annotations=keep_one(meta.annotations, ("annotations", *meta.annotations.items())),
            owner_references=keep_one(meta.owner_references, meta.owner_references),
        ),
        _replace(
            spec,
            node_name=sys.intern(spec.node_name),
            scheduler_name=sys.intern(spec.scheduler_name),
            restart_policy=sys.intern(spec.restart_policy),
            node_selector=keep_one(spec.node_selector, ("selector", *spec.node_selector.items())),
            containers=keep_one(spec.containers, spec.containers),
            init_containers=keep_one(spec.init_containers, spec.init_containers),
        ),
        _replace(
            status,
            phase=sys.intern(status.phase),
            start_time=sys.intern(status.start_time) if status.start_time is not None else None,
            conditions=keep_one(conditions, conditions),
            container_statuses=keep_one(status.container_statuses, status.container_statuses),
        ),
    )
