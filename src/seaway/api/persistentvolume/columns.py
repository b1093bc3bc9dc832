"""Columns of PersistentVolumes. Rule: spec "api-machinery" §2.3 (form); the columns are kubectl's."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from seaway.api.machinery.columns import AGE, NAME, Column, render_age, wide

Json = dict[str, Any]
UNSET = "<unset>"
COLUMNS = (
    NAME,
    Column(name="Capacity", description="How much it holds."),
    Column(name="Access Modes", description="How it may be mounted."),
    Column(name="Reclaim Policy", description="What becomes of it when its claim goes."),
    Column(name="Status", description="Available, Bound, Released or Failed."),
    Column(name="Claim", description="The claim that has it."),
    Column(name="StorageClass", description="Its class of storage."),
    Column(name="VolumeAttributesClass", description="Its class of attributes."),
    Column(name="Reason", description="Why it is in its state."),
    AGE,
    wide("VolumeMode", "Filesystem or Block."),
)
_SHORT_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}


def render_access_modes(modes: Iterable[str]) -> str:
    """`RWO,ROX`: each known mode once, in that order."""
    given = set(modes)
    return ",".join(short for mode, short in _SHORT_MODES.items() if mode in given)


def cells(obj: Json, wall_now: datetime) -> list[Any]:
    """The row of a PersistentVolume."""
    spec, status = obj.get("spec", {}), obj.get("status", {})
    claim = spec.get("claimRef")
    is_deleting = bool(obj["metadata"].get("deletionTimestamp"))
    return [
        obj["metadata"].get("name", ""),
        spec.get("capacity", {}).get("storage", ""),
        render_access_modes(spec.get("accessModes", ())),
        spec.get("persistentVolumeReclaimPolicy", ""),
        "Terminating" if is_deleting else status.get("phase", ""),
        f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else "",
        spec.get("storageClassName", ""),
        spec.get("volumeAttributesClassName") or UNSET,
        status.get("reason", ""),
        render_age(obj, wall_now),
        spec.get("volumeMode", UNSET),
    ]
