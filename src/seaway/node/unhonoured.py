"""What a Pod asks for that this node leaves undone, and runs the Pod all the same.

What would weaken the Pod's isolation if it were left undone is refused instead (`lifecycle.py`).
Rule: spec "node" §2.9 (MAY ignore; say so once).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from seaway.api.pod.scheduling import ResourceRequirements
from seaway.node.podspec import Container, PodManifest
from seaway.node.runtime.local.rootfs import find_refused_capabilities

REASON = "NotHonoured"
COUNTED = ("cpu", "memory", "ephemeral-storage")
"""What control groups limit, and what is measured (`evictions.py`)."""


def find_unhonoured(pod: PodManifest, unenforced: Mapping[str, str], *, has_users: bool) -> str:
    """One sentence for a Normal event, or "" when all is done.

    unenforced: why limits are not kept, by resource. has_users: there is more than one, and groups.
    """
    groups = () if has_users else _list_groups(pod)
    return _say([*_list_unhonoured(pod, unenforced), *groups])


def find_left_out(container: Container) -> str:
    """The same of a debugger's capabilities: it runs without those that no container gets here.

    Nothing is lost by SYS_PTRACE: a debugger sees its own processes only, and those it may trace.
    """
    security = container.security_context
    added = security.capabilities.add if security is not None and security.capabilities is not None else ()
    return _say([f"capability {name} of container {container.name}" for name in find_refused_capabilities(added)])


def _say(found: Iterable[str]) -> str:
    said = "; ".join(dict.fromkeys(found))
    return f"not done on this node: {said}" if said else ""


def _list_groups(pod: PodManifest) -> Iterator[str]:
    security = pod.spec.security_context
    if security is not None and security.fs_group:
        yield f"fsGroup {security.fs_group} does not own the volumes: there is one user here"
    if security is not None and any(security.supplemental_groups):
        yield "supplementalGroups are not set: there is one user here"


def _list_unhonoured(pod: PodManifest, unenforced: Mapping[str, str]) -> Iterator[str]:
    yield from _list_limits("the Pod", pod.spec.resources, unenforced)
    for container in pod.every_container:
        yield from _list_limits(f"container {container.name}", container.resources, unenforced)
        if pod.find_seccomp(container) == "Localhost":
            yield f"seccompProfile of container {container.name} is RuntimeDefault, not Localhost"
        for mount in container.volume_mounts:
            if mount.mount_propagation not in ("", "None"):
                yield f"mountPropagation {mount.mount_propagation} of {mount.mount_path} is None"


def _list_limits(whose: str, resources: ResourceRequirements, unenforced: Mapping[str, str]) -> Iterator[str]:
    """Of resources that nobody counts (disk), and of those that this host does not limit."""
    reasons = {name: unenforced.get(name, "") for name in resources.limits}
    lacking = [name for name in sorted(reasons) if name in unenforced or name not in COUNTED]
    if lacking:
        named = ", ".join(f"{name}={resources.limits[name]}" for name in lacking)
        why = "; ".join(dict.fromkeys(reasons[name] for name in lacking if reasons[name]))
        yield f"limits of {whose} ({named}) are not enforced" + (f" ({why})" if why else "")
