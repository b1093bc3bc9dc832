"""How much a Pod asks for, and how much a node has: whole numbers, of thousandths for cpu and of one for the rest.

Rule: spec "controllers" §7.7 (resource requests); upstream's arithmetic of init and sidecar containers.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from seaway.api.machinery.scalars import ScalarError, measure_quantity
from seaway.api.pod.scheduling import ResourceRequirements

Amounts = Mapping[str, int]
CPU, MEMORY, PODS = "cpu", "memory", "pods"
_NANOS = 10**9
_NANOS_PER_MILLI = 10**6


class Asking(Protocol):
    """A container, of whoever's reading."""

    @property
    def restart_policy(self) -> str: ...
    @property
    def resources(self) -> ResourceRequirements: ...


class AskingSpec(Protocol):
    """A Pod's spec, of whoever's reading."""

    @property
    def containers(self) -> Sequence[Asking]: ...
    @property
    def init_containers(self) -> Sequence[Asking]: ...
    @property
    def resources(self) -> ResourceRequirements: ...
    @property
    def overhead(self) -> Mapping[str, str]: ...


@functools.lru_cache(maxsize=4096)
def measure(resource: str, quantity: str) -> int:
    """Thousandths of a cpu, units of all else, rounded up. What cannot be read is nothing: the server refused it."""
    try:
        nanos = measure_quantity(quantity)
    except ScalarError:
        return 0
    return -(-nanos // (_NANOS_PER_MILLI if resource == CPU else _NANOS))


def measure_all(quantities: Mapping[str, str]) -> dict[str, int]:
    """The amounts of a resource list."""
    return {name: measure(name, quantity) for name, quantity in quantities.items()}


def sum_requests(spec: AskingSpec) -> dict[str, int]:
    """What the Pod takes of its node, zeros left out; `pods` is not among it.

    Containers run together, with the sidecars (init containers that are restarted always); an ordinary init container
    runs alone, beside the sidecars that started before it. What the Pod as a whole asks for replaces its containers'.
    """
    together = _add(_requests_of(c.resources) for c in spec.containers)
    sidecars: dict[str, int] = {}
    peak: dict[str, int] = {}
    for container in spec.init_containers:
        own = _requests_of(container.resources)
        if _is_sidecar(container):
            sidecars = _add((sidecars, own))
            peak = _larger(peak, sidecars)
        else:
            peak = _larger(peak, _add((sidecars, own)))
    total = _larger(_add((together, sidecars)), peak)
    total |= _requests_of(spec.resources)
    total = _add((total, measure_all(spec.overhead)))
    return {name: amount for name, amount in sorted(total.items()) if amount}


def _is_sidecar(container: Asking) -> bool:
    return container.restart_policy == "Always"


def _requests_of(resources: ResourceRequirements) -> dict[str, int]:
    """A limit without a request is one: the server says so too."""
    return measure_all({**resources.limits, **resources.requests})


def _add(parts: Iterable[Amounts]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in parts:
        for name, amount in part.items():
            total[name] = total.get(name, 0) + amount
    return total


def _larger(one: Amounts, other: Amounts) -> dict[str, int]:
    return {name: max(one.get(name, 0), other.get(name, 0)) for name in (*one, *other)}
