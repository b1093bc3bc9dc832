"""The oracle of the rollout's writes agrees with the plan, wave by wave. Rule: spec "controllers" §1.9, step C."""

from __future__ import annotations

import pytest
from bench.controllers import count_required

from seaway.api.endpointslice.types import Endpoint, EndpointSlice
from seaway.api.machinery.meta import ObjectMeta
from seaway.controllers.endpointslice.pack import identify_endpoint, pack_endpoints

Slices = dict[str, tuple[int, ...]]
LIMIT = 100


def write(slices: Slices, wanted: list[int]) -> int:
    """Packs the Pods, by number, and returns how many slices were written."""
    endpoints = [Endpoint((f"10.0.{n >> 8}.{n & 255}",)) for n in wanted]
    desired = {identify_endpoint(e): e for e in endpoints}
    number_of = dict(zip(desired, wanted, strict=True))
    by_number = {n: Endpoint((f"10.0.{n >> 8}.{n & 255}",)) for pods in slices.values() for n in pods}
    existing = [
        EndpointSlice(ObjectMeta(name), "IPv4", tuple(by_number[n] for n in pods), ()) for name, pods in slices.items()
    ]
    packing = pack_endpoints(existing, desired, max_endpoints=LIMIT, needs_rewrite=lambda slice_: False)
    for slice_, found in packing.update:
        slices[slice_.metadata.name] = tuple(number_of[identify_endpoint(e)] for e in found)
    for slice_ in packing.delete:
        del slices[slice_.metadata.name]
    for found in packing.create:
        slices[f"new-{found[0].addresses[0]}"] = tuple(number_of[identify_endpoint(e)] for e in found)
    return len(packing.update) + len(packing.delete) + len(packing.create)


@pytest.mark.parametrize(("pods", "at_once", "seen"), [(300, 25, 25), (300, 25, 10), (250, 30, 1), (60, 7, 3)])
def test_the_plan_writes_as_many_slices_as_the_rules_require(pods: int, at_once: int, seen: int) -> None:
    slices: Slices = {}
    live = list(range(pods))
    write(slices, live)
    writes = 0
    for start in range(0, pods, at_once):
        wave = range(start, min(start + at_once, pods))
        parts = [range(first, min(first + seen, wave.stop)) for first in range(wave.start, wave.stop, seen)]
        for part in parts:
            live = [*live, *(pods + n for n in part)]
            writes += write(slices, live)
        for part in parts:
            live = [n for n in live if n not in part]
            writes += write(slices, live)
    assert writes == count_required(pods, at_once, seen_at_once=seen)
