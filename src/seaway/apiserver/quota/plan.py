"""What a quota's status shall be, and what a write does to it. Pure: a quota is the decoded object.

A quota is *counted* when its status holds the limits of its spec, and a number for each name that can be counted. From
then on every write that changes the numbers writes them too, in one commit. Until then its status goes two steps, each
a commit of its own: first the limits without numbers, then the numbers. What was decided before the quota could be seen
lies in the store before the first step, so the second one counts it.
Rule: spec "service-api" §0.2, §3.6; docs/design/0012.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from seaway.api.registry import PERSISTENT_VOLUME_CLAIMS, PODS, SERVICES, Resource
from seaway.apiserver.quota.amounts import (
    NOTHING,
    Amount,
    add,
    count,
    format_amounts,
    mask,
    parse_amounts,
    show,
    subtract,
)
from seaway.apiserver.quota.scopes import is_in_scope
from seaway.apiserver.quota.usage import find_counted, find_numbered, find_unsaid, measure

Json = Mapping[str, Any]
CHECKED_ON_UPDATE = (PERSISTENT_VOLUME_CLAIMS, SERVICES)
"""An update of these may ask for more; other kinds are only judged when they are created."""
MAY_CHANGE = (*CHECKED_ON_UPDATE, PODS)
"""What an object of these uses may change while it lives; any other is one object from its first day to its last."""


def limits_of(quota: Json) -> Json:
    """What it allows, by name."""
    return (quota.get("spec") or {}).get("hard") or {}


def concerns(quota: Json, resource: Resource) -> bool:
    """One of its limits is about objects of the kind."""
    return any(find_counted(name) is resource for name in limits_of(quota))


def counted_names(quota: Json) -> list[str]:
    """The names of its limits that anything counts, sorted."""
    return sorted(name for name in limits_of(quota) if find_counted(name) is not None)


def is_counted(quota: Json) -> bool:
    """Its status tells what is used of each limit."""
    status = quota.get("status") or {}
    return (status.get("hard") or {}) == limits_of(quota) and _has_numbers(quota)


def _has_numbers(quota: Json) -> bool:
    return sorted((quota.get("status") or {}).get("used") or {}) == counted_names(quota)


def plan_status(quota: Json, recount: Callable[[], Mapping[str, Amount]]) -> dict[str, Any] | None:
    """The next status on the way to be counted, or None: it is. recount: what its names amount to now."""
    status, limits = quota.get("status") or {}, dict(limits_of(quota))
    shown = status.get("hard") or {}
    if shown.keys() != limits.keys():
        return _render_status(limits, {})
    if not _has_numbers(quota):
        return _render_status(limits, format_amounts(recount()))
    return _render_status(limits, status.get("used") or {}) if shown != limits else None


def plan_recount(quota: Json, recount: Callable[[], Mapping[str, Amount]]) -> dict[str, Any] | None:
    """The status of a counted quota with its numbers put right, or None: they are."""
    found = recount()
    told = parse_amounts((quota.get("status") or {}).get("used"))
    if {name: amount.nanos for name, amount in found.items()} == {name: a.nanos for name, a in told.items()}:
        return None
    return _render_status(dict(limits_of(quota)), format_amounts(found))


def _render_status(limits: Mapping[str, str], used: Mapping[str, str]) -> dict[str, Any]:
    """An empty map is absent, as in every stored object."""
    return {name: amounts for name, amounts in (("hard", limits), ("used", used)) if amounts}


def count_usage(
    quota: Json, number_of: Callable[[Resource], int], objects_of: Callable[[Resource], Iterable[Json]]
) -> dict[str, Amount]:
    """What the namespace uses of the quota's names. number_of, objects_of: of a kind, in the namespace."""
    spec, names = quota.get("spec") or {}, counted_names(quota)
    is_scoped = bool(spec.get("scopes") or spec.get("scopeSelector"))
    found = dict.fromkeys(names, NOTHING)
    measured: dict[Resource, list[str]] = {}
    for name in names:
        numbered = None if is_scoped else find_numbered(name)
        if numbered is not None:
            found[name] = count(number_of(numbered))
        elif (counted := find_counted(name)) is not None:
            measured.setdefault(counted, []).append(name)
    for kind, own in measured.items():
        for obj in objects_of(kind) if not is_scoped or kind in (PODS, PERSISTENT_VOLUME_CLAIMS) else ():
            if is_in_scope(spec, kind, obj):
                found |= mask(add(found, measure(kind, obj)), own)
    return found


def plan_charge(quota: Json, resource: Resource, old: Json | None, new: Json | None) -> dict[str, str] | None:
    """What a counted quota has used after the write, or None: the write changes nothing of it.

    old, new: the object as it is and shall be stored; None where there is none.
    """
    change = _change(quota, resource, old, new)
    if not any(amount.nanos for amount in change.values()):
        return None
    return format_amounts(add(_used(quota), change))


def find_refusal(quota: Json, resource: Resource, old: Json | None, new: Json) -> str:
    """Why a counted quota does not let the object be written, in upstream's words; or ""."""
    if old is not None and resource not in CHECKED_ON_UPDATE:
        return ""
    name, limits = quota["metadata"]["name"], parse_amounts(limits_of(quota))
    if resource is PODS and is_in_scope(quota.get("spec") or {}, resource, new):
        unsaid = find_unsaid(new, limits)
        if unsaid:
            return f"failed quota: {name}: {unsaid}"
    change, used = _change(quota, resource, old, new), _used(quota)
    over = [
        what
        for what, amount in change.items()
        if amount.nanos > 0 and used.get(what, NOTHING).nanos + amount.nanos > limits[what].nanos
    ]
    if not over:
        return ""
    asked, had, most = (show(mask(amounts, over)) for amounts in (change, used, limits))
    return f"exceeded quota: {name}, requested: {asked}, used: {had}, limited: {most}"


def _used(quota: Json) -> dict[str, Amount]:
    return parse_amounts((quota.get("status") or {}).get("used"))


def _change(quota: Json, resource: Resource, old: Json | None, new: Json | None) -> dict[str, Amount]:
    """By how much the write changes each of the quota's numbers."""
    before, after = (_measure_for(quota, resource, obj) for obj in (old, new))
    return subtract(after, before)


def _measure_for(quota: Json, resource: Resource, obj: Json | None) -> dict[str, Amount]:
    if obj is None or not is_in_scope(quota.get("spec") or {}, resource, obj):
        return {}
    return mask(measure(resource, obj), limits_of(quota))
