"""What a LimitRange gives to Pods that do not say, and what it refuses of Pods and claims.

Rule: upstream's LimitRanger: Pods when they are created, claims when they are created and changed. Defaults come before
all validation, the bounds after it; of several LimitRanges each has its say, in the order of their names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from seaway.api.registry import PERSISTENT_VOLUME_CLAIMS, PODS, Resource
from seaway.apiserver.quota.amounts import Amount, Amounts, parse_amount, parse_amounts
from seaway.apiserver.quota.usage import gather

Json = Mapping[str, Any]
ANNOTATION = "kubernetes.io/limit-ranger"
LIMITED_ON_UPDATE = (PERSISTENT_VOLUME_CLAIMS,)
_SIDES = (("limits", "default"), ("requests", "defaultRequest"))
_GROUPS = (("containers", "container"), ("initContainers", "init container"))


def fill_pod(pod: Json, ranges: Iterable[Json]) -> dict[str, Any]:
    """The Pod with what its containers do not say; an annotation tells what that was. `pod` is not changed."""
    filled, told = dict(pod), []
    for limit_range in ranges:
        spec = dict(filled["spec"])
        found: list[str] = []
        defaults = _find_defaults(limit_range)
        for field, words in _GROUPS:
            if spec.get(field):
                spec[field] = [_fill_container(container, defaults, words, found) for container in spec[field]]
        if found:
            told += found
            filled["spec"] = spec
    if told:
        meta = filled["metadata"]
        text = f"LimitRanger plugin set: {'; '.join(told)}"
        filled["metadata"] = {**meta, "annotations": {**(meta.get("annotations") or {}), ANNOTATION: text}}
    return filled


def _find_defaults(limit_range: Json) -> dict[str, dict[str, Any]]:
    """Limits and requests of the LimitRange for containers."""
    found: dict[str, dict[str, Any]] = {"limits": {}, "requests": {}}
    for item in _items(limit_range, "Container"):
        for side, field in _SIDES:
            found[side] |= item.get(field) or {}
    return found


def _fill_container(container: Json, defaults: Json, words: str, told: list[str]) -> dict[str, Any]:
    resources = dict(container.get("resources") or {})
    for side in ("requests", "limits"):
        given = resources.get(side) or {}
        missing = sorted(defaults[side].keys() - given.keys())
        if missing:
            resources[side] = {**given, **{name: defaults[side][name] for name in missing}}
            told.append(f"{', '.join(missing)} {side[:-1]} for {words} {container.get('name')}")
    return {**container, "resources": resources} if resources else dict(container)


def find_limit_refusal(resource: Resource, obj: Json, ranges: Iterable[Json]) -> str:
    """What the first LimitRange that is against it says; or ""."""
    check = _CHECKS.get(resource)
    if check is None:
        return ""
    for limit_range in ranges:
        problems = list(dict.fromkeys(check(obj, limit_range)))
        if problems:
            return problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
    return ""


def _check_pod(pod: Json, limit_range: Json) -> Iterator[str]:
    spec = pod.get("spec") or {}
    for item in _items(limit_range, "Container"):
        for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
            resources = container.get("resources") or {}
            requests, limits = (parse_amounts(resources.get(side)) for side in ("requests", "limits"))
            yield from _check_all(item, requests, limits)
    for item in _items(limit_range, "Pod"):
        yield from _check_all(item, gather(spec, "requests"), gather(spec, "limits"))


def _check_claim(claim: Json, limit_range: Json) -> Iterator[str]:
    """A claim has requests alone."""
    requests = parse_amounts(((claim.get("spec") or {}).get("resources") or {}).get("requests"))
    for item in _items(limit_range, "PersistentVolumeClaim"):
        for bound, word, is_wrong in (("min", "minimum", _is_less), ("max", "maximum", _is_more)):
            for name, text in sorted((item.get(bound) or {}).items()):
                rule = f"{word} {name} usage per {item['type']} is {text}"
                yield from _check_side(rule, "request", requests.get(name), parse_amount(text), is_wrong, required=True)


def _check_all(item: Json, requests: Amounts, limits: Amounts) -> Iterator[str]:
    kind = item["type"]
    for name, text in sorted((item.get("min") or {}).items()):
        rule, bound = f"minimum {name} usage per {kind} is {text}", parse_amount(text)
        yield from _check_bound(rule, bound, ("request", requests.get(name)), ("limit", limits.get(name)), _is_less)
    for name, text in sorted((item.get("max") or {}).items()):
        rule, bound = f"maximum {name} usage per {kind} is {text}", parse_amount(text)
        yield from _check_bound(rule, bound, ("limit", limits.get(name)), ("request", requests.get(name)), _is_more)
    for name, text in sorted((item.get("maxLimitRequestRatio") or {}).items()):
        rule = f"{name} max limit to request ratio per {kind} is {text}"
        yield from _check_ratio(rule, parse_amount(text), requests.get(name), limits.get(name))


def _check_bound(
    rule: str,
    bound: Amount,
    first: tuple[str, Amount | None],
    second: tuple[str, Amount | None],
    is_wrong: Callable[[Amount, Amount], bool],
) -> Iterator[str]:
    """At most one problem: the first side must be said, the second is judged if it is."""
    found = [
        *_check_side(rule, *first, bound, is_wrong, required=True),
        *_check_side(rule, *second, bound, is_wrong, required=False),
    ]
    yield from found[:1]


def _check_side(
    rule: str, side: str, amount: Amount | None, bound: Amount, is_wrong: Callable[[Amount, Amount], bool], *,
    required: bool,
) -> Iterator[str]:  # fmt: skip
    if amount is None:
        if required:
            yield f"{rule}.  No {side} is specified"
    elif is_wrong(amount, bound):
        yield f"{rule}, but {side} is {amount}"


def _check_ratio(rule: str, most: Amount, request: Amount | None, limit: Amount | None) -> Iterator[str]:
    for side, amount in (("request", request), ("limit", limit)):
        if amount is None or not amount.nanos:
            yield f"{rule}, but no {side} is specified or {side} is 0"
            return
    assert request is not None
    assert limit is not None
    if limit.nanos * 10**9 > most.nanos * request.nanos:
        yield f"{rule}, but provided ratio is {limit.nanos / request.nanos:f}"


def _is_less(amount: Amount, bound: Amount) -> bool:
    return amount.nanos < bound.nanos


def _is_more(amount: Amount, bound: Amount) -> bool:
    return amount.nanos > bound.nanos


def _items(limit_range: Json, kind: str) -> list[Json]:
    return [item for item in (limit_range.get("spec") or {}).get("limits") or () if item.get("type") == kind]


_CHECKS: dict[Resource, Callable[[Json, Json], Iterator[str]]] = {
    PODS: _check_pod,
    PERSISTENT_VOLUME_CLAIMS: _check_claim,
}
