"""Taints and tolerations: what a node keeps away, and whom not. Rule: spec "controllers" §6.2; upstream's meaning."""

from __future__ import annotations

from collections.abc import Iterable

from seaway.api.node.types import Taint
from seaway.api.pod.scheduling import Toleration

NO_SCHEDULE, PREFER_NO_SCHEDULE, NO_EXECUTE = "NoSchedule", "PreferNoSchedule", "NoExecute"
PREFIX = "node.kubernetes.io/"
NOT_READY, UNREACHABLE = f"{PREFIX}not-ready", f"{PREFIX}unreachable"
UNSCHEDULABLE, OUT_OF_SERVICE = f"{PREFIX}unschedulable", f"{PREFIX}out-of-service"
PRESSURE_TAINTS = {
    "MemoryPressure": f"{PREFIX}memory-pressure",
    "DiskPressure": f"{PREFIX}disk-pressure",
    "PIDPressure": f"{PREFIX}pid-pressure",
    "NetworkUnavailable": f"{PREFIX}network-unavailable",
}
"""By the condition that is True then."""


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """The toleration covers the taint. An empty effect is any; an empty key, with Exists, too."""
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    if toleration.operator == "Exists":
        return True
    return toleration.operator in ("", "Equal") and bool(toleration.key) and toleration.value == taint.value


def find_untolerated(
    taints: Iterable[Taint], tolerations: Iterable[Toleration], effects: Iterable[str]
) -> tuple[Taint, ...]:
    """The taints of these effects that no toleration covers, in their order."""
    wanted, covers = frozenset(effects), tuple(tolerations)
    return tuple(
        taint for taint in taints if taint.effect in wanted and not any(tolerates(cover, taint) for cover in covers)
    )
