"""Laws of the Endpoints plan over any stored object, at its limit, and beside the slices of the same Pods.

Rule: spec "controllers" §3.2 to §3.5, §3.7.
"""

from __future__ import annotations

import copy
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from seaway.api.endpoints.subsets import canonicalize_subsets, count_addresses
from seaway.api.endpoints.types import Endpoints
from seaway.api.pod.types import Pod
from seaway.controllers.endpoints.plan import plan_endpoints, render_endpoints
from seaway.controllers.endpointslice.plan import plan_slices
from tests.controllers.endpoints.test_plan import LABELS, OVER, TIME, named, stored
from tests.controllers.endpointslice.slices import nodes, pod, service

Json = dict[str, Any]
PORTS = [{"name": "web", "port": 80, "targetPort": "http"}, {"name": "raw", "port": 81, "targetPort": 9000}]
TIMES = {"deletionTimestamp": "2026-01-01T00:00:00Z"}


def make(number: int, ready: bool, port: int, terminating: bool, node: str, phase: str) -> Pod:
    found = pod(f"p{number}", f"10.0.0.{number}", f"fd00::{number}", ready=ready, containers=named(port), nodeName=node,
                meta=TIMES if terminating else None)  # fmt: skip
    return msgspec.structs.replace(found, status=msgspec.structs.replace(found.status, phase=phase))


_PODS = st.lists(
    st.builds(
        make, st.integers(1, 9), st.booleans(), st.sampled_from([8080, 9090]), st.booleans(), st.just("n1"),
        st.sampled_from(["Running", "Running", "Running", "Succeeded", "Failed"]),
    ),
    max_size=9, unique_by=lambda p: p.metadata.name,
)  # fmt: skip
_ADDRESSES = st.lists(st.sampled_from([{"ip": f"10.0.0.{n}"} for n in range(1, 5)]), max_size=3)
_SUBSETS = st.lists(
    st.builds(
        lambda ready, rest, ports: {"addresses": ready, "notReadyAddresses": rest, "ports": ports},
        _ADDRESSES, _ADDRESSES, st.sampled_from([[], [{"name": "web", "port": 8080}], [{"name": "raw", "port": 9000}]]),
    ),
    max_size=3,
)  # fmt: skip
_LABELS = st.dictionaries(st.sampled_from(["team", *LABELS]), st.sampled_from(["", "a", "endpoint-controller"]))
_ANNOTATIONS = st.dictionaries(st.sampled_from([OVER, TIME, "example.com/note"]), st.sampled_from(["truncated", "x"]))


@st.composite
def anything_stored(draw: st.DrawFn) -> Endpoints | None:
    """What somebody may have left under the name."""
    if draw(st.booleans()):
        return None
    meta = {"name": "web", "namespace": "default", "labels": draw(_LABELS), "annotations": draw(_ANNOTATIONS)}
    return stored({"metadata": meta, "subsets": draw(_SUBSETS)})


@given(_PODS, anything_stored(), st.integers(1, 8), st.booleans(), st.randoms())
def test_one_write_is_enough_over_anything_and_at_any_limit(
    chosen: list[Pod], existing: Endpoints | None, limit: int, publishes: bool, random: Any
) -> None:
    svc = service(ports=PORTS, publishNotReadyAddresses=publishes)
    before = copy.deepcopy((svc, chosen, existing))
    plan = plan_endpoints(svc, chosen, existing, max_addresses=limit)
    assert (svc, chosen, existing) == before, "inputs stay as they are"
    shuffled = list(chosen)
    random.shuffle(shuffled)
    assert plan_endpoints(svc, shuffled, existing, max_addresses=limit) == plan, "order means nothing"
    assert plan.delete is None
    if plan.write is None:
        return
    assert count_addresses(plan.write.subsets) <= limit
    if not plan.write.is_truncated:  # what is cut after it was packed may have become what packing would join
        assert canonicalize_subsets(plan.write.subsets) == plan.write.subsets, "sorted, in the form that is compared"
    after = stored(render_endpoints(svc, plan.write, None))
    assert plan_endpoints(svc, shuffled, after, max_addresses=limit).is_empty
    kept = {key: value for key, value in after.metadata.annotations.items() if key not in (OVER, TIME)}
    had = existing.metadata.annotations if existing is not None else {}
    assert kept == {key: value for key, value in had.items() if key not in (OVER, TIME)}


@given(_PODS, st.booleans(), st.sampled_from(["IPv4", "IPv6"]))
def test_endpoints_and_slices_say_the_same_of_the_primary_family_but_for_what_terminates(
    chosen: list[Pod], publishes: bool, primary: str
) -> None:
    families = [primary, "IPv6" if primary == "IPv4" else "IPv4"]
    svc = service(ports=PORTS, publishNotReadyAddresses=publishes, ipFamilies=families)
    write = plan_endpoints(svc, chosen, None).write
    assert write is not None
    by_endpoints = {
        (address.ip, port.name, port.port, is_ready)
        for subset in write.subsets
        for port in subset.ports
        for is_ready, addresses in ((True, subset.addresses), (False, subset.not_ready_addresses))
        for address in addresses
    }
    by_slices = {
        (endpoint.addresses[0], port.name, port.port, endpoint.is_ready)
        for made in plan_slices(svc, chosen, nodes(), []).create
        if made.address_type == primary
        for port in made.ports
        for endpoint in made.endpoints
        if publishes or not endpoint.is_terminating
    }
    assert by_endpoints == by_slices
