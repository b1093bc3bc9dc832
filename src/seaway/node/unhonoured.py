"""What a Pod asks for that this node leaves undone, and runs the Pod all the same.

What would weaken the Pod's isolation if it were left undone is refused instead (`lifecycle.py`).
Rule: spec "node" §2.9 (MAY ignore; say so once).
"""

from __future__ import annotations

from collections.abc import Iterator

from seaway.node.podspec import PodManifest

REASON = "NotHonoured"


def find_unhonoured(pod: PodManifest) -> str:
    """One sentence for a Normal event, or "" when all is done."""
    found = tuple(dict.fromkeys(_list_unhonoured(pod)))
    return f"not done on this node: {'; '.join(found)}" if found else ""


def _list_unhonoured(pod: PodManifest) -> Iterator[str]:
    for container in pod.every_container:
        limits = [f"{name}={amount}" for name, amount in sorted(container.resources.limits.items())]
        if limits:
            yield f"limits of container {container.name} ({', '.join(limits)}) are not enforced"
        if pod.find_seccomp(container) == "Localhost":
            yield f"seccompProfile of container {container.name} is RuntimeDefault, not Localhost"
        for mount in container.volume_mounts:
            if mount.mount_propagation not in ("", "None"):
                yield f"mountPropagation {mount.mount_propagation} of {mount.mount_path} is None"
    for volume in pod.spec.volumes:
        source = volume.empty_dir
        if source is not None and not source.medium and source.size_limit != "0":
            yield f"sizeLimit {source.size_limit} of volume {volume.name} is not enforced; with medium Memory it is"
    security = pod.spec.security_context
    if security is not None and security.fs_group is not None:
        yield f"fsGroup {security.fs_group} does not own the volumes"
    if security is not None and security.supplemental_groups:
        yield "supplementalGroups are not set"
