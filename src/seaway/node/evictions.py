"""Whether a Pod takes more of the node's disk than it said, and is ended for that.

Memory is the kernel's to limit; what lies on disk is measured from time to time, of Pods that have a limit.
Rule: spec "node" §2.6 (Evicted), §2.18 (sizeLimit), §7.4 (limits.ephemeral-storage); upstream's order and texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from seaway.api.pod.resources import measure
from seaway.node.podspec import PodManifest

REASON = "Evicted"
DISK = "ephemeral-storage"


@dataclass(frozen=True, slots=True)
class DiskUse:
    """Bytes on disk: of each volume that is the Pod's own, and of each container's root and logs."""

    volumes: Mapping[str, int] = field(default_factory=dict)
    containers: Mapping[str, int] = field(default_factory=dict)


def has_disk_limits(pod: PodManifest) -> bool:
    """It is to be measured."""
    return bool(_list_size_limits(pod) or any(DISK in c.resources.limits for c in pod.every_container))


def _list_size_limits(pod: PodManifest) -> dict[str, str]:
    """Of volumes on disk; one in memory is as large as it may be."""
    found = {}
    for volume in pod.spec.volumes:
        source = volume.empty_dir
        if source is not None and not source.medium and measure(DISK, source.size_limit):
            found[volume.name] = source.size_limit
    return found


def find_excess(pod: PodManifest, use: DiskUse) -> str:
    """Why the Pod is ended, or ""."""
    return next(_list_excesses(pod, use), "")


def _list_excesses(pod: PodManifest, use: DiskUse) -> Iterator[str]:
    for name, limit in _list_size_limits(pod).items():
        if use.volumes.get(name, 0) > measure(DISK, limit):
            yield f'Usage of EmptyDir volume "{name}" exceeds the limit "{limit}". '
    limits = {c.name: c.resources.limits[DISK] for c in pod.every_container if DISK in c.resources.limits}
    main = [measure(DISK, limits[c.name]) for c in pod.spec.containers if c.name in limits]
    if main and sum((*use.volumes.values(), *use.containers.values())) > sum(main):
        yield f"Pod ephemeral local storage usage exceeds the total limit of containers {format_bytes(sum(main))}. "
    for name, limit in limits.items():
        if use.containers.get(name, 0) > measure(DISK, limit):
            yield f'Container {name} exceeded its local ephemeral storage limit "{limit}". '


def format_bytes(count: int) -> str:
    """As a quantity: in the largest unit that leaves no rest."""
    for power, unit in ((40, "Ti"), (30, "Gi"), (20, "Mi"), (10, "Ki")):
        if count and count % (1 << power) == 0:
            return f"{count >> power}{unit}"
    return str(count)
