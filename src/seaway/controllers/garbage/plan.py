"""What becomes of one object, judged by its owners and its own finalizers.

Rule: spec "controllers" §7.3, spec "api-machinery" §8.4.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from seaway.api.machinery.meta import OwnerReference, Reader

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"


class OwnedMeta(Reader, frozen=True):
    """The metadata that ownership depends on: every object of every kind is kept in this form."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    deletion_timestamp: str | None = None
    owner_references: tuple[OwnerReference, ...] = ()
    finalizers: tuple[str, ...] = ()


class Owned(Reader, frozen=True):
    metadata: OwnedMeta = OwnedMeta()


class OwnerState(enum.Enum):
    """An owner as one reference names it. GONE: no object has that kind, name and UID."""

    SOLID = "solid"
    GONE = "gone"
    WAITING = "waiting"
    """Being deleted, once its dependents are."""


OwnerKey: TypeAlias = tuple[str, str]
"""Kind and UID."""


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete the object, if it still has this UID and version. `policy`: what its own dependents can expect."""

    policy: str


@dataclass(frozen=True, slots=True)
class StripOwners:
    """Remove the references to these UIDs; other owners remain."""

    uids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RemoveFinalizer:
    """The object has waited for its dependents long enough."""

    finalizer: str


Verdict: TypeAlias = Delete | StripOwners | RemoveFinalizer | None


def judge_dependent(meta: OwnedMeta, owners: Mapping[str, OwnerState]) -> Verdict:
    """What its owners mean for the object. owners: by UID, all of its references.

    One solid owner is enough to stay. An object that is being deleted is left alone.
    """
    if not meta.owner_references or meta.deletion_timestamp is not None:
        return None
    lost = tuple(ref.uid for ref in meta.owner_references if owners[ref.uid] is not OwnerState.SOLID)
    if not lost:
        return None
    if len(lost) < len(meta.owner_references):
        return StripOwners(lost)
    return Delete(_choose_policy(meta))


def judge_owner(meta: OwnedMeta, dependents: Sequence[OwnedMeta]) -> Verdict:
    """Whether the object's finalizer may go: for ORPHAN when nobody refers to it, for FOREGROUND when nobody blocks.

    dependents: those that refer to its UID.
    """
    if meta.deletion_timestamp is None:
        return None
    if ORPHAN in meta.finalizers:
        return None if dependents else RemoveFinalizer(ORPHAN)
    if FOREGROUND in meta.finalizers:
        blocking = any(
            ref.block_owner_deletion for d in dependents for ref in d.owner_references if ref.uid == meta.uid
        )
        return None if blocking else RemoveFinalizer(FOREGROUND)
    return None


def is_orphaning(meta: OwnedMeta) -> bool:
    """The object goes, and its dependents are to stay."""
    return meta.deletion_timestamp is not None and ORPHAN in meta.finalizers


def judge_reference(owner: OwnedMeta | None, uid: str) -> OwnerState:
    """The state of an owner, given the object that has its kind and name now (None: there is none)."""
    if owner is None or owner.uid != uid:
        return OwnerState.GONE
    if owner.deletion_timestamp is not None and FOREGROUND in owner.finalizers:
        return OwnerState.WAITING
    return OwnerState.SOLID


def describe_misplaced(meta: OwnedMeta, ref: OwnerReference) -> str:
    """The Event's text about an owner that is not where the dependent can have one.

    Rule: upstream's `OwnerRefInvalidNamespace`: an owner is in the dependent's namespace, or in none.
    """
    spelt = f"[{ref.api_version}/{ref.kind}, namespace: {meta.namespace}, name: {ref.name}, uid: {ref.uid}]"
    return f'ownerRef {spelt} does not exist in namespace "{meta.namespace}"'


def _choose_policy(meta: OwnedMeta) -> str:
    if ORPHAN in meta.finalizers:
        return "Orphan"
    return "Foreground" if FOREGROUND in meta.finalizers else "Background"
