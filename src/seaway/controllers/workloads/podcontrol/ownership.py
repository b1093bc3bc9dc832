"""Whose an object is: the controller reference, what may be adopted, and what is let go.

Rule: spec "controllers" §7.4 (adoption and release).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from seaway.api.machinery.meta import ObjectMeta, OwnerReference, object_key
from seaway.api.machinery.selectors import LabelSelector
from seaway.api.pod.types import Pod
from seaway.api.registry import Resource
from seaway.client.index import Change, Index

Json = dict[str, Any]


def read_meta(obj: Json) -> ObjectMeta:
    """The metadata of a whole object, as readers see them."""
    return msgspec.convert(obj["metadata"], ObjectMeta)


def find_controller(meta: ObjectMeta) -> OwnerReference | None:
    """The one owner that manages the object."""
    return next((reference for reference in meta.owner_references if reference.controller), None)


def make_controller_reference(resource: Resource, owner: ObjectMeta) -> Json:
    """What marks an object as the owner's to manage."""
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


@dataclass(frozen=True, slots=True)
class Claims:
    """Names, sorted: what is the owner's, what it takes, and what it lets go."""

    owned: tuple[str, ...] = ()
    adopt: tuple[str, ...] = ()
    release: tuple[str, ...] = ()


def plan_claims(owner: ObjectMeta, selector: LabelSelector, candidates: Iterable[ObjectMeta]) -> Claims:
    """Which of the candidates, all of the owner's namespace, belong to it.

    What another controller owns is left alone. An owner that is being deleted takes and lets go of nothing, and what is
    being deleted is not adopted.
    """
    owned, adopt, release = [], [], []
    for meta in candidates:
        reference, matches = find_controller(meta), selector.matches(meta.labels)
        if reference is not None and reference.uid != owner.uid:
            continue
        if reference is not None and matches:
            owned.append(meta.name)
        elif owner.deletion_timestamp is not None:
            continue
        elif reference is not None:
            release.append(meta.name)
        elif matches and meta.deletion_timestamp is None:
            adopt.append(meta.name)
    return Claims(tuple(sorted(owned)), tuple(sorted(adopt)), tuple(sorted(release)))


def render_adoption(reference: Json, uid: str) -> Json:
    """The strategic merge patch that makes the object with the uid the owner's."""
    return {"metadata": {"ownerReferences": [reference], "uid": uid}}


def render_release(owner_uid: str, uid: str) -> Json:
    """The strategic merge patch that takes the object with the uid from its owner."""
    return {"metadata": {"ownerReferences": [{"$patch": "delete", "uid": owner_uid}], "uid": uid}}


class PodsByOwner:
    """Keys of Pods by the UID of their controller, and of those without one by namespace. One for all loops."""

    def __init__(self) -> None:
        self._owned: Index[Pod, str] = Index(_controller_uids)
        self._orphans: Index[Pod, str] = Index(
            lambda pod: () if find_controller(pod.metadata) else (pod.metadata.namespace,)
        )

    def apply(self, change: Change[Pod]) -> None:
        """A Pod of the cache has changed."""
        self._owned.apply(change)
        self._orphans.apply(change)

    def owned(self, uid: str) -> Collection[str]:
        """The Pods that the controller with the UID owns."""
        return self._owned.get(uid)

    def orphans(self, namespace: str) -> Collection[str]:
        """The Pods of the namespace that nobody manages."""
        return self._orphans.get(namespace)


def _controller_uids(pod: Pod) -> tuple[str, ...]:
    reference = find_controller(pod.metadata)
    return (reference.uid,) if reference else ()


def key_in(namespace: str, name: str) -> str:
    """The key in a cache of a namespaced kind."""
    return object_key(ObjectMeta(namespace=namespace, name=name))
