"""The taints that a node's conditions ask for. Rule: spec "controllers" §6.2 (table of taints).

NoSchedule follows the conditions at once. NoExecute drives Pods away, so it comes when `zones.py` says so; once there,
the two of them are swapped without delay, and both go when the node is ready.
"""

from __future__ import annotations

from collections.abc import Mapping

from seaway.api.node.types import Node, Taint
from seaway.controllers.taints import NO_EXECUTE, NO_SCHEDULE, NOT_READY, PRESSURE_TAINTS, UNREACHABLE, UNSCHEDULABLE

_BY_READINESS: Mapping[str, str] = {"False": NOT_READY, "Unknown": UNREACHABLE}
_NO_SCHEDULE_KEYS = frozenset((NOT_READY, UNREACHABLE, UNSCHEDULABLE, *PRESSURE_TAINTS.values()))
_NO_EXECUTE_KEYS = frozenset((NOT_READY, UNREACHABLE))


def read_readiness(node: Node) -> str:
    """True, False, Unknown, or "" when nobody has said anything yet."""
    return next((c.status for c in node.status.conditions if c.type == "Ready"), "")


def find_schedule_keys(node: Node) -> tuple[str, ...]:
    """The NoSchedule taints that the node ought to have, of those that conditions decide; sorted."""
    status = {c.type: c.status for c in node.status.conditions}
    keys = {key for condition, key in PRESSURE_TAINTS.items() if status.get(condition) == "True"}
    if (key := _BY_READINESS.get(status.get("Ready", ""))) is not None:
        keys.add(key)
    if node.spec.unschedulable:
        keys.add(UNSCHEDULABLE)
    return tuple(sorted(keys))


def find_execute_key(node: Node) -> str:
    """The NoExecute taint that the node's readiness asks for, or ""."""
    return _BY_READINESS.get(read_readiness(node), "")


def is_driven_out(node: Node) -> bool:
    """The node has one of the two NoExecute taints."""
    return any(taint.effect == NO_EXECUTE and taint.key in _NO_EXECUTE_KEYS for taint in node.spec.taints)


def plan_taints(node: Node, *, drives_out: bool, wall_now: str) -> tuple[Taint, ...] | None:
    """All taints of the node as they ought to be; None when they are. Others' taints stay, in their order, first.

    drives_out: an unready node may have its NoExecute taint. A taint that stays keeps the time it was added.
    """
    wanted = [(key, NO_SCHEDULE) for key in find_schedule_keys(node)]
    execute_key = find_execute_key(node)
    if execute_key and drives_out:
        wanted.append((execute_key, NO_EXECUTE))
    existing = node.spec.taints
    kept = [t for t in existing if not _is_ours(t) or (t.key, t.effect) in wanted]
    present = {(t.key, t.effect) for t in kept}
    added = [
        Taint(key=key, effect=effect, time_added=wall_now) for key, effect in wanted if (key, effect) not in present
    ]
    return None if not added and len(kept) == len(existing) else (*kept, *added)


def _is_ours(taint: Taint) -> bool:
    if taint.effect == NO_SCHEDULE:
        return taint.key in _NO_SCHEDULE_KEYS
    return taint.effect == NO_EXECUTE and taint.key in _NO_EXECUTE_KEYS


def render_taints(taints: tuple[Taint, ...]) -> list[dict[str, str]]:
    """The list as it is on the wire."""
    return [
        {
            "key": taint.key,
            **({"value": taint.value} if taint.value else {}),
            "effect": taint.effect,
            **({"timeAdded": taint.time_added} if taint.time_added else {}),
        }
        for taint in taints
    ]
