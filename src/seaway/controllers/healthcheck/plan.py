"""What is written to one slice when some of its endpoints are down, and what is said about it.

The write is a JSON patch of conditions and one annotation at the version that was read: whatever else is in the slice
stays, and nobody's later words are lost.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec

from seaway.api.endpointslice.types import Endpoint, EndpointConditions, EndpointSlice
from seaway.controllers.events.plan import Happening
from seaway.controllers.healthcheck.check import BadAnnotation
from seaway.controllers.healthcheck.held import (
    ANNOTATION_HELD,
    find_own_conditions,
    hold,
    is_held,
    parse_held,
    render_held,
)
from seaway.controllers.healthcheck.targets import (
    MAX_ALL_RATE,
    MAX_ALL_TARGETS,
    MAX_RATE,
    MAX_TARGETS,
    TargetChoice,
)

COMPONENT = "seaway-healthcheck"
MAX_NAMED = 5
"""Endpoints that one event names."""

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ConditionsPlan:
    """`operations` of one JSON patch, empty when nothing is to be written. Addresses that fell and rose, sorted."""

    operations: tuple[Json, ...] = ()
    fell: tuple[str, ...] = ()
    rose: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Nothing is to be written."""
        return not self.operations


def plan_conditions(slice_: EndpointSlice, down: Container[str]) -> ConditionsPlan:
    """What makes the endpoints at the addresses in `down` held down, and all others what their author wrote.

    A plan for its own result is empty.
    """
    before = slice_.endpoints or ()
    held = parse_held(slice_.metadata.annotations)
    own = [_with(endpoint, find_own_conditions(endpoint, held)) for endpoint in before]
    after, remembered = hold(own, down)
    operations = [
        {"op": "add", "path": f"/endpoints/{index}/conditions", "value": _render(new.conditions)}
        for index, (old, new) in enumerate(zip(before, after, strict=True))
        if old.conditions != new.conditions
    ]
    operations += _plan_annotation(slice_.metadata.annotations, render_held(remembered))
    if operations:
        version = slice_.metadata.resource_version
        operations.insert(0, {"op": "replace", "path": "/metadata/resourceVersion", "value": version})
    was_down = {endpoint.addresses[0] for endpoint in before if is_held(endpoint, held)}
    return ConditionsPlan(
        tuple(operations), tuple(sorted(set(remembered) - was_down)), tuple(sorted(was_down - set(remembered)))
    )


def list_held(slice_: EndpointSlice) -> frozenset[str]:
    """The addresses that are held down in the slice: what a loop that begins knows of the time before."""
    held = parse_held(slice_.metadata.annotations)
    return frozenset(endpoint.addresses[0] for endpoint in slice_.endpoints or () if is_held(endpoint, held))


def make_change_events(plan: ConditionsPlan, reasons: Mapping[str, str]) -> tuple[Happening, ...]:
    """What the Service is told about a write. reasons: why an address is down."""
    events = []
    if plan.fell:
        named = [f"{address} ({reasons[address]})" if reasons.get(address) else address for address in plan.fell]
        events.append(Happening(COMPONENT, "EndpointsDown", f"no more traffic to {_list_some(named)}"))
    if plan.rose:
        text = f"traffic again to {_list_some(plan.rose)}"
        events.append(Happening(COMPONENT, "EndpointsUp", text, type="Normal"))
    return tuple(events)


def make_complaints(
    errors: tuple[BadAnnotation, ...], choice: TargetChoice, *, is_checkable: bool = True
) -> tuple[Happening, ...]:
    """What the Service's author must hear: one event for each annotation, and for each kind of address left alone."""
    if not is_checkable:
        text = "seaway.dev/check: a Service with a selector or of type ExternalName found, one without allowed; "
        return (_complain("CheckIgnored", text + "endpoints of Pods are checked by readiness probes"),)
    found = [_complain("InvalidCheck", error.text, error.name) for error in errors]
    if choice.refused:
        named = [f"{address} ({reason})" for address, reason in choice.refused]
        found.append(_complain("CheckRefused", f"never checked: {_list_some(named)}"))
    if choice.left_out:
        text = f"{len(choice.targets)} addresses and ports are checked, {choice.left_out} are not: "
        text += f"{MAX_TARGETS} of a Service and {MAX_ALL_TARGETS} of all are allowed, "
        text += f"and {MAX_RATE:.0f} and {MAX_ALL_RATE:.0f} tries a second"
        found.append(_complain("TooManyToCheck", text))
    return tuple(found)


def _complain(reason: str, message: str, series: str = "") -> Happening:
    return Happening(COMPONENT, reason, message, series=series)


def _list_some(named: list[str] | tuple[str, ...]) -> str:
    rest = len(named) - MAX_NAMED
    return ", ".join(named[:MAX_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _plan_annotation(annotations: Mapping[str, str], value: str | None) -> list[Json]:
    """A slice may have no annotations at all, and then there is nothing to add one to."""
    path = "/metadata/annotations"
    if value == annotations.get(ANNOTATION_HELD):
        return []
    pointer = f"{path}/{ANNOTATION_HELD.replace('/', '~1')}"
    if value is None:
        return [{"op": "remove", "path": pointer}]
    if not annotations:
        return [{"op": "add", "path": path, "value": {ANNOTATION_HELD: value}}]
    return [{"op": "add", "path": pointer, "value": value}]


def _with(endpoint: Endpoint, conditions: EndpointConditions) -> Endpoint:
    return endpoint if endpoint.conditions == conditions else msgspec.structs.replace(endpoint, conditions=conditions)


def _render(conditions: EndpointConditions) -> Json:
    return {key: value for key, value in msgspec.to_builtins(conditions).items() if value is not None}
